"""The audit of a folder of people without a streamer: a worker is started for it."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from faceanalytics.errors import InputError
from faceanalytics.files import never
from faceanalytics.scratch import scratch_folder
from streamer.config import StreamerConfig
from streamer.configfile import load_config, parse_config

if TYPE_CHECKING:
    from streamer.identity.gallery import EmbeddedReference
    from streamer.identity.references import Reference
    from streamer.people.audit import Audit
    from streamer.values import Model


def audit_folder(arguments: argparse.Namespace) -> int:
    """Run `streamer people audit --folder` and return its exit code."""
    from streamer.api.gallery_audit import audit_message
    from streamer.tools.people_audit import show_folder

    data = load_config(arguments.config).model_dump()
    data["gallery"]["folder"] = str(arguments.folder)
    config = parse_config(data, "command line")
    found, pictures = asyncio.run(_audited(config, arguments.weights, arguments.device))
    audit = audit_message(found, lambda name: (name, name), pictures if arguments.faces else {})
    return show_folder(audit, arguments.html, arguments.json)


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The people of gallery.folder and the strangers of gallery.cohort, embedded by one model."""

    model: "Model"
    images: "Sequence[Reference]"  # of the people
    people: "Sequence[EmbeddedReference]"
    strangers: "Sequence[EmbeddedReference]"


async def embedded(config: StreamerConfig, weights: str, device: str) -> Embedded:
    """Embed the folders of a configuration by a worker that is started for it.

    Raises ConfigError, InputError, ModelError and LostDependency.
    """
    from streamer.detect.detector import Detector
    from streamer.dispatch.dispatcher import Dispatcher
    from streamer.dispatch.ledger import Priority
    from streamer.dispatch.worker_process import WorkerOptions, run_worker
    from streamer.identity.enrolment import embed, read_gallery

    with scratch_folder() as folder:
        dispatch = config.dispatch.on_socket(folder / "workers")
        stuck: asyncio.Queue[str] = asyncio.Queue()
        dispatcher = Dispatcher(dispatch, on_stuck=stuck.put_nowait, min_batch=dispatch.batch, keep_model=True)
        try:
            async with asyncio.TaskGroup() as group:
                wire = group.create_task(dispatcher.run())
                child = group.create_task(run_worker(WorkerOptions(weights, device), dispatch.bind, stuck))
                detector = await asyncio.to_thread(Detector, config.detect)
                people, strangers = await asyncio.to_thread(read_gallery, config, detector, never)
                analyse = partial(dispatcher.analyse, priority=Priority.ENROLMENT)
                found = await embed([*people, *strangers], analyse, dispatcher.wait_for_worker, never)
                child.cancel()
                await asyncio.wait([child])
                wire.cancel()
        finally:
            dispatcher.close()
    if found is None:
        raise InputError(f"{config.gallery.folder}: nothing could be embedded")
    model, images = found
    return Embedded(model, people, images[: len(people)], images[len(people) :])


async def _audited(config: StreamerConfig, weights: str, device: str) -> tuple["Audit", Mapping[str, bytes]]:
    """Return the audit of gallery.folder, and the pictures of its images by name."""
    import simplejpeg

    from streamer.identity.enrolment import gallery_of
    from streamer.people.audit import audited
    from streamer.people.images import JPEG_QUALITY

    found = await embedded(config, weights, device)
    known, impostors = gallery_of(config, found.model, found.people, found.strangers)
    jpeg = partial(simplejpeg.encode_jpeg, quality=JPEG_QUALITY, colorspace="RGB")
    audit = await asyncio.to_thread(audited, config.gallery, known, impostors, found.people)
    return audit, {one.name: jpeg(one.pixels) for one in found.images}
