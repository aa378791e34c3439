"""All sinks of a streamer: starts them, keeps their places in the store, and lets them finish at the end."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from google.protobuf.message import Message

from faceanalytics.commandline import number_of
from faceanalytics.errors import LostDependency
from streamer import metrics
from streamer.sink_settings import SinkSettings
from streamer.sinks.encode import Encoder
from streamer.sinks.make import make_sink
from streamer.sinks.runner import SinkRunner, SinkState
from streamer.store.follow import Follower, read_places, write_places
from streamer.store.store import Store
from streamer.store.values import LogKind, StoreUnavailable

KEEP_EVERY_S = 1.0  # shortest time between two transactions that keep places

log = logging.getLogger(__name__)


class Sinks:
    """Readers of the log that deliver it to other systems. Used from the asyncio loop only."""

    def __init__(self, store: Store, runners: Sequence[SinkRunner]) -> None:
        self._store = store
        self._runners = runners
        self._moved = asyncio.Event()
        self._hide = metrics.show_sinks(self._statuses, [state.value for state in SinkState])
        for runner in runners:
            runner.moved = self._moved.set
            store.commits.add(runner.wake)

    @property
    def behind(self) -> int:
        """Number of stored events that the slowest sink is not done with."""
        return max((runner.behind for runner in self._runners), default=0)

    async def run(self) -> None:
        """Deliver what is stored, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_places())
            for runner in self._runners:
                group.create_task(runner.run())

    def show(self, states: Mapping[str, str]) -> None:
        """Take in the present states of the cameras, names of SourceState by id."""
        for runner in self._runners:
            runner.show(states)

    async def drain(self, timeout_s: float) -> None:
        """Deliver what can be delivered in time; the rest waits in the store for the next start."""
        waits = [asyncio.ensure_future(runner.drain()) for runner in self._runners]
        if waits:
            _, late = await asyncio.wait(waits, timeout=timeout_s)
            for wait in late:
                wait.cancel()
        for runner in self._runners:
            if runner.behind:
                text = "sink %s: %s of the log wait in the store for the next start"
                log.warning(text, runner.name, number_of(runner.behind, "event"))

    async def close(self) -> None:
        """Close the sinks and keep their places. `run` must have ended."""
        self._hide()
        for runner in self._runners:
            self._store.commits.discard(runner.wake)
        await asyncio.gather(*(runner.close() for runner in self._runners))
        try:
            await self._keep()
        except StoreUnavailable as error:
            log.warning("sinks: the store does not work, so the last events are delivered again: %s", error)

    async def _keep_places(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                await self._keep()
            except StoreUnavailable:  # the store says so itself
                self._moved.set()
            await asyncio.sleep(KEEP_EVERY_S)

    async def _keep(self) -> None:
        """Write the places that have changed, in one transaction."""
        changed = {runner.name: runner.place for runner in self._runners if runner.place != runner.kept}
        await write_places(self._store, changed)
        for runner in self._runners:
            runner.kept = changed.get(runner.name, runner.kept)

    def _statuses(self) -> list[tuple[str, str, int, float]]:
        return [(one.name, one.state.value, one.behind, one.age_s) for one in self._runners]


async def start_sinks(
    configured: Sequence[SinkSettings], store: Store, without_biometrics: Callable[[Message], Message]
) -> Sinks:
    """Return the sinks of the configuration, each at its place in the log; `store` is open.

    `without_biometrics` returns a message without what says who a person is. Raises ConfigError, MissingPackage and
    LostDependency.
    """
    sinks = [make_sink(settings, store.log.store_id) for settings in configured]
    encoder, runners, unknown = Encoder(store.log, without_biometrics), [], dict[str, int]()
    try:
        places = await read_places(store)
        for settings, sink in zip(configured, sinks, strict=True):
            follower = Follower(store, [LogKind(kind) for kind in settings.events], settings.cameras)
            place = places.get(settings.name)
            if place is None:
                place = await follower.oldest() if settings.start == "oldest" else store.log.committed
                unknown[settings.name] = place
            place = min(place, store.log.committed)  # the store may come from a backup
            runners.append(SinkRunner(settings, sink, follower, encoder, store.log, place))
        await write_places(store, unknown)
    except StoreUnavailable as error:
        raise LostDependency(f"store: the places of the sinks cannot be read: {error}") from error
    for runner in runners:
        log.info("sink %s: %s behind", runner.name, number_of(runner.behind, "event"))
    return Sinks(store, runners)
