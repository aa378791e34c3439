"""The faces of past tracks, from which they are decided again when the gallery changes, and their revisions."""

import uuid
from bisect import bisect_right
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Update, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from faceanalytics.v1 import tracks_pb2
from streamer.store.database import Database
from streamer.store.decisions import from_message, to_message
from streamer.store.reader import ReadingDatabase
from streamer.store.sealed import TRACK, Columns, readable
from streamer.store.tables import templates, tracks
from streamer.values import IdentityDecision, TrackState

Span = tuple[float, float]  # s since 1970, beginning and end of a time without a break
MOST_IDS = 10_000  # in one question
LIVE_VERSION = 7  # of the UUIDs of live tracks, which begin with the time


@dataclass(frozen=True, slots=True, eq=False)
class PastTrack:
    """A track that has ended, with what is needed to decide it again."""

    track_id: str
    camera: str
    joined: tuple[str, ...]  # ids of the tracks that were joined to it, with its own
    model_id: str
    samples: int
    quality: float  # 0..1, of the best crop
    sealed_template: bytes  # empty: it is not stored
    message: tracks_pb2.Track  # as it is stored
    decision: IdentityDecision | None  # as it is stored: with ids, without names


async def past_tracks(
    database: Database | ReadingDatabase, columns: Columns, only: Sequence[str], of: str | None = None
) -> list[PastTrack]:
    """Return those of these tracks that have ended, with a template or without, sorted by id.

    `of`: id of another streamer of the database, whose tracks they are.
    """
    return await _past_tracks(database, columns, tracks.c.track_id.in_(only), len(only), of)


async def each_past(
    database: Database | ReadingDatabase,
    columns: Columns,
    also: Collection[str],
    count: int,
    after: str = "",
    of: str | None = None,
) -> AsyncIterator[list[PastTrack]]:
    """Yield the ended tracks that have a template, or show somebody, sorted by id, up to `count` at a time.

    `also`: ids of tracks that are wanted anyway, however many they are. They begin after the id `after`. `of` is as in
    past_tracks. Raises StoreUnavailable.
    """
    ids = sorted(also)
    there = templates.c.template.is_not(None) | tracks.c.person.is_not(None)
    while True:
        first = bisect_right(ids, after)
        some, more = ids[first : first + MOST_IDS], ids[first + MOST_IDS :]
        wanted = (tracks.c.track_id > after) & (there | tracks.c.track_id.in_(some))
        if more:  # of what comes behind these, not all are asked for yet
            wanted &= tracks.c.track_id <= some[-1]
        found = await _past_tracks(database, columns, wanted, count, of)
        if found:
            yield found
        if len(found) == count:
            after = found[-1].track_id
        elif more:
            after = some[-1]
        else:
            return


async def _past_tracks(
    database: Database | ReadingDatabase,
    columns: Columns,
    which: ColumnElement[bool],
    limit: int,
    of: str | None,
) -> list[PastTrack]:
    joined = tracks.outerjoin(templates, templates.c.track_id == tracks.c.track_id)
    face = (templates.c.model_id, templates.c.samples, templates.c.quality, templates.c.template)
    wanted = select(tracks.c.track_id, tracks.c.payload, *face).select_from(joined)
    wanted = wanted.where(which, tracks.c.state == TrackState.ENDED.value)
    async with database.reading(of=of) as connection:
        rows = (await connection.execute(wanted.order_by(tracks.c.track_id).limit(limit))).all()
    return [_past(row, readable(columns, row.payload, TRACK, row.track_id)) for row in rows]


def _past(row: Any, payload: bytes) -> PastTrack:
    track = tracks_pb2.Track.FromString(payload)
    decision = from_message(track.decision) if track.HasField("decision") and track.decision.status else None
    there = row.template is not None
    return PastTrack(
        track_id=track.track_id,
        camera=track.stream_id,
        joined=(track.track_id, *(one.track_id for one in track.intervals)),
        model_id=row.model_id if there else track.model_id,
        samples=row.samples if there else track.samples,
        quality=row.quality if there else track.quality,
        sealed_template=bytes(row.template) if there else b"",
        message=track,
        decision=decision,
    )


def revised(track: tracks_pb2.Track, decision: IdentityDecision) -> tracks_pb2.Track:
    """Return the next revision of a track, with another decision."""
    after = tracks_pb2.Track()
    after.CopyFrom(track)
    after.decision.CopyFrom(to_message(decision))
    after.revision += 1
    return after


def again(track: tracks_pb2.Track) -> tracks_pb2.Track:
    """Return the next revision of a track, of which only the visitor has changed, which is not stored with it."""
    after = tracks_pb2.Track()
    after.CopyFrom(track)
    after.revision += 1
    return after


class Revisions:
    """Rows of ended tracks that have changed and wait to be written, together with their events."""

    def __init__(self) -> None:
        self._rows: dict[str, tracks_pb2.Track] = {}

    def add(self, track: tracks_pb2.Track) -> None:
        """Take in the newest revision of a track."""
        self._rows[track.track_id] = track

    def take(self, written: set[str]) -> list[tracks_pb2.Track]:
        """Return those whose events are written now."""
        return [self._rows[name] for name in sorted(written & self._rows.keys())]

    def done(self, rows: Sequence[tracks_pb2.Track]) -> None:
        """Note that rows are stored."""
        for track in rows:
            if self._rows.get(track.track_id) is track:
                del self._rows[track.track_id]


async def write_revisions(writer: AsyncConnection, columns: Columns, rows: Sequence[tracks_pb2.Track]) -> None:
    """Write the identity of tracks into their rows, whose other columns stay."""
    for track in rows:
        await writer.execute(with_identity(columns, track))


def with_identity(columns: Columns, track: tracks_pb2.Track) -> Update:
    """Return the statement that writes the identity of a track into its row."""
    person = track.decision.person or track.decision.person_id or None
    payload = track.SerializeToString(deterministic=True)
    row = columns.track({"track_id": track.track_id, "person": person, "payload": payload})
    return update(tracks).where(tracks.c.track_id == track.track_id).values(row)


def spans_of(track: tracks_pb2.Track) -> tuple[Span, ...]:
    """Return when a track was there, by the camera's clock, else by that of its birth; empty if neither is known."""
    captured = track.first_captured_at
    known = captured.seconds + captured.nanos / 1e9 if track.HasField("first_captured_at") else None
    there = [(one.first_seen_s, one.last_seen_s) for one in track.intervals]
    return spans_from(track.track_id, known, track.first_seen_s, there or [(track.first_seen_s, track.last_seen_s)])


def spans_from(track_id: str, captured: float | None, first: float, there: Sequence[Span]) -> tuple[Span, ...]:
    """Return times in s since 1970. `captured`: wall clock of the media time `first`; `there`: media times."""
    began = captured if captured is not None else _born(track_id)
    return () if began is None else tuple((began - first + start, began - first + end) for start, end in there)


def _born(track_id: str) -> float | None:
    """Return when the id of a track was made, s since 1970; None: the id does not say it."""
    try:
        made = uuid.UUID(track_id)
    except ValueError:
        return None
    return (made.int >> 80) / 1000 if made.version == LIVE_VERSION else None
