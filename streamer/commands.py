"""The commands of `streamer`: merge settings with options, handle signals, return exit codes."""

import argparse
import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from threading import Event
from typing import Any, TypeVar

from faceanalytics.commandline import complain, number_of, run_command, set_up_logging
from faceanalytics.errors import PARTIAL_RESULT, ConfigError, UserError
from faceanalytics.extras import require
from streamer.cli_aggregates import aggregates
from streamer.commands_access import audit, keys, tokens
from streamer.commands_cameras import addresses, connect, named, probe, status, streams, with_port
from streamer.commands_jobs import jobs
from streamer.commands_people import people, people_across
from streamer.commands_replay import replay
from streamer.commands_results import export, results
from streamer.commands_store import store
from streamer.commands_visitors import journeys, visitors
from streamer.config import StreamerConfig
from streamer.configfile import config_schema, load_config, parse_config, show_config

T = TypeVar("T")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code; an error that the user can mend becomes one message."""
    set_up_logging(arguments, serves=arguments.command == "serve")
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "serve": _serve,
        "analyze": _analyze,
        "probe": probe,
        "status": status,
        "streams": streams,
        "aggregates": aggregates,
        "jobs": jobs,
        "tokens": tokens,
        "audit": audit,
        "keys": keys,
        "watch": _watch,
        "health": _health,
        "detect": _detect,
        "evaluate-detector": _evaluate_detector,
        "track": _track,
        "annotate": _annotate,
        "export": export,
        "results": results,
        "people-across": people_across,
        "people": people,
        "replay": replay,
        "visitors": visitors,
        "journeys": journeys,
        "report": _page,
        "config": _config,
        "store": store,
        "doctor": _doctor,
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
    if getattr(arguments, "detector_precision", None):
        data["detect"]["precision"] = arguments.detector_precision
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
    config.check_safe()
    live = LiveService(config)
    _, code = until_signal(live.run, live.stop)
    return code


def _analyze(arguments: argparse.Namespace) -> int:
    from streamer.commands_analyze import analyze

    return analyze(arguments, _settings(arguments))


def _watch(arguments: argparse.Namespace) -> int:
    from streamer.tools.watch import watch

    return watch(
        with_port(arguments.address),
        arguments.stream,
        arguments.json,
        arguments.once,
        resume=arguments.resume,
        connect=connect(arguments),
    )


def _health(arguments: argparse.Namespace) -> int:
    from streamer.tools.watch import check_health

    return check_health(with_port(arguments.address), arguments.timeout, connect(arguments))


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
    from streamer.commands_analyze import draw

    if str(arguments.video) == "-":
        raise ConfigError("standard input cannot be read twice: give the file, or use streamer analyze --annotate")
    stopping = Event()
    places = arguments.video, arguments.results, arguments.out
    drawing = partial(draw, *places, stopping.is_set, arguments.quality, arguments.explain)
    (frames, failure), code = until_signal(drawing, stopping.set)
    if frames:
        print(f"{arguments.out}: {frames} frames")
    return code or failure


def _page(arguments: argparse.Namespace) -> int:
    from streamer.recorded.export import result_folders
    from streamer.recorded.filenames import REPORT
    from streamer.recorded.report.report import write_report

    folders = result_folders(arguments.folders)
    out = arguments.out or arguments.folders[0] / REPORT
    stopping = Event()
    work = partial(
        write_report,
        folders,
        out,
        arguments.video,
        pictures=not arguments.no_pictures,
        across=arguments.folders,
        stopped=stopping.is_set,
    )

    async def write() -> int:
        try:
            failures = await asyncio.to_thread(work)
        except UserError as error:
            return complain("streamer", error)
        print(f"{out}: {number_of(len(folders) - len(failures), 'recording')}")
        for failure in failures:
            complain("streamer", failure)
        return PARTIAL_RESULT if failures else 0

    failure, code = until_signal(write, stopping.set)
    return code or failure


def _config(arguments: argparse.Namespace) -> int:
    if arguments.action == "schema":
        print(json.dumps(config_schema(), indent=2))
        return 0
    config = load_config(arguments.file)
    if arguments.action == "check":
        config.check_safe()
    print(show_config(config) if arguments.action == "show" else "the configuration is valid")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from streamer.commands_doctor import doctor

    return doctor(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from streamer.dispatch.worker_process import WORKER_PACKAGES
    from streamer.tools.demo import Demo

    require("demo", *WORKER_PACKAGES, use="the demo")
    demo = Demo(_settings(arguments), arguments.weights, arguments.out, arguments.keep)
    result, code = until_signal(demo.run, demo.stop)
    return code or result
