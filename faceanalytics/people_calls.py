"""The people of a running streamer, for programs with asyncio: `aio.connect(...).people`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from faceanalytics import gallery_values as values
from faceanalytics.errors import ConfigError, InputError
from faceanalytics.gallery_file import check_gallery, checked_passphrase, read_gallery, write_gallery
from faceanalytics.gallery_values import (
    Correction,
    Enrolled,
    ErasureReport,
    Judgement,
    KnownPerson,
    LedgerEntry,
    Matches,
    PersonReference,
    ReferenceResult,
)
from faceanalytics.messages import number_of
from faceanalytics.system_values import value_of
from faceanalytics.track_values import to_decision, to_track
from faceanalytics.tracks import Box, Candidate
from faceanalytics.v1 import gallery_pb2, gallery_pb2_grpc, gallery_transfer_pb2
from streamer.tools.gallery_records import record_of, records

if TYPE_CHECKING:  # it loads what reads images
    from faceanalytics.images import Channels, Image
    from streamer.tools.people_sources import Left, Source

PAGE = 500  # people, references or entries in one answer
LONG_S = 3600.0  # longest wait for images and videos, exports, imports and erasing

_List: TypeAlias = list  # the class has a method of this name
Given: TypeAlias = Union[Path, str, bytes, "Image"]  # a file, a folder, an archive, the content of a file, or pixels


class Calls(Protocol):
    """How a client calls its streamer."""

    async def read(self, method: Any, request: Message) -> Any:
        """Ask for something, again while the streamer is not there."""

    async def change(self, method: Any, request: Any, timeout_s: float | None = None) -> Any:
        """Change something, once."""

    def stream(self, method: Any, request: Message, timeout_s: float) -> AsyncIterator[Any]:
        """Iterate over the answers."""

    def stub(self, kind: Callable[[Any], Any]) -> Any:
        """Return the methods of a service."""


class AioPeople:
    """The people of a streamer. Calls raise StreamerError, and ConfigError for wrong arguments."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @property
    def _stub(self) -> Any:
        return self._calls.stub(gallery_pb2_grpc.GalleryServiceStub)

    async def list(self, name: str = "", *, labels: Sequence[str] = (), text: str = "") -> _List[KnownPerson]:
        """Return all people of a name (empty: any) with these labels, sorted by id.

        `text`: must be in the name or in a label, whatever its case; those whose name begins with it come first.
        """
        request = gallery_pb2.ListPeopleRequest(display_name=name, labels=labels, text=text, page_size=PAGE)
        return [_person(one) async for page in self._pages("ListPeople", request) for one in page.people]

    async def get(self, person_id: str) -> KnownPerson:
        """Return one person."""
        request = gallery_pb2.GetPersonRequest(person_id=person_id)
        return _person((await self._calls.read(self._stub.GetPerson, request)).person)

    async def create(
        self, name: str, *, labels: Sequence[str] = (), metadata: Mapping[str, str] | None = None
    ) -> KnownPerson:
        """Add a person without a face."""
        given = gallery_pb2.Person(display_name=name, labels=labels, metadata=metadata or {})
        request = gallery_pb2.CreatePersonRequest(person=given)
        return _person((await self._calls.change(self._stub.CreatePerson, request)).person)

    async def update(
        self,
        person_id: str,
        *,
        name: str | None = None,
        labels: Sequence[str] | None = None,
        metadata: Mapping[str, str] | None = None,
        expected_version: int = 0,
    ) -> KnownPerson:
        """Change what is given. `expected_version`: refuse with ABORTED if it is not the present one; 0: any."""
        given = {"display_name": name, "labels": labels, "metadata": metadata}
        changed = {field: value for field, value in given.items() if value is not None}
        if not changed:
            raise ConfigError("update: give name, labels or metadata")
        request = gallery_pb2.UpdatePersonRequest(
            person_id=person_id,
            person=gallery_pb2.Person(**changed),  # type: ignore[arg-type]
            update_mask=FieldMask(paths=[*changed]),
            expected_version=expected_version,
        )
        return _person((await self._calls.change(self._stub.UpdatePerson, request)).person)

    async def references(self, person_id: str, *, faces: bool = False) -> _List[PersonReference]:
        """Return the references of a person, oldest first; `faces`: with their pictures as JPEG."""
        request = gallery_pb2.ListReferencesRequest(person_id=person_id, include_face=faces, page_size=PAGE)
        pages = self._pages("ListReferences", request)
        return [value_of(PersonReference, one) async for page in pages for one in page.references]

    async def enrol(
        self,
        person_id: str,
        *given: Given,
        judgement: Judgement = "standard",
        track: int = 0,
        channels: "Channels" = "BGR",
        expected_version: int = 0,
    ) -> Enrolled:
        """Add the faces of images and videos to a person.

        `given`: paths of images, videos, zip archives, or folders with images and videos; the bytes of a file; or
        pixels (h, w, 3), in the order `channels`. `judgement`: off takes any face, strict a single one of high quality.
        `track`: which face to use of a video that shows several people. Several calls are made for many files.
        """
        from streamer.tools.people_sources import Left, calls

        first = gallery_pb2.AddReferencesRequest(
            person_id=person_id,
            judgement=number_of(gallery_pb2.Judgement.DESCRIPTOR, judgement, "judgement"),  # type: ignore[arg-type]
            expected_version=expected_version,
            track=track,
        )
        left, results, person = Left([]), [], None
        for messages in calls(sources_of_given(given, left, channels), first, left):
            answer = await self._calls.change(self._stub.AddReferences, _unblocked(messages), LONG_S)
            person, first.expected_version = _person(answer.person), 0
            results += [_result(one) for one in answer.results]
        results += [_left(name, reason) for name, reason in left.refused]
        return Enrolled(person=person, results=tuple(results))

    async def enrol_track(
        self,
        track_id: str,
        *,
        person_id: str = "",
        new: str = "",
        expected_version: int = 0,
        dry_run: bool = False,
    ) -> Correction:
        """Make a reference of the face of a track for a person, somebody `new` of this name, or its best candidate."""
        request = gallery_pb2.EnrollFromTrackRequest(
            track_id=track_id, expected_version=expected_version, dry_run=dry_run
        )
        if person_id and new:
            raise ConfigError("enrol_track: give person_id or new, not both")
        if new:
            request.new_person.display_name = new
        elif person_id:
            request.person_id = person_id
        else:
            request.best_candidate = True
        return _correction(await self._calls.change(self._stub.EnrollFromTrack, request))

    async def confirm(
        self, track_id: str, person_id: str, *, expected_version: int = 0, dry_run: bool = False
    ) -> Correction:
        """Say that a track shows a person; the face is learnt if it is good enough."""
        request = gallery_pb2.ConfirmMatchRequest(
            track_id=track_id, person_id=person_id, expected_version=expected_version, dry_run=dry_run
        )
        return _correction(await self._calls.change(self._stub.ConfirmMatch, request))

    async def reject(
        self, track_id: str, person_id: str = "", *, expected_version: int = 0, dry_run: bool = False
    ) -> Correction:
        """Say that a track does not show a person; empty: the one whom it is identified as."""
        request = gallery_pb2.RejectMatchRequest(
            track_id=track_id, person_id=person_id, expected_version=expected_version, dry_run=dry_run
        )
        return _correction(await self._calls.change(self._stub.RejectMatch, request))

    async def merge(self, person_id: str, other_person_id: str, *, dry_run: bool = False) -> Correction:
        """Make two people one. The first one keeps the name."""
        request = gallery_pb2.MergePeopleRequest(person_id=person_id, other_person_id=other_person_id, dry_run=dry_run)
        return _correction(await self._calls.change(self._stub.MergePeople, request))

    async def split(
        self,
        person_id: str,
        *,
        references: Sequence[str] = (),
        tracks: Sequence[str] = (),
        to: str = "",
        new: str = "",
        expected_version: int = 0,
        dry_run: bool = False,
    ) -> Correction:
        """Give references and tracks (ids) of a person to another one: `to`, an id, or `new`, the name of somebody."""
        if bool(to) == bool(new):
            raise ConfigError("split: give to or new")
        request = gallery_pb2.SplitPersonRequest(
            person_id=person_id,
            reference_ids=references,
            track_ids=tracks,
            expected_version=expected_version,
            dry_run=dry_run,
        )
        if new:
            request.new_person.display_name = new
        else:
            request.other_person_id = to
        return _correction(await self._calls.change(self._stub.SplitPerson, request))

    async def undo(self, entry_id: int, *, dry_run: bool = False) -> Correction:
        """Undo an entry of the ledger; that of an undo does again what was undone."""
        request = gallery_pb2.UndoRequest(entry_id=entry_id, dry_run=dry_run)
        return _correction(await self._calls.change(self._stub.Undo, request))

    async def ledger(self, person_id: str = "", *, limit: int = 100) -> _List[LedgerEntry]:
        """Return the newest entries of the ledger, newest first; `person_id`: only about this person."""
        request = gallery_pb2.ListLedgerRequest(person_id=person_id, page_size=min(limit, PAGE))
        found: _List[LedgerEntry] = []
        async with aclosing(self._pages("ListLedger", request)) as pages:
            async for page in pages:
                found += [value_of(LedgerEntry, one) for one in page.entries]
                if len(found) >= limit:
                    break
        return found[:limit]

    async def set_aside(self, reference_id: str, aside: bool = True) -> KnownPerson:
        """Keep a reference without comparing with it; `aside` False: compare with it again."""
        request = gallery_pb2.SetReferenceAsideRequest(reference_id=reference_id, aside=aside)
        return _person((await self._calls.change(self._stub.SetReferenceAside, request)).person)

    async def delete_reference(self, reference_id: str) -> None:
        """Delete a reference with its picture. This cannot be undone."""
        request = gallery_pb2.DeleteReferenceRequest(reference_id=reference_id)
        await self._calls.change(self._stub.DeleteReference, request)

    async def search(
        self,
        image: "Given | None" = None,
        *,
        track_id: str = "",
        past: bool = False,
        limit: int = 10,
        channels: "Channels" = "BGR",
    ) -> Matches:
        """Return the people, and with `past` the past tracks, that resemble the face of an image or a track most."""
        if (image is None) == (not track_id):
            raise ConfigError("search: give an image or track_id")
        request = gallery_pb2.SearchPeopleRequest(limit=limit, past=past)
        if image is None:
            request.track_id = track_id
        else:
            request.image = await asyncio.to_thread(_content, image, channels)
        answer = await self._calls.read(self._stub.SearchPeople, request)
        found = tuple(values.TrackMatch(to_track(one.track), one.similarity) for one in answer.tracks)
        return Matches(people=_candidates(answer.people), tracks=found, threshold=answer.threshold)

    async def erase(self, person_id: str, *, expected_version: int = 0) -> ErasureReport:
        """Erase a person and everything that identifies them. This cannot be undone."""
        request = gallery_pb2.ErasePersonRequest(person_id=person_id, expected_version=expected_version)
        return value_of(ErasureReport, (await self._calls.change(self._stub.ErasePerson, request, LONG_S)).report)

    async def export(
        self, file: Path | str, passphrase: str, *, person_ids: Sequence[str] = (), labels: Sequence[str] = ()
    ) -> tuple[int, int]:
        """Write people into a new encrypted file: everybody, or these and those who have one of the labels.

        Returns the numbers of people and of references.
        """
        path, head = Path(file), gallery_transfer_pb2.GalleryHead()
        checked_passphrase(passphrase)
        request = gallery_transfer_pb2.ExportGalleryRequest(file_name=path.name, person_ids=person_ids, labels=labels)
        answers = [one async for one in self._calls.stream(self._stub.ExportGallery, request, LONG_S)]
        await asyncio.to_thread(write_gallery, path, passphrase, records(answers, head))
        return head.people, head.references

    async def import_gallery(self, file: Path | str, passphrase: str) -> Mapping[str, Any]:
        """Add everybody of an encrypted file, all or nothing. Returns the fields of ImportGalleryResponse by name."""
        path = Path(file)
        await asyncio.to_thread(check_gallery, path, passphrase)
        messages = (
            gallery_transfer_pb2.ImportGalleryRequest(record=record_of(one, path.name))
            for one in read_gallery(path, passphrase)
        )
        answer = await self._calls.change(self._stub.ImportGallery, _unblocked(messages), LONG_S)
        return {field.name: getattr(answer, field.name) for field in answer.DESCRIPTOR.fields}

    async def _pages(self, method: str, request: Any) -> AsyncGenerator[Any, None]:
        while True:
            page = await self._calls.read(getattr(self._stub, method), request)
            yield page
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return


