"""Analyses video files through the stages of the live streamer, but waits instead of dropping frames or crops.

Each video gets a folder of results, see filenames.py. Answers are processed in the order of
the frames, whatever order they arrive in, so two runs over the same file write the same bytes. A run that was killed
goes on by its journal, see journal.py.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import hash_file
from faceanalytics.names import printable
from faceanalytics.scratch import scratch_folder
from streamer.config import StreamerConfig
from streamer.configfile import config_hash
from streamer.detect.detector import Detector
from streamer.detect.mounted import MountedWatch
from streamer.detect.region import LimitedWatch
from streamer.detect.roll import RollNetwork
from streamer.dispatch.dispatcher import Dispatcher
from streamer.dispatch.ledger import Priority
from streamer.dispatch.worker_process import WorkerOptions, run_worker
from streamer.handover import BoundedQueue
from streamer.identity.blank import blank_embedding
from streamer.identity.enrolment import embed, enrolled, gallery_record, read_gallery
from streamer.identity.identification import EnrolledGallery
from streamer.identity.persons import Persons
from streamer.lifecycle import Delivery, in_thread
from streamer.observe import Observer, observe_all
from streamer.recorded.annotate import Drawn, run_comment
from streamer.recorded.batches import CropBatches
from streamer.recorded.drawing import Drawing
from streamer.recorded.earlier import Plan, claimed, finished, header_of, plan
from streamer.recorded.explain import Explanation
from streamer.recorded.filenames import ANNOTATED, JOURNAL
from streamer.recorded.journal import Journal
from streamer.recorded.outputs import RunFiles, identified, refuse_to_remove, removable, run_files, written
from streamer.recorded.part import Part
from streamer.recorded.people import find_people, recording
from streamer.recorded.reader import UNTRAINED
from streamer.recorded.recall import RecallingDetector, RecallingRolls, RecallingWorkers
from streamer.recorded.records import SCHEMA_VERSION, Record, model_record, source_record, time_base_record
from streamer.recorded.turns import Turn, in_turns
from streamer.recorded.wall_clock import start_time_record
from streamer.recorded.writer import ResultWriter, VideoResult
from streamer.source.file import VideoInfo, chosen_stream, probe_file, read_file
from streamer.source.hardware import check_device
from streamer.source.picture import DecodedFrame
from streamer.track.keys import recorded_keys, split_keys
from streamer.values import EndReason, Floats, ImpostorScores, Model, Observation, SourceEnd, TimeBase, TrackKey

AHEAD = 4  # decoded frames that may wait for the detector

log = logging.getLogger(__name__)

OnFrame = Callable[[VideoInfo, VideoResult], None]
OnEnd = Callable[[VideoResult], None]


@dataclass(frozen=True, slots=True)
class _Models:
    """What all videos share."""

    detector: Detector
    rolls: RollNetwork
    dispatcher: Dispatcher
    model: Model  # of the workers
    blank: Floats | None  # (512,) embedding of images without content; None: the weights lack embeddings


class Analysis:
    """Analyses videos with one detector and one set of workers, which go from one video to the next without a pause."""

    def __init__(
        self,
        config: StreamerConfig,
        worker: WorkerOptions | None,
        *,
        embeddings: bool = False,
        explain: bool = False,
        video_stream: int | None = None,
        start_time: datetime | None = None,
        part: Part | None = None,
        overwrite: bool = False,
        annotate: str | None = None,
    ) -> None:
        """`worker` is started as a child process; None: workers connect to `dispatch.bind` by themselves.

        `embeddings`: write the identity templates of the tracks also if there is only one video. `explain`: also write
        why each face was analysed or not. `video_stream`: which one of a file, from 0; None: the one that players show.
        `start_time`: when the first frame was taken; None: when the file says that it was created, if it does. `part`:
        of each video; None: all of it. `overwrite`: replace the results that a folder has, else go on with them or
        refuse it. `annotate`: quality of the annotated video, one of QUALITIES; None: there is no annotated video.
        """
        self._config = config
        self._embeddings = embeddings
        self._explain = explain
        self._video_stream = video_stream
        self._part = part or Part()
        self._overwrite = overwrite
        self._start_time = start_time
        self._annotate = annotate
        self._worker = worker
        self._stop = Event()
        self._begun = False  # a video is being analysed
        self._several = False  # videos, whose people are compared at the end
        self._dispatcher: Dispatcher | None = None
        self._gallery: tuple[EnrolledGallery, ImpostorScores, Record] | None = None  # and its header fields

    def stop(self) -> None:
        """Make `run` finish the frames in progress and return; the files hold the results so far, and can go on."""
        self._stop.set()
        if self._dispatcher is not None:
            wait_s = self._config.drain_s if self._begun else 0
            asyncio.get_running_loop().call_later(wait_s, self._dispatcher.give_up)

    async def run(
        self, videos: Sequence[tuple[Path, Path]], progress: OnFrame, ended: OnEnd = lambda _: None
    ) -> list[VideoResult]:
        """Analyse each (video, folder) and write the results into that folder.

        `progress` is called after each frame, `ended` after each video. A video that cannot be analysed, or whose
        folder holds results of another analysis, has its `problem` and `failure` set, and the other videos go on.
        Raises ConfigError, ModelError, LostDependency, or an ExceptionGroup of the exceptions of the parts.
        """
        refuse_to_remove(videos)
        self._several = len(videos) > 1
        if self._start_time is not None and self._several:
            raise ConfigError("--start-time: it is that of one video; analyse the videos one at a time")
        self._part.check(self._config.track)
        check_device(self._config.sources.decode_device)
        results = [VideoResult(video, out) for video, out in videos]
        for place, result in enumerate(results):  # the slow parts start when there is something to analyse
            if await self._is_readable(result):
                await self._analyse_all(results[place:], progress, ended)
                break
            ended(result)
        return results

    async def _is_readable(self, result: VideoResult) -> bool:
        try:
            await asyncio.to_thread(self._probe, result)
        except InputError as error:
            result.fail(error)
            return False
        return True

    def _probe(self, result: VideoResult) -> VideoInfo:
        device = self._config.sources.decode_device
        return probe_file(result.video, device=device, video_stream=self._video_stream)

    async def _analyse_all(self, results: Sequence[VideoResult], progress: OnFrame, ended: OnEnd) -> None:
        with scratch_folder() as folder:
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
                    models = await self._models(detector, dispatcher)
                    analyse = partial(self._analyse, progress, models)
                    await in_turns(results, analyse, ended, self._stop.is_set)
                    if child is not None:
                        child.cancel()
                        await asyncio.wait([child])
                    wire.cancel()
            finally:
                dispatcher.close()

    async def _models(self, detector: Detector, dispatcher: Dispatcher) -> _Models | None:
        """Wait for the model of the workers. None: the run is stopped. Raises ConfigError."""
        if not dispatcher.models:
            log.info("waiting for a worker at %s", dispatcher.endpoint)
        model = await dispatcher.wait_for_worker()
        if model is None:
            return None
        if self._embeddings and not model.identity:
            raise ConfigError(
                f"--embeddings: the weights {model.id} were not trained for identity and give no embeddings"
            )
        blank = await blank_embedding(model, partial(dispatcher.analyse, priority=Priority.RECORDED))
        return _Models(detector, RollNetwork(), dispatcher, model, blank)

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

    async def _analyse(self, progress: OnFrame, models: _Models | None, result: VideoResult, turn: Turn) -> None:
        """Analyse one video. Raises InputError or ConfigError if there are no results, or a group with one."""
        assert models is not None  # else the run is stopped
        video, out, model = result.video, result.folder, models.model
        # files that are not videos are refused before they are hashed
        stream = await asyncio.to_thread(chosen_stream, video, self._video_stream)
        content_hash = await asyncio.to_thread(hash_file, video, self._stop.is_set)
        if self._finished_before(result, models, content_hash, stream):
            return
        info = await asyncio.to_thread(self._probe, result)
        self._part.check_region((info.width, info.height))
        result.expected = self._part.expected(info.length)
        source = source_record(printable(video.name), content_hash, info)
        header = self._header(models, source, start_time_record(self._start_time, info.creation_time))
        with claimed(out):
            go_on = plan(out, header, removable(out), self._overwrite) is Plan.GO_ON
            self._begun = True
            with (
                run_files(out, header, self._explain, kept=[JOURNAL] if go_on else []) as files,
                Journal(out / JOURNAL, header, go_on) as journal,
            ):
                if go_on:
                    log.info("%s: goes on with an unfinished analysis: %s", out, journal.kept_words())
                writer = self._writer(result, info, header, models, files, partial(progress, info, result))
                drawing = self._drawing(result, info, header)
                observer = self._observer(models, journal, content_hash)
                async with drawing.running() if drawing is not None else nullcontext():
                    writer.draw(drawing)
                    await self._run_stages(result, observer, models, journal, writer, turn)
                result.not_drawn = drawing.problem if drawing is not None else ""
                if not result.frames:
                    raise InputError(result.problem or f"{video}: {self._part.nothing()}")
                await self._finish(result, header, files, writer, model)
            if not result.resumable:
                journal.remove()

    def _writer(
        self,
        result: VideoResult,
        info: VideoInfo,
        header: Record,
        models: _Models,
        files: RunFiles,
        on_frame: Callable[[], None],
    ) -> ResultWriter:
        size = info.width, info.height
        explanation = Explanation(files.explanation, size) if files.explanation is not None else None
        persons = self._persons(models, split_keys(recorded_keys(header["source"]["sha256"])))
        return ResultWriter(persons, files.tracks, files.observations, result, on_frame, size, explanation, files.shots)

    def _observer(self, models: _Models, journal: Journal, content_hash: str) -> Observer:
        watch = MountedWatch(RecallingDetector(models.detector, journal), RecallingRolls(models.rolls, journal))
        limited = LimitedWatch(watch, self._part.region, self._part.min_face_px)
        observer = Observer(self._config, limited, recorded_keys(content_hash))
        observer.set_workers({models.model: 1})
        return observer

    def _drawing(self, result: VideoResult, info: VideoInfo, header: Record) -> Drawing | None:
        """Make what draws the annotated video of one recording, if it is wanted."""
        if self._annotate is None:
            return None
        comment = run_comment(header["run_id"], header["source"]["sha256"])
        notice = UNTRAINED if header["model_id"] == "untrained" else ""
        drawn = Drawn(result.video, info.video_stream, comment, notice, self._annotate)
        return Drawing(drawn, result.folder / ANNOTATED, self._explain)

    async def _finish(
        self,
        result: VideoResult,
        header: Record,
        files: RunFiles,
        writer: ResultWriter,
        model: Model,
    ) -> None:
        """Write what is known at the end of a video only: its last tracks, its people and its counts."""
        impostors = self._impostors(model)
        writer.close()
        time_base = time_base_record(result.read.time_base)
        if time_base != header["time_base"]:
            files.replace_headers({**header, "time_base": time_base})
        found = await asyncio.to_thread(find_people, writer.ended, writer.presence, self._config, impostors)
        result.recording = recording(result.folder, header, found, impostors)
        result.people = len(result.recording.people)
        for person in result.recording.people:
            files.people.write(person)
        files.finish(result.counts(), writer.ended if self._keeps_templates(model) else None, impostors)

    def _finished_before(self, result: VideoResult, models: _Models, content_hash: str, stream: int) -> bool:
        """Return whether the folder has all results of this very analysis; then take over their counts."""
        earlier = header_of(result.folder)
        if self._overwrite or earlier is None:
            return False
        source, start = earlier["source"], start_time_record(self._start_time, None)
        if (source.get("sha256"), source.get("video_stream")) != (content_hash, stream):
            return False
        if self._start_time is None and earlier.get("start_time_source") == "file":  # of the same content
            start = {name: earlier.get(name) for name in start}
        header = self._header(models, source, start)
        summary = finished(result.folder, header["run_id"], written(self._explain, self._keeps_templates(models.model)))
        if summary is None:
            return False
        result.take_over(summary)
        return True

    def _keeps_templates(self, model: Model) -> bool:
        """Return whether to write identity templates: of several videos too, whose people are compared by them."""
        return self._embeddings or (self._several and model.identity)

    def _header(self, models: _Models, source: Record, start: Record) -> Record:
        """Return the header of all files of a video: `source` follows from its content, `start` is when it began."""
        header = {
            "type": "header",
            "schema_version": SCHEMA_VERSION,
            "source": source,
            "time_base": time_base_record(TimeBase()),
            **start,
            "part": self._part.record(),
            "detector": models.detector.model_id,
            **model_record(models.model),
            "gallery": self._gallery[2] if self._gallery else None,
            "config_hash": config_hash(self._config),
        }
        return identified(header, embeddings=self._embeddings, explain=self._explain)

    def _persons(self, models: _Models, new_key: Callable[[TrackKey], TrackKey]) -> Persons:
        """Make the Persons of one video, with the gallery and the scores of strangers if there are any."""
        persons = Persons(self._config, new_key)
        if self._gallery is not None:
            persons.use_gallery(self._gallery[0])
        impostors = self._impostors(models.model)
        if impostors is not None:
            persons.use_impostors(impostors, models.model.id)
        if models.blank is not None:
            persons.use_blank(models.model.id, models.blank)
        return persons

    def _impostors(self, model: Model) -> ImpostorScores | None:
        """Return the scores of strangers, if there are any: those of the gallery's cohort, else of the weights."""
        return self._gallery[1] if self._gallery is not None else model.impostors

    async def _run_stages(
        self,
        result: VideoResult,
        observer: Observer,
        models: _Models,
        journal: Journal,
        writer: ResultWriter,
        turn: Turn,
    ) -> None:
        """Run decoding, observation and dispatch until every frame is analysed and every crop is answered or lost.

        Raises InputError if no frame could be analysed.
        """
        frames, settings = BoundedQueue(AHEAD), self._config.dispatch
        workers = RecallingWorkers(
            partial(models.dispatcher.analyse, priority=Priority.RECORDED), journal, models.model
        )
        async with asyncio.TaskGroup() as answers:
            batches = CropBatches(answers, workers.analyse, writer.on_result, settings.batch, settings.max_waiting)
            deliver = Delivery(asyncio.get_running_loop(), partial(writer.accept, batches))

            def observed(observation: Observation) -> None:
                result.recalled += journal.recalls
                deliver(observation)

            async def observe() -> None:
                await turn.come()
                await in_thread("observe", partial(observe_all, observer, frames, observed), deliver.close)

            async with asyncio.TaskGroup() as stages:
                stages.create_task(in_thread("decode", partial(self._decode, frames, result), frames.close))
                stages.create_task(observe())
            turn.over.set()
            await batches.seal()

    def _decode(self, frames: BoundedQueue, result: VideoResult) -> None:
        """Put every frame and then the end of the source into `frames`: the decode thread."""
        video, reason = result.video, EndReason.END_OF_FILE
        try:
            frames_read = read_file(
                video,
                video.stem,
                0,
                device=self._config.sources.decode_device,
                video_stream=self._video_stream,
                report=result.read,
                choose=lambda decoded: self._part.frames(self._until_stopped(result, decoded)),
            )
            for frame in frames_read:
                if not frames.put(frame):
                    return
            if result.stopped:
                reason = EndReason.SHUTDOWN
        except InputError as error:  # what was read before is analysed
            result.problem = str(error)
            log.warning("%s", error)
        frames.put(SourceEnd(video.stem, 0, reason))
        frames.close()

    def _until_stopped(self, result: VideoResult, decoded: Iterable[DecodedFrame]) -> Iterator[DecodedFrame]:
        for frame in decoded:
            if self._stop.is_set():
                result.problem, result.stopped = f"{result.video}: stopped before its end", True
                return
            yield frame
