"""Analyses one video of a run, and writes its folder of results."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from faceanalytics.errors import InputError
from faceanalytics.files import hash_file
from faceanalytics.names import printable
from streamer.config import StreamerConfig
from streamer.configfile import config_hash
from streamer.detect.detector import Detector
from streamer.detect.mounted import MountedWatch
from streamer.detect.region import LimitedWatch
from streamer.detect.roll import RollNetwork
from streamer.dispatch.dispatcher import Dispatcher
from streamer.dispatch.ledger import Priority
from streamer.handover import BoundedQueue
from streamer.identity.identification import EnrolledGallery
from streamer.identity.persons import Persons
from streamer.lifecycle import Delivery, in_thread
from streamer.observe import Observer, observe_all
from streamer.privacy import Mode
from streamer.recorded.annotate import Drawn, run_comment
from streamer.recorded.batches import CropBatches
from streamer.recorded.counted import elsewhere, write_counts
from streamer.recorded.drawing import Drawing
from streamer.recorded.earlier import Plan, claimed, finished, header_of, plan
from streamer.recorded.explain import Explanation
from streamer.recorded.filenames import ANNOTATED, JOURNAL
from streamer.recorded.journal import Journal
from streamer.recorded.outputs import RunFiles, identified, removable, run_files, written
from streamer.recorded.part import Part
from streamer.recorded.people import at_least, find_people, recording
from streamer.recorded.reader import UNTRAINED
from streamer.recorded.recall import RecallingDetector, RecallingRolls, RecallingWorkers
from streamer.recorded.records import SCHEMA_VERSION, Record, model_record, source_record, time_base_record
from streamer.recorded.turns import Turn
from streamer.recorded.wall_clock import start_time_record
from streamer.recorded.writer import ResultWriter, VideoResult
from streamer.source.file import VideoInfo, chosen_stream, decode_file, probe_file
from streamer.source.picture import DecodedFrame, frame_of, preview_of
from streamer.track.keys import recorded_keys, split_keys
from streamer.values import (
    EndReason,
    Floats,
    ImpostorScores,
    Model,
    Observation,
    SourceEnd,
    TimeBase,
    TrackKey,
)

AHEAD = 4  # decoded frames that may wait for the detector

log = logging.getLogger(__name__)

OnFrame = Callable[[VideoInfo, VideoResult], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How videos are analysed, and which files are written; see Analysis."""

    embeddings: bool = False
    explain: bool = False
    video_stream: int | None = None
    start_time: datetime | None = None
    part: Part = field(default_factory=Part)
    overwrite: bool = False
    annotate: str | None = None


class Gallery(NamedTuple):
    """The people whom tracks are compared with, and the scores of strangers."""

    people: EnrolledGallery
    impostors: ImpostorScores
    record: Record  # for the header


@dataclass(frozen=True, slots=True)
class Shared:
    """What all videos of a run share."""

    config: StreamerConfig
    options: Options
    several: bool  # videos, whose people are compared at the end
    detector: Detector
    rolls: RollNetwork
    dispatcher: Dispatcher
    model: Model  # of the workers
    blank: Floats | None  # (512,) embedding of images without content; None: the weights lack embeddings
    gallery: Gallery | None
    stopped: Callable[[], bool]

    def probe(self, video: Path) -> VideoInfo:
        """Read the properties of a video. Raises InputError."""
        return probe_file(video, device=self.config.sources.decode_device, video_stream=self.options.video_stream)

    @property
    def keeps_templates(self) -> bool:
        """Return whether to write identity templates: of several videos too, whose people are compared by them."""
        several = self.several and self.config.privacy.mode is Mode.IDENTITY
        return self.options.embeddings or (several and self.model.identity)

    @property
    def impostors(self) -> ImpostorScores | None:
        """Return the scores of strangers, if there are any: those of the gallery's cohort, else of the weights."""
        return self.gallery.impostors if self.gallery is not None else self.model.impostors

    def persons(self, new_key: Callable[[TrackKey], TrackKey]) -> Persons:
        """Make the Persons of one video, with the gallery and the scores of strangers if there are any."""
        persons = Persons(self.config, new_key)
        if self.gallery is not None:
            persons.use_gallery(self.gallery.people)
        if self.impostors is not None:
            persons.use_impostors(self.impostors, self.model.id)
        if self.blank is not None:
            persons.use_blank(self.model.id, self.blank)
        return persons


