"""GalleryService: changes and searches the people of a store; the methods are described in gallery.proto."""

from collections.abc import AsyncIterator, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from grpc import aio

from faceanalytics.v1 import gallery_pb2, gallery_pb2_grpc
from streamer.api import gallery_messages as messages
from streamer.api.callers import calling, visible_cameras
from streamer.api.errors import Why, refuse
from streamer.api.gallery_audit import AuditCalls
from streamer.api.gallery_files import Sent, sent_files
from streamer.api.gallery_split import SplitCalls
from streamer.api.gallery_transfer import TransferCalls
from streamer.api.paging import page, page_size, page_token, place_of
from streamer.api.problems import no_store, no_track
from streamer.identity.references import Judgement
from streamer.people import wording
from streamer.people.book import Draft
from streamer.people.curator import Curator, Problem, Refused
from streamer.people.entries import Entry, Person
from streamer.people.images import Face, Unfit
from streamer.people.parts import PeopleParts
from streamer.people.track_faces import Change, TrackFace
from streamer.store.values import StoreUnavailable

Context = aio.ServicerContext[Any, Any]

MOST_IMAGES = 1000  # of one call
LARGEST_SEARCH = 100
WHY = {
    Problem.NOT_FOUND: Why.PERSON_NOT_FOUND,
    Problem.INVALID: Why.INVALID_FIELD,
    Problem.CHANGED: Why.PERSON_CHANGED,
    Problem.NOT_NOW: Why.PEOPLE_STATE,
    Problem.TOO_MUCH: Why.PEOPLE_LIMIT_EXCEEDED,
    Problem.PRIVACY: Why.PRIVACY_MODE,
}
FIELDS = ("display_name", "labels", "metadata")
JUDGEMENTS = {
    gallery_pb2.JUDGEMENT_UNSPECIFIED: Judgement.STANDARD,
    gallery_pb2.JUDGEMENT_OFF: Judgement.OFF,
    gallery_pb2.JUDGEMENT_STANDARD: Judgement.STANDARD,
    gallery_pb2.JUDGEMENT_STRICT: Judgement.STRICT,
}


