"""Exports people of a gallery, keeps that it was done, and imports people from an export, all or nothing."""

import base64
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import simplejpeg
from sqlalchemy import select

from faceanalytics.errors import ConfigError, LostDependency
from streamer.encryption import NotReadable
from streamer.people import wording
from streamer.people.book import Draft
from streamer.people.curator import MOST_PEOPLE, Curator, Problem, Refused
from streamer.people.enrolling import MOST_REFERENCES
from streamer.people.entries import Action, Person
from streamer.people.fold import fold
from streamer.people.live import AT_ONCE, crop_of
from streamer.people.stored import StoredReference
from streamer.store.tables import meta
from streamer.values import CROP_SIZE

OWNER = "exports"  # of the key that the list of exports is encrypted with
PREFIX = "export:"  # of the names of its rows in meta
LONGEST_NAME = 200  # characters of a file's name
PERSON_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOST_REFUSED = 1000  # people listed in an answer


@dataclass(frozen=True, slots=True)
class Export:
    """A file that was made of the gallery."""

    at: datetime  # UTC
    actor: str
    file: str
    entry: int  # newest entry of the ledger then
    people: frozenset[str] | None = None  # ids of those who are in it; None: everybody


@dataclass(frozen=True, slots=True, eq=False)
class GivenPerson:
    """A person of an export."""

    person_id: str
    name: str
    labels: Sequence[str]
    metadata: Mapping[str, str]
    references: Sequence[tuple[StoredReference, bytes]]  # with the picture as JPEG, empty: none
    aside: frozenset[str]  # ids of the references that are set aside


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an export that was added."""

    added_people: int
    known_people: int
    added_references: int
    known_references: int
    embedded_again: int
    refused: tuple[tuple[str, str], ...]  # ids of people who were left out, and why


class Transfer:
    """Exports and imports. Raises as Curator does."""

    def __init__(self, curator: Curator) -> None:
        self._curator = curator

    def chosen(self, person_ids: Sequence[str], labels: Sequence[str]) -> list[Person]:
        """Return the people with these ids and those who have one of these labels; without either everybody."""
        people = self._curator.book.people.people
        wanted = {self._curator.get(one).person_id for one in person_ids}
        if wanted - people.keys():
            raise Refused(Problem.INVALID, "person_ids: people of gallery.folder are not exported: copy the folder")
        for label in labels:
            having = {one.person_id for one in people.values() if label in one.labels}
            if not having:
                raise Refused(Problem.NOT_FOUND, f"labels: nobody has the label {label}")
            wanted |= having
        everybody = not person_ids and not labels
        found = [one for one in people.values() if everybody or one.person_id in wanted]
        return sorted(found, key=lambda one: one.person_id)

    async def export(
        self, actor: str, file: str, people: Sequence[Person], everybody: bool = True
    ) -> AsyncIterator[tuple[Person, list[tuple[StoredReference, bytes]]]]:
        """Keep that an export is made, and yield these people with their references and pictures."""
        book = self._curator.book
        ids = frozenset(one.person_id for one in people) if not everybody else None
        await self._keep(Export(datetime.now(UTC), actor, file[:LONGEST_NAME], len(book.entries), ids))
        for person in people:
            found = []
            for name in person.references:
                jpeg = await book.crop(name)
                if name in book.references:  # it may have been deleted meanwhile
                    found.append((book.references[name], jpeg))
            if person.person_id not in book.people.erased:
                yield person, found

    async def _keep(self, export: Export) -> None:
        book = self._curator.book
        sealed, name = await book.sealed_of(OWNER), PREFIX + secrets.token_hex(16)
        content: dict[str, Any] = {"at": export.at.isoformat(), "actor": export.actor, "file": export.file}
        content["entry"] = export.entry
        if export.people is not None:
            content["people"] = sorted(export.people)
        value = base64.b64encode(sealed.data(content, name)).decode()
        await book.store.execute(meta.insert().values(name=name, value=value))

    async def exports_of(self, person_ids: Sequence[str]) -> list[Export]:
        """Return the exports that hold one of these people, oldest first."""
        book = self._curator.book
        async with book.store.database.reading() as connection:
            rows = (await connection.execute(select(meta).where(meta.c.name.startswith(PREFIX)))).all()
        if not rows:
            return []
        sealed, found = await book.sealed_of(OWNER), list[Export]()
        for row in rows:
            try:
                kept = sealed.read_data(base64.b64decode(row.value), row.name)
            except NotReadable:
                continue  # another key: restored from a copy without its keys
            at, ids = datetime.fromisoformat(kept["at"]), kept.get("people")
            people = frozenset(ids) if ids is not None else None
            found.append(Export(at, kept["actor"], kept["file"], kept["entry"], people))
        held = dict[int, set[str]]()
        for entry in {one.entry for one in found}:
            then = fold([one for one in book.entries[:entry] if one.person_id not in book.people.erased])
            held[entry] = {then.root(name) for name in person_ids} & then.people.keys()
        holding = [
            one for one in found if held[one.entry] & (one.people if one.people is not None else held[one.entry])
        ]
        return sorted(holding, key=lambda one: one.at)

    async def add(self, actor: str, given: Sequence[GivenPerson]) -> Imported:
        """Add people of an export, all or nothing. Who is there gets the references that are missing."""
        given = [_checked(one) for one in given]
        again, model_id = await self._embedded_again(given)
        async with self._curator.changing:
            book, refused = self._curator.book, list[tuple[str, str]]()
            drafts, made, added, known = list[Draft](), list[tuple[StoredReference, bytes]](), 0, 0
            total = sum(len(one.references) for one in given)
            for one in given:
                if one.person_id in book.people.erased:
                    refused.append((one.person_id, "was erased here"))
                    total -= len(one.references)
                    continue
                person = book.people.people.get(book.people.root(one.person_id))
                new = self._missing(one, person, again, model_id)
                added, known = added + (person is None), known + (person is not None)
                if person is None or new:
                    drafts.append(_import(one, person, [each for each, _ in new]))
                    made += new
            self._check_sizes(drafts, added)
            if drafts:
                await self._curator.write(actor, drafts, made)
            there, counted = total - len(made), sum(one.reference_id in again for one, _ in made)
            return Imported(added, known, len(made), there, counted, tuple(refused[:MOST_REFUSED]))

    def _missing(
        self, one: GivenPerson, person: Person | None, again: Mapping[str, Any], model_id: str
    ) -> list[tuple[StoredReference, bytes]]:
        """Return the references of a person that are not there, as they are stored."""
        stored = self._curator.book.references
        there = [stored[name] for name in person.references] if person is not None else []
        digests = {each.details["digest"] for each in there if "digest" in each.details}
        target, new = person.person_id if person is not None else one.person_id, []
        for reference, jpeg in one.references:
            if reference.reference_id in stored or reference.details.get("digest") in digests:
                continue
            placed = replace(reference, person_id=target)
            if reference.reference_id in again:
                embedding = again[reference.reference_id]
                length = 1.0 if reference.source == "IMAGE" else float(np.linalg.norm(embedding))
                placed = replace(placed, model_id=model_id, embedding=embedding / np.float32(length))
            new.append((placed, jpeg))
        if len(there) + len(new) > MOST_REFERENCES:
            raise Refused(Problem.TOO_MUCH, f"person {target} would have more than {MOST_REFERENCES} references")
        return new

    def _check_sizes(self, drafts: Sequence[Draft], added: int) -> None:
        live, people = self._curator.live, self._curator.book.people.people
        if len(people) + added > MOST_PEOPLE:
            raise Refused(Problem.TOO_MUCH, f"the gallery would have more than {MOST_PEOPLE} people")
        faces = sum(bool(one.references) for one in people.values())
        more = sum(bool(one.data["references"]) for one in drafts)
        problem = live.problem_with(faces + more + len(live.folder.names)) if more else ""
        if problem:
            raise Refused(Problem.NOT_NOW, problem)

    async def _embedded_again(self, given: Sequence[GivenPerson]) -> tuple[dict[str, Any], str]:
        """Embed the pictures of references that other weights than the workers' have embedded. Returns them by id."""
        live, stored = self._curator.live, self._curator.book.references
        if live.model is None:
            raise Refused(Problem.NOT_NOW, "no worker has been connected yet, so nobody knows whether its weights fit")
        other = [
            (reference, jpeg)
            for one in given
            for reference, jpeg in one.references
            if reference.model_id != live.model.id and reference.reference_id not in stored
        ]
        without = [reference for reference, jpeg in other if not jpeg]
        if without:
            raise Refused(
                Problem.NOT_NOW,
                f"{len(without)} references were embedded by {without[0].model_id} and have no picture, so the "
                f"workers' {live.model.id} cannot embed them: use workers with those weights",
            )
        found, model_id = dict[str, Any](), live.model.id
        for start in range(0, len(other), AT_ONCE):
            some = other[start : start + AT_ONCE]
            names = [reference.reference_id for reference, _ in some]
            try:
                model_id, vectors = await live.embedded([crop_of(jpeg) for _, jpeg in some], names)
            except (ConfigError, LostDependency) as error:
                raise Refused(Problem.NOT_NOW, str(error)) from error
            found |= dict(zip(names, vectors, strict=True))
        return found, model_id


