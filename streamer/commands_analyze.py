"""The command `streamer analyze`: many videos in one run, their progress, and what became of each."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Thread

from faceanalytics.commandline import LOG_LEVEL, complain, number_of
from faceanalytics.errors import PARTIAL_RESULT, ConfigError, InputError, UserError
from faceanalytics.extras import require
from faceanalytics.files import write_json
from faceanalytics.names import printable
from faceanalytics.run_progress import Form, RunProgress
from faceanalytics.scratch import scratch_folder
from streamer.commands_people import refuse_to_replace, write_people
from streamer.commands_results import exports
from streamer.config import StreamerConfig
from streamer.configfile import with_attention
from streamer.dispatch.worker_process import WORKER_PACKAGES, WorkerOptions
from streamer.privacy import Mode
from streamer.recorded.analysis import Analysis
from streamer.recorded.counted import check_mode
from streamer.recorded.export import Exports, export
from streamer.recorded.filenames import ANNOTATED, PEOPLE, REPORT
from streamer.recorded.part import Part
from streamer.recorded.report.report import write_report
from streamer.recorded.wall_clock import parse_start_time
from streamer.recorded.writer import VideoResult
from streamer.source.file import VideoInfo, stated_length
from streamer.tools.inputs import Input, fetch, find_inputs

log = logging.getLogger(__name__)

RUN = "run.json"  # what became of each video of a run over several


@dataclass(slots=True)
class _Item:
    """One video of the run."""

    video: Input
    path: Path | None = None  # the file; None: it could not be fetched
    result: VideoResult | None = None
    problem: str = ""  # why it could not be fetched
    unmade: list[str] = field(default_factory=list)  # files beside the results that could not be made
    failure: int = 0  # exit code for problem and unmade
    stopped: bool = False  # before it was fetched

    @property
    def status(self) -> str:
        result = self.result
        if result is None or not result.frames:
            return "stopped" if self.stopped or (result is not None and result.stopped) else "failed"
        return "stopped" if result.stopped else "complete" if result.whole else "incomplete"

    @property
    def problems(self) -> list[str]:
        """What is wrong, under the name of the video, which is not that of its file if it was fetched."""
        said = [self.problem] if self.problem else []
        said += [f"{self.video.name}: {what} could not be made" for what in self.unmade]
        result = self.result
        if result is None:
            return said
        if result.problem:
            said.insert(0, result.problem.replace(str(result.video), self.video.name))
        if result.read.dropped:
            said.append(f"{self.video.name}: {result.dropped_frames()}")
        if result.lost_crops:
            said.append(f"{self.video.name}: no worker answered for {result.lost_crops} crops")
        return said

    def note(self, what: str, failure: int) -> None:
        """Note the exit code (0: success) of making a file beside the results."""
        if failure:
            self.unmade.append(what)
            self.failure = failure


def analyze(arguments: argparse.Namespace, config: StreamerConfig) -> int:
    """Analyse the videos that the arguments name. Returns the exit code."""
    from streamer.commands import until_signal

    if arguments.quiet:
        logging.getLogger().setLevel(logging.WARNING)
        os.environ[LOG_LEVEL] = "warning"  # of the worker
    wanted = exports(arguments)
    config = with_attention(config, arguments.effort, arguments.detect_fps)
    worker = None
    if not arguments.external_workers:
        require("worker", *WORKER_PACKAGES, use="a worker of its own", hint=" (or use --external-workers)")
        worker = WorkerOptions(arguments.weights, arguments.device, config.dispatch.batch)
    times = arguments.start or 0.0, arguments.end, arguments.sample_fps
    part = Part(*times, arguments.region, arguments.min_face or 0.0)
    start_time = None if arguments.start_time is None else parse_start_time(arguments.start_time)
    quality = annotate_quality(arguments)
    analysis = Analysis(
        config,
        worker,
        embeddings=arguments.embeddings,
        explain=arguments.explain,
        video_stream=arguments.video_stream,
        start_time=start_time,
        part=part,
        overwrite=arguments.overwrite,
        annotate=quality,
    )
    made = {"--report": bool(arguments.report), "the files for other programs": bool(wanted)}
    check_mode(config, made)
    inputs = find_inputs(arguments.videos, arguments.out, arguments.allow_url, arguments.allow_lists)
    if len(inputs) > 1:
        refuse_to_replace(arguments.out / PEOPLE)
    items = [_Item(one) for one in inputs]
    stopping = Event()

    def stop() -> None:
        stopping.set()
        analysis.stop()

    making = _Making(arguments, wanted, stopping.is_set)
    form: Form = "none" if arguments.quiet and arguments.progress == "auto" else arguments.progress
    with scratch_folder() as spool, RunProgress([one.name for one in inputs], form) as progress:

        async def run() -> None:
            await _fetch(items, spool, progress, stopping.is_set)
            async with making.running():
                await _run(items, analysis, part, progress, making)

        _, code = until_signal(run, stop)
        across = 0
        if len(items) > 1 and config.privacy.mode is Mode.IDENTITY:
            found = [item.result for item in items if item.result]
            across = write_people(found, arguments.out, config.people, arguments.quiet)
        code = code or _exit_code(items) or across
        progress.finished(code)
    _write_run(items, arguments.out)
    _report(items, arguments.quiet)
    return code


class _Making:
    """Makes the other files of each video's results while the next videos are analysed, also of finished results."""

    def __init__(self, arguments: argparse.Namespace, wanted: Exports, stopped: Callable[[], bool]) -> None:
        self._wanted, self.stopped = wanted, stopped
        self._quality, self._explain = annotate_quality(arguments), arguments.explain
        self._report = arguments.report
        self._items: asyncio.Queue[_Item | None] = asyncio.Queue()  # None: there are no more

    def add(self, item: _Item) -> None:
        """Take in a video whose results are written."""
        self._items.put_nowait(item)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work during the body of the `async with`, and finish at its end; after an exception give up."""
        work = asyncio.create_task(self._work())
        try:
            yield
            self._items.put_nowait(None)
            await work
        finally:
            work.cancel()

    async def _work(self) -> None:
        while (item := await self._items.get()) is not None:
            if item.result is not None and item.result.frames:
                await self._make(item, item.result)

    async def _make(self, item: _Item, result: VideoResult) -> None:
        folder, before = result.folder, result.finished_before
        annotated, page = folder / ANNOTATED, folder / REPORT
        made = not before
        if result.not_drawn:
            item.note(ANNOTATED, complain("streamer", ConfigError(result.not_drawn)))
        if self._quality and before and not annotated.exists() and not self.stopped():
            drawing = draw(result.video, folder, annotated, self.stopped, self._quality, self._explain)
            item.note(ANNOTATED, (await drawing)[1])
            made = True
        wanted = self._wanted.without_pictures() if self.stopped() else self._wanted
        if wanted != self._wanted:
            log.info("%s: pictures are left out after a signal; start again to get them", folder)
        if wanted:
            make = partial(export, folder, wanted, result.video, temporary=item.video.kind != "file")
            item.note("the files for other programs", await _tried(make))
        if self._report and (made or not page.exists()):  # after a signal without another pass over the video
            pictures = not self.stopped()
            write = partial(write_report, [folder], page, [result.video], pictures=pictures, stopped=self.stopped)
            item.note(REPORT, await _tried(partial(write, link=False)))


async def _tried(work: Callable[[], object]) -> int:
    """Do some work in a thread and print what goes wrong. Returns an exit code."""
    try:
        await asyncio.to_thread(work)
    except UserError as error:
        return complain("streamer", error)
    return 0


async def _fetch(items: Sequence[_Item], spool: Path, progress: RunProgress, stopped: Callable[[], bool]) -> None:
    """Copy what is not a file on this machine, each into a folder of its own in `spool`."""
    for place, item in enumerate(items):
        try:
            if stopped():
                raise InputError(f"{item.video.name}: stopped before it began")
            item.path = await asyncio.to_thread(fetch, item.video, spool / str(place), stopped)
        except InputError as error:
            item.problem, item.failure, item.stopped = str(error), error.exit_code, stopped()
            _announce(progress, place, item)


async def _run(items: Sequence[_Item], analysis: Analysis, part: Part, progress: RunProgress, making: _Making) -> None:
    """Analyse all videos; what becomes of each is noted in its item."""
    places = {item.path: place for place, item in enumerate(items) if item.path is not None}
    Thread(target=_look_ahead, args=(places, part, progress, making.stopped), name="look-ahead", daemon=True).start()

    def on_frame(_: VideoInfo, result: VideoResult) -> None:
        progress.frame(places[result.video], result.frames, result.recalled, result.expected, result.media_time)

    def on_end(result: VideoResult) -> None:
        item = items[places[result.video]]
        item.result = result
        making.add(item)
        _announce(progress, places[result.video], item)

    await analysis.run([(path, items[place].video.folder) for path, place in places.items()], on_frame, on_end)


def _look_ahead(places: Mapping[Path, int], part: Part, progress: RunProgress, stopped: Callable[[], bool]) -> None:
    """Find out how long the videos are that have not begun, for the time that is left."""
    for path, place in places.items():
        if stopped():
            return
        try:
            progress.expect(place, part.expected(stated_length(path)))
        except InputError:  # the analysis reports it
            progress.expect(place, 0)


def _announce(progress: RunProgress, place: int, item: _Item) -> None:
    result = item.result
    counts = {} if result is None else {name: getattr(result, name) for name in ("frames", "tracks", "people", "crops")}
    before = result is not None and result.finished_before
    about = {"folder": printable(str(item.video.folder)), "problems": [printable(said) for said in item.problems]}
    progress.ended(place, item.status, **about, finished_before=before, **counts)


def annotate_quality(arguments: argparse.Namespace) -> str | None:
    """Return the quality of the annotated video; None: it is not asked for. Raises ConfigError."""
    if arguments.annotate_quality is not None and not arguments.annotate:
        raise ConfigError("--annotate-quality is for the video that --annotate writes")
    return (arguments.annotate_quality or "medium") if arguments.annotate else None


async def draw(
    video: Path, folder: Path, out: Path, stopped: Callable[[], bool], quality: str, explain: bool
) -> tuple[int, int]:
    """Annotate a video and print what goes wrong. Returns the number of frames written, and an exit code."""
    from streamer.recorded.annotate import annotate

    try:
        work = partial(annotate, video, folder, out, stopped, quality=quality, explain=explain)
        return await asyncio.to_thread(work), 0
    except UserError as error:
        return 0, complain("streamer", error)


def _exit_code(items: Sequence[_Item]) -> int:
    """Return 0 if all is complete, 5 if some results are valid, else the code of the errors if they have one code."""
    if all(item.status == "complete" and not item.failure for item in items):
        return 0
    codes = {item.failure or (item.result.failure if item.result else 0) for item in items}
    if any(item.status != "failed" for item in items) and (len(items) > 1 or codes == {0}):
        return PARTIAL_RESULT
    return codes.pop() if len(codes) == 1 and codes != {0} else InputError.exit_code


def _write_run(items: Sequence[_Item], out: Path) -> None:
    """Write what became of each video, unless the only one has its results in `out` itself."""
    if any(item.video.folder == out for item in items) or not out.is_dir():
        return
    videos = [
        {
            "name": printable(item.video.name),
            "folder": printable(str(item.video.folder.relative_to(out))),
            "status": item.status,
            "problems": [printable(said) for said in item.problems],
        }
        for item in items
    ]
    write_json(out / RUN, {"type": "run", "videos": videos})


def _report(items: Sequence[_Item], quiet: bool) -> None:
    """Print the outcome of each video, and at the end which ones have no results, and why."""
    for item in items:
        result = item.result
        if result is None or not result.frames:
            continue
        before = ", analysed before" if result.finished_before else ""
        counts = f"{number_of(result.frames, 'frame')}, {number_of(result.tracks, 'track')}, "
        counts += f"{number_of(result.people, 'person', 'people')}, {number_of(result.crops, 'crop')}"
        if not quiet:
            print(f"{item.video.name}: {counts} -> {result.folder}{before}")
        for said in item.problems:
            print(f"incomplete: {said}", file=sys.stderr)
    without = [item for item in items if item.status == "failed" or item.result is None or not item.result.frames]
    if len(items) > 1 and without:
        print(f"videos without results: {len(without)} of {len(items)}", file=sys.stderr)
    for item in without:
        for said in item.problems:
            print(said if len(items) == 1 else f"  {said}", file=sys.stderr)