class GalleryService(  # type: ignore[misc]  # ExportGallery writes instead of yielding
    AuditCalls, SplitCalls, TransferCalls, gallery_pb2_grpc.GalleryServiceServicer
):
    """Serves the people of a store."""

    def __init__(self, people: PeopleParts | None, why_not: str) -> None:
        """`people`: None: they cannot be served, and `why_not` says why."""
        self._people = people
        self._why_not = why_not

    async def CreatePerson(self, request: gallery_pb2.CreatePersonRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            given = request.person
            person = await people.curator.create(calling.get(), given.display_name, given.labels, dict(given.metadata))
            return gallery_pb2.CreatePersonResponse(person=messages.person_message(person, people.curator))

    async def GetPerson(self, request: gallery_pb2.GetPersonRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            person = people.curator.get(request.person_id)
            return gallery_pb2.GetPersonResponse(person=messages.person_message(person, people.curator))

    async def ListPeople(self, request: gallery_pb2.ListPeopleRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            after = await place_of(request.page_token, context)
            found = [one for one in people.curator.people() if _is_wanted(one, request)]
            begins = wording.folded(request.text)

            def place(one: Person) -> str:
                return (
                    f"{int(not wording.folded(one.name).startswith(begins))} {one.person_id}"
                    if begins
                    else one.person_id
                )

            placed = sorted(((place(one), one) for one in found), key=itemgetter(0))
            some, token = page(placed, itemgetter(0), after, request.page_size)
            made = [messages.person_message(one, people.curator) for _, one in some]
            return gallery_pb2.ListPeopleResponse(people=made, next_page_token=token)

    async def UpdatePerson(self, request: gallery_pb2.UpdatePersonRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            paths, given = request.update_mask.paths or FIELDS, request.person
            unknown = [one for one in paths if one not in FIELDS]
            if unknown:
                raise Refused(Problem.INVALID, f"update_mask: only {', '.join(FIELDS)} can be changed")
            person = await people.curator.update(
                calling.get(),
                request.person_id,
                request.expected_version,
                given.display_name if "display_name" in paths else None,
                list(given.labels) if "labels" in paths else None,
                dict(given.metadata) if "metadata" in paths else None,
            )
            return gallery_pb2.UpdatePersonResponse(person=messages.person_message(person, people.curator))

    async def AddReferences(  # noqa: N802
        self, requests: AsyncIterator[gallery_pb2.AddReferencesRequest], context: Context
    ) -> Any:
        async with self._serving(context) as people:
            first, found, files = gallery_pb2.AddReferencesRequest(), list[Face | Unfit](), 0
            async for first, sent in sent_files(requests):
                if not files:
                    people.curator.changeable(first.person_id, first.expected_version)
                if first.judgement not in JUDGEMENTS:
                    raise Refused(Problem.INVALID, "judgement: unknown value")
                files += 1
                if files > MOST_IMAGES:
                    raise Refused(Problem.INVALID, f"more than {MOST_IMAGES} files in one call")
                found += await _read(people, first, sent, sum(isinstance(one, Face) for one in found))
            if not found:
                raise Refused(Problem.INVALID, "data: the call has no image")
            person, outcomes = await people.enrolling.add(calling.get(), first.person_id, first.expected_version, found)
            return gallery_pb2.AddReferencesResponse(
                person=messages.person_message(person, people.curator),
                results=[messages.result_message(one) for one in outcomes],
            )

    async def ListReferences(self, request: gallery_pb2.ListReferencesRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            after = await place_of(request.page_token, context)
            curator = people.curator
            person = curator.get(request.person_id)
            there = sorted(name for name in person.references if name in curator.book.references)
            some, token = page(there, str, after, request.page_size)
            made = []
            for name in some:
                jpeg = await curator.book.crop(name) if request.include_face else b""
                made.append(messages.reference_message(curator.book.references[name], person, curator, jpeg))
            return gallery_pb2.ListReferencesResponse(references=made, next_page_token=token)

    async def SetReferenceAside(  # noqa: N802
        self, request: gallery_pb2.SetReferenceAsideRequest, context: Context
    ) -> Any:
        async with self._serving(context) as people:
            await people.curator.set_aside(calling.get(), request.reference_id, request.aside)
            person = people.curator.owner(request.reference_id)
            return gallery_pb2.SetReferenceAsideResponse(person=messages.person_message(person, people.curator))

    async def DeleteReference(self, request: gallery_pb2.DeleteReferenceRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            await people.curator.delete_reference(calling.get(), request.reference_id)
            return gallery_pb2.DeleteReferenceResponse()

    async def EnrollFromTrack(self, request: gallery_pb2.EnrollFromTrackRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            face = await self._track(people, request.track_id)
            new, person_id = _who(people.curator, request, face)
            drafts, made = await people.enrolling.confirming(face, person_id, request.expected_version, new)
            if not made:
                people.enrolling.refuse_face(face)
            if request.dry_run:
                changes = messages.change_messages(await self._changes(people, drafts, made), people.curator)
                known = None if new else messages.person_message(people.curator.get(person_id), people.curator)
                return gallery_pb2.EnrollFromTrackResponse(person=known, changes=changes)
            entry = await people.enrolling.confirm(calling.get(), face, person_id, request.expected_version, new)
            person = people.curator.get(entry.person_id)
            return gallery_pb2.EnrollFromTrackResponse(
                person=messages.person_message(person, people.curator),
                entry_id=entry.id,
                reference_id=entry.data["reference"],
            )

    async def ConfirmMatch(self, request: gallery_pb2.ConfirmMatchRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            face = await self._track(people, request.track_id)
            if request.dry_run:
                said = await people.enrolling.confirming(face, request.person_id, request.expected_version)
                changes = messages.change_messages(await self._changes(people, *said), people.curator)
                return gallery_pb2.ConfirmMatchResponse(changes=changes)
            entry = await people.enrolling.confirm(calling.get(), face, request.person_id, request.expected_version)
            return gallery_pb2.ConfirmMatchResponse(entry_id=entry.id, reference_id=entry.data["reference"])

    async def RejectMatch(self, request: gallery_pb2.RejectMatchRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            face = await self._track(people, request.track_id)
            person_id = request.person_id or (face.decision.person_id if face.decision else "")
            person_id = person_id if request.person_id else people.curator.book.people.root(person_id)
            if not person_id:
                raise Refused(Problem.INVALID, "person_id: must be given, because the track is not identified")
            if request.dry_run:
                said = await people.enrolling.rejecting(face, person_id, request.expected_version)
                changes = messages.change_messages(await self._changes(people, *said), people.curator)
                return gallery_pb2.RejectMatchResponse(changes=changes)
            entry = await people.enrolling.reject(calling.get(), face, person_id, request.expected_version)
            return gallery_pb2.RejectMatchResponse(entry_id=entry.id)

    async def MergePeople(self, request: gallery_pb2.MergePeopleRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            curator = people.curator
            draft = curator.merging(
                request.person_id, request.other_person_id, request.expected_version, request.other_expected_version
            )
            if request.dry_run:
                changes = messages.change_messages(await self._changes(people, [draft]), curator)
                person = messages.person_message(curator.get(request.person_id), curator)
                return gallery_pb2.MergePeopleResponse(person=person, changes=changes)
            entry = await curator.merge(
                calling.get(),
                request.person_id,
                request.other_person_id,
                request.expected_version,
                request.other_expected_version,
            )
            person = messages.person_message(curator.get(request.person_id), curator)
            return gallery_pb2.MergePeopleResponse(person=person, entry_id=entry.id)

    async def Undo(self, request: gallery_pb2.UndoRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            if request.dry_run:
                draft = people.curator.undoing(request.entry_id)
                changes = messages.change_messages(await self._changes(people, [draft]), people.curator)
                return gallery_pb2.UndoResponse(changes=changes)
            entry = await people.curator.undo(calling.get(), request.entry_id)
            return gallery_pb2.UndoResponse(entry_id=entry.id)

    async def ListLedger(self, request: gallery_pb2.ListLedgerRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            book, shown = people.curator.book, people.curator.shown
            before = await place_of(request.page_token, context)
            wanted = [one for one in reversed(book.entries) if _is_about(one, request.person_id)]
            if before:
                if not before.isdecimal():
                    raise Refused(Problem.INVALID, "page_token: is not from a response")
                wanted = [one for one in wanted if one.id < int(before)]
            size = page_size(request.page_size)
            some = wanted[:size]
            token = page_token(str(some[-1].id)) if len(wanted) > size else ""
            made = [messages.entry_message(one, book, (shown(one.person_id) or ("", ""))[1]) for one in some]
            return gallery_pb2.ListLedgerResponse(entries=made, next_page_token=token)

    async def SearchPeople(self, request: gallery_pb2.SearchPeopleRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            vector = await self._probe(people, request)
            limit = min(request.limit or 10, LARGEST_SEARCH)
            found = await people.searching.search(vector, limit, request.past, visible_cameras.get())
            tracks = []
            for one in found.tracks:
                message = one.track.message
                people.curator.book.store.naming.fill(message)
                match = gallery_pb2.TrackMatch(track=message, similarity=one.similarity, streamer_id=one.streamer)
                tracks.append(match)
            return gallery_pb2.SearchPeopleResponse(
                people=messages.candidates(found.people),
                tracks=tracks,
                threshold=found.threshold,
                people_not_compared=found.not_compared,
                references_waiting=len(people.curator.live.waiting),
            )

    async def ErasePerson(self, request: gallery_pb2.ErasePersonRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            report = await people.erasing.erase(calling.get(), request.person_id, request.expected_version)
            return gallery_pb2.ErasePersonResponse(report=messages.report_message(report))

    def _serving(self, context: Context) -> "_Serving":
        return _Serving(self._people, self._why_not, context)

    async def _track(self, people: PeopleParts, track_id: str) -> TrackFace:
        """Return a track that the caller may see."""
        face = await people.past.face(track_id)
        visible = visible_cameras.get()
        if visible and face.camera not in visible:
            raise Refused(Problem.NOT_FOUND, no_track(track_id))
        return face

    async def _changes(self, people: PeopleParts, drafts: list[Draft], made: Any = ()) -> list[Change]:
        visible = visible_cameras.get()
        found = await people.past.preview(drafts, made)
        return [one for one in found if not visible or one.camera in visible]

    async def _probe(self, people: PeopleParts, request: gallery_pb2.SearchPeopleRequest) -> Any:
        """Return the embedding (512,) of the face that is searched for."""
        which = request.WhichOneof("face")
        if which == "track_id":
            face = await self._track(people, request.track_id)
            if face.template is None:
                people.enrolling.refuse_face(face)
            people.searching.check_model(face.model_id)
            return face.template
        if which == "embedding":
            people.searching.check_model(request.embedding.model_id)
            return np.asarray(request.embedding.values, np.float32)
        if which is None:
            raise Refused(Problem.INVALID, "image, embedding, track_id: give one of them")
        read = await people.enrolling.read("image", request.image, Judgement.STANDARD)
        if isinstance(read, Unfit):
            raise Refused(Problem.INVALID, f"image: {read.reason}")
        _, (vector,) = await people.enrolling.embedded([read])
        return vector


class _Serving:
    """Turns what is refused into the status of the call."""

    def __init__(self, people: PeopleParts | None, why_not: str, context: Context) -> None:
        self._people = people
        self._why_not = why_not
        self._context = context

    async def __aenter__(self) -> PeopleParts:
        if self._people is None:
            await refuse(self._context, Why.NO_STORE, self._why_not)
        return self._people

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, Refused):
            await refuse(self._context, WHY[error.problem], str(error))
        if isinstance(error, StoreUnavailable):
            await refuse(self._context, Why.STORE_UNAVAILABLE, no_store(error))


async def _read(
    people: PeopleParts, first: gallery_pb2.AddReferencesRequest, sent: Sent, faces: int
) -> Sequence[Face | Unfit]:
    """Return what is found in a file. `faces`: those that were found in the files before."""
    judgement = JUDGEMENTS[first.judgement]
    if sent.video is not None:
        return await people.enrolling.read_video(sent.name, sent.video, judgement, first.track)
    known = people.enrolling.known(first.person_id, sent.name, sent.data, faces)
    return [known or await people.enrolling.read(sent.name, sent.data, judgement)]


def _who(curator: Curator, request: gallery_pb2.EnrollFromTrackRequest, face: TrackFace) -> tuple[Draft | None, str]:
    """Return the entry of a new person, or the id of the person who is meant."""
    which = request.WhichOneof("who")
    if which == "new_person":
        given = request.new_person
        return curator.new_person(given.display_name, given.labels, dict(given.metadata)), ""
    if which == "best_candidate" and request.best_candidate:
        if face.decision is None or not face.decision.candidates:
            raise Refused(Problem.NOT_NOW, "best_candidate: the track has no candidate")
        return None, curator.book.people.root(face.decision.candidates[0].person_id)
    if which != "person_id":
        raise Refused(Problem.INVALID, "person_id, new_person, best_candidate: give one of them")
    return None, request.person_id


def _is_wanted(person: Person, request: gallery_pb2.ListPeopleRequest) -> bool:
    if request.display_name and wording.folded(person.name) != wording.folded(request.display_name):
        return False
    text = wording.folded(request.text)
    if text and not any(text in wording.folded(one) for one in (person.name, *person.labels)):
        return False
    return set(request.labels) <= set(person.labels)


def _is_about(entry: Entry, person_id: str) -> bool:
    return not person_id or person_id in (entry.person_id, entry.data.get("other"))
