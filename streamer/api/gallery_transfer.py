"""ExportGallery and ImportGallery of GalleryService; a record of either is one part of a gallery."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from grpc import aio

from faceanalytics.names import printable
from faceanalytics.v1 import gallery_transfer_pb2 as messages
from streamer.access.tokens import Scope
from streamer.api.callers import calling, present_caller
from streamer.api.errors import Why, refuse
from streamer.api.messages import timestamp
from streamer.people.curator import MOST_PEOPLE, Problem, Refused
from streamer.people.entries import Person
from streamer.people.stored import StoredReference
from streamer.people.transfer import GivenPerson

Context = aio.ServicerContext[Any, Any]

MOST_BYTES = 8 << 30  # of all records of one import
DETAILS = ("file", "digest", "track")  # of a reference
LONGEST_DETAIL = 300  # characters


class TransferCalls:
    """The calls that export and import people."""

    _serving: Any  # of GalleryService

    async def ExportGallery(  # noqa: N802
        self, request: messages.ExportGalleryRequest, context: Context
    ) -> None:
        """Send the people who are asked for with their references."""
        async with self._serving(context) as people:
            if not present_caller.get().allows(Scope.BIOMETRIC):
                text = f"an export needs a token with the scope {Scope.BIOMETRIC}, too"
                await refuse(context, Why.SCOPE_MISSING, text, scope=str(Scope.BIOMETRIC))
            file = printable(PurePosixPath(request.file_name).name)
            if not file:
                raise Refused(Problem.INVALID, "file_name: say which file is made of it")
            known, model = people.transfer.chosen(request.person_ids, request.labels), people.curator.live.model
            everybody = not request.person_ids and not request.labels
            head = messages.GalleryHead(
                model_id=model.id if model is not None else "",
                created_at=timestamp(datetime.now(UTC)),
                people=len(known),
                references=sum(len(one.references) for one in known),
            )
            await context.write(_answer(head=head))
            async for person, references in people.transfer.export(calling.get(), file, known, everybody):
                await context.write(_answer(person=_person(person)))
                for reference, jpeg in references:
                    await context.write(_answer(reference=_reference(reference, person, jpeg)))

    async def ImportGallery(  # noqa: N802
        self, requests: AsyncIterator[messages.ImportGalleryRequest], context: Context
    ) -> Any:
        """Add the people of an export."""
        async with self._serving(context) as people:
            found = await people.transfer.add(calling.get(), await _given(requests))
            return messages.ImportGalleryResponse(
                added_people=found.added_people,
                known_people=found.known_people,
                added_references=found.added_references,
                known_references=found.known_references,
                embedded_again=found.embedded_again,
                refused=[messages.RefusedPerson(person_id=name, reason=why) for name, why in found.refused],
            )


def _answer(**record: Any) -> messages.ExportGalleryResponse:
    return messages.ExportGalleryResponse(record=messages.GalleryRecord(**record))


def _person(person: Person) -> messages.GalleryPerson:
    return messages.GalleryPerson(
        person_id=person.person_id, display_name=person.name, labels=person.labels, metadata=dict(person.metadata)
    )


def _reference(reference: StoredReference, person: Person, jpeg: bytes) -> messages.GalleryReference:
    return messages.GalleryReference(
        reference_id=reference.reference_id,
        model_id=reference.model_id,
        from_track=reference.source == "TRACK",
        quality=reference.quality,
        embedding=reference.embedding.tolist(),
        face_jpeg=jpeg,
        set_aside=reference.reference_id in person.set_aside,
        details=dict(reference.details),
        created_at=timestamp(reference.created),
    )


async def _given(requests: AsyncIterator[messages.ImportGalleryRequest]) -> list[GivenPerson]:
    """Return the people of an import, whose head says how many there are. Raises Refused."""
    head: messages.GalleryHead | None = None
    people, references, size = list[GivenPerson](), 0, 0
    async for request in requests:
        kind, size = request.record.WhichOneof("record"), size + request.ByteSize()
        if (head is None) != (kind == "head") or kind is None:
            raise Refused(Problem.INVALID, "record: the first one must be the head, and only that")
        if size > MOST_BYTES or len(people) > MOST_PEOPLE:
            raise Refused(Problem.TOO_MUCH, f"more than {MOST_PEOPLE} people or {MOST_BYTES >> 30} GiB")
        if kind == "head":
            head = request.record.head
        elif kind == "person":
            given = request.record.person
            labels, data = [*given.labels], dict(given.metadata)
            people.append(GivenPerson(given.person_id, given.display_name, labels, data, [], frozenset()))
        else:
            if not people:
                raise Refused(Problem.INVALID, "record.reference: stands before the first person")
            references += 1
            people[-1] = _with(people[-1], request.record.reference)
    if head is None or (head.people, head.references) != (len(people), references):
        raise Refused(Problem.INVALID, "record.head: the import does not have as many records as it says")
    return people


def _with(person: GivenPerson, given: messages.GalleryReference) -> GivenPerson:
    try:
        created = given.created_at.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise Refused(Problem.INVALID, "record.reference.created_at: is not a time") from error
    details = {name: printable(given.details[name])[:LONGEST_DETAIL] for name in DETAILS if name in given.details}
    reference = StoredReference(
        given.reference_id,
        person.person_id,
        given.model_id,
        "TRACK" if given.from_track else "IMAGE",
        given.quality,
        np.array(given.embedding, np.float32),
        bool(given.face_jpeg),
        details,
        created,
    )
    references = person.references
    assert isinstance(references, list)
    references.append((reference, given.face_jpeg))
    if not given.set_aside:
        return person
    aside = person.aside | {given.reference_id}
    return GivenPerson(person.person_id, person.name, person.labels, person.metadata, references, aside)
