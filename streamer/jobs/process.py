"""Runs the analysis of one job as `streamer analyze` in a process of its own, of low priority.

A file that makes a decoder crash takes down that process only, and the detection of the cameras has its CPU time first.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceanalytics.commandline import LOG_FORMAT, LOG_LEVEL
from streamer.jobs.job import Progress

LINES = 20  # of its log that are kept for a message
LONGEST_LINE = 1 << 20  # bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the analysis of a job ended."""

    error: str = ""  # why there are no results
    problems: tuple[str, ...] = ()  # what they lack


class Analysis:
    """The process. It ends when this process does, also when that is killed: it reads the end of its input then."""

    def __init__(self, recording: Path, out: Path, config: Path, options: list[str]) -> None:
        """`config`: the file of its settings, in which `dispatch.bind` is where it looks for a worker."""
        self._recording, self._out = recording, out
        self._command = [sys.executable, "-P", "-m", "streamer.tools.job_process", "analyze", str(recording)]
        self._command += ["--out", str(out), "--config", str(config), "--external-workers", "--progress", "json"]
        self._command += options
        self._last: deque[str] = deque(maxlen=LINES)
        self._video: dict[str, Any] = {}  # what it said about the end of the video

    async def run(self, on_progress: Callable[[Progress], None]) -> Outcome:
        """Run it to its end. Cancelling kills it; what it has written stays, and another run goes on there."""
        environment = {**os.environ, LOG_FORMAT: "text", LOG_LEVEL: "warning"}
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
            limit=LONGEST_LINE,
        )
        try:
            assert process.stderr is not None
            await self._read(process.stderr, on_progress)
            code = await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
        return self._outcome(code)

    async def _read(self, errors: asyncio.StreamReader, on_progress: Callable[[Progress], None]) -> None:
        while True:
            try:
                line = await errors.readline()
            except ValueError:  # longer than any that we write
                continue
            if not line:
                return
            self._take_in(line.decode("utf-8", "replace").rstrip(), on_progress)

    def _take_in(self, line: str, on_progress: Callable[[Progress], None]) -> None:
        """Take in a line that the process has written; one that is no event of ours is a line of its log."""
        try:
            event = json.loads(line) if line.startswith('{"event": ') else {"event": ""}
            if event["event"] == "progress":
                on_progress(_progress(event))
            elif event["event"] == "video":
                self._video = {"status": str(event["status"]), "problems": [str(one) for one in event["problems"]]}
            elif not event["event"]:
                log.debug("%s", line)
                self._last.append(line)
        except (KeyError, TypeError, ValueError, OverflowError):
            self._last.append(line)

    def _outcome(self, code: int) -> Outcome:
        if code < 0:
            name = signal.Signals(-code).name
            return Outcome(f"the analysis was killed by {name}; a damaged recording, or a lack of memory, may do that")
        problems = tuple(self._plain(one) for one in self._video.get("problems", ()))
        if self._video.get("status") in ("complete", "incomplete"):
            return Outcome(problems=problems)
        said = [line for line in self._last if line.strip()]
        return Outcome(problems[0] if problems else self._plain(said[-1] if said else f"it ended with code {code}"))

    def _plain(self, text: str) -> str:
        """Return a message as its reader on another machine needs it: without folders and options of this machine."""
        text = text.removeprefix("streamer: ").replace(str(self._recording), self._recording.name)
        text = text.replace(f"--out: {self._out} holds", "the results hold").replace(str(self._out), "results")
        return text.partition(": repeat it as it was")[0]


def _progress(event: dict[str, Any]) -> Progress:
    frames, expected = int(event["frames"]), int(event["expected_frames"] or 0)
    share = min(1.0, frames / expected) if expected else 0.0
    return Progress(share, frames, expected, float(event["media_time_s"]), float(event["frames_per_s"] or 0.0))
