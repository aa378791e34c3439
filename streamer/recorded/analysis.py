"""Analyses video files through the stages of the live streamer, but waits instead of dropping frames or crops.

Each video gets a folder of results, mainly tracks.jsonl and observations.jsonl. Answers are processed in the order of
the frames, whatever order they arrive in, so two runs over the same file write the same bytes.
"""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import hash_file
from faceanalytics.names import printable
from streamer.config import StreamerConfig
from streamer.configfile import config_hash
from streamer.detect.detector import Detector
from streamer.dispatch.dispatcher import Dispatcher
from streamer.dispatch.ledger import Priority
from streamer.dispatch.worker_process import WorkerOptions, run_worker
from streamer.handover import BoundedQueue
from streamer.identity.enrolment import embed, enrolled, gallery_record, read_gallery
from streamer.identity.identification import EnrolledGallery
from streamer.identity.persons import Persons
from streamer.lifecycle import Delivery, in_thread
from streamer.observe import Observer, observe_all
from streamer.recorded.annotate import Drawn, run_comment
from streamer.recorded.batches import CropBatches
from streamer.recorded.drawing import Drawing
from streamer.recorded.explain import Explanation
from streamer.recorded.outputs import ANNOTATED, identified, refuse_to_remove, run_files
from streamer.recorded.reader import UNTRAINED
from streamer.recorded.records import SCHEMA_VERSION, model_record, source_record, time_base_record
from streamer.recorded.writer import ResultWriter, VideoResult
from streamer.source.file import TruncatedVideo, VideoInfo, probe_file, read_file
from streamer.source.hardware import check_device
from streamer.track.keys import recorded_keys, split_keys
from streamer.values import EndReason, ImpostorScores, Model, SourceEnd, TrackKey

AHEAD = 4  # decoded frames that may wait for the detector

log = logging.getLogger(__name__)


