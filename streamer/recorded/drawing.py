"""Draws the annotated video while its recording is analysed, in a thread of its own.

The thread decodes the file a second time and follows the results, frame by frame. Keeping the pixels of all frames
whose answers are still awaited would need gigabytes.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Condition

from av.error import FFmpegError

from faceanalytics.errors import InputError
from faceanalytics.files import partial_name
from streamer.lifecycle import in_thread
from streamer.recorded.annotate import Drawn, draw, silent_name
from streamer.recorded.captions import Caption, caption, colour, words
from streamer.recorded.painting import Face, Shown
from streamer.recorded.placing import Rect
from streamer.recorded.records import answer_record
from streamer.values import Floats, Observation, SendDecision, Track, TrackState, TrackSummary

AHEAD = 64  # frames that may wait to be drawn before the analysis waits

_Written = tuple[Caption, str | None, str]  # expression, reasons

log = logging.getLogger(__name__)


class Drawing:
    """The annotated video of one recording: takes what is published, in the order of the frames.

    What it is given on the loop is drawn in the thread; the methods `know` and `frame` do not wait.
    """

    def __init__(self, drawn: Drawn, out: Path, explain: bool = False) -> None:
        """`explain`: also show qualities, decisions and tracks that are not in view.

        `out` is the name that the video gets later; it is written as `*.partial`.
        """
        self.problem = ""  # why there is no video; empty: no problem
        self._drawn = drawn
        self._out = out
        self._explain = explain
        self._newest: dict[str, TrackSummary] = {}  # by track id
        self._captions: dict[str, tuple[object, _Written]] = {}  # by track id, with the state that it was made of
        self._waiting: deque[tuple[float, Shown]] = deque()  # with media times, s
        self._changed = Condition()
        self._given = False  # all frames were given
        self._over = False  # the thread has ended, or shall end
        self._room: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def know(self, summary: TrackSummary) -> None:
        """Take in the newest summary of a track."""
        if summary.final:
            self._newest.pop(summary.key.id, None)
            self._captions.pop(summary.key.id, None)
        else:
            self._newest[summary.key.id] = summary

    def frame(self, published: Observation) -> None:
        """Take in a frame, after the summaries that it and its analyses changed."""
        faces = [self._face(published, track) for track in published.tracks if _in_view(track) or self._explain]
        # not each detection: weak ones are everywhere
        others = [_rect(track.box) for track in published.tracks if track.detection is not None and not _in_view(track)]
        shown = Shown(tuple(faces), tuple(others))
        with self._changed:
            if not self._over:
                self._waiting.append((published.media_time, shown))
            self._changed.notify_all()

    async def room(self) -> None:
        """Wait until the drawing has caught up with the analysis."""
        assert self._room is not None
        while len(self._waiting) > AHEAD and not self._over:
            self._room.clear()
            await self._room.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Draw during the body of the `async with`, and finish the video at its end; after an exception give it up."""
        self._loop, self._room = asyncio.get_running_loop(), asyncio.Event()
        thread = asyncio.create_task(in_thread("draw", self._run, self._give_up))
        try:
            yield
        except BaseException:
            self._give_up()
            raise
        finally:
            with self._changed:
                self._given = True
                self._changed.notify_all()
            await thread

    def at(self, time: float) -> Shown | None:
        """Wait for the results of the frame at a media time (s); None: it was not analysed. For the thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._given or self._over)
            if self._over:
                raise InputError("stopped")
            if not self._waiting or self._waiting[0][0] > time:
                return None
            at, shown = self._waiting.popleft()
            assert at == time, "the file was decoded differently the second time"
            if len(self._waiting) == AHEAD:
                self._wake()
        return shown

    @property
    def ended(self) -> bool:
        """Whether all frames were given and drawn."""
        with self._changed:
            return self._given and not self._waiting

    def _run(self) -> None:
        out = partial_name(self._out)
        try:
            if self._out.is_dir():
                raise IsADirectoryError(21, "Is a directory")
            draw(self._drawn, self, out, silent_name(self._out))
        except (FFmpegError, OSError, InputError) as error:
            if not self._over:
                reason = str(error) if isinstance(error, InputError) else error.strerror or str(error)
                self.problem = f"cannot write {self._out}: {reason}"
                log.warning("%s; the analysis goes on without it", self.problem)
            with contextlib.suppress(OSError):  # it may not be there
                out.unlink()
        finally:
            self._give_up()
            self._wake()

    def _wake(self) -> None:
        if self._loop is not None and self._room is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._room.set)

    def _give_up(self) -> None:
        with self._changed:
            self._over = True
            self._waiting.clear()
            self._changed.notify_all()

    def _face(self, published: Observation, track: Track) -> Face:
        box, number, name = _rect(track.box), track.key.number, f"#{track.key.number}"
        if not _in_view(track):
            text = f"{name} {words(track.state.value)}"
            return Face(track.key.id, (text, text, name), colour(number), box, in_view=False)
        assert track.detection is not None
        known, appears, reasons = self._caption(track)
        details = reasons + _decision(published, track) if self._explain else ""
        points = [(float(x), float(y)) for x, y in published.detections.landmarks[track.detection]]
        return Face(track.key.id, known.texts(appears, details), colour(number), box, points)

    def _caption(self, track: Track) -> _Written:
        summary = self._newest.get(track.key.id)
        if summary is None:
            return Caption(f"#{track.key.number}"), None, ""
        kept = self._captions.get(track.key.id)
        state = summary.revision, summary.decision
        if kept is None or kept[0] != state:
            record = {"number": track.key.number, **answer_record(summary)}
            appears = record["expression"]["appears"] if record["expression"] else None
            reasons = "".join(f" {words(reason)}" for reason in record["reasons"])
            kept = self._captions[track.key.id] = state, (caption(record), appears, reasons)
        return kept[1]


def _in_view(track: Track) -> bool:
    return track.state is TrackState.CONFIRMED and track.detection is not None


def _decision(published: Observation, track: Track) -> str:
    """Return quality and decision of the face in this frame, if there are any."""
    for choice in published.choices:
        if choice.key == track.key and choice.media_time == published.media_time:
            return f" q{choice.quality.value:.2f} {words(SendDecision(choice.decision).value)}"
    return ""


def _rect(box: Floats) -> Rect:
    return Rect(*(float(side) for side in box))