async def _unblocked(messages: Iterator[Any]) -> AsyncIterator[Any]:
    """Yield what reads files, without blocking the event loop."""
    while (one := await asyncio.to_thread(next, messages, None)) is not None:
        yield one


def sources_of_given(given: Sequence[Given], left: "Left", channels: "Channels") -> Iterator["Source"]:
    """Yield what is given as files. Raises InputError, and ValueError for an array of another shape."""
    from streamer.tools.people_sources import Source, sources_of

    for number, one in enumerate(given, 1):
        if isinstance(one, str | Path):
            yield from sources_of([Path(one)], left)
        else:
            content = _content(one, channels)
            yield Source(f"image {number}", partial(iter, (content,)))


def _content(image: Given, channels: "Channels") -> bytes:
    """Return an image as the bytes of a file. Raises InputError, ValueError."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise InputError(f"{image}: {error.strerror}") from error
    import cv2

    from faceanalytics.images import to_bgr

    encoded, data = cv2.imencode(".png", to_bgr(image, channels), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert encoded
    return data.tobytes()


def _person(message: gallery_pb2.Person) -> KnownPerson:
    return value_of(KnownPerson, message)


def _candidates(found: Iterable[Any]) -> tuple[Candidate, ...]:
    return tuple(Candidate(one.person, one.similarity) for one in found)


def _face(one: gallery_pb2.ReferenceFace) -> values.ReferenceFace:
    def time(name: str) -> Any:
        return getattr(one, name).ToTimedelta() if one.HasField(name) else None  # type: ignore[arg-type]

    return values.ReferenceFace(
        box=Box(one.box.x, one.box.y, one.box.width, one.box.height),
        score=one.score,
        quality=one.quality,
        track=one.track,
        frame=one.frame,
        at=time("at"),
        first_seen=time("first_seen"),
        last_seen=time("last_seen"),
    )


def _result(one: gallery_pb2.ReferenceResult) -> ReferenceResult:
    return ReferenceResult(
        file_name=one.file_name,
        reference_id=one.reference_id or None,
        quality=one.quality,
        reason=one.reason or None,
        faces=tuple(_face(each) for each in one.faces),
        duplicate_of=one.duplicate_of or None,
        resembles=_candidates(one.resembles),
        at=one.at.ToTimedelta() if one.HasField("at") else None,
    )


def _left(name: str, reason: str) -> ReferenceResult:
    return ReferenceResult(
        file_name=name,
        reference_id=None,
        quality=0.0,
        reason=reason,
        faces=(),
        duplicate_of=None,
        resembles=(),
        at=None,
    )


def _correction(answer: Any) -> Correction:
    fields = answer.DESCRIPTOR.fields_by_name

    def person(name: str) -> KnownPerson | None:
        return _person(getattr(answer, name)) if name in fields and answer.HasField(name) else None

    return Correction(
        entry_id=answer.entry_id,
        person=person("person"),
        other=person("other"),
        reference_id=(answer.reference_id or None) if "reference_id" in fields else None,
        changes=tuple(
            values.IdentityChange(
                track_id=one.track_id,
                stream_id=one.stream_id,
                before=to_decision(one.before) if one.HasField("before") else None,
                after=to_decision(one.after),
            )
            for one in answer.changes
        ),
    )
