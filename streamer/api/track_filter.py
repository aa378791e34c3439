"""Which tracks a TrackFilter wants: as a query of the store, and for tracks that are live."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from grpc import aio

from faceanalytics.v1 import tracks_pb2
from streamer.api.errors import Why, refuse
from streamer.store.rows import searched
from streamer.store.values import TrackQuery


async def query_of(
    wanted: tracks_pb2.TrackFilter, stream_ids: Sequence[str], context: aio.ServicerContext[Any, Any]
) -> TrackQuery:
    """Return a filter as a query. `stream_ids`: ids outside the filter, which must not contradict it.

    Aborts the call with INVALID_ARGUMENT and the path of the field that is wrong.
    """
    problem = _problem(wanted, stream_ids)
    if problem:
        await refuse(context, Why.INVALID_FIELD, problem)
    return TrackQuery(
        cameras=tuple(wanted.stream_ids or stream_ids),
        since=wanted.seen_since.ToDatetime(UTC) if wanted.HasField("seen_since") else None,
        before=wanted.seen_before.ToDatetime(UTC) if wanted.HasField("seen_before") else None,
        states=tuple(tracks_pb2.TrackState.Name(state).removeprefix("TRACK_STATE_") for state in wanted.states),
        persons=tuple(wanted.persons),
        min_age=wanted.min_age_years if wanted.HasField("min_age_years") else None,
        max_age=wanted.max_age_years if wanted.HasField("max_age_years") else None,
        expressions=tuple(wanted.expressions),
        attributes=tuple(wanted.attributes),
        described=wanted.described,
        unnamed=wanted.unnamed,
    )


def _problem(wanted: tracks_pb2.TrackFilter, stream_ids: Sequence[str]) -> str:
    if wanted.stream_ids and stream_ids:
        return "filter.stream_ids: not together with stream_ids"
    times = []
    for name in ("seen_since", "seen_before"):
        if wanted.HasField(name):
            try:
                times.append(getattr(wanted, name).ToDatetime(UTC))
            except ValueError as error:
                return f"filter.{name}: {error}"
    if len(times) == 2 and times[0] >= times[1]:
        return "filter.seen_since: must be before seen_before"
    both = wanted.HasField("min_age_years") and wanted.HasField("max_age_years")
    if both and wanted.min_age_years > wanted.max_age_years:
        return "filter.min_age_years: must not be above max_age_years"
    if wanted.unnamed and wanted.persons:
        return "filter.unnamed: not together with persons"
    known = tracks_pb2.TrackState.values()
    if any(state not in known or state == tracks_pb2.TRACK_STATE_UNSPECIFIED for state in wanted.states):
        return "filter.states: has an unknown state"
    return ""


def matches(track: tracks_pb2.Track, query: TrackQuery, now: datetime) -> bool:
    """Return whether a live track fits a query, as store/history.py decides for stored ones."""
    row = searched(track, now)
    return all(
        (
            not query.cameras or row["camera"] in query.cameras,
            query.since is None or row["last_seen"] >= query.since,
            query.before is None or row["first_seen"] < query.before,
            not query.states or row["state"] in query.states,
            not query.persons or row["person"] in query.persons,
            query.min_age is None or (row["age"] is not None and row["age"] >= query.min_age),
            query.max_age is None or (row["age"] is not None and row["age"] <= query.max_age),
            not query.expressions or row["expression"] in query.expressions,
            not query.described or row["described"],
            not query.unnamed or row["person"] is None,
            all(f"|{one}|" in row["attributes"] for one in query.attributes),
        )
    )
