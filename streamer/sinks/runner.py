"""Delivers the log to one sink: reads, delivers, remembers the place, and tries again while the receiver is down."""

import asyncio
import contextlib
import enum
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import islice

from faceanalytics.commandline import number_of
from streamer import metrics
from streamer.sink_settings import SinkSettings
from streamer.sinks.delivery import Refused, ShowsCameras, Sink, SinkEvent, Undelivered
from streamer.sinks.encode import Encoder
from streamer.store.follow import Follower
from streamer.store.log import Log
from streamer.store.values import LogEvent, StoreUnavailable

CLOSE_S = 2.0  # longest wait for a sink to close
SHOW_EVERY_S = 5.0  # between two looks whether an idle sink that shows cameras is still connected
LONGEST_PAUSE_S = 3600.0  # that a receiver may ask for
PASSED = 1000  # unwanted events after which the place is kept, too
DRAIN_ATTEMPTS = 2  # failures in a row before a sink that must stop gives up
REPORTED = 2  # failures in a row that are a change of state: one alone is repaired by the next attempt
REFUSED_EVERY_S = 60.0  # shortest time between two lines of the log about refused events
GATHER_S = 0.05  # shortest time between two reads of what is new, which costs more per read than per event

log = logging.getLogger(__name__)


class SinkState(enum.Enum):
    """How a sink is doing."""

    CONNECTING = "connecting"  # it has not delivered or been idle yet
    WORKING = "working"
    FAILING = "failing"  # the receiver takes nothing; events wait in the store


