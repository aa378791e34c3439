"""How far a run over several videos is, each and all together: one line on a terminal, log lines or JSON elsewhere."""

import contextlib
import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from faceanalytics.logs import logs_json
from faceanalytics.names import printable

WINDOW_S = 30.0  # over which the speed is measured: long enough for a steady number, short enough for a new scene
LINE_S = 10.0  # time between two log lines
EVENT_S = 1.0  # time between two JSON objects
DRAW_S = 0.2  # time between two changes of the line on a terminal

Form = Literal["auto", "json", "none"]

log = logging.getLogger(__name__)


class Speed:
    """Frames per second over the last WINDOW_S, without the frames that an earlier run had done, and their time."""

    def __init__(self) -> None:
        self._frames: deque[tuple[float, int]] = deque()  # when there were how many new frames
        self._new = 0
        self._last: float | None = None

    def add(self, now: float, recalled: bool) -> None:
        """Note a frame at the time `now` (s)."""
        if recalled:
            self._last = self.per_s()
            self._frames.clear()
            return
        self._new += 1
        self._frames.append((now, self._new))
        while now - self._frames[0][0] > WINDOW_S:
            self._frames.popleft()

    def per_s(self) -> float | None:
        """Return the speed; None while it is not known."""
        if len(self._frames) < 2 or self._frames[-1][0] - self._frames[0][0] < EVENT_S:
            return self._last
        (began, first), (ended, last) = self._frames[0], self._frames[-1]
        return (last - first) / (ended - began)


@dataclass(slots=True)
class Video:
    """How far one video is."""

    name: str
    expected: int | None = None  # frames; None: not known
    done: int = 0  # frames
    recalled: int = 0  # of these, done by an earlier run
    media_time: float = 0.0  # s, of the newest frame
    status: str = ""  # how it ended; empty: it has not


class Totals:
    """How far all videos are, and how long the rest takes. Without clock and output."""

    def __init__(self, names: Sequence[str]) -> None:
        self.videos = [Video(name) for name in names]
        self.speed = Speed()

    def frame(self, place: int, done: int, recalled: int, expected: int, now: float) -> None:
        """Note that `done` frames of a video are ready, `recalled` of them by an earlier run; `expected` 0: unknown."""
        video = self.videos[place]
        self.speed.add(now, recalled=done <= recalled)
        video.done, video.recalled, video.expected = done, min(recalled, done), expected or video.expected

    @property
    def frames(self) -> int:
        """Return the frames that are ready."""
        return sum(video.done for video in self.videos)

    @property
    def expected(self) -> int | None:
        """Return the frames of all videos; those not looked at count as the others do. None: nothing is known."""
        known = [_size(video) for video in self.videos if video.status or video.expected]
        if not known:
            return None
        return round(sum(known) + (len(self.videos) - len(known)) * sum(known) / len(known))

    @property
    def left_s(self) -> float | None:
        """Return the seconds that the rest takes; None: not known."""
        speed, expected = self.speed.per_s(), self.expected
        return max(0, expected - self.frames) / speed if speed and expected is not None else None

    def video_left_s(self, place: int) -> float | None:
        """Return the seconds that the rest of a video takes; None: not known."""
        speed, video = self.speed.per_s(), self.videos[place]
        return max(0, video.expected - video.done) / speed if speed and video.expected else None


def _size(video: Video) -> int:
    return video.done if video.status else max(video.done, video.expected or 0)


