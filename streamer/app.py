"""Wires the whole live streamer together on one page: starts its parts, connects them and stops them in order."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version

from streamer import metrics
from streamer.api.allowed import check_allowed
from streamer.api.server import Server, start_server
from streamer.api.track_messages import to_proto
from streamer.config import Stream, StreamerConfig
from streamer.detect.detector import Detector
from streamer.dispatch.dispatcher import Dispatcher
from streamer.dispatch.ledger import Priority
from streamer.handover import LatestPerCamera, Picture
from streamer.hub import Hub
from streamer.identity.blank import blank_embedding
from streamer.identity.enrolment import embed, enrolled, read_gallery
from streamer.identity.persons import Persons
from streamer.identity.references import Reference
from streamer.lifecycle import Delivery, in_thread
from streamer.observe import Observer, observe_all
from streamer.source.cameras import Cameras
from streamer.source.hardware import check_device
from streamer.store.outbox import Outgoing
from streamer.store.store import Store
from streamer.store.streams import add_stored, kept_cameras
from streamer.track.keys import live_keys, split_keys
from streamer.values import EndReason, FaceAnalysis, FaceCrop, Model, Observation, TrackEnd, TrackSummary

SAMPLE_S = 1.0  # time between two measurements of the cameras
RELEASE_S = 1.0  # time between two checks of the track ends that are held back
GOODBYE_S = 1.0  # part of drain_s that is reserved for sending the last events to subscribers

log = logging.getLogger(__name__)


class LiveService:
    """Reads cameras and serves gRPC events. `run` returns after `stop`, or raises what a part raised."""

    def __init__(self, config: StreamerConfig, started: Callable[[Server], None] | None = None) -> None:
        """`started` is called with the server once everything is running."""
        self._config = config
        self._started = started
        self._stopping = asyncio.Event()
        self._hub = Hub(config.publish)
        self._persons = Persons(config, split_keys(live_keys()))
        self._model_changed = asyncio.Event()  # the gallery was embedded by other weights than the workers have
        self._new_models: asyncio.Queue[Model] = asyncio.Queue()  # of the workers, whenever they change
        self._gallery_model = ""  # id of the model that embedded the gallery
        self._frames = LatestPerCamera(self._replaced)
        self._store = Store(config.store, to_proto, self._send, self._on_store) if config.store else None

    def stop(self) -> None:
        """Make `run` finish the work in progress, which takes at most `drain_s`, and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until `stop`. Raises ModelError, ConfigError, or an ExceptionGroup of the exceptions of the parts."""
        loop = asyncio.get_running_loop()
        default = self._config.sources.decode_device
        for device in {default, *(stream.decode_device or default for stream in self._config.streams)}:
            check_device(device)
        detector = await in_thread("detect", partial(Detector.ready, self._config.detect), stop=lambda: None)
        read = partial(read_gallery, self._config, detector, self._stopping.is_set)
        people, strangers = await in_thread("gallery", read, stop=lambda: None)
        if self._stopping.is_set():
            return
        self._observer = Observer(self._config, detector, live_keys(), live=True, relax=self._frames.relax)
        bug: asyncio.Future[None] = loop.create_future()

        def failed(error: BaseException) -> None:
            loop.call_soon_threadsafe(_fail, bug, error)

        cameras = Cameras(self._frames, failed, self._config.sources)
        deliver = Delivery(loop, self._accept)

        def stop_observing() -> None:
            self._frames.close()
            deliver.close()

        async with AsyncExitStack() as closing:  # closes in reverse order, also after an error
            metrics.build_info.info({"version": version("faceanalytics")})
            closing.callback(metrics.show_streams(lambda: [(each.id, status) for each, status in cameras.list()]))
            if self._config.metrics.listen:
                closing.push_async_callback(asyncio.to_thread, metrics.serve_metrics(self._config.metrics.listen))
            self._dispatcher = Dispatcher(self._config.dispatch, self._on_result, self._on_finished, self._on_workers)
            closing.callback(self._dispatcher.close)
            store, known = self._store, kept_cameras(cameras, self._store, self._config.streams)
            if store is not None:
                await store.open()
                closing.push_async_callback(store.close)
                self._hub.sequence = store.sequence
            models, access = lambda: self._dispatcher.models, self._config.access
            self._server = await start_server(self._config.publish, self._hub, known, models, store, access=access)
            closing.push_async_callback(self._server.stop, 0)
            closing.push_async_callback(asyncio.to_thread, cameras.stop_all, GOODBYE_S)
            async with asyncio.TaskGroup() as group:
                failing = group.create_task(_raise_when_set(bug))
                wire = group.create_task(self._dispatcher.run())
                observe = partial(deliver.all_of, partial(observe_all, self._observer, self._frames, deliver))
                observing = group.create_task(in_thread("observe", observe, stop_observing))
                enrolling = group.create_task(self._enrol(people, strangers)) if people else None
                releasing = group.create_task(self._release_overdue())
                sampling = group.create_task(_sample(cameras))
                learning = group.create_task(self._learn_blanks())
                storing = [group.create_task(store.run())] if store else []
                for stream in self._config.streams:
                    cameras.add(stream)
                if store is not None:
                    await add_stored(cameras, store, self._config.streams, self._check_stored)
                addresses = self._server.address, self._dispatcher.endpoint
                log.info("serving %d streams on %s, workers at %s", len(cameras.list()), *addresses)
                if self._started is not None:
                    self._started(self._server)
                await self._stopping.wait()
                if enrolling is not None:
                    enrolling.cancel()
                await self._drain(cameras, observing)
                for task in (wire, failing, observing, releasing, sampling, learning, *storing):
                    task.cancel()

    async def _learn_blanks(self) -> None:
        """Learn from the workers what each of their models makes of images without content."""
        analyse, known = partial(self._dispatcher.analyse, priority=Priority.ENROLMENT), set[str]()
        while True:
            model = await self._new_models.get()
            embedding = None if model.id in known else await blank_embedding(model, analyse)
            if embedding is not None:
                known.add(model.id)
                self._persons.use_blank(model.id, embedding)

    def _on_workers(self, alive: int) -> None:
        self._observer.set_workers(self._dispatcher.models)
        self._server.set_serving(alive > 0 and not self._stopping.is_set())
        model = next(iter(self._dispatcher.models), None)
        if model is None:
            return
        self._new_models.put_nowait(model)
        if model.impostors is not None and self._config.gallery.cohort is None:
            self._persons.use_impostors(model.impostors, model.id)
        if model.id != self._gallery_model:
            self._model_changed.set()

    async def _enrol(self, people: list[Reference], strangers: list[Reference]) -> None:
        """Embed the gallery with the weights of the workers, and again whenever they change."""
        references = [*people, *strangers]
        analyse = partial(self._dispatcher.analyse, priority=Priority.ENROLMENT)
        wait_for_worker, stopped = self._dispatcher.wait_for_worker, self._stopping.is_set
        while (found := await embed(references, analyse, wait_for_worker, stopped)) is not None:
            model, images = found
            gallery, impostors = enrolled(self._config, model, images[: len(people)], images[len(people) :])
            self._persons.use_gallery(gallery)
            self._persons.use_impostors(impostors, model.id)
            self._gallery_model = model.id
            self._model_changed.clear()
            await self._model_changed.wait()

    async def _release_overdue(self) -> None:
        """Publish the track ends whose time for a return is up, even if their camera no longer gives frames."""
        while True:
            await asyncio.sleep(RELEASE_S)
            self._publish(self._persons.release_overdue(time.monotonic()))

    async def _accept(self, observation: Observation) -> None:
        """Take in the results of one frame, which come from the observe thread."""
        _, changed = self._persons.observe(observation)
        self._publish(changed)
        for crop in observation.crops:
            await self._dispatcher.offer(crop)
        for end in observation.ended:
            self._dispatcher.end(end)

    def _on_result(self, crop: FaceCrop, analysis: FaceAnalysis | None) -> None:
        changed = self._persons.add_analysis(crop, analysis) if analysis is not None else []
        self._publish(changed)
        waits = self._persons.waits(crop.key)  # it may show another person
        if changed and not waits and self._store is not None:
            self._store.see(changed[-1].key.id, crop)
        self._observer.on_result(crop.key.id, analysis is not None, waits)

    def _on_finished(self, end: TrackEnd) -> None:
        self._publish(self._persons.finish(end))

    def _replaced(self, picture: Picture) -> None:
        self._observer.note_replaced(picture.camera)

    def _publish(self, summaries: list[TrackSummary]) -> None:
        for summary in summaries:
            if self._store is not None:
                self._store.put(summary)
            else:
                self._send(Outgoing(summary))

    def _send(self, outgoing: Outgoing) -> None:
        """Publish a summary: at once without a store, else when the store has written its events."""
        self._hub.offer(outgoing.summary, time.monotonic(), outgoing.sequence, outgoing.stored)

    def _check_stored(self, stream: Stream) -> None:
        check_allowed(stream, None, self._config.sources)

    def _on_store(self, working: bool) -> None:
        self._server.set_storing(working)

    async def _drain(self, cameras: Cameras, observing: asyncio.Task[None]) -> None:
        """Stop the parts in the direction of flow: cameras, frames, crops, tracks, subscribers."""
        deadline = time.monotonic() + self._config.drain_s
        goodbye = min(GOODBYE_S, self._config.drain_s / 2)

        def remaining() -> float:
            return max(0.0, deadline - goodbye - time.monotonic())

        log.info("stopping: finishing the work in progress, at most %g s", self._config.drain_s)
        self._server.set_serving(False)
        await asyncio.to_thread(cameras.stop_all, remaining())
        self._frames.close()
        await asyncio.wait([observing], timeout=remaining())
        given_up = await self._dispatcher.drain(remaining() if self._dispatcher.ledger.workers else 0)
        if given_up:
            log.warning("gave up %d crops without an answer", given_up)
        self._publish(self._persons.release())
        unended = self._persons.open_ends(EndReason.SHUTDOWN)  # if the detector did not return in time
        for end in unended:
            self._on_finished(end)
        if unended:
            log.warning("%d tracks were ended before their last frame was analysed", len(unended))
        if self._store is not None:
            await self._store.flush(max(goodbye, remaining()))
        await self._server.stop(max(0.0, deadline - time.monotonic()))


async def _sample(cameras: Cameras) -> None:
    """Measure the cameras, which notices when one is overloaded."""
    while True:
        await asyncio.sleep(SAMPLE_S)
        cameras.sample(time.monotonic())


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


async def _raise_when_set(future: asyncio.Future[None]) -> None:
    await future
