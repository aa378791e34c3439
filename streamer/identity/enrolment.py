"""The images of a gallery through the workers, and what follows: the people, and the cosine that names one.

They take the way of every crop, so that they are embedded by the weights that embed the faces of the videos. Each one
is shown twice, as it is and mirrored, and the two embeddings are added.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faceanalytics.errors import ConfigError, LostDependency
from streamer.config import Gallery as Settings
from streamer.config import StreamerConfig
from streamer.detect.detector import Detector
from streamer.identity.gallery import Gallery, Image, cohort_scores, unlike
from streamer.identity.identification import EnrolledGallery
from streamer.identity.impostors import threshold
from streamer.identity.references import Reference, read_people
from streamer.values import FaceAnalysis, FaceCrop, Floats, ImpostorScores, Model, Quality, TrackKey

CAMERA = "(gallery)"  # no stream can be called so
AGAIN_S = 1.0  # before crops that were lost, or were answered by other weights, go out again
TRIES = 20  # then an image that is lost each time is the trouble, and not the worker
SHOWN = 20  # lines of a warning

log = logging.getLogger(__name__)


def read_gallery(
    config: StreamerConfig, detector: Detector, stopped: Callable[[], bool]
) -> tuple[list[Reference], list[Reference]]:
    """The images of gallery.folder and of gallery.cohort (empty without one). Raises ConfigError, InputError."""
    gallery, cohort = config.gallery.folder, config.gallery.cohort
    people = read_people(Path(gallery), "gallery.folder", detector, config.crop, stopped) if gallery else []
    strangers = read_people(Path(cohort), "gallery.cohort", detector, config.crop, stopped) if cohort else []
    both = sorted({one.person for one in people} & {one.person for one in strangers})
    if both:
        raise ConfigError(f"gallery.cohort: must have nobody of the gallery, but both have {', '.join(both)}")
    return people, strangers


class Enrolment:
    """Images on their way through the workers. On the loop only."""

    def __init__(
        self,
        offer: Callable[[FaceCrop], Awaitable[None]],
        seal: Callable[[], Awaitable[None]],
        wait_for_worker: Callable[[], Awaitable[Model | None]],
        stopped: Callable[[], bool],
        batch: int,
        patience_s: float | None = None,
    ) -> None:
        """The first three are the Dispatcher's. `patience_s`: what has no answer after so long is asked again."""
        self._offer, self._seal, self._wait_for_worker = offer, seal, wait_for_worker
        self._stopped = stopped
        self._batch = batch
        self._patience_s = patience_s
        self._waiting: dict[str, asyncio.Future[FaceAnalysis | None]] = {}  # by track id

    def settled(self, crop: FaceCrop, analysis: FaceAnalysis | None) -> bool:
        """True if the crop was one of these images; then it is dealt with."""
        waiting = self._waiting.pop(crop.key.id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(analysis)
        return crop.key.camera == CAMERA

    async def embed(self, references: Sequence[Reference]) -> tuple[Model, list[Image]] | None:
        """All by the same weights, whoever has them; None: stopped before.

        Raises ConfigError for weights that know no identity, LostDependency if an image is never answered.
        """
        found: dict[int, tuple[Model, Image]] = {}
        tries = 0
        while True:
            model = await self._wait_for_worker()
            if model is None or self._stopped():
                return None
            if not model.identity:
                raise ConfigError(f"gallery.folder: the weights {model.id} were not trained for identity")
            open_rows = [row for row in range(len(references)) if row not in found or found[row][0] != model]
            if not open_rows:
                return model, [found[row][1] for row in range(len(references))]
            if tries == TRIES:
                names = ", ".join(references[row].name for row in open_rows[:SHOWN])
                raise LostDependency(f"gallery: {len(open_rows)} images are never answered by {model.id}: {names}")
            if tries:
                await asyncio.sleep(AGAIN_S)
            tries += 1
            for rows in _parts(open_rows, max(1, self._batch // 2)):
                if self._stopped():
                    return None
                answers = await self._ask([references[row] for row in rows])
                found.update({row: answer for row, answer in zip(rows, answers, strict=True) if answer is not None})

    async def _ask(self, references: Sequence[Reference]) -> list[tuple[Model, Image] | None]:
        crops = [crop for number, one in enumerate(references) for crop in _crops(one, number)]
        waiting: list[asyncio.Future[FaceAnalysis | None]] = [asyncio.get_running_loop().create_future() for _ in crops]
        self._waiting = {crop.key.id: future for crop, future in zip(crops, waiting, strict=True)}
        for crop in crops:
            await self._offer(crop)
        await self._seal()
        await asyncio.wait(waiting, timeout=self._patience_s)
        self._waiting = {}
        answers = [future.result() if future.done() else None for future in waiting]
        pairs = zip(references, answers[::2], answers[1::2], strict=True)
        return [_image(reference, plain, mirrored) for reference, plain, mirrored in pairs]


def known(
    config: StreamerConfig, model: Model, people: Sequence[Image], strangers: Sequence[Image]
) -> tuple[EnrolledGallery, ImpostorScores]:
    """The gallery with the threshold that its size, the stated rate and the strangers give; logs who looks alike.

    `people` and `strangers` are as `read_gallery` gave them, embedded. Raises ConfigError.
    """
    gallery = Gallery(_by_person(people), model.id)
    if strangers:
        impostors = cohort_scores(Gallery(_by_person(strangers), model.id), gallery, "gallery.cohort")
    elif model.impostors is not None:
        impostors = model.impostors
    else:
        raise ConfigError(
            f"gallery.cohort: missing, and the weights {model.id} do not say how similar strangers are "
            "(impostor_scores in their card). Give a folder of people who are in no gallery, one sub-folder each, some "
            "hundreds of them; or weights whose card has the table: `swinface evaluate impostors` makes it"
        )
    rate = config.gallery.false_accept_rate
    least = threshold(impostors, rate, len(gallery), "gallery.false_accept_rate")
    log.info(
        "gallery: %d people, named from cosine %.3f on (false-accept rate %g per search; %d pairs of %d people of %s)",
        *(len(gallery), least, rate, impostors.pairs, impostors.people, impostors.source),
    )
    _audit(gallery, _by_person(people), least)
    return EnrolledGallery(gallery, least), impostors


def gallery_record(settings: Settings, found: EnrolledGallery, references: Sequence[Reference]) -> dict[str, Any]:
    """For the header of results: what decided who is named."""
    digest = hashlib.sha256()
    for reference in references:
        digest.update(f"{reference.name}\0".encode("utf-8", "surrogateescape") + reference.pixels.tobytes())
    return {
        "people": len(found.gallery),
        "images_sha256": digest.hexdigest(),
        "false_accept_rate": settings.false_accept_rate,
        "threshold": round(found.threshold, 6),
    }


def _audit(gallery: Gallery, people: dict[str, list[Image]], least: float) -> None:
    """Log what makes answers AMBIGUOUS, or wrong."""
    for one, other, similarity in gallery.alike(least)[:SHOWN]:
        log.warning(
            "gallery: %s and %s are as similar as one person (cosine %.3f): the same one twice? Else both will "
            "often be AMBIGUOUS",
            *(one, other, similarity),
        )
    strays = [stray for images in people.values() for stray in unlike(images, least)]
    for name, similarity in strays[:SHOWN]:
        log.warning("gallery: %s does not look like the other images of the person (cosine %.3f)", name, similarity)


def _by_person(images: Sequence[Image]) -> dict[str, list[Image]]:
    people: dict[str, list[Image]] = {}
    for image in images:
        people.setdefault(image.person, []).append(image)
    return people


def _parts(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    yield from (rows[start : start + size] for start in range(0, len(rows), size))


def _crops(reference: Reference, number: int) -> Iterator[FaceCrop]:
    """As it is, then mirrored."""
    for place, pixels in enumerate((reference.pixels, np.ascontiguousarray(reference.pixels[:, ::-1]))):
        key = TrackKey(f"gallery {2 * number + place}", CAMERA, 2 * number + place + 1)
        yield FaceCrop(key, 0.0, time.monotonic(), 1.0, Quality(reference.quality), pixels)


def _image(
    reference: Reference, plain: FaceAnalysis | None, mirrored: FaceAnalysis | None
) -> tuple[Model, Image] | None:
    """None: not answered, or not by one model."""
    if plain is None or mirrored is None or plain.model != mirrored.model or not plain.model.identity:
        return None
    embedding = _whole(plain) + _whole(mirrored)
    return plain.model, Image(reference.person, reference.name, embedding, reference.quality)


def _whole(analysis: FaceAnalysis) -> Floats:
    """(512,) as long as the network made it."""
    assert analysis.embedding is not None
    assert analysis.embedding_norm is not None
    return np.asarray(analysis.embedding * np.float32(analysis.embedding_norm), np.float32)
