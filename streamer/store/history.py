"""Finds stored tracks and their pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, extract, func, select

from streamer.store.database import Database
from streamer.store.decisions import Naming
from streamer.store.sealed import FACE, TRACK, Columns, readable
from streamer.store.tables import faces, tracks
from streamer.store.values import TrackQuery
from streamer.values import TrackState

HOURS = 10_000  # most that are counted


class History:
    """The stored tracks. All reads may raise StoreUnavailable."""

    def __init__(self, database: Database, columns: Columns, naming: Naming) -> None:
        self._database = database
        self._columns = columns
        self._naming = naming

    async def ended(self, query: TrackQuery, after: str, limit: int, newest: bool = False) -> list[bytes]:
        """Return the messages of the tracks that have ended and fit, sorted by id, beginning after the id `after`.

        `newest`: the newest first, and `after` may be empty for the very newest.
        """
        name = tracks.c.track_id
        wanted = select(name, tracks.c.payload).where(tracks.c.state == TrackState.ENDED.value)
        if after or not newest:
            wanted = wanted.where(name < after if newest else name > after)
        wanted = _where(wanted, self._with_ids(query)).order_by(name.desc() if newest else name).limit(limit)
        async with self._database.reading() as connection:
            rows = await connection.execute(wanted)
            return [self._naming.filled(readable(self._columns, row.payload, TRACK, row.track_id)) for row in rows]

    async def hours(self, query: TrackQuery) -> dict[datetime, int]:
        """Return the number of the tracks that have ended and fit, by the hour in which they were first seen, UTC."""
        seen: ColumnElement[Any] = tracks.c.first_seen
        if self._database.dialect == "postgresql":
            seen = func.timezone("UTC", seen)
        parts: list[Any] = [extract(part, seen).label(part) for part in ("year", "month", "day", "hour")]
        counted = select(*parts, func.count().label("tracks")).where(tracks.c.state == TrackState.ENDED.value)
        counted = _where(counted, self._with_ids(query)).group_by(*parts)
        async with self._database.reading() as connection:
            rows = await connection.execute(counted.order_by(*(part.desc() for part in parts)).limit(HOURS))
            return {_hour(row): row.tracks for row in rows}

    def _with_ids(self, query: TrackQuery) -> TrackQuery:
        persons = self._columns.persons((*query.persons, *self._naming.ids(query.persons)))
        return replace(query, persons=tuple(persons))

    async def get(self, track_id: str) -> bytes | None:
        """Return the message of a track; None: it is not stored."""
        async with self._database.reading() as connection:
            found: bytes | None = await connection.scalar(select(tracks.c.payload).where(tracks.c.track_id == track_id))
        return self._naming.filled(readable(self._columns, found, TRACK, track_id)) if found is not None else None

    async def face(self, track_id: str) -> bytes:
        """Return the picture of a track as a JPEG; empty: none is stored."""
        async with self._database.reading() as connection:
            found = await connection.scalar(select(faces.c.jpeg).where(faces.c.track_id == track_id))
        return b"" if found is None else readable(self._columns, found, FACE, track_id)

    async def faces(self, track_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the pictures of those of these tracks that have one, as JPEGs by track id."""
        wanted = select(faces.c.track_id, faces.c.jpeg).where(faces.c.track_id.in_(track_ids))
        async with self._database.reading() as connection:
            rows = list(await connection.execute(wanted))
        return {track_id: readable(self._columns, jpeg, FACE, track_id) for track_id, jpeg in rows}

    async def cameras(self, names: Iterable[str]) -> set[str]:
        """Return those of these cameras that have stored tracks."""
        async with self._database.reading() as connection:
            return {
                name
                for name in names
                if await connection.scalar(select(tracks.c.camera).where(tracks.c.camera == name).limit(1))
            }


def _hour(row: Any) -> datetime:
    """Return the hour of a row. PostgreSQL gives the parts of a time as decimal numbers."""
    return datetime(int(row.year), int(row.month), int(row.day), int(row.hour), tzinfo=UTC)


def _where(statement: Any, query: TrackQuery) -> Any:
    """Add the conditions of a query; api/track_filter.py has the same for live tracks."""
    conditions: list[ColumnElement[bool]] = []
    if query.cameras:
        conditions.append(tracks.c.camera.in_(query.cameras))
    if query.since is not None:
        conditions.append(tracks.c.last_seen >= query.since)
    if query.before is not None:
        conditions.append(tracks.c.first_seen < query.before)
    if query.states:
        conditions.append(tracks.c.state.in_(query.states))
    if query.persons:
        conditions.append(tracks.c.person.in_(query.persons))
    if query.min_age is not None:
        conditions.append(tracks.c.age >= query.min_age)
    if query.max_age is not None:
        conditions.append(tracks.c.age <= query.max_age)
    if query.expressions:
        conditions.append(tracks.c.expression.in_(query.expressions))
    if query.described:
        conditions.append(tracks.c.described)
    if query.unnamed:
        conditions.append(tracks.c.person.is_(None))
    conditions += [tracks.c.attributes.contains(f"|{one}|") for one in query.attributes]
    return statement.where(*conditions)
