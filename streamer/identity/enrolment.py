"""Embeds the images of a gallery by the workers, and sets the cosine from which a person is named.

The images are embedded by the same weights as the faces in videos. Each is analysed twice, as it is and mirrored, and
the two embeddings are added.
"""

import asyncio
import hashlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faceanalytics.errors import ConfigError, LostDependency
from streamer.config import Gallery as Settings
from streamer.config import StreamerConfig
from streamer.detect.detector import Detector
from streamer.identity.gallery import EmbeddedReference, Gallery, cohort_scores, dissimilar_images
from streamer.identity.identification import EnrolledGallery
from streamer.identity.impostors import threshold
from streamer.identity.references import Reference, read_people
from streamer.values import Bytes, FaceAnalysis, Floats, ImpostorScores, Model

AGAIN_S = 1.0  # pause before images are sent again that were lost or answered by other weights
TRIES = 20  # an image that is lost more often is at fault itself, not the worker
SHOWN = 20  # maximum number of images or pairs in the log or a message

log = logging.getLogger(__name__)


def read_gallery(
    config: StreamerConfig, detector: Detector, stopped: Callable[[], bool]
) -> tuple[list[Reference], list[Reference]]:
    """Read the images of gallery.folder and of gallery.cohort (empty if not set). Raises ConfigError, InputError."""
    gallery, cohort = config.gallery.folder, config.gallery.cohort
    people = read_people(Path(gallery), "gallery.folder", detector, config.crop, stopped) if gallery else []
    strangers = read_people(Path(cohort), "gallery.cohort", detector, config.crop, stopped) if cohort else []
    both = sorted({one.person for one in people} & {one.person for one in strangers})
    if both:
        raise ConfigError(f"gallery.cohort: must not contain people of the gallery, but both have {', '.join(both)}")
    return people, strangers


async def embed(
    references: Sequence[Reference],
    analyse: Callable[[Sequence[Bytes]], Awaitable[list[FaceAnalysis | None]]],
    wait_for_worker: Callable[[], Awaitable[Model | None]],
    stopped: Callable[[], bool],
) -> tuple[Model, list[EmbeddedReference]] | None:
    """Embed all references by one model, that of the workers; None if stopped before.

    `analyse` and `wait_for_worker` are the dispatcher's. Raises ConfigError if the model has no identity output,
    LostDependency if an image is never answered.
    """
    found: dict[int, tuple[Model, EmbeddedReference]] = {}
    for tries in itertools.count():
        model = await wait_for_worker()
        if model is None or stopped():
            return None
        if not model.identity:
            raise ConfigError(f"gallery.folder: the weights {model.id} were not trained for identity")
        missing = [row for row in range(len(references)) if row not in found or found[row][0] != model]
        if not missing:
            return model, [found[row][1] for row in range(len(references))]
        if tries == TRIES:
            names = ", ".join(references[row].name for row in missing[:SHOWN])
            raise LostDependency(f"gallery: {len(missing)} images are never answered by {model.id}: {names}")
        if tries:
            await asyncio.sleep(AGAIN_S)
        answers = await analyse([crop for row in missing for crop in _plain_and_mirrored(references[row])])
        for row, plain, mirrored in zip(missing, answers[::2], answers[1::2], strict=True):
            embedded = _embedded(references[row], plain, mirrored)
            if embedded is not None:
                found[row] = embedded
    return None


def enrolled(
    config: StreamerConfig, model: Model, people: Sequence[EmbeddedReference], strangers: Sequence[EmbeddedReference]
) -> tuple[EnrolledGallery, ImpostorScores]:
    """Make the gallery as `gallery_of` does, and log its threshold and people who look alike."""
    found, impostors = gallery_of(config, model, people, strangers)
    log.info(
        "gallery: %d people, named from cosine %.3f (false-accept rate %g per search; %d pairs of %d people of %s)",
        *(len(found.gallery), found.threshold, config.gallery.false_accept_rate),
        *(impostors.pairs, impostors.people, impostors.source),
    )
    _audit(found.gallery, _by_person(people), found.threshold)
    return found, impostors


