"""Clocks of one source, without side effects: media time, the camera's wall clock, and thinning to a frame rate."""

from fractions import Fraction

RESTART_S = 1.0  # timestamps that step back further than this have restarted; smaller steps are merely out of order
AGREE_S = 0.001  # largest difference between the clock offsets of two packets of one sender report
JUMP_S = 1.0  # a jump of the camera's clock beyond this is accepted only
JUMP_PATIENCE_S = 10.0  # after it has lasted this long
LATE_S = 0.5  # a paced source that is later than this has run dry
AHEAD_S = 20.0  # and one that is this early has times that jumped: segments are shorter
MAX_OFF_S = 86_400.0  # a camera's clock that differs from ours by more than this was never set
YEAR_2020 = 1_577_836_800.0  # s, Unix time


class MediaClock:
    """Convert the timestamps of one video stream to media time: seconds since its first frame, strictly increasing."""

    def __init__(self, time_base: Fraction, step: float) -> None:
        """`time_base`: seconds per unit of a timestamp; `step`: usual interval between frames, in s."""
        self.estimated = 0  # frames without timestamp, placed one step after the previous frame
        self.restarts = 0  # times the timestamps started again
        self._time_base = time_base
        self._step = step
        self._origin: tuple[int, float] | None = None  # a timestamp and its media time
        self._last: float | None = None

    def time_of(self, pts: int | None) -> float | None:
        """Return the media time of the next frame in s, or None if it is not after the last one: drop the frame."""
        if pts is None:
            self.estimated += 1
            time = self._next()
        else:
            time = self._place(pts)
        if self._last is not None and time <= self._last:
            return None
        self._last = time
        return time

    def _place(self, pts: int) -> float:
        if self._origin is None:
            self._origin = pts, self._next()
        time = self._since_origin(pts)
        if self._last is not None and time < self._last - RESTART_S:
            self.restarts += 1
            self._origin = pts, self._next()
        return self._since_origin(pts)

    def _since_origin(self, pts: int) -> float:
        assert self._origin is not None
        return self._origin[1] + float((pts - self._origin[0]) * self._time_base)

    def _next(self) -> float:
        return 0.0 if self._last is None else self._last + self._step


class CameraClock:
    """The camera's own wall clock, estimated from its RTCP sender reports."""

    def __init__(self) -> None:
        self._offset: float | None = None  # s, Unix time at stream time 0
        self._candidate: tuple[float, float] | None = None  # offset, stream time since which it is reported

    def report(self, stream_time: float, utc: float, host_utc: float) -> None:
        """Record that the packet at `stream_time` (s) was captured at `utc` (s, Unix time) by the camera's clock."""
        if utc < YEAR_2020 or abs(utc - host_utc) > MAX_OFF_S:
            return
        offset = utc - stream_time
        # around the first report, FFmpeg's parser gives a packet the side data of its neighbour, one frame off
        if self._candidate is None or abs(offset - self._candidate[0]) > AGREE_S:
            self._candidate = offset, stream_time
            return
        jumps = self._offset is not None and abs(offset - self._offset) > JUMP_S
        if stream_time - self._candidate[1] >= (JUMP_PATIENCE_S if jumps else 0.0):
            self._offset = offset

    def utc(self, stream_time: float) -> float | None:
        """Convert to Unix time in s; None until the camera has reported a plausible time."""
        return None if self._offset is None else self._offset + stream_time


class Thinning:
    """Select frames evenly, at most `max_fps` per second of media time; None selects all."""

    def __init__(self, max_fps: float | None) -> None:
        self._period = 1 / max_fps if max_fps else 0.0
        self._due = 0.0

    def takes(self, media_time: float) -> bool:
        """Return whether to use this frame. Call it once per frame, in order."""
        early = self._period / 4  # timestamps jitter
        if media_time < self._due - early:
            return False
        self._due = max(self._due, media_time - early) + self._period
        return True


class Pace:
    """Delays of frames that arrive in bursts, so that they are shown at the pace of their times."""

    def __init__(self) -> None:
        self._start: float | None = None  # s, monotonic: when media time 0 was due

    def delay(self, media_time: float, now: float) -> float:
        """Return the s to wait at `now` (monotonic) before the frame of this media time is due.

        A source that has fallen behind, or whose times have jumped, goes on from here with more delay, as players do.
        """
        wait = None if self._start is None else self._start + media_time - now
        if wait is None or wait < -LATE_S or wait > AHEAD_S:
            self._start = now - media_time
            return 0.0
        return max(0.0, wait)
