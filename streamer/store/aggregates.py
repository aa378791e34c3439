"""Reads the counts of cameras whose tracks are not published, and deletes what was stored of their faces before."""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, select

from streamer.privacy import Modes
from streamer.store.store import Store
from streamer.store.tables import events, faces, templates, tracks
from streamer.store.values import LogKind, StoreUnavailable

KEPT = 10_000  # newest counts that are kept without a store
LOOK_S = 1.0  # between two looks at the modes of the cameras
UNDER_WAY_S = 30.0  # after this time all is stored that was under way

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts of one camera in one interval, and their place in the order."""

    number: int
    camera: str
    record: dict[str, Any]


class Aggregates:
    """The counts: in the log of the store, or in memory without one. Used from the asyncio loop only."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._newest: deque[Counted] = deque(maxlen=KEPT)
        self._number = 0

    def add(self, camera: str, record: dict[str, Any]) -> None:
        """Take in the counts of an interval that has ended."""
        if self._store is not None:
            self._store.note(LogKind.AGGREGATE, camera, json.dumps(record).encode())
            return
        self._number += 1
        self._newest.append(Counted(self._number, camera, record))

    async def read(
        self, cameras: Collection[str], after: int, since: float, before: float, limit: int
    ) -> list[Counted]:
        """Return counts behind a number, oldest first, at most `limit`. Raises StoreUnavailable.

        `cameras`: empty: all; `since`, `before`: Unix times in s, of intervals that end and start between them.
        """
        found = list[Counted]()
        while len(found) < limit:
            some = await self._some(cameras, after, limit)
            found += [one for one in some if one.record["end_s"] > since and one.record["start_s"] < before]
            if len(some) < limit:
                break
            after = some[-1].number
        return found[:limit]

    async def _some(self, cameras: Collection[str], after: int, limit: int) -> list[Counted]:
        if self._store is None:
            wanted = [one for one in self._newest if one.number > after and (not cameras or one.camera in cameras)]
            return wanted[:limit]
        query = select(events).where(events.c.kind == LogKind.AGGREGATE.value, events.c.sequence > after)
        if cameras:
            query = query.where(events.c.camera.in_(cameras))
        async with self._store.database.reading() as connection:
            rows = list(await connection.execute(query.order_by(events.c.sequence).limit(limit)))
        made = [self._store.log.event_of(row) for row in rows]
        return [Counted(one.sequence, one.camera, json.loads(one.payload)) for one in made]


async def forget_faces(store: Store | None, modes: Modes) -> None:
    """Delete the stored pictures and templates of cameras whose privacy mode forbids them, until cancelled.

    A camera may get a stricter mode while the streamer runs. What was under way to the store then is deleted later.
    """
    passes = dict[str, float]()  # by camera: when to do it again, s, monotonic
    while store is not None:
        now, withheld = time.monotonic(), modes.withheld
        passes = {camera: due for camera, due in passes.items() if camera in withheld}
        for camera in [one for one in withheld if passes.get(one, now) <= now]:
            try:
                await store.execute(*(delete(table).where(_of(table, camera)) for table in (faces, templates)))
            except StoreUnavailable as error:
                log.warning("camera %s: stored faces are not deleted now: %s", camera, error)
            else:
                passes[camera] = inf if camera in passes else now + UNDER_WAY_S
        await asyncio.sleep(LOOK_S)


def _of(table: Table, camera: str) -> ColumnElement[bool]:
    return table.c.track_id.in_(select(tracks.c.track_id).where(tracks.c.camera == camera))