def gallery_of(
    config: StreamerConfig, model: Model, people: Sequence[EmbeddedReference], strangers: Sequence[EmbeddedReference]
) -> tuple[EnrolledGallery, ImpostorScores]:
    """Make the gallery and its threshold, which follows from its size, the false-accept rate and the strangers' scores.

    `people` and `strangers` are the embedded images of `read_gallery`. Raises ConfigError if there are no scores of
    strangers, or too few.
    """
    gallery = Gallery(_by_person(people), model.id)
    if strangers:
        cohort = Gallery(_by_person(strangers), model.id)
        impostors = cohort_scores(cohort, gallery, "gallery.cohort", plain=True)
        of_gallery = cohort_scores(cohort, gallery, "gallery.cohort")
    elif model.impostors is not None:
        impostors = model.impostors
        of_gallery = impostors
    else:
        raise ConfigError(
            f"gallery.cohort: missing, and the card of the weights {model.id} has no impostor_scores, which say how "
            "similar strangers are. Give a folder with some hundreds of people who are in no gallery, one sub-folder "
            "each, or weights whose card has the table; `swinface evaluate impostors` makes it"
        )
    named_from = threshold(of_gallery, config.gallery.false_accept_rate, len(gallery), "gallery.false_accept_rate")
    twins = frozenset(gallery.names) & frozenset(config.gallery.twins)
    return EnrolledGallery(gallery, named_from, twins=twins), impostors


def gallery_record(settings: Settings, found: EnrolledGallery, references: Sequence[Reference]) -> dict[str, Any]:
    """Return the fields of a results header that identify the gallery and its threshold."""
    digest = hashlib.sha256()
    for reference in references:
        digest.update(f"{reference.name}\0".encode("utf-8", "surrogateescape") + reference.pixels.tobytes())
    return {
        "people": len(found.gallery),
        "images_sha256": digest.hexdigest(),
        "false_accept_rate": settings.false_accept_rate,
        "threshold": round(found.threshold, 6),
    }


def _audit(gallery: Gallery, people: dict[str, list[EmbeddedReference]], named_from: float) -> None:
    """Log the people and images of a gallery that make decisions AMBIGUOUS or wrong."""
    for one, other, similarity in gallery.similar_pairs(named_from)[:SHOWN]:
        log.warning(
            "gallery: %s and %s are as similar as one person (cosine %.3f). If they are not the same person, both will "
            "often be AMBIGUOUS",
            *(one, other, similarity),
        )
    dissimilar = [one for images in people.values() for one in dissimilar_images(images, named_from)]
    for name, similarity in dissimilar[:SHOWN]:
        log.warning("gallery: %s does not look like the other images of the person (cosine %.3f)", name, similarity)


def _by_person(images: Sequence[EmbeddedReference]) -> dict[str, list[EmbeddedReference]]:
    people: dict[str, list[EmbeddedReference]] = {}
    for image in images:
        people.setdefault(image.person, []).append(image)
    return people


def _plain_and_mirrored(reference: Reference) -> tuple[Bytes, Bytes]:
    return reference.pixels, np.ascontiguousarray(reference.pixels[:, ::-1])


def _embedded(
    reference: Reference, plain: FaceAnalysis | None, mirrored: FaceAnalysis | None
) -> tuple[Model, EmbeddedReference] | None:
    """Return the model and the embedded reference. None: not answered, or not by one model with identity."""
    if plain is None or mirrored is None or plain.model != mirrored.model or not plain.model.identity:
        return None
    embedding = _unnormalised(plain) + _unnormalised(mirrored)
    return plain.model, EmbeddedReference(reference.person, reference.name, embedding, reference.quality)


def _unnormalised(analysis: FaceAnalysis) -> Floats:
    """Return the embedding (512,) before normalisation."""
    assert analysis.embedding is not None
    assert analysis.embedding_norm is not None
    return np.asarray(analysis.embedding * np.float32(analysis.embedding_norm), np.float32)
