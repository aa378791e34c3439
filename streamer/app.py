"""The whole streamer on one page: what is started, what is handed to whom, and how it stops."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from streamer import metrics
from streamer.aggregate import Aggregator
from streamer.cameras import Cameras
from streamer.config import StreamerConfig
from streamer.detect import Detector
from streamer.dispatch import Dispatcher
from streamer.handover import Newest
from streamer.hub import Hub
from streamer.lifecycle import Delivery, in_thread
from streamer.observe import Observer, live_keys, observe_all
from streamer.publish import Server, start_server
from streamer.values import EndReason, FaceAnalysis, FaceCrop, Frame, Observation, TrackEnd

SAY_GOODBYE_S = 1.0  # of drain_s this much is kept for the last events to reach the subscribers

log = logging.getLogger(__name__)


class Live:
    """Cameras in, gRPC events out. `run` returns after `stop`; a bug in any part ends it with that exception."""

    def __init__(self, config: StreamerConfig, started: Callable[[Server], None] | None = None) -> None:
        self._config = config
        self._started = started
        self._stopping = asyncio.Event()
        self._hub = Hub(config.publish)
        self._aggregator = Aggregator(config.aggregate)
        self._frames = Newest(_count_dropped)

    def stop(self) -> None:
        """Finish what is under way, at most `drain_s`, and return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Raises ModelError, ConfigError, or an ExceptionGroup of what went wrong in a part."""
        loop = asyncio.get_running_loop()
        detector = await in_thread("detect", partial(Detector, self._config.detect), stop=lambda: None)
        self._observer = Observer(self._config, detector, live_keys())
        bug: asyncio.Future[None] = loop.create_future()

        def failed(error: BaseException) -> None:
            loop.call_soon_threadsafe(_fail, bug, error)

        cameras = Cameras(self._frames, failed)
        deliver = Delivery(loop, self._accept)

        def stop_observing() -> None:
            self._frames.close()
            deliver.close()

        async with AsyncExitStack() as closing:  # in the reverse order, whatever happens
            if self._config.metrics.listen:
                closing.push_async_callback(asyncio.to_thread, metrics.serve_metrics(self._config.metrics.listen))
            self._dispatcher = Dispatcher(
                self._config.dispatch, True, self._settled, self._finished, self._workers_changed
            )
            closing.callback(self._dispatcher.close)
            self._server = await start_server(self._config.publish, self._hub, cameras, lambda: self._dispatcher.models)
            closing.push_async_callback(self._server.stop, 0)
            closing.push_async_callback(asyncio.to_thread, cameras.stop_all, SAY_GOODBYE_S)
            async with asyncio.TaskGroup() as group:
                failing = group.create_task(_raise_when_set(bug))
                wire = group.create_task(self._dispatcher.run())
                observe = partial(observe_all, self._observer, self._frames, deliver)
                observing = group.create_task(in_thread("observe", observe, stop_observing))
                for stream in self._config.streams:
                    cameras.add(stream)
                where = self._server.address, self._dispatcher.endpoint
                log.info("serving %d streams on %s, workers at %s", len(self._config.streams), *where)
                if self._started is not None:
                    self._started(self._server)
                await self._stopping.wait()
                await self._drain(cameras, observing)
                for task in (wire, failing, observing):
                    task.cancel()

    def _workers_changed(self, alive: int) -> None:
        self._server.set_serving(alive > 0 and not self._stopping.is_set())

    async def _accept(self, observation: Observation) -> None:
        """One frame's results, from the observe thread."""
        for summary in self._aggregator.observe(observation):
            self._hub.offer(summary, time.monotonic())
        for crop in observation.crops:
            await self._dispatcher.offer(crop)
        for end in observation.ended:
            self._dispatcher.end(end)

    def _settled(self, crop: FaceCrop, analysis: FaceAnalysis | None) -> None:
        if analysis is None:
            self._observer.crop_lost(crop.key.id)
            return
        summary = self._aggregator.add(crop, analysis)
        if summary is not None:
            self._hub.offer(summary, time.monotonic())

    def _finished(self, end: TrackEnd) -> None:
        summary = self._aggregator.finish(end)
        if summary is not None:
            self._hub.offer(summary, time.monotonic())

    async def _drain(self, cameras: Cameras, observing: asyncio.Task[None]) -> None:
        """In the direction of flow: cameras, frames, crops, tracks, subscribers."""
        deadline = time.monotonic() + self._config.drain_s
        goodbye = min(SAY_GOODBYE_S, self._config.drain_s / 2)

        def left() -> float:
            return max(0.0, deadline - goodbye - time.monotonic())

        log.info("stopping: finishing what is under way, at most %g s", self._config.drain_s)
        self._server.set_serving(False)
        await asyncio.to_thread(cameras.stop_all, left())
        self._frames.close()
        await asyncio.wait([observing], timeout=left())
        given_up = await self._dispatcher.drain(left() if self._dispatcher.ledger.workers else 0)
        if given_up:
            log.warning("%d crops were given up unanswered", given_up)
        unended = self._aggregator.open_ends(EndReason.SHUTDOWN)  # a detector that did not come back in time
        for end in unended:
            self._finished(end)
        if unended:
            log.warning("%d tracks were ended though their last frame was still being looked at", len(unended))
        await self._server.stop(max(0.0, deadline - time.monotonic()))


def _count_dropped(frame: Frame) -> None:
    metrics.frames_dropped.labels(frame.camera, "newer").inc()


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


async def _raise_when_set(future: asyncio.Future[None]) -> None:
    await future