class RunProgress:
    """Shows the progress of a run. `expect` may be called from any thread, the others from one."""

    def __init__(self, names: Sequence[str], form: Form = "auto") -> None:
        """`form`: json writes JSON objects to standard error; auto draws a line on a terminal and logs elsewhere."""
        self._totals = Totals([printable(name) for name in names])
        self._lock = threading.Lock()
        self._json = form == "json"
        self._draws = form == "auto" and sys.stderr.isatty() and not logs_json()
        self._logs = form == "auto" and not self._draws
        columns = TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[text]}")
        console = Console(stderr=True)
        self._bar = Bar(*columns, console=console, disable=not self._draws, redirect_stdout=False, transient=True)
        self._task = self._bar.add_task("", total=None, text="the models are loading")
        self._shown = -DRAW_S
        self._streams = contextlib.ExitStack()

    def __enter__(self) -> "RunProgress":
        if self._draws:
            written = sys.stderr
            self._bar.start()
            self._streams.enter_context(_logs_above(written))
        self._event("start", {"videos": len(self._totals.videos)})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._streams.close()
        self._bar.stop()

    def expect(self, place: int, frames: int) -> None:
        """Note how many frames a video has that has not begun."""
        with self._lock:
            if not self._totals.videos[place].done:
                self._totals.videos[place].expected = frames or None

    def frame(self, place: int, done: int, recalled: int, expected: int, media_time: float = 0.0) -> None:
        """`done` frames of a video are ready, `recalled` of them by an earlier run, of `expected` (0: unknown).

        `media_time`: s, of the newest of them.
        """
        now = time.monotonic()
        with self._lock:
            self._totals.videos[place].media_time = media_time
            self._totals.frame(place, done, recalled, expected, now)
            wait_s = EVENT_S if self._json else DRAW_S if self._draws else LINE_S
            if self._shown < 0 and self._logs:
                self._shown = now  # a line at once would have no speed
            if now - self._shown >= wait_s:
                self._shown = now
                self._show(place)

    def ended(self, place: int, status: str, **fields: Any) -> None:
        """A video has ended; `fields` say how."""
        with self._lock:
            video = self._totals.videos[place]
            video.status = status
        self._event("video", {"video": video.name, "number": place + 1, "status": status, **fields})

    def finished(self, exit_code: int) -> None:
        """All videos have ended."""
        statuses = [video.status for video in self._totals.videos]
        counts = {status: statuses.count(status) for status in sorted(set(statuses))}
        self._event("end", {"exit_code": exit_code, "videos": counts})

    def _show(self, place: int) -> None:
        totals, video, speed = self._totals, self._totals.videos[place], self._totals.speed.per_s()
        done, expected, left_s = totals.frames, totals.expected, totals.left_s
        share = min(1.0, done / expected) if expected else None
        if self._json:
            this: dict[str, Any] = {
                "frames": video.done,
                "expected_frames": video.expected,
                "recalled_frames": video.recalled,
                "media_time_s": round(video.media_time, 3),
            }
            every: dict[str, Any] = {"frames": done, "expected_frames": expected, "share": _rounded(share, 4)}
            this["eta_s"], every["eta_s"] = _rounded(totals.video_left_s(place)), _rounded(left_s)
            ended = sum(bool(one.status) for one in totals.videos)
            fields = {"video": video.name, "number": place + 1, **this, "frames_per_s": _rounded(speed, 1)}
            self._event("progress", {**fields, "total": {"videos": len(totals.videos), "ended": ended, **every}})
            return
        where = f"{video.name}" if len(totals.videos) == 1 else f"{place + 1} of {len(totals.videos)}, {video.name}"
        if video.done <= video.recalled:
            how = "from an earlier run"
        else:
            how = f"{speed:.1f} frames/s" if speed is not None else "? frames/s"
        rest = f", {_duration(left_s)} left" if left_s is not None else ""
        if self._draws:
            percent = f"{share:4.0%} " if share is not None else ""
            text = f"{percent}{video.done}/{video.expected or '?'} frames, {how}{rest}"
            self._bar.update(self._task, description=where[-48:], completed=done, total=expected, text=text)
            return
        every_video = f"; all videos: {share:.0%}" if share is not None and len(totals.videos) > 1 else ""
        log.info("%s: %d of %s frames, %s%s%s", where, video.done, video.expected or "?", how, every_video, rest)

    def _event(self, kind: str, fields: dict[str, Any]) -> None:
        if self._json:
            sys.stderr.write(json.dumps({"event": kind, **fields}) + "\n")
            sys.stderr.flush()


@contextlib.contextmanager
def _logs_above(written: object) -> Iterator[None]:
    """Let log lines that went to `written` scroll above the line that is drawn now."""
    handlers = [one for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)]
    moved = [one for one in handlers if one.stream is written]
    for handler in moved:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(written)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _rounded(value: float | None, digits: int = 0) -> float | None:
    return round(value, digits) if value is not None else None