def _import(one: GivenPerson, person: Person | None, references: Sequence[StoredReference]) -> Draft:
    ids = [each.reference_id for each in references]
    data = {"name": one.name, "labels": list(one.labels), "metadata": dict(one.metadata), "references": ids}
    aside = [name for name in ids if name in one.aside]
    return Draft(Action.IMPORT, person.person_id if person is not None else one.person_id, {**data, "aside": aside})


def _checked(one: GivenPerson) -> GivenPerson:
    """Return a person in the form in which they are stored. Raises Refused."""
    if not PERSON_ID.fullmatch(one.person_id):
        raise Refused(Problem.INVALID, "record.person.person_id: is not an id")
    seen = set[str]()
    for reference, jpeg in one.references:
        if not PERSON_ID.fullmatch(reference.reference_id) or reference.reference_id in seen:
            raise Refused(Problem.INVALID, "record.reference.reference_id: is not an id, or is there twice")
        seen.add(reference.reference_id)
        vector = reference.embedding
        if vector.shape != (512,) or not np.isfinite(vector).all() or not np.linalg.norm(vector) > 0:
            raise Refused(Problem.INVALID, "record.reference.embedding: expected 512 finite numbers, not all 0")
        if not 0 <= reference.quality <= 1:
            raise Refused(Problem.INVALID, "record.reference.quality: expected 0 to 1")
        if jpeg and not _is_crop(jpeg):
            raise Refused(Problem.INVALID, f"record.reference.face_jpeg: expected {CROP_SIZE} x {CROP_SIZE} pixels")
    try:
        name, labels, metadata = wording.name(one.name), wording.labels(one.labels), wording.pairs(one.metadata)
    except wording.Unfit as error:
        raise Refused(Problem.INVALID, f"record.{error}") from error
    return replace(one, name=name, labels=labels, metadata=metadata)


def _is_crop(jpeg: bytes) -> bool:
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)  # before the pixels are decoded
        return height == width == CROP_SIZE and simplejpeg.decode_jpeg(jpeg) is not None
    except ValueError:
        return False
