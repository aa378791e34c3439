"""Removes people from what is stored about tracks, and overwrites what was deleted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Table, delete, select, update

from faceanalytics.v1 import tracks_pb2
from streamer.store.decisions import forget, mentions
from streamer.store.past import with_identity
from streamer.store.sealed import EVENT, TRACK, readable
from streamer.store.store import Store
from streamer.store.tables import (
    events,
    faces,
    ledger,
    person_keys,
    person_references,
    templates,
    tracks,
    visitor_tracks,
)
from streamer.store.values import OF_TRACKS, LogKind
from streamer.values import TrackState

CHUNK = 500  # rows looked at in one transaction
VACUUM_BYTES = 1 << 30  # a larger SQLite database is not written anew while cameras run
OF_PEOPLE = (ledger, person_keys, person_references, templates, faces, visitor_tracks)


@dataclass(slots=True)
class Forgotten:
    """What was removed."""

    counts: dict[str, int] = field(default_factory=dict)  # rows by table
    tracks: set[str] = field(default_factory=set)  # ids of those that showed the people, with what was joined to them


async def forget_tracks(store: Store, people: set[str]) -> Forgotten:
    """Remove people from all stored tracks and events, but not the faces of these. Raises StoreUnavailable."""
    forgotten = Forgotten()
    await store.settle()
    forgotten.tracks = await _rewrite_tracks(store, people, forgotten)
    await _rewrite_events(store, people, forgotten)
    return forgotten


async def forget_faces(store: Store, shown: set[str]) -> dict[str, int]:
    """Remove the pictures, templates and pseudonyms of tracks; return the number of rows by table.

    The caller sees to it that no more of them come. Raises StoreUnavailable.
    """
    names, counts = sorted(shown), dict[str, int]()
    store.forget_pictures(shown)  # before and after: better ones may come while rows are removed
    for table in (faces, templates, visitor_tracks):
        count = 0
        for start in range(0, len(names), CHUNK):
            chosen = table.c.track_id.in_(names[start : start + CHUNK])
            count += await store.count(table, chosen)
            await store.execute(delete(table).where(chosen))
        counts[table.name] = count
    store.forget_pictures(shown)
    return counts


async def _rewrite_tracks(store: Store, people: set[str], forgotten: Forgotten) -> set[str]:
    """Remove people from tracks; return the ids of those that were identified as one of them."""
    shown, after, count = set[str](), "", 0
    while True:
        async with store.database.reading() as connection:
            wanted = select(tracks.c.track_id, tracks.c.state, tracks.c.payload).where(tracks.c.track_id > after)
            rows = (await connection.execute(wanted.order_by(tracks.c.track_id).limit(CHUNK))).all()
        changes = []
        for row in rows:
            track = tracks_pb2.Track.FromString(readable(store.columns, row.payload, TRACK, row.track_id))
            if not mentions(track, people):
                continue
            count += 1
            identified = forget(track, people)
            if identified:
                shown |= {row.track_id, *(one.track_id for one in track.intervals)}
            if identified and row.state == TrackState.ENDED.value:
                track.revision += 1
                store.revise(track)  # subscribers hear of it
            changes.append(with_identity(store.columns, track))
        if changes:
            await store.execute(*changes)
        if len(rows) < CHUNK:
            forgotten.counts["tracks"] = count
            return shown
        after = rows[-1].track_id


async def _rewrite_events(store: Store, people: set[str], forgotten: Forgotten) -> None:
    after, count = 0, 0
    kinds = [one.value for one in (*OF_TRACKS, LogKind.DECISION)]
    while True:
        async with store.database.reading() as connection:
            wanted = select(events.c.sequence, events.c.payload).where(
                events.c.sequence > after, events.c.kind.in_(kinds)
            )
            rows = (await connection.execute(wanted.order_by(events.c.sequence).limit(CHUNK))).all()
        changes = []
        for row in rows:
            track = tracks_pb2.Track.FromString(readable(store.columns, row.payload, EVENT, row.sequence))
            if mentions(track, people):
                forget(track, people)
                content = {"sequence": row.sequence, "payload": track.SerializeToString(deterministic=True)}
                where = events.c.sequence == row.sequence
                changes.append(update(events).where(where).values(store.columns.event(content)))
        if changes:
            await store.execute(*changes)
            count += len(changes)
        if len(rows) < CHUNK:
            forgotten.counts["events"] = count
            return
        after = rows[-1].sequence


async def overwrite_tables(store: Store, chosen: Sequence[Table], of: str | None = None) -> None:
    """Overwrite what was deleted in tables, of another streamer if wanted; in SQLite in all of them.

    Raises StoreUnavailable.
    """
    if store.database.dialect != "postgresql":
        async with store.exclusively():
            await store.database.overwrite(VACUUM_BYTES)
        return
    schemas = store.database.schemas_of(store.database.streamer if of is None else of)
    async with store.exclusively():
        names = [(schemas.get(table.schema), table.name) for table in chosen]
        await store.database.rewrite([f'"{schema}".{name}' if schema else name for schema, name in names])


async def overwrite(store: Store) -> list[str]:
    """Overwrite what was deleted in the files of the database. Returns what may remain. Raises StoreUnavailable."""
    if store.database.dialect == "postgresql":
        await overwrite_tables(store, OF_PEOPLE)
        return [
            "the write-ahead log of PostgreSQL and its archives have the encrypted rows (and the keys, unless "
            "store.key_file is set) until they are written over"
        ]
    async with store.exclusively():
        if await store.database.overwrite(VACUUM_BYTES):
            return []
        return ["the write-ahead log of SQLite, which a reader holds: the end of the streamer empties it"]
