"""The commands of `streamer`: merge settings with options, handle signals, return exit codes."""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from faceanalytics.commandline import complain, run_command, set_up_logging
from faceanalytics.errors import PARTIAL_RESULT, ConfigError, InputError, UserError
from faceanalytics.extras import require
from streamer.commands_cameras import addresses, named, probe, status, streams, with_port
from streamer.config import StreamerConfig
from streamer.configfile import config_schema, load_config, parse_config, show_config

if TYPE_CHECKING:
    from streamer.recorded.writer import VideoResult
    from streamer.tools.inputs import Input

T = TypeVar("T")
WORKER_PACKAGES = ("torch", "safetensors", "openvino")  # what the extra `worker` installs


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code; an error that the user can mend becomes one message."""
    set_up_logging(arguments, serves=arguments.command == "serve")
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "serve": _serve,
        "analyze": _analyze,
        "probe": probe,
        "status": status,
        "streams": streams,
        "watch": _watch,
        "health": _health,
        "detect": _detect,
        "evaluate-detector": _evaluate_detector,
        "track": _track,
        "annotate": _annotate,
        "config": _config,
        "demo": _demo,
    }
    return run_command("streamer", lambda: commands[arguments.command](arguments))


def until_signal(main: Callable[[], Coroutine[Any, Any, T]], stop: Callable[[], None]) -> tuple[T, int]:
    """Run `main` to its end. SIGINT and SIGTERM call `stop`; a second signal ends the process at once.

    Returns the result, and the exit code for the signal (0 without one).
    """
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        if len(received) > 1:
            os._exit(128 + number)
        stop()

    async def with_signals() -> T:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal, number)
        return await main()

    result = asyncio.run(with_signals())
    return result, 128 + received[0] if received else 0


def _settings(arguments: argparse.Namespace) -> StreamerConfig:
    """Load the configuration file and apply the options of the command line."""
    config = load_config(arguments.config)
    data = config.model_dump()
    if getattr(arguments, "detector", None):
        data["detect"]["weights"] = arguments.detector
    if getattr(arguments, "gallery", None):
        data["gallery"]["folder"] = arguments.gallery
    if getattr(arguments, "cohort", None):
        data["gallery"]["cohort"] = arguments.cohort
    if getattr(arguments, "listen", None):
        data["publish"]["listen"] = arguments.listen
    if getattr(arguments, "bind", None):
        data["dispatch"]["bind"] = arguments.bind
    cameras = [named(text, "--camera") for text in getattr(arguments, "camera", [])]
    if cameras or getattr(arguments, "ask_password", False) or getattr(arguments, "password_file", None):
        data["streams"] = (*data["streams"], *({"id": n, "uri": u} for n, u in addresses(arguments, cameras)))
    return parse_config(data, "command line")


def _serve(arguments: argparse.Namespace) -> int:
    from streamer.app import LiveService

    config = _settings(arguments)
    live = LiveService(config)
    _, code = until_signal(live.run, live.stop)
    return code


def _analyze(arguments: argparse.Namespace) -> int:
    from faceanalytics.progress import Progress
    from streamer.dispatch.worker_process import WorkerOptions
    from streamer.recorded.analysis import Analysis
    from streamer.recorded.writer import VideoResult
    from streamer.tools.inputs import find_inputs

    config = _settings(arguments)
    worker = None
    if not arguments.external_workers:
        require("worker", *WORKER_PACKAGES, use="a worker of its own", hint=" (or use --external-workers)")
        worker = WorkerOptions(arguments.weights, arguments.device, config.dispatch.batch)
    analysis = Analysis(
        config, worker, arguments.embeddings, arguments.explain, arguments.video_stream, _annotate_quality(arguments)
    )
    inputs = find_inputs(arguments.videos, arguments.out, arguments.allow_url, arguments.allow_lists)
    stopping = Event()

    def stop() -> None:
        stopping.set()
        analysis.stop()

    async def analyze(spool: Path) -> tuple[list[VideoResult], int]:
        names, failure = await _fetch(inputs, spool, stopping.is_set)
        videos = [(path, one.folder) for path, one in names.items()]
        with Progress("frames") as progress:
            results = await analysis.run(
                videos, lambda info, result: progress.update(names[result.video].name, result.frames, info.frames)
            )
        for result in results:
            if result.not_drawn:
                failure = complain("streamer", ConfigError(result.not_drawn))
            _report(result, names[result.video].name)
        return results, failure

    with tempfile.TemporaryDirectory(prefix="faceanalytics-") as spool:
        (results, failure), code = until_signal(partial(analyze, Path(spool)), stop)
    if code:
        return code
    if failure and len(inputs) == 1:
        return failure
    if not failure and all(result.whole for result in results):
        return 0
    return PARTIAL_RESULT if any(result.frames for result in results) else InputError.exit_code


async def _fetch(
    inputs: "Sequence[Input]", spool: Path, stopped: Callable[[], bool]
) -> "tuple[dict[Path, Input], int]":
    """Return the inputs by the path of their files. Prints what cannot be fetched; the exit code of the last is 0 or 3.

    Input that is not a file on this machine is copied into a folder of its own in `spool`.
    """
    from streamer.tools.inputs import fetch

    fetched: dict[Path, Input] = {}
    failure = 0
    for place, one in enumerate(inputs):
        if stopped():
            break
        try:
            fetched[await asyncio.to_thread(fetch, one, spool / str(place), stopped)] = one
        except InputError as error:
            failure = complain("streamer", error)
    return fetched, failure


def _annotate_quality(arguments: argparse.Namespace) -> str | None:
    """Return the quality of the annotated video; None: there is none."""
    if arguments.annotate_quality is not None and not arguments.annotate:
        raise ConfigError("--annotate-quality is for the video that --annotate writes")
    return (arguments.annotate_quality or "medium") if arguments.annotate else None


def _report(result: "VideoResult", name: str) -> None:
    """Print the outcome of one video under its name, which is not that of its file if it was fetched."""
    problem = result.problem.replace(str(result.video), name)
    if not result.frames:
        print(problem, file=sys.stderr)
        return
    print(f"{name}: {result.frames} frames, {result.tracks} tracks, {result.crops} crops -> {result.folder}")
    if problem:
        print(f"incomplete: {problem}", file=sys.stderr)
    if result.read.dropped:
        print(f"incomplete: {name}: {result.dropped_frames()}", file=sys.stderr)
    if result.lost_crops:
        print(f"{name}: no worker answered for {result.lost_crops} crops", file=sys.stderr)


def _watch(arguments: argparse.Namespace) -> int:
    from streamer.tools.watch import watch

    return watch(with_port(arguments.address), arguments.stream, arguments.json, arguments.once)


def _health(arguments: argparse.Namespace) -> int:
    from streamer.tools.watch import check_health

    return check_health(with_port(arguments.address), arguments.timeout)


def _detect(arguments: argparse.Namespace) -> int:
    from streamer.tools.detect_files import detect_files

    return detect_files(arguments.files, _settings(arguments), arguments.out, arguments.draw)


def _evaluate_detector(arguments: argparse.Namespace) -> int:
    from streamer.evaluate.detector import Request, evaluate

    config = _settings(arguments)
    score = config.crop.min_score if arguments.score is None else arguments.score
    if not 0 <= score <= 1:
        raise ConfigError("--score must be from 0 to 1")
    if not arguments.min_size >= 0:
        raise ConfigError("--min-size must be 0 or more pixels")
    if not 0 < arguments.precision <= 1:
        raise ConfigError("--precision must be above 0 and at most 1")
    request = Request(
        labels=arguments.labels,
        images=arguments.images,
        out=arguments.out,
        sheets=arguments.sheets,
        min_score=score,
        min_width=arguments.min_size,
        precision=arguments.precision,
    )
    return evaluate(request, config.detect)


def _track(arguments: argparse.Namespace) -> int:
    from streamer.track.mot_file import track_file

    if not arguments.fps > 0:
        raise ConfigError("--fps must be above 0")
    frames = track_file(arguments.detections, arguments.fps, arguments.out, load_config(arguments.config).track)
    print(f"{arguments.out}: {frames} lines")
    return 0


def _annotate(arguments: argparse.Namespace) -> int:
    if str(arguments.video) == "-":
        raise ConfigError("standard input cannot be read twice: give the file, or use streamer analyze --annotate")
    from streamer.recorded.annotate import annotate

    stopping = Event()
    places = arguments.video, arguments.results, arguments.out
    work = partial(annotate, *places, stopping.is_set, quality=arguments.quality, explain=arguments.explain)

    async def draw() -> tuple[int, int]:
        try:
            return await asyncio.to_thread(work), 0
        except UserError as error:
            return 0, complain("streamer", error)

    (frames, failure), code = until_signal(draw, stopping.set)
    if frames:
        print(f"{arguments.out}: {frames} frames")
    return code or failure


def _config(arguments: argparse.Namespace) -> int:
    if arguments.action == "schema":
        print(json.dumps(config_schema(), indent=2))
        return 0
    config = load_config(arguments.file)
    print(show_config(config) if arguments.action == "show" else "the configuration is valid")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from streamer.tools.demo import Demo

    require("demo", *WORKER_PACKAGES, use="the demo")
    demo = Demo(_settings(arguments), arguments.weights, arguments.out)
    result, code = until_signal(demo.run, demo.stop)
    return code or result