class SinkRunner:
    """Delivers events to one sink, each at least once and in order. What waits is in the store, not in memory."""

    def __init__(
        self, settings: SinkSettings, sink: Sink, follower: Follower, encoder: Encoder, log: Log, place: int
    ) -> None:
        """`place`: sequence of the newest event that the sink is done with."""
        self.name = settings.name
        self.place = place
        self.kept = place  # what the store knows of `place`
        self.state = SinkState.CONNECTING
        self.wake = asyncio.Event()  # set it when there is something new
        self.moved: Callable[[], None] = lambda: None  # called when the place should be kept
        self._settings = settings
        self._sink = sink
        self._follower = follower
        self._encoder = encoder
        self._log = log
        self._waiting: deque[SinkEvent] = deque()  # read and not delivered
        self._through = place  # the place once these are delivered
        self._read_due = 0.0  # s, monotonic
        self._singly = 0  # events to deliver one by one, because one of them was refused
        self._open = False
        self._states: Mapping[str, str] | None = None  # of the cameras; None: not known yet
        self._shown: Mapping[str, str] | None = None  # those that the sink has shown
        self._failures = 0  # since the last success
        self._reported = False  # they are in the log
        self._attempts = 0  # that failed, in all
        self._refused = 0
        self._refused_line = -REFUSED_EVERY_S  # s, monotonic
        self._hurry = asyncio.Event()
        self._settled = asyncio.Event()
        for counter in (metrics.sink_delivered, metrics.sink_failures, metrics.sink_refused, metrics.sink_skipped):
            counter.labels(self.name)

    @property
    def behind(self) -> int:
        """Number of stored events that the sink is not done with, wanted or not."""
        return max(0, self._log.committed - self.place)

    @property
    def age_s(self) -> float:
        """Age of the oldest event that waits for the receiver, in seconds."""
        with contextlib.suppress(IndexError):  # another thread asks
            return max(0.0, (datetime.now(UTC) - self._waiting[0].at).total_seconds())
        return 0.0

    def show(self, states: Mapping[str, str]) -> None:
        """Take in the present states of the cameras."""
        wanted = self._settings.cameras
        states = {camera: state for camera, state in states.items() if not wanted or camera in wanted}
        if states != self._states:
            self._states = states
            self.wake.set()

    async def run(self) -> None:
        """Deliver whatever comes, until cancelled.

        An unexpected exception is treated like a receiver that is down: most of what sinks do is done by libraries of
        others, and an event that one of them cannot take must not end the cameras at each start.
        """
        task = asyncio.current_task()
        while not (task and task.cancelling()):  # wait_for() of Python 3.11, in libraries, can lose a cancellation
            try:
                await self._advance()
            except StoreUnavailable as error:  # the store says so itself
                log.debug("sink %s: cannot read the store: %s", self.name, error)
                await self._pause(self._delay())
            except Undelivered as error:
                await self._fail(str(error), error.after_s, bug=False)
            except Exception as error:
                await self._fail(f"{type(error).__name__}: {error}", None, bug=True)

    async def drain(self) -> None:
        """Return when everything is delivered, or when the receiver fails again and again."""
        given_up = self._attempts + DRAIN_ATTEMPTS
        self._hurry.set()
        while self.behind and self._attempts < given_up:
            self._settled.clear()
            await self._settled.wait()
            if self.state is SinkState.WORKING:
                given_up = self._attempts + DRAIN_ATTEMPTS

    async def close(self) -> None:
        """Close the sink. `run` must have ended, or be the caller."""
        self._open, self._shown = False, None
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._sink.close()
        except Exception as error:  # whatever it is, the sink is not used any longer
            log.warning("sink %s: cannot be closed: %s: %s", self.name, type(error).__name__, error)

    async def _advance(self) -> None:
        """Do the next step: read, connect, show, deliver or wait."""
        self.wake.clear()
        if not self._waiting:
            await self._read()
        if not self._open:
            self._open = True  # also half open it is closed again
            await self._sink.open()
        states = self._states
        if isinstance(self._sink, ShowsCameras) and states is not None and self._shown != states:
            await self._sink.cameras(states)
            self._shown = states
        if self._waiting:
            await self._deliver()
        elif not self.behind:
            self._succeed()
            await self._idle()

    async def _idle(self) -> None:
        """Wait for something new. A sink that shows cameras is asked from time to time, because it must be connected
        also while there are no events."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHOW_EVERY_S if isinstance(self._sink, ShowsCameras) else None):
                await self.wake.wait()
                return
        self._shown = None

    async def _read(self) -> None:
        if self.behind:
            await asyncio.sleep(max(0.0, self._read_due - time.monotonic()))
        part = await self._follower.read(self.place, self._settings.batch)
        if part.missing is not None:
            lost = part.missing
            metrics.sink_skipped.labels(self.name).inc(lost.count)
            log.error(
                "sink %s: %d events between %d and %d were deleted before they were delivered (store.keep, "
                "store.max_size_mb)", self.name, lost.count, lost.first, lost.last,
            )  # fmt: skip
        read = [await self._encode(event) for event in part.events]
        self._waiting.extend(read)
        self._through = part.through
        self._read_due = time.monotonic() + (GATHER_S if len(read) < self._settings.batch else 0.0)
        self._pass_over(0)

    async def _encode(self, event: LogEvent) -> SinkEvent:
        await asyncio.sleep(0)  # a backlog is much work, and everything else goes first
        return self._encoder.encode(event, self._settings.biometric)

    async def _deliver(self) -> None:
        batch = list(islice(self._waiting, 1 if self._singly else None))
        try:
            await self._sink.deliver(batch)
        except Undelivered as error:
            self._done(error.delivered)
            raise
        except Refused as refused:
            if refused.place is None and len(batch) > 1:
                self._singly = len(batch)
                return
            self._done(refused.place or 0)
            self._refuse(batch[refused.place or 0], str(refused))
        else:
            self._done(len(batch))

    def _done(self, count: int) -> None:
        """Note that the first `count` events that wait are delivered."""
        if count:
            metrics.sink_delivered.labels(self.name).inc(count)
            self._succeed()
            self._pass_over(count)

    def _refuse(self, event: SinkEvent, reason: str) -> None:
        metrics.sink_refused.labels(self.name).inc()
        self._refused += 1
        if time.monotonic() - self._refused_line >= REFUSED_EVERY_S:
            self._refused_line = time.monotonic()
            text = "sink %s: the receiver refuses event %s for good, %d so far: %s"
            log.error(text, self.name, event.id, self._refused, reason)
        self._succeed()
        self._pass_over(1)

    def _pass_over(self, count: int) -> None:
        """Move the place behind the first `count` events that wait, and behind what is not wanted after them."""
        for _ in range(count):
            self.place = self._waiting.popleft().sequence
        self._singly = max(0, self._singly - count)
        if not self._waiting:
            self.place = self._through
        if self.place - self.kept >= (1 if count else PASSED):
            self.moved()
        self._settled.set()

    def _succeed(self) -> None:
        if self._reported:
            log.warning("sink %s: delivers again, %s behind", self.name, number_of(self.behind, "event"))
        self.state, self._failures, self._reported = SinkState.WORKING, 0, False

    async def _fail(self, reason: str, after_s: float | None, bug: bool) -> None:
        """Note a failed attempt, disconnect, and wait before the next one."""
        metrics.sink_failures.labels(self.name).inc()
        self.state = SinkState.FAILING
        await self.close()
        delay = max(self._delay(), min(after_s or 0.0, LONGEST_PAUSE_S))
        self._failures += 1
        if not self._reported and (bug or self._failures == REPORTED):
            self._reported = True
            log.error("sink %s: %s; events wait in the store", self.name, reason, exc_info=bug)
        self._attempts += 1
        self._settled.set()
        await self._pause(delay)

    def _delay(self) -> float:
        """Return how long to wait after a failure, in seconds."""
        retry = self._settings.retry
        delay = min(retry.max_s, retry.initial_s * 2.0 ** min(self._failures, 60))
        return delay * random.uniform(1 - retry.jitter, 1 + retry.jitter)  # noqa: S311  # no secret

    async def _pause(self, delay_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._hurry.wait()
        self._hurry.clear()