class Analysis:
    """Analyses videos one after the other with one detector and one set of workers."""

    def __init__(
        self,
        config: StreamerConfig,
        worker: WorkerOptions | None,
        embeddings: bool = False,
        explain: bool = False,
        video_stream: int | None = None,
        annotate: str | None = None,
    ) -> None:
        """`worker` is started as a child process; None: workers connect to `dispatch.bind` by themselves.

        `embeddings`: also write the identity templates of the tracks. `explain`: also write why each face was analysed
        or not. `video_stream`: which one of a file, from 0; None: the one that players show. `annotate`: quality of the
        annotated video, one of QUALITIES; None: there is none.
        """
        self._config = config
        self._embeddings = embeddings
        self._explain = explain
        self._video_stream = video_stream
        self._annotate = annotate
        self._worker = worker
        self._stop = Event()
        self._writer: ResultWriter | None = None
        self._dispatcher: Dispatcher | None = None
        self._gallery: tuple[EnrolledGallery, ImpostorScores, dict[str, Any]] | None = None  # and its header fields

    def stop(self) -> None:
        """Make `run` finish the frames in progress and return; the files hold the results so far."""
        self._stop.set()
        if self._dispatcher is not None:
            wait_s = self._config.drain_s if self._writer is not None else 0
            asyncio.get_running_loop().call_later(wait_s, self._dispatcher.give_up)

    async def run(
        self, videos: Sequence[tuple[Path, Path]], progress: Callable[[VideoInfo, VideoResult], None]
    ) -> list[VideoResult]:
        """Analyse each (video, folder) and write the results into that folder. `progress` is called after each frame.

        Outputs of an earlier run in a folder are removed when its video begins. The result of a video that cannot be
        read has its `problem` set, and the other videos go on. Raises ConfigError, ModelError, LostDependency, or an
        ExceptionGroup of the exceptions of the parts.
        """
        refuse_to_remove(videos)
        results = [VideoResult(video, out) for video, out in videos]
        device = self._config.sources.decode_device
        check_device(device)
        probe = partial(_probe, device=device, video_stream=self._video_stream)
        infos = [await asyncio.to_thread(probe, result) for result in results]  # before the slow parts start
        readable = [(result, info) for result, info in zip(results, infos, strict=True) if info is not None]
        if readable:
            await self._analyse_all(readable, progress)
        return results

    async def _analyse_all(
        self, videos: Sequence[tuple[VideoResult, VideoInfo]], progress: Callable[[VideoInfo, VideoResult], None]
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="faceanalytics-") as folder:
            bind = f"ipc://{folder}/workers" if self._worker else self._config.dispatch.bind
            dispatch = self._config.dispatch.model_copy(update={"bind": bind})
            stuck: asyncio.Queue[str] = asyncio.Queue()
            dispatcher = Dispatcher(dispatch, on_stuck=stuck.put_nowait, min_batch=dispatch.batch, keep_model=True)
            self._dispatcher = dispatcher
            try:
                async with asyncio.TaskGroup() as group:
                    wire = group.create_task(dispatcher.run())
                    child = group.create_task(run_worker(self._worker, bind, stuck)) if self._worker else None
                    # the worker loads in the meantime
                    detector = await in_thread("detect", partial(Detector, self._config.detect), stop=lambda: None)
                    await self._enrol(detector, dispatcher)
                    for result, info in videos:
                        if self._stop.is_set():
                            result.problem = f"{result.video}: stopped before it began"
                            continue
                        await self._analyse(result, partial(progress, info, result), info, detector, dispatcher)
                    if child is not None:
                        child.cancel()
                        await asyncio.wait([child])
                    wire.cancel()
            finally:
                dispatcher.close()

    async def _enrol(self, detector: Detector, dispatcher: Dispatcher) -> None:
        """Read the gallery, if one is configured, and embed it. Raises ConfigError, InputError, LostDependency."""
        config = self._config
        read = partial(read_gallery, config, detector, self._stop.is_set)
        people, strangers = await in_thread("gallery", read, stop=self._stop.set)
        if not people:
            return
        analyse = partial(dispatcher.analyse, priority=Priority.ENROLMENT)
        found = await embed([*people, *strangers], analyse, dispatcher.wait_for_worker, self._stop.is_set)
        if found is None:
            return
        model, images = found
        gallery, impostors = enrolled(config, model, images[: len(people)], images[len(people) :])
        self._gallery = gallery, impostors, gallery_record(config.gallery, gallery, [*people, *strangers])

    async def _analyse(
        self,
        result: VideoResult,
        on_frame: Callable[[], None],
        info: VideoInfo,
        detector: Detector,
        dispatcher: Dispatcher,
    ) -> None:
        video, out = result.video, result.folder
        try:
            content_hash = await asyncio.to_thread(hash_file, video, self._stop.is_set)
        except InputError as error:
            result.problem = str(error)
            return
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--out: cannot make the folder {out}: {error.strerror}") from error
        if not dispatcher.models:
            log.info("waiting for a worker at %s", dispatcher.endpoint)
        model = await dispatcher.wait_for_worker()
        if model is None:
            result.problem = f"{result.video}: stopped before it began"
            return
        if self._embeddings and not model.identity:
            raise ConfigError(
                f"--embeddings: the weights {model.id} were not trained for identity and give no embeddings"
            )
        header = {
            "type": "header",
            "schema_version": SCHEMA_VERSION,
            "source": source_record(printable(video.name), content_hash, info),
            "time_base": time_base_record(result.read.time_base),
            "detector": detector.model_id,
            **model_record(model),
            "gallery": self._gallery[2] if self._gallery else None,
            "config_hash": config_hash(self._config),
        }
        header = identified(header, embeddings=self._embeddings, explain=self._explain)
        with run_files(out, header, self._explain) as files:
            size = info.width, info.height
            explanation = Explanation(files.explanation, size) if files.explanation is not None else None
            persons = self._persons(model, split_keys(recorded_keys(content_hash)))
            drawing = self._drawing(result, info, header)
            lines = files.tracks, files.observations
            writer = ResultWriter(persons, *lines, result, on_frame, size, explanation, drawing)
            self._writer = writer
            observer = Observer(self._config, detector, recorded_keys(content_hash))
            observer.set_workers({model: 1})
            async with drawing.running() if drawing is not None else nullcontext():
                await self._run_stages(video, observer, dispatcher, writer, result)
            result.not_drawn = drawing.problem if drawing is not None else ""
            writer.close()
            time_base = time_base_record(result.read.time_base)
            if time_base != header["time_base"]:  # that is known at the end only
                files.replace_headers({**header, "time_base": time_base})
            files.finish(result.counts(), writer.templates if self._embeddings else None)

    def _drawing(self, result: VideoResult, info: VideoInfo, header: dict[str, Any]) -> Drawing | None:
        """Make what draws the annotated video of one recording, if it is wanted."""
        if self._annotate is None:
            return None
        comment = run_comment(header["run_id"], header["source"]["sha256"])
        notice = UNTRAINED if header["model_id"] == "untrained" else ""
        drawn = Drawn(result.video, info.video_stream, comment, notice, self._annotate)
        return Drawing(drawn, result.folder / ANNOTATED, self._explain)

    def _persons(self, model: Model, new_key: Callable[[TrackKey], TrackKey]) -> Persons:
        """Make the Persons of one video, with the gallery and the scores of strangers if there are any."""
        persons = Persons(self._config, new_key)
        impostors = model.impostors
        if self._gallery is not None:
            gallery, impostors, _ = self._gallery
            persons.use_gallery(gallery)
        if impostors is not None:
            persons.use_impostors(impostors, model.id)
        return persons

    async def _run_stages(
        self, video: Path, observer: Observer, dispatcher: Dispatcher, writer: ResultWriter, result: VideoResult
    ) -> None:
        """Run decoding, observation and dispatch until every frame is analysed and every crop is answered or lost."""
        frames, settings = BoundedQueue(AHEAD), self._config.dispatch
        analyse = partial(dispatcher.analyse, priority=Priority.RECORDED)
        async with asyncio.TaskGroup() as answers:
            batches = CropBatches(answers, analyse, writer.on_result, settings.batch, settings.max_waiting)
            deliver = Delivery(asyncio.get_running_loop(), partial(writer.accept, batches))
            async with asyncio.TaskGroup() as stages:
                stages.create_task(in_thread("decode", partial(self._decode, video, frames, result), frames.close))
                stages.create_task(in_thread("observe", partial(observe_all, observer, frames, deliver), deliver.close))
            await batches.seal()

    def _decode(self, video: Path, frames: BoundedQueue, result: VideoResult) -> None:
        """Put every frame and then the end of the source into `frames`: the decode thread."""
        reason = EndReason.END_OF_FILE
        try:
            device = self._config.sources.decode_device
            frames_read = read_file(
                video, video.stem, 0, device=device, video_stream=self._video_stream, report=result.read
            )
            for frame in frames_read:
                if self._stop.is_set():
                    reason = EndReason.SHUTDOWN
                    result.problem = f"{video}: stopped before its end"
                    break
                if not frames.put(frame):
                    return
        except TruncatedVideo as error:
            result.problem = str(error)
            log.warning("%s", error)
        frames.put(SourceEnd(video.stem, 0, reason))
        frames.close()


def _probe(result: VideoResult, device: str, video_stream: int | None) -> VideoInfo | None:
    """Return the properties of a video. None: it cannot be read, and `result.problem` gives the reason."""
    try:
        return probe_file(result.video, device=device, video_stream=video_stream)
    except InputError as error:
        result.problem = str(error)
        return None
