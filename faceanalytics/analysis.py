"""A recorded video through the whole system, as `streamer analyze` does it."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from faceanalytics.errors import ConfigError, InputError, user_error_in
from faceanalytics.extras import require
from faceanalytics.results import Results, read_results
from faceanalytics.scratch import scratch_folder
from streamer.config import StreamerConfig
from streamer.configfile import load_config, parse_config, with_attention
from streamer.detect.region import Region
from streamer.dispatch.worker_process import WorkerOptions
from streamer.kinds import refuse_address
from streamer.privacy import Mode
from streamer.recorded.analysis import Analysis
from streamer.recorded.export import Exports, check, export
from streamer.recorded.formats.files import Formats, ordered_names
from streamer.recorded.part import Part, parse_time
from streamer.recorded.tables import ordered_formats
from streamer.recorded.wall_clock import checked_start_time, parse_start_time
from streamer.recorded.writer import VideoResult
from streamer.source.file import VideoInfo

Config = Path | str | Mapping[str, Any]
Progress = Callable[[int, int], object]

log = logging.getLogger(__name__)


def analyze(
    video: Path | str,
    out: Path | str | None = None,
    *,
    weights: Path | str = "default",
    device: str = "cpu",
    detector: Path | str = "default",
    gallery: Path | str | None = None,
    cohort: Path | str | None = None,
    config: Config | None = None,
    external_workers: str | None = None,
    embeddings: bool = False,
    explain: bool = False,
    video_stream: int | None = None,
    start_time: datetime | str | None = None,
    tables: Sequence[str] = (),
    formats: Sequence[str] = (),
    start: float | str | None = None,
    end: float | str | None = None,
    sample_fps: float | None = None,
    region: str | None = None,
    min_face: float = 0.0,
    effort: int | None = None,
    detect_fps: float | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Results:
    """Analyse a video and return what is in it; the files are the same, byte for byte, as those of `streamer analyze`.

    `out`: folder for the files; None: a temporary one, which is gone afterwards.
    `weights`, `device`: of the SwinFace worker, which is started as a child process.
    `detector`: weights of the face detector.
    `gallery`: folder with a sub-folder of images per person, to name people; `cohort`: the same of strangers.
    `config`: a YAML file, or its content as a mapping, see `streamer config show`; the arguments here go before it.
    `external_workers`: start no worker; workers of yours connect to this ZeroMQ endpoint, such as tcp://0.0.0.0:5570.
    `embeddings`, `explain`: also write embeddings.npz, and explain.jsonl.
    `video_stream`: which video stream of a file with several, from 0; None: the one that players show.
    `start_time`: when the first frame was taken, with its offset from UTC; None: the creation time in the file.
    `tables`: forms out of parquet, csv and jsonl; also write the tables to the folder tables/ in `out`.
    `formats`: out of mot, webvtt, eaf, faces and contact-sheet; also write these files into `out`.
    `start`, `end`: the part to analyse, in seconds since the first frame, or as HH:MM:SS.mmm; `sample_fps`: at most
    this many frames per second; `region`: look for faces in this part of the picture only, "x,y,width,height" in
    pixels or percent, such as "0,50%,100%,50%"; `min_face`: leave out faces narrower than this many pixels.
    `effort`: how eagerly to look for faces, from 1 to 5 (every frame, as without it); `detect_fps`: search at most this
    many frames per second. The faces of frames that are not searched are interpolated.
    `overwrite`: replace the results of any earlier analysis in `out`. Else an analysis that was killed or stopped goes
    on where it was, finished results are read, and those of another analysis raise ConfigError.
    `progress`: called with the frames done and the frames expected, from another thread.

    Blocks until it is done, also where an event loop runs, as in a notebook. Ctrl-C stops it in an orderly way.
    A video that is cut off or damaged gives results with `summary.complete` False and a warning in the log.
    Raises InputError for an unreadable video, ModelError, ConfigError, and LostDependency if the worker keeps dying.
    """
    refuse_address(str(video))
    if tables and out is None:
        raise ConfigError("tables: they are files, so `out` must name a folder; without one, use Results.to_arrow")
    if formats and out is None:
        raise ConfigError("formats: they are files, so `out` must name a folder")
    exports = Exports(tables=ordered_formats(tables), formats=Formats(ordered_names(formats)))
    check(exports)
    if isinstance(start_time, str):
        start_time = parse_start_time(start_time)
    elif start_time is not None:
        start_time = checked_start_time(start_time)
    settings = _settings(config, str(detector), gallery, cohort, external_workers)
    settings = with_attention(settings, effort, detect_fps)
    if settings.privacy.mode is Mode.AGGREGATE_ONLY:
        raise ConfigError(
            "privacy.mode: there are no tracks to return in the mode aggregate_only; use streamer analyze"
        )
    worker = None
    if external_workers is None:
        require("worker", "torch", "safetensors", use="analyze", hint=" (or pass external_workers)")
        worker = WorkerOptions(str(weights), device, settings.dispatch.batch)
    part = Part(_seconds(start) or 0.0, _seconds(end), sample_fps, _region(region), min_face)
    analysis = Analysis(
        settings,
        worker,
        embeddings=embeddings,
        explain=explain,
        video_stream=video_stream,
        start_time=start_time,
        part=part,
        overwrite=overwrite,
    )
    if out is not None:
        results = _analyze(analysis, Path(video), Path(out), progress)
        export(Path(out), exports, Path(video))
        return results
    with scratch_folder() as folder:
        return replace(_analyze(analysis, Path(video), folder / "results", progress), folder=None)


def _seconds(time: float | str | None) -> float | None:
    """Return a time in s. Raises ConfigError."""
    try:
        return parse_time(time) if isinstance(time, str) else time
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _region(text: str | None) -> Region | None:
    try:
        return Region.parse(text) if text is not None else None
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _settings(
    config: Config | None,
    detector: str,
    gallery: Path | str | None,
    cohort: Path | str | None,
    external_workers: str | None,
) -> StreamerConfig:
    """The configuration with the arguments in it. Raises ConfigError."""
    if isinstance(config, Mapping):
        loaded = parse_config(dict(config), "config")
    else:
        loaded = load_config(None if config is None else Path(config))
    data = loaded.model_dump()
    if detector != "default":
        data["detect"]["weights"] = detector
    if gallery is not None:
        data["gallery"]["folder"] = str(gallery)
    if cohort is not None:
        data["gallery"]["cohort"] = str(cohort)
    if external_workers is not None:
        data["dispatch"]["bind"] = external_workers
    return parse_config(data, "analyze")


def _analyze(analysis: Analysis, video: Path, out: Path, progress: Progress | None) -> Results:
    result = _run(analysis, video, out, progress)
    if not result.frames:
        problem = result.problem or f"{video}: no frame in it could be analysed"
        raise ConfigError(problem) if result.failure == ConfigError.exit_code else InputError(problem)
    if result.problem:
        log.warning("not whole: %s", result.problem)
    if result.read.dropped:
        log.warning("not whole: %s: %s", video, result.dropped_frames())
    if result.lost_crops:
        log.warning("%s: %d crops were not answered", video, result.lost_crops)
    return read_results(out)


def _run(analysis: Analysis, video: Path, out: Path, progress: Progress | None) -> VideoResult:
    """Run it in an event loop of its own, in a thread of its own: the caller's thread may have a loop already."""
    done: Future[VideoResult] = Future()
    loop: Future[asyncio.AbstractEventLoop] = Future()

    async def main() -> VideoResult:
        loop.set_result(asyncio.get_running_loop())
        (result,) = await analysis.run([(video, out)], report)
        return result

    def report(info: VideoInfo, result: VideoResult) -> None:
        if progress is not None:
            progress(result.frames, result.expected or info.frames)

    def run() -> None:
        try:
            done.set_result(asyncio.run(main()))
        except BaseException as error:  # the caller's thread raises it
            done.set_exception(error)

    thread = threading.Thread(target=run, name="analyze")
    thread.start()
    try:
        return done.result()
    except BaseExceptionGroup as group:
        error = user_error_in(group)
        if error is None:
            raise
        raise error from group
    except KeyboardInterrupt:
        with contextlib.suppress(RuntimeError):  # its loop has just ended
            loop.result().call_soon_threadsafe(analysis.stop)
        raise
    finally:
        thread.join()
