"""SplitPerson of GalleryService."""

from typing import Any

from grpc import aio

from faceanalytics.v1 import gallery_pb2
from streamer.api import gallery_messages as messages
from streamer.api.callers import calling, visible_cameras
from streamer.people.curator import Curator, Problem, Refused
from streamer.people.parts import PeopleParts
from streamer.people.splitting import Split

Context = aio.ServicerContext[Any, Any]


class SplitCalls:
    """The calls that split people."""

    _serving: Any  # of GalleryService, as are the next two
    _track: Any
    _changes: Any

    async def SplitPerson(self, request: gallery_pb2.SplitPersonRequest, context: Context) -> Any:  # noqa: N802
        """Give some references of a person, and some tracks, to another one."""
        async with self._serving(context) as people:
            curator: Curator = people.curator
            wanted = _wanted(curator, request)
            await self._check_tracks(people, request)
            if request.dry_run:
                drafts = people.splitting.splitting(wanted)
                changes = messages.change_messages(await self._changes(people, drafts), curator)
                known = None if wanted.new else messages.person_message(curator.get(wanted.other_id), curator)
                person = messages.person_message(curator.get(wanted.person_id), curator)
                return gallery_pb2.SplitPersonResponse(person=person, other=known, changes=changes)
            entry = await people.splitting.split(calling.get(), wanted)
            return gallery_pb2.SplitPersonResponse(
                person=messages.person_message(curator.get(wanted.person_id), curator),
                other=messages.person_message(curator.get(entry.person_id), curator),
                entry_id=entry.id,
            )

    async def _check_tracks(self, people: PeopleParts, request: gallery_pb2.SplitPersonRequest) -> None:
        """Refuse tracks that are not known, or that the caller may not see. Those of the person may be long gone."""
        said = people.curator.book.people.confirmed
        for name in request.track_ids:
            if visible_cameras.get() or said.get(name) != request.person_id:
                await self._track(people, name)


def _wanted(curator: Curator, request: gallery_pb2.SplitPersonRequest) -> Split:
    which = request.WhichOneof("to")
    if which is None:
        raise Refused(Problem.INVALID, "other_person_id, new_person: give one of them")
    given = request.new_person
    new = curator.new_person(given.display_name, given.labels, dict(given.metadata)) if which == "new_person" else None
    return Split(
        request.person_id,
        list(request.reference_ids),
        list(request.track_ids),
        request.other_person_id,
        new,
        request.expected_version,
        request.other_expected_version,
    )
