"""VisitorService: visitors and journeys; the methods are described in visitors.proto."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from faceanalytics.v1 import visitors_pb2, visitors_pb2_grpc
from streamer.api import gallery_messages
from streamer.api import visitor_messages as messages
from streamer.api.callers import calling, visible_cameras
from streamer.api.errors import Why, refuse
from streamer.api.gallery import WHY
from streamer.api.paging import page_size, page_token, place_of
from streamer.api.problems import no_store, no_track
from streamer.people.appearances import Appearance, order
from streamer.people.curator import Problem, Refused
from streamer.people.parts import PeopleParts
from streamer.people.track_faces import Change
from streamer.people.visiting import Said, Visiting
from streamer.people.visitor_queries import Period, Visitor, VisitorQueries
from streamer.store.values import StoreUnavailable

Context = aio.ServicerContext[Any, Any]
T = TypeVar("T")

MOST_CHANGES = 1000  # in an answer
MOST_APPEARANCES = 1000  # of a visitor in an answer
OFF = "visitors are off; set visitors.enabled"


@dataclass(frozen=True, slots=True)
class Parts:
    """What serves the calls."""

    people: PeopleParts
    visiting: Visiting
    queries: VisitorQueries


class VisitorService(visitors_pb2_grpc.VisitorServiceServicer):
    """Serves the visitors of a store."""

    def __init__(self, people: PeopleParts | None, why_not: str) -> None:
        """`people`: None: they cannot be served, and `why_not` says why."""
        self._people = people
        self._why_not = why_not

    async def ListVisitors(self, request: visitors_pb2.ListVisitorsRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as parts:
            after = await place_of(request.page_token, context)
            period = _period(request, request.stream_ids)
            found = parts.queries.visitors(period, request.min_visits, request.include_named, request.id_suffix)
            some, token = _page(found, _newest, after, request.page_size)
            made = [messages.visitor_message(one, parts.people.curator) for one in some]
            return visitors_pb2.ListVisitorsResponse(visitors=made, next_page_token=token)

    async def GetVisitor(self, request: visitors_pb2.GetVisitorRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as parts:
            one, curator = _shown(parts, request.visitor_id), parts.people.curator
            newest = one.appearances[-MOST_APPEARANCES:]
            return visitors_pb2.GetVisitorResponse(
                visitor=messages.visitor_message(one, curator),
                appearances=[messages.appearance_message(each, curator, parts.queries) for each in newest],
            )

    async def MergeVisitors(self, request: visitors_pb2.MergeVisitorsRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as parts:
            for name in (request.visitor_id, request.other_visitor_id):
                _changeable(parts, name)
            said = await parts.visiting.merge(
                calling.get(), request.visitor_id, request.other_visitor_id, request.dry_run
            )
            return visitors_pb2.MergeVisitorsResponse(
                visitor=messages.visitor_message(_shown(parts, request.visitor_id), parts.people.curator),
                entry_id=_entry(said),
                changes=_moved(said),
            )

    async def SplitVisitor(self, request: visitors_pb2.SplitVisitorRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as parts:
            _changeable(parts, request.visitor_id)
            said = await parts.visiting.split(
                calling.get(), request.visitor_id, list(request.track_ids), request.dry_run
            )
            other = "" if request.dry_run else parts.visiting.book.visitor_of(request.track_ids[0])
            return visitors_pb2.SplitVisitorResponse(visitor_id=other, entry_id=_entry(said), changes=_moved(said))

    async def NameVisitor(self, request: visitors_pb2.NameVisitorRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as parts:
            _changeable(parts, request.visitor_id)
            which, given = request.WhichOneof("who"), request.new_person
            if which is None:
                raise Refused(Problem.INVALID, "person_id, new_person: give one of them")
            new = (given.display_name, list(given.labels), dict(given.metadata)) if which == "new_person" else None
            curator = parts.people.curator
            said = await parts.visiting.name(calling.get(), request.visitor_id, request.person_id, new, request.dry_run)
            return visitors_pb2.NameVisitorResponse(
                person=gallery_messages.person_message(said.person, curator) if said.person is not None else None,
                entry_id=_entry(said),
                references=said.references,
                changes=gallery_messages.change_messages(_visible(said.changes), curator),
            )

    async def EraseVisitor(self, request: visitors_pb2.EraseVisitorRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as parts:
            _changeable(parts, request.visitor_id)
            gone = await parts.visiting.erase(request.visitor_id)
            return visitors_pb2.EraseVisitorResponse(
                removed_rows=gone.removed, found=gone.found, remaining=gone.remaining
            )

    async def CountVisitors(self, request: visitors_pb2.CountVisitorsRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as parts:
            offset = request.utc_offset.ToTimedelta()
            if abs(offset) > timedelta(hours=16):
                raise Refused(Problem.INVALID, "utc_offset: at most 16 hours")
            period = _period(request, request.stream_ids)
            return messages.counts_message(parts.queries.counts(period, request.by_hour, request.by_stream, offset))

    async def JoinTracks(self, request: visitors_pb2.JoinTracksRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as parts:
            await _check_tracks(parts, request.track_id, request.other_track_id)
            said = await parts.visiting.join(calling.get(), request.track_id, request.other_track_id, request.dry_run)
            changes = gallery_messages.change_messages(_visible(said.changes), parts.people.curator)
            return visitors_pb2.JoinTracksResponse(
                entry_id=_entry(said), visitor_changes=_moved(said), identity_changes=changes
            )

    async def PartTracks(self, request: visitors_pb2.PartTracksRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as parts:
            await _check_tracks(parts, request.track_id, request.other_track_id)
            said = await parts.visiting.part(calling.get(), request.track_id, request.other_track_id, request.dry_run)
            changes = gallery_messages.change_messages(_visible(said.changes), parts.people.curator)
            return visitors_pb2.PartTracksResponse(
                entry_id=_entry(said), visitor_changes=_moved(said), identity_changes=changes
            )

    async def ListAppearances(  # noqa: N802
        self, request: visitors_pb2.ListAppearancesRequest, context: Context
    ) -> Any:
        async with self._serving(context) as parts:
            after = await place_of(request.page_token, context)
            period = _period(request, request.stream_ids)
            found = await parts.queries.appearances(request.visitor_ids, request.person_ids, period)
            some, token = _page(found, _oldest, after, request.page_size)
            made = [messages.appearance_message(one, parts.people.curator, parts.queries) for one in some]
            return visitors_pb2.ListAppearancesResponse(appearances=made, next_page_token=token)

    async def ListJourneys(self, request: visitors_pb2.ListJourneysRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as parts:
            after = await place_of(request.page_token, context)
            period = _period(request, ())
            appearances = await parts.queries.appearances(request.visitor_ids, request.person_ids, period)
            ways = parts.queries.journeys(appearances, request.min_streams or 1, request.stream_ids)
            some, token = _page(ways, lambda way: _oldest(way[0]), after, request.page_size)
            made = [messages.journey_message(way, parts.people.curator, parts.queries) for way in some]
            return visitors_pb2.ListJourneysResponse(journeys=made, next_page_token=token)

    async def RegroupVisitors(  # noqa: N802
        self, request: visitors_pb2.RegroupVisitorsRequest, context: Context
    ) -> Any:
        del request
        async with self._serving(context) as parts:
            before, after, changed = await parts.visiting.regroup()
            return visitors_pb2.RegroupVisitorsResponse(visitors_before=before, visitors=after, changed_tracks=changed)

    def _serving(self, context: Context) -> "_Serving":
        return _Serving(self._people, self._why_not, context)


class _Serving:
    """Turns what is refused into the status of the call."""

    def __init__(self, people: PeopleParts | None, why_not: str, context: Context) -> None:
        self._people = people
        self._why_not = why_not
        self._context = context

    async def __aenter__(self) -> Parts:
        if self._people is None:
            await refuse(self._context, Why.NO_STORE, self._why_not)
        if self._people.visiting is None or self._people.visitors is None:
            await refuse(self._context, Why.NO_VISITORS, OFF)
        return Parts(self._people, self._people.visiting, self._people.visitors)

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, Refused):
            why, text = WHY[error.problem], str(error)
            if error.problem is Problem.NOT_FOUND and text.startswith("visitor_id"):
                why = Why.VISITOR_NOT_FOUND
            if error.problem is Problem.NOT_FOUND and text.startswith("track_id"):
                why = Why.TRACK_NOT_FOUND
            await refuse(self._context, why, text)
        if isinstance(error, StoreUnavailable):
            await refuse(self._context, Why.STORE_UNAVAILABLE, no_store(error))


def _period(request: Any, cameras: Collection[str]) -> Period:
    """Return the period of a request, narrowed to the cameras that the caller may see."""
    visible = frozenset(visible_cameras.get())
    wanted = frozenset(cameras)
    if visible:
        wanted = wanted & visible if wanted else visible
        if not wanted:
            raise Refused(Problem.INVALID, "stream_ids: the token may see none of them")
    return Period(_moment(request, "seen_since"), _moment(request, "seen_before"), wanted)


def _moment(request: Any, field: str) -> datetime | None:
    if not request.HasField(field):
        return None
    value: Timestamp = getattr(request, field)
    try:
        return value.ToDatetime(UTC)
    except ValueError as error:
        raise Refused(Problem.INVALID, f"{field}: {error}") from error


def _shown(parts: Parts, visitor_id: str) -> Visitor:
    """Return a visitor whom the caller may see."""
    one = parts.queries.visitor(parts.visiting.get(visitor_id), visible_cameras.get())
    if one is None:
        raise Refused(Problem.NOT_FOUND, f"visitor_id: there is no visitor {visitor_id[:80]!r}")
    return one


def _changeable(parts: Parts, visitor_id: str) -> None:
    """Refuse a visitor whom the caller does not see as a whole."""
    visible, one = visible_cameras.get(), _shown(parts, visitor_id)
    whole = parts.queries.visitor(one.visitor_id)
    if visible and whole is not None and len(whole.appearances) > len(one.appearances):
        raise Refused(Problem.NOT_NOW, "visitor_id: was also seen by streams that the token may not see")


async def _check_tracks(parts: Parts, *track_ids: str) -> None:
    """Refuse tracks that the caller may not see."""
    visible = visible_cameras.get()
    for track_id in track_ids:
        face = await parts.people.past.face(track_id)
        if visible and face.camera not in visible:
            raise Refused(Problem.NOT_FOUND, no_track(track_id))


def _visible(changes: Sequence[Change]) -> list[Change]:
    visible = visible_cameras.get()
    return [one for one in changes if not visible or one.camera in visible]


def _moved(said: Said) -> list[visitors_pb2.VisitorChange]:
    visible = visible_cameras.get()
    if said.entry is not None:
        return []
    return messages.moved_messages([one for one in said.moved if not visible or one.camera in visible][:MOST_CHANGES])


def _entry(said: Said) -> int:
    return said.entry.id if said.entry is not None else 0


def _oldest(one: Appearance) -> str:
    moment, track_id = order(one)
    return f"{moment.timestamp():020.6f} {track_id}"


def _newest(one: Visitor) -> str:
    last = max(each.last_seen for each in one.appearances)
    return f"{1e13 - last.timestamp():020.6f} {one.visitor_id}"


def _page(items: Sequence[T], name: Callable[[T], str], after: str, size: int) -> tuple[list[T], str]:
    """Return the next page of a list that is sorted by `name`, and the token of the one after it."""
    rest = sorted((item for item in items if name(item) > after), key=name)
    size = page_size(size)
    return rest[:size], page_token(name(rest[size - 1])) if len(rest) > size else ""
