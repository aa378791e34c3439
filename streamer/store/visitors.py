"""Reads and removes the pseudonyms of tracks, and the templates and tracks that belong to them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from faceanalytics.v1 import tracks_pb2
from streamer.store.past import again, past_tracks
from streamer.store.sealed import TRACK, readable
from streamer.store.store import Store
from streamer.store.tables import merged_visitors, templates, tracks, visitor_tracks
from streamer.values import ClockSource, TrackState

CHUNK = 500  # ids in one question
Payload = tuple[str, bytes, datetime]  # id, what is sealed, time of writing


async def read_payloads(store: Store) -> tuple[list[Payload], list[Payload]]:
    """Return all rows of tracks and of merged visitors. Raises StoreUnavailable."""
    async with store.database.reading() as connection:
        rows = (await connection.execute(select(visitor_tracks))).all()
        merged = (await connection.execute(select(merged_visitors))).all()
    return (
        [(row.track_id, bytes(row.payload), row.at) for row in rows],
        [(row.visitor_id, bytes(row.payload), row.at) for row in merged],
    )


async def read_templates(store: Store, only: Sequence[str] | None = None) -> list[Any]:
    """Return the rows of templates (track_id, model_id, samples, quality, template). Raises StoreUnavailable."""
    columns = (templates.c.track_id, templates.c.model_id, templates.c.samples, templates.c.quality)
    wanted = select(*columns, templates.c.template).order_by(templates.c.at, templates.c.track_id)
    async with store.database.reading() as connection:
        if only is None:
            return list((await connection.execute(wanted)).all())
        found: list[Any] = []
        for start in range(0, len(only), CHUNK):
            some = wanted.where(templates.c.track_id.in_(only[start : start + CHUNK]))
            found += (await connection.execute(some)).all()
        return found


async def template_ids(store: Store) -> set[str]:
    """Return the ids of tracks that have a template. Raises StoreUnavailable."""
    async with store.database.reading() as connection:
        return set(await connection.scalars(select(templates.c.track_id)))


async def stored_ids(store: Store) -> set[str]:
    """Return the ids of tracks that have a row for their pseudonym. Raises StoreUnavailable."""
    async with store.database.reading() as connection:
        return set(await connection.scalars(select(visitor_tracks.c.track_id)))


async def identified_ids(store: Store) -> set[str]:
    """Return the ids of the stored tracks that show a person of the gallery. Raises StoreUnavailable."""
    async with store.database.reading() as connection:
        return set(await connection.scalars(select(tracks.c.track_id).where(tracks.c.person.is_not(None))))


async def delete_old(store: Store, until: datetime) -> set[str]:
    """Remove pseudonyms that were written before a time, or whose track is gone; return the ids of the tracks."""
    gone = (visitor_tracks.c.at < until) | visitor_tracks.c.track_id.not_in(select(tracks.c.track_id))
    async with store.database.reading() as connection:
        names = set(await connection.scalars(select(visitor_tracks.c.track_id).where(gone)))
    await delete_rows(store, names)
    await store.execute(delete(merged_visitors).where(merged_visitors.c.at < until))
    return names


async def delete_rows(store: Store, track_ids: Iterable[str]) -> None:
    """Remove the pseudonyms of tracks."""
    names = sorted(track_ids)
    for start in range(0, len(names), CHUNK):
        chosen = visitor_tracks.c.track_id.in_(names[start : start + CHUNK])
        await store.execute(delete(visitor_tracks).where(chosen))


async def revise_visitors(store: Store, track_ids: Sequence[str]) -> None:
    """Publish the next revision of those of these tracks that have ended, whose visitor has changed."""
    for start in range(0, len(track_ids), CHUNK):
        some = track_ids[start : start + CHUNK]
        for row in await past_tracks(store.database, store.columns, some):
            store.revise(again(row.message))


async def ended_tracks(store: Store, track_ids: Sequence[str]) -> list["EndedTrack"]:
    """Return those of these tracks that have ended. Raises StoreUnavailable."""
    found = []
    columns = (tracks.c.track_id, tracks.c.payload, tracks.c.first_seen, tracks.c.last_seen)
    for start in range(0, len(track_ids), CHUNK):
        wanted = select(*columns).where(tracks.c.track_id.in_(track_ids[start : start + CHUNK]))
        async with store.database.reading() as connection:
            rows = (await connection.execute(wanted.where(tracks.c.state == TrackState.ENDED.value))).all()
        for row in rows:
            track = tracks_pb2.Track.FromString(readable(store.columns, row.payload, TRACK, row.track_id))
            found.append(EndedTrack(track, row.first_seen, row.last_seen))
    return found


async def tracks_of_people(
    store: Store, person_ids: Sequence[str], since: datetime | None, before: datetime | None
) -> list["EndedTrack"]:
    """Return the stored tracks that show these people (empty: anybody of the gallery) in a period, by age."""
    wanted = select(tracks.c.track_id, tracks.c.payload, tracks.c.first_seen, tracks.c.last_seen)
    if person_ids:
        wanted = wanted.where(tracks.c.person.in_(store.columns.persons(person_ids)))
    else:
        wanted = wanted.where(tracks.c.person.is_not(None))
    if since is not None:
        wanted = wanted.where(tracks.c.last_seen >= since)
    if before is not None:
        wanted = wanted.where(tracks.c.first_seen < before)
    found = []
    async with store.database.reading() as connection:
        for row in await connection.execute(wanted.order_by(tracks.c.track_id)):
            track = tracks_pb2.Track.FromString(readable(store.columns, row.payload, TRACK, row.track_id))
            store.naming.fill(track)
            if track.decision.status == tracks_pb2.IDENTITY_STATUS_IDENTIFIED:
                found.append(EndedTrack(track, row.first_seen, row.last_seen))
    return found


class EndedTrack:
    """A stored track with its times."""

    def __init__(self, track: tracks_pb2.Track, first_seen: datetime, last_seen: datetime) -> None:
        self.track_id = track.track_id
        self.camera = track.stream_id
        self.person_id = track.decision.person_id or track.decision.person
        self.clock = ClockSource(tracks_pb2.ClockSource.Name(track.clock_source).removeprefix("CLOCK_SOURCE_"))
        self.first_seen = first_seen
        self.last_seen = last_seen
        self.ended = track.final