class VideoAnalysis:
    """The analysis of one video."""

    def __init__(self, shared: Shared, result: VideoResult, on_begin: Callable[[], None], on_frame: OnFrame) -> None:
        """`on_begin` is called before the first frame, `on_frame` after each one."""
        self._shared = shared
        self._result = result
        self._on_begin = on_begin
        self._on_frame = on_frame
        self._out = result.folder  # of the counts, in the privacy mode aggregate_only

    async def run(self, turn: Turn) -> None:
        """Analyse the video. Raises InputError or ConfigError if there are no results, or a group with one."""
        if self._shared.config.privacy.mode is not Mode.AGGREGATE_ONLY:
            await self._run(turn)
            return
        async with elsewhere(self._result, self._shared.options.overwrite):
            await self._run(turn)

    async def _run(self, turn: Turn) -> None:
        result, options = self._result, self._shared.options
        video, out = result.video, result.folder
        # files that are not videos are refused before they are hashed
        stream = await asyncio.to_thread(chosen_stream, video, options.video_stream)
        content_hash = await asyncio.to_thread(hash_file, video, self._shared.stopped)
        if self._finished_before(content_hash, stream):
            return
        info = await asyncio.to_thread(self._shared.probe, video)
        options.part.check_region((info.width, info.height))
        result.expected = options.part.expected(info.length)
        source = source_record(printable(video.name), content_hash, info)
        header = self._header(source, start_time_record(options.start_time, info.creation_time))
        with claimed(out):
            go_on = plan(out, header, removable(out), options.overwrite) is Plan.GO_ON
            self._on_begin()
            with (
                run_files(out, header, options.explain, kept=[JOURNAL] if go_on else []) as files,
                Journal(out / JOURNAL, header, go_on) as journal,
            ):
                if go_on:
                    log.info("%s: goes on with an unfinished analysis: %s", out, journal.kept_words())
                writer = self._writer(info, header, files)
                drawing = self._drawing(info, header)
                observer = self._observer(journal, content_hash)
                async with drawing.running() if drawing is not None else nullcontext():
                    writer.draw(drawing)
                    await self._run_stages(observer, journal, writer, turn)
                result.not_drawn = drawing.problem if drawing is not None else ""
                if not result.frames:
                    raise InputError(result.problem or f"{video}: {options.part.nothing()}")
                await self._finish(header, files, writer)
            if not result.resumable:
                journal.remove()

    def _writer(self, info: VideoInfo, header: Record, files: RunFiles) -> ResultWriter:
        size = info.width, info.height
        explanation = Explanation(files.explanation, size) if files.explanation is not None else None
        persons = self._shared.persons(split_keys(recorded_keys(header["source"]["sha256"])))
        on_frame = partial(self._on_frame, info, self._result)
        lines = files.tracks, files.observations
        return ResultWriter(persons, *lines, self._result, on_frame, size, explanation, files.shots)

    def _observer(self, journal: Journal, content_hash: str) -> Observer:
        shared, part = self._shared, self._shared.options.part
        watch = MountedWatch(RecallingDetector(shared.detector, journal), RecallingRolls(shared.rolls, journal))
        limited = LimitedWatch(watch, part.region, part.min_face_px)
        observer = Observer(shared.config, limited, recorded_keys(content_hash))
        observer.set_workers({shared.model: 1})
        return observer

    def _drawing(self, info: VideoInfo, header: Record) -> Drawing | None:
        """Make what draws the annotated video, if it is wanted."""
        options = self._shared.options
        if options.annotate is None:
            return None
        comment = run_comment(header["run_id"], header["source"]["sha256"])
        notice = UNTRAINED if header["model_id"] == "untrained" else ""
        drawn = Drawn(self._result.video, info.video_stream, comment, notice, options.annotate)
        return Drawing(drawn, self._result.folder / ANNOTATED, options.explain)

    async def _finish(self, header: Record, files: RunFiles, writer: ResultWriter) -> None:
        """Write what is known at the end of a video only: its last tracks, its people and its counts."""
        result, impostors = self._result, self._shared.impostors
        writer.close()
        if self._shared.config.privacy.mode is Mode.AGGREGATE_ONLY:
            result.ended = writer.ended
            write_counts(self._out, self._shared.config, header, result)
        time_base = time_base_record(result.read.time_base)
        if time_base != header["time_base"]:
            files.replace_headers({**header, "time_base": time_base})
        found = await asyncio.to_thread(find_people, writer.ended, writer.presence, self._shared.config, impostors)
        result.recording = recording(result.folder, header, found, impostors)
        result.people = at_least(result.recording.people)
        for person in result.recording.people:
            files.people.write(person)
        files.finish(result.counts(), writer.ended if self._shared.keeps_templates else None, impostors)

    def _finished_before(self, content_hash: str, stream: int) -> bool:
        """Return whether the folder has all results of this very analysis; then take over their counts."""
        options, folder = self._shared.options, self._result.folder
        earlier = header_of(folder)
        if options.overwrite or earlier is None:
            return False
        source, start = earlier["source"], start_time_record(options.start_time, None)
        if (source.get("sha256"), source.get("video_stream")) != (content_hash, stream):
            return False
        if options.start_time is None and earlier.get("start_time_source") == "file":  # of the same content
            start = {name: earlier.get(name) for name in start}
        run_id = self._header(source, start)["run_id"]
        summary = finished(folder, run_id, written(options.explain, self._shared.keeps_templates))
        if summary is None:
            return False
        self._result.take_over(summary)
        return True

    def _header(self, source: Record, start: Record) -> Record:
        """Return the header of all files: `source` follows from the content of the video, `start` is when it began."""
        shared, options = self._shared, self._shared.options
        header = {
            "type": "header",
            "schema_version": SCHEMA_VERSION,
            "source": source,
            "time_base": time_base_record(TimeBase()),
            **start,
            "part": options.part.record(),
            "detector": shared.detector.model_id,
            **model_record(shared.model),
            "gallery": shared.gallery.record if shared.gallery else None,
            "config_hash": config_hash(shared.config),
        }
        return identified(header, embeddings=options.embeddings, explain=options.explain)

    async def _run_stages(self, observer: Observer, journal: Journal, writer: ResultWriter, turn: Turn) -> None:
        """Run decoding, observation and dispatch until every frame is analysed and every crop is answered or lost.

        Raises InputError if no frame could be analysed.
        """
        shared, frames = self._shared, BoundedQueue(AHEAD)
        settings = shared.config.dispatch
        with_embeddings = shared.config.privacy.mode is not Mode.AGGREGATE_ONLY
        analyse = partial(shared.dispatcher.analyse, priority=Priority.RECORDED, with_embeddings=with_embeddings)
        workers = RecallingWorkers(analyse, journal, shared.model)
        async with asyncio.TaskGroup() as answers:
            batches = CropBatches(answers, workers.analyse, writer.on_result, settings.batch, settings.max_waiting)
            deliver = Delivery(asyncio.get_running_loop(), partial(writer.accept, batches))

            def observed(observation: Observation) -> None:
                self._result.recalled += journal.recalls
                deliver(observation)

            async def observe() -> None:
                await turn.come()
                work = partial(deliver.all_of, partial(observe_all, observer, frames, observed))
                await in_thread("observe", work, deliver.close)

            async with asyncio.TaskGroup() as stages:
                stages.create_task(in_thread("decode", partial(self._decode, frames), frames.close))
                stages.create_task(observe())
            turn.over.set()
            await batches.seal()

    def _decode(self, frames: BoundedQueue) -> None:
        """Put every frame and then the end of the source into `frames`: the decode thread."""
        result, options = self._result, self._shared.options
        video, reason = result.video, EndReason.END_OF_FILE
        try:
            decoded = decode_file(
                video,
                video.stem,
                device=self._shared.config.sources.decode_device,
                video_stream=options.video_stream,
                report=result.read,
            )
            handed_over = frame_of if self._shared.config.detect.attention.every_frame else preview_of
            for one in options.part.frames(self._until_stopped(decoded)):
                picture = handed_over(one, video.stem, 0)
                if picture is not None and not frames.put(picture):
                    return
            if result.stopped:
                reason = EndReason.SHUTDOWN
        except InputError as error:  # what was read before is analysed
            result.problem = str(error)
            log.warning("%s", error)
        frames.put(SourceEnd(video.stem, 0, reason))
        frames.close()

    def _until_stopped(self, decoded: Iterable[DecodedFrame]) -> Iterator[DecodedFrame]:
        result = self._result
        for frame in decoded:
            if self._shared.stopped():
                result.problem, result.stopped = f"{result.video}: stopped before its end", True
                return
            yield frame
