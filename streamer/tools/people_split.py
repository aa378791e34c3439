"""Implement `streamer people split`."""

import argparse
from collections.abc import Callable
from typing import Any

from faceanalytics.errors import ConfigError
from faceanalytics.names import printable
from faceanalytics.v1 import gallery_pb2
from streamer.tools.people import ANSWER_S, Gallery, person_line


def _split(gallery: Gallery, arguments: argparse.Namespace) -> int:
    if (arguments.new is None) == (arguments.to is None):
        raise ConfigError("people split: give --new or --to")
    request = gallery_pb2.SplitPersonRequest(
        person_id=gallery.find(arguments.person),
        reference_ids=arguments.reference,
        track_ids=arguments.track,
        dry_run=arguments.dry_run,
    )
    if arguments.new is not None:
        request.new_person.display_name = arguments.new
    else:
        request.other_person_id = gallery.find(arguments.to)
    answer: Any = gallery.stub.SplitPerson(request, timeout=ANSWER_S)
    parts = f"{person_line(answer.person)}\n{person_line(answer.other)}\n{printable(arguments.person)} is split"
    return gallery.said(answer, arguments.dry_run, parts)


ACTIONS: dict[str, Callable[[Gallery, argparse.Namespace], int]] = {"split": _split}
