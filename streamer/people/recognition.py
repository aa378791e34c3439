"""Makes the gallery that tracks are searched in, from the folder of the configuration and from the ledger."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.config import StreamerConfig
from streamer.identity.corrections import Corrections
from streamer.identity.enrolment import gallery_of
from streamer.identity.gallery import EmbeddedReference
from streamer.identity.identification import EnrolledGallery
from streamer.people.book import StoredReference
from streamer.people.entries import FOLDER
from streamer.people.fold import People
from streamer.values import ImpostorScores, Model

ID_DIGITS = 24  # hexadecimal, of the id of a person of the folder


@dataclass(frozen=True, slots=True, eq=False)
class FolderPeople:
    """The people of gallery.folder and the strangers of gallery.cohort, embedded by one model."""

    people: Sequence[EmbeddedReference]  # `person` is the id
    names: Mapping[str, str]  # by id
    strangers: Sequence[EmbeddedReference]


def folder_id(name: str, secret: bytes) -> str:
    """Return the id of a person of the folder: the same as long as the store and the name are."""
    return FOLDER + hmac.digest(secret, name.encode("utf-8", "surrogateescape"), hashlib.sha256).hex()[:ID_DIGITS]


def with_ids(people: Sequence[EmbeddedReference], secret: bytes) -> tuple[list[EmbeddedReference], dict[str, str]]:
    """Return references with ids in place of names, and the names by id."""
    ids = {one.person: folder_id(one.person, secret) for one in people}
    return [replace(one, person=ids[one.person]) for one in people], {ids[name]: name for name in ids}


def build(
    config: StreamerConfig, model: Model, folder: FolderPeople, people: People, stored: Mapping[str, StoredReference]
) -> tuple[EnrolledGallery, ImpostorScores]:
    """Return the gallery with its corrections, and the scores of strangers. Raises ConfigError as `gallery_of` does.

    References of other models and those that were set aside are left out, and so are people without another one.
    """
    usable = [
        (person.person_id, stored[name])
        for person in people.people.values()
        for name in person.references
        if name not in person.set_aside and name in stored and stored[name].model_id == model.id
    ]
    images = [one for _, one in usable if one.source == "IMAGE"]
    vectors = [*(one.embedding for one in images), *(one.embedding for one in folder.people)]
    lengths = [float(np.linalg.norm(one)) for one in vectors]
    usual = float(np.median(lengths)) if lengths else 1.0  # templates of tracks have length 1, and count as an image
    references = [
        EmbeddedReference(
            person, one.reference_id, one.embedding if one.source == "IMAGE" else one.embedding * usual, one.quality
        )
        for person, one in usable
    ]
    found, impostors = gallery_of(config, model, [*folder.people, *references], folder.strangers)
    names = {**folder.names, **{one.person_id: one.name for one in people.people.values()}}
    return replace(found, names=names, corrections=corrections(people, stored, model.id)), impostors


def corrections(people: People, stored: Mapping[str, StoredReference], model_id: str) -> Corrections:
    """Return what was said about tracks, with the templates of rejected ones that this model made."""
    negatives = {}
    for person, names in people.negatives.items():
        rows = [stored[name].embedding for name in sorted(names) if name in stored and _is_of(stored[name], model_id)]
        if rows:
            matrix = np.stack(rows).astype(np.float64)
            negatives[person] = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return Corrections(people.confirmed, people.rejected, negatives)


def _is_of(reference: StoredReference, model_id: str) -> bool:
    return reference.model_id == model_id and bool(np.linalg.norm(reference.embedding) > 0)
