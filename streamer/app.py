"""Wires the whole live streamer together on one page: starts its parts, connects them and stops them in order."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version

from streamer import metrics
from streamer.api.allowed import check_allowed
from streamer.api.authorisation import without_biometrics
from streamer.api.server import Server, start_server
from streamer.api.track_messages import to_proto
from streamer.config import Stream, StreamerConfig
from streamer.detect.detector import Detector
from streamer.dispatch.dispatcher import Dispatcher
from streamer.dispatch.ledger import Priority
from streamer.handover import LatestPerCamera, Picture
from streamer.hub import Hub
from streamer.identity.blank import learn_blanks
from streamer.identity.enrolment import read_gallery
from streamer.identity.identification import EnrolledGallery
from streamer.identity.persons import Persons
from streamer.inspecting import inspector_of
from streamer.jobs.jobs import Jobs
from streamer.lifecycle import Delivery, in_thread
from streamer.metrics_endpoint import asking, serve_metrics, show_files
from streamer.observe import Observer, observe_all
from streamer.people.live import LiveGallery, Workers
from streamer.people.parts import PeopleParts, open_people
from streamer.people.visiting import Visiting
from streamer.pictures import Concealment, Pictures
from streamer.privacy import Mode, Modes
from streamer.privacy_filter import PrivacyFilter
from streamer.readings import Readings
from streamer.recorded.people_of_video import VideoReader
from streamer.sinks.sinks import Sinks, start_sinks
from streamer.source.cameras import Cameras
from streamer.source.hardware import check_device
from streamer.store.aggregates import Aggregates, forget_faces
from streamer.store.database import folder_of
from streamer.store.decisions import identified
from streamer.store.outbox import Outgoing
from streamer.store.store import Store
from streamer.store.streams import add_stored, kept_cameras
from streamer.store.values import LogEvent, LogKind
from streamer.tracer import Tracer
from streamer.track.keys import live_keys, split_keys
from streamer.values import (
    EndReason,
    FaceAnalysis,
    FaceCrop,
    ImpostorScores,
    Model,
    Observation,
    TrackEnd,
    TrackSummary,
)
from streamer.web.server import open_to_all, start_pages

SAMPLE_S = 1.0  # time between two measurements of the cameras
RELEASE_S = 1.0  # time between two checks of the track ends that are held back
CONCEALED = {
    Mode.IDENTITY: Concealment.NONE,
    Mode.PSEUDONYMOUS: Concealment.BLURRED,
    Mode.AGGREGATE_ONLY: Concealment.BOXES_ONLY,
}
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
        self._new_models: asyncio.Queue[Model] = asyncio.Queue()  # of the workers, whenever they change
        self._people: PeopleParts | None = None
        self._frames = LatestPerCamera(self._replaced)
        self._readings = Readings([stream.id for stream in config.streams])
        self._modes = Modes(config.privacy)
        concealed = lambda camera: CONCEALED[self._modes.of(camera)]  # noqa: E731
        self._pictures = Pictures(config.web.pictures_per_second, config.web.picture_share, concealed)
        self._privacy = PrivacyFilter(config.privacy, self._modes)
        self._tracer = Tracer.of(config.tracing, config.store is not None, self._modes)
        self._store = Store(config.store, to_proto, self._send, self._on_store) if config.store else None
        self._aggregates = Aggregates(self._store)
        self._sinks: Sinks | None = None

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
        relax, tracer = self._frames.relax, self._tracer
        self._observer = Observer(
            self._config, detector, live_keys(), live=True, relax=relax, tracer=tracer, pictures=self._pictures
        )
        bug: asyncio.Future[None] = loop.create_future()

        def failed(error: BaseException) -> None:
            loop.call_soon_threadsafe(_fail, bug, error)

        cameras = Cameras(self._frames, failed, self._config.sources, self._modes)
        deliver = Delivery(loop, self._accept)

        def stop_observing() -> None:
            self._frames.close()
            deliver.close()

        async with AsyncExitStack() as closing:  # closes in reverse order, also after an error
            metrics.build_info.info({"version": version("faceanalytics")})
            closing.callback(metrics.show_streams(lambda: [(each.id, status) for each, status in cameras.list()]))
            closing.callback(show_files(self._config, folder_of(self._config.store)))
            if tracer is not None:
                closing.push_async_callback(asyncio.to_thread, tracer.close)
            callbacks = self._on_result, self._on_finished, self._on_workers
            on_send = tracer.sent if tracer is not None else None
            self._dispatcher = Dispatcher(self._config.dispatch, *callbacks, on_send=on_send)
            closing.callback(self._dispatcher.close)
            workers = Workers(
                partial(self._dispatcher.analyse, priority=Priority.ENROLMENT),
                lambda: self._dispatcher.models,
                self._dispatcher.wait_for_worker,
                self._stopping.is_set,
            )
            self._gallery = LiveGallery(self._config, people, strangers, workers, self._use_gallery)
            no_people = "people are kept in a store, and this streamer has none (store: null)"
            store, known = self._store, kept_cameras(cameras, self._store, self._config.streams)
            if store is not None:
                await store.open()
                closing.push_async_callback(store.close)
                self._hub.sequence = store.sequence
                store.on_revision = self._revise
                live = lambda name: self._hub.get(name, time.monotonic())  # noqa: E731
                reader = VideoReader(
                    self._config, workers.analyse, workers.wait_for_worker, lambda: self._gallery.impostors
                )
                closing.callback(reader.close)
                found = self._gallery, live, self._hub.live, self._republish, reader, self._modes
                self._people, no_people = await open_people(self._config, store, *found)
                if self._visiting is not None:
                    self._persons.use_visitors(self._visiting.book.others_of)
                self._sinks = await start_sinks(self._config.sinks, store, without_biometrics)
                closing.push_async_callback(self._sinks.close)
            self._jobs = Jobs(self._config, store, self._dispatcher) if store and self._config.jobs else None
            if self._jobs is not None:
                await self._jobs.open()
            self._server = await start_server(
                self._config.publish,
                self._hub,
                known,
                lambda: self._dispatcher.models,
                store,
                access=self._config.access,
                readings=self._readings,
                jobs=self._jobs,
                people=self._people,
                no_people=no_people,
                aggregates=self._aggregates,
                pictures=self._pictures,
                pages_open=open_to_all(self._config.web),
                inspector=inspector_of(self._config),
            )
            closing.push_async_callback(self._server.stop, 0)
            pages = start_pages(self._config.web, self._server.inside, store)
            if pages is not None:
                closing.callback(pages.close)
            if self._config.metrics.listen:
                stop_metrics = serve_metrics(self._config, asking(loop, self._server.admits))
                closing.push_async_callback(asyncio.to_thread, stop_metrics)
            closing.push_async_callback(asyncio.to_thread, cameras.stop_all, GOODBYE_S)
            async with asyncio.TaskGroup() as group:
                failing = group.create_task(_raise_when_set(bug))
                wire = group.create_task(self._dispatcher.run())
                observe = partial(deliver.all_of, partial(observe_all, self._observer, self._frames, deliver))
                observing = group.create_task(in_thread("observe", observe, stop_observing))
                recognises = (people or self._people) and self._modes.general is not Mode.AGGREGATE_ONLY
                enrolling = [group.create_task(self._gallery.run())] if recognises else []
                if self._people is not None:
                    group.create_task(self._people.run())
                showing = [group.create_task(self._pictures.show())]
                if pages is not None:
                    showing.append(group.create_task(pages.run()))
                releasing = group.create_task(self._release_overdue())
                learning = list[asyncio.Task[None]]()
                if self._modes.general is not Mode.AGGREGATE_ONLY:  # no embedding leaves the worker there
                    blanks = learn_blanks(self._new_models.get, workers.analyse, self._persons.use_blank)
                    learning.append(group.create_task(blanks))
                forgetting = group.create_task(forget_faces(self._store, self._modes))
                keeping = [part.run() for part in (store, self._sinks, self._jobs) if part is not None]
                storing = [group.create_task(each) for each in keeping]
                for stream in self._config.streams:
                    cameras.add(stream)
                if store is not None:
                    await add_stored(cameras, store, self._config.streams, self._check_stored)
                sampling = group.create_task(_sample(cameras, self._readings, self._sinks))
                addresses = self._server.address, self._dispatcher.endpoint
                log.info("serving %d streams on %s, workers at %s", len(cameras.list()), *addresses)
                if pages is not None:
                    self._server.dashboard = pages.url
                    log.info("the dashboard is at %s", pages.url)
                if self._started is not None:
                    self._started(self._server)
                await self._stopping.wait()
                for task in enrolling:
                    task.cancel()
                if pages is not None:
                    pages.stop()
                await self._drain(cameras, observing)
                for task in (wire, failing, observing, releasing, sampling, forgetting, *learning, *showing, *storing):
                    task.cancel()

    def _on_workers(self, alive: int) -> None:
        self._observer.set_workers(self._privacy.models(self._dispatcher.models))
        self._server.set_serving(alive > 0 and not self._stopping.is_set())
        model = next(iter(self._dispatcher.models), None)
        if model is None:
            return
        if self._modes.general is not Mode.AGGREGATE_ONLY:  # else nobody takes them
            self._new_models.put_nowait(model)
        if model.impostors is not None and self._config.gallery.cohort is None:
            self._use_impostors(model.impostors, model.id)
        self._gallery.changed(model.id)

    def _use_gallery(self, known: EnrolledGallery | None, impostors: ImpostorScores | None, model: Model) -> None:
        """Decide by another gallery from now on, and decide all tracks again. None: there is nobody in it."""
        if impostors is not None:
            self._use_impostors(impostors, model.id)
        self._publish(self._persons.use_gallery(known))
        if self._people is not None:
            self._people.past.decide_again()

    def _use_impostors(self, impostors: ImpostorScores, model_id: str) -> None:
        """Join tracks and recognise visitors by the scores of strangers."""
        self._persons.use_impostors(impostors, model_id)
        if self._visiting is not None:
            self._visiting.upkeep.use_impostors(impostors, model_id)

    @property
    def _visiting(self) -> Visiting | None:
        return self._people.visiting if self._people is not None else None

    def _revise(self, event: LogEvent, stored: bool) -> None:
        """Publish the new identity of a track that has ended, or a step of a journey."""
        if event.kind is LogKind.JOURNEY:
            self._hub.travel(event.camera, event.payload, event.sequence, stored)
            return
        if self._visiting is not None:
            self._visiting.upkeep.revised(event.track_id, identified(event.payload))
        self._hub.revise(event.camera, event.track_id, event.payload, event.sequence, stored)

    def _republish(self, track_ids: Collection[str]) -> None:
        """Publish live tracks whose visitor has changed."""
        self._publish(self._persons.again(track_ids))

    async def _release_overdue(self) -> None:
        """Publish the track ends whose time for a return is up, even if their camera no longer gives frames."""
        while True:
            await asyncio.sleep(RELEASE_S)
            self._publish(self._persons.release_overdue(time.monotonic()))
            self._count()

    def _count(self, stopping: bool = False) -> None:
        """Publish the counts of intervals that have ended, of cameras in the mode aggregate_only."""
        for camera, record in self._privacy.counts(stopping):
            self._aggregates.add(camera, record)

    async def _accept(self, observation: Observation) -> None:
        """Take in the results of one frame, which come from the observe thread."""
        if self._tracer is not None:
            self._tracer.observed(observation)
        _, changed = self._persons.observe(observation)
        self._publish(changed)
        for crop in observation.crops:
            await self._dispatcher.offer(self._privacy.crop(crop))
        for end in observation.ended:
            self._dispatcher.end(end)

    def _on_result(self, crop: FaceCrop, analysis: FaceAnalysis | None) -> None:
        if self._tracer is not None:
            self._tracer.answered(crop, analysis is not None)
        changed = self._persons.add_analysis(crop, analysis) if analysis is not None else []
        self._publish(changed)
        waits = self._persons.waits(crop.key)  # it may show another person
        if changed and not waits and self._store is not None and self._privacy.keeps_face(changed[-1].key):
            self._store.see(changed[-1].key.id, crop)
        undecided = crop.with_embedding and self._persons.undecided(crop.key)
        self._observer.on_result(crop.key.id, analysis is not None, waits, undecided)

    def _on_finished(self, end: TrackEnd) -> None:
        self._publish(self._persons.finish(end))

    def _replaced(self, picture: Picture) -> None:
        self._observer.note_replaced(picture.camera)

    def _publish(self, summaries: list[TrackSummary]) -> None:
        if self._tracer is not None:
            self._tracer.leaving(summaries)
        for summary in self._privacy.shown(summaries):
            if self._people is not None and summary.final:
                self._people.past.waiting.keep(summary)
            if self._visiting is not None:
                summary = self._visiting.book.see(summary)
            if self._store is not None:
                self._store.put(summary)
            else:
                self._send(Outgoing(summary))
            if self._visiting is not None:
                self._visiting.book.follow(summary)

    def _send(self, outgoing: Outgoing) -> None:
        """Publish a summary: at once without a store, else when the store has written its events."""
        now = time.monotonic()
        self._hub.offer(outgoing.summary, now, outgoing.sequence, outgoing.stored)
        if self._tracer is not None:
            self._tracer.published(outgoing.summary, now, outgoing.stored)

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
        if self._jobs is not None:
            self._jobs.close()
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
        self._count(stopping=True)
        self._privacy.pseudonyms.destroy()
        if self._people is not None:
            await self._people.stop()
        if self._store is not None:
            await self._store.flush(max(goodbye, remaining()))
        left = max(0.0, deadline - time.monotonic())
        sending = self._sinks.drain(left) if self._sinks is not None else asyncio.sleep(0)
        await asyncio.gather(self._server.stop(left), sending)


async def _sample(cameras: Cameras, readings: Readings, sinks: Sinks | None) -> None:
    """Measure the cameras, which notices when one is overloaded, and the rest; the sinks see the cameras' states."""
    while True:
        readings.sample(time.monotonic())
        await asyncio.sleep(SAMPLE_S)
        cameras.sample(time.monotonic())
        if sinks is not None:
            sinks.show({stream.id: status.state.value for stream, status in cameras.list()})


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


async def _raise_when_set(future: asyncio.Future[None]) -> None:
    await future
