"""A store that runs in a test, and the summaries that it is fed with."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Table, select

from faceanalytics.v1 import tracks_pb2
from streamer.api.track_messages import to_proto
from streamer.config import Store as StoreConfig
from streamer.store.outbox import Outgoing
from streamer.store.store import Store
from streamer.store.values import LogEvent
from streamer.values import EndReason, TrackState, TrackSummary
from tests.support.builders import summary
from tests.support.patience import WAIT_S


def final(track: str = "t1", camera: str = "door", **changes: Any) -> TrackSummary:
    """The last summary of a track."""
    ending: dict[str, Any] = {"state": TrackState.ENDED, "final": True, "end_reason": EndReason.TIMEOUT}
    return summary(track, 99, camera, **{**ending, **changes})


def merged(track: str, into: str, camera: str = "door") -> TrackSummary:
    """The last summary of a track that goes on as another one."""
    return replace(final(track, camera, end_reason=EndReason.MERGED), merged_into=into)


class Running:
    """A store and what it has published."""

    def __init__(self, config: StoreConfig, publish: Callable[[Outgoing], None] | None = None) -> None:
        self.published: list[Outgoing] = []
        self.states: list[bool] = []
        self.store = Store(config, to_proto, publish or self.published.append, self.states.append)

    def put(self, *summaries: TrackSummary) -> None:
        for one in summaries:
            self.store.put(one)

    async def log(self) -> list[LogEvent]:
        """All that is stored in the log."""
        return await self.store.log.read(0, 1 << 60, 1 << 30)

    async def events(self) -> list[tuple[int, str, str]]:
        """Sequence, kind and track of all that is stored in the log."""
        return [(one.sequence, one.kind.value, one.track_id) for one in await self.log()]

    async def rows(self, table: Table) -> list[Any]:
        async with self.store.database.reading() as connection:
            return list((await connection.execute(select(table))).all())

    async def track(self, name: str) -> tracks_pb2.Track:
        payload = await self.store.history.get(name)
        assert payload is not None, name
        return tracks_pb2.Track.FromString(payload)

    async def settle(self) -> None:
        """Until all that was put is stored."""
        await self.store.flush(WAIT_S)


@asynccontextmanager
async def running(
    config: StoreConfig, publish: Callable[[Outgoing], None] | None = None, clean: bool = True
) -> AsyncIterator[Running]:
    """A store that is open and writes; not `clean`: it ends as if it were killed."""
    one = Running(config, publish)
    await one.store.open()
    writing = asyncio.create_task(one.store.run())
    try:
        yield one
        if clean:
            await one.settle()
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        if clean:
            await one.store.close()
        else:
            await one.store.database.close()
    if not writing.cancelled() and writing.exception() is not None:
        raise writing.exception()  # type: ignore[misc]  # it is not None
