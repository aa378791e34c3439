"""Makes the gallery that tracks are searched in, from the folder of the configuration and from the ledger."""

import hashlib
import hmac
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.config import StreamerConfig
from streamer.identity.corrections import Corrections
from streamer.identity.enrolment import gallery_of
from streamer.identity.gallery import EmbeddedReference
from streamer.identity.identification import EnrolledGallery
from streamer.people.entries import FOLDER, Person
from streamer.people.fold import People
from streamer.people.stored import StoredReference
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
    references = references_of(model, folder, people, stored)
    found, impostors = gallery_of(config, model, references, folder.strangers)
    found.gallery.prepare()
    names = Names(folder.names, people.people)
    said, twins = corrections(people, stored, model.id), Twins(config.gallery.twins, folder.names, people.people)
    return replace(found, names=names, corrections=said, twins=twins), impostors


def references_of(
    model: Model, folder: FolderPeople, people: People, stored: Mapping[str, StoredReference]
) -> list[EmbeddedReference]:
    """Return the references with which tracks are compared, those of the folder first."""
    return [*folder.people, *(one for person in people.people.values() for one in usable(person, stored, model.id))]


def usable(person: Person, stored: Mapping[str, StoredReference], model_id: str) -> list[EmbeddedReference]:
    """Return what a person is compared by: references by this model that are not set aside.

    Templates of tracks have length 1. They count as much as one of the person's images, whose length says how clear
    they are.
    """
    there = [stored[name] for name in person.references if name not in person.set_aside and name in stored]
    there = [one for one in there if one.model_id == model_id]
    lengths = [float(np.linalg.norm(one.embedding)) for one in there if one.source == "IMAGE"]
    usual = np.float32(np.median(lengths)) if lengths else np.float32(1)
    return [
        EmbeddedReference(
            person.person_id,
            one.reference_id,
            one.embedding if one.source == "IMAGE" else one.embedding * usual,
            one.quality,
        )
        for one in there
    ]


class Names(Mapping[str, str]):
    """The names of people by id, without a copy of all of them."""

    def __init__(self, folder: Mapping[str, str], people: Mapping[str, Person]) -> None:
        self._folder = folder
        self._people = people

    def __getitem__(self, person_id: str) -> str:
        person = self._people.get(person_id)
        return self._folder[person_id] if person is None else person.name

    def __iter__(self) -> Iterator[str]:
        yield from {**self._folder, **self._people}

    def __len__(self) -> int:
        return len(self._folder) + len(self._people)


class Twins(Container[str]):
    """The ids of those who have one of the labels, names or ids in gallery.twins, without a list of them."""

    def __init__(self, wanted: Sequence[str], folder: Mapping[str, str], people: Mapping[str, Person]) -> None:
        self._wanted = frozenset(wanted)
        self._folder = folder
        self._people = people

    def __contains__(self, person_id: object) -> bool:
        if not isinstance(person_id, str):
            return False
        person = self._people.get(person_id)
        labels = (person.name, *person.labels) if person is not None else (self._folder.get(person_id, ""),)
        return bool(self._wanted & {person_id, *labels})


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
