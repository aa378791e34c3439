"""Implement `streamer people export`, and `import` of what it has written."""

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path

from faceanalytics.errors import PARTIAL_RESULT, ConfigError, InputError
from faceanalytics.gallery_file import check_gallery, checked_passphrase, read_gallery, write_gallery
from faceanalytics.names import printable
from faceanalytics.v1 import gallery_transfer_pb2 as messages
from streamer.tools.gallery_records import record_of, records
from streamer.tools.people import LONG_S, Gallery


def _export(gallery: Gallery, arguments: argparse.Namespace) -> int:
    path: Path = arguments.file
    if path.exists():
        raise ConfigError(f"{printable(path)}: exists already; choose another name, or remove it")
    secret = passphrase(arguments.passphrase_file, new=True)
    head = messages.GalleryHead()
    request = messages.ExportGalleryRequest(
        file_name=printable(path.name),
        person_ids=[gallery.find(one) for one in arguments.people],
        labels=arguments.labels,
    )
    answers = gallery.stub.ExportGallery(request, timeout=LONG_S)
    write_gallery(path, secret, records(answers, head))
    if gallery.json:
        gallery.print(head)
    else:
        print(f"{printable(path)}: {head.people} people with {head.references} references, encrypted")
    return 0


def import_gallery(gallery: Gallery, arguments: argparse.Namespace) -> int:
    """Add what a file of `streamer people export` or of the Python API has, and return the exit code."""
    path: Path = arguments.folder
    secret = passphrase(arguments.passphrase_file, new=False)
    check_gallery(path, secret)  # before anything is sent
    requests = (
        messages.ImportGalleryRequest(record=record_of(one, printable(path))) for one in read_gallery(path, secret)
    )
    answer = gallery.stub.ImportGallery(requests, timeout=LONG_S)
    if gallery.json:
        gallery.print(answer)
    else:
        print(
            f"{answer.added_people} people added, {answer.known_people} known already; {answer.added_references} "
            f"references added, {answer.known_references} known already; {answer.embedded_again} embedded again"
        )
    for one in answer.refused:
        print(f"{one.person_id}: left out: {one.reason}", file=sys.stderr)
    if not answer.refused:
        return 0
    return PARTIAL_RESULT if answer.added_people + answer.known_people else InputError("").exit_code


def passphrase(file: Path | None, new: bool) -> str:
    """Return the passphrase in a file, else ask for it. `new`: ask twice, and refuse a short one.

    Raises ConfigError.
    """
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--passphrase-file: cannot read {printable(file)}: {error}") from error
        if not text:
            raise ConfigError(f"--passphrase-file: {printable(file)} is empty")
    elif not sys.stdin.isatty():
        raise ConfigError("give --passphrase-file FILE, because nobody can be asked for the passphrase here")
    else:
        text = getpass.getpass("Passphrase: ")
        if new and getpass.getpass("Once more: ") != text:
            raise ConfigError("the two passphrases are not the same")
    return checked_passphrase(text) if new else text


ACTIONS: dict[str, Callable[[Gallery, argparse.Namespace], int]] = {"export": _export}
