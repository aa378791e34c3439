"""The camera's wall clock and thinning to a frame rate, without side effects."""

AGREE_S = 0.001  # largest difference between the clock offsets of two packets of one sender report
JUMP_S = 1.0  # a jump of the camera's clock beyond this is accepted only
JUMP_PATIENCE_S = 10.0  # after it has lasted this long
LATE_S = 0.5  # a paced source that is later than this has run dry
AHEAD_S = 20.0  # and one that is this early has times that jumped: segments are shorter
MAX_OFF_S = 86_400.0  # a camera's clock that differs from ours by more than this was never set
YEAR_2020 = 1_577_836_800.0  # s, Unix time


class CameraClock:
    """The camera's own wall clock, estimated from its RTCP sender reports."""

    def __init__(self) -> None:
        self._offset: float | None = None  # s, Unix time at media time 0
        self._candidate: tuple[float, float] | None = None  # offset, media time since which it is reported

    def report(self, media_time: float, utc: float, host_utc: float) -> None:
        """Record that the packet at `media_time` (s) was captured at `utc` (s, Unix time) by the camera's clock."""
        if utc < YEAR_2020 or abs(utc - host_utc) > MAX_OFF_S:
            return
        offset = utc - media_time
        # around the first report, FFmpeg's parser gives a packet the side data of its neighbour, one frame off
        if self._candidate is None or abs(offset - self._candidate[0]) > AGREE_S:
            self._candidate = offset, media_time
            return
        jumps = self._offset is not None and abs(offset - self._offset) > JUMP_S
        if media_time - self._candidate[1] >= (JUMP_PATIENCE_S if jumps else 0.0):
            self._offset = offset

    def utc(self, media_time: float) -> float | None:
        """Convert to Unix time in s; None until the camera has reported a plausible time."""
        return None if self._offset is None else self._offset + media_time


class Thinning:
    """Select frames evenly, at most `max_fps` per second of media time; None selects all."""

    def __init__(self, max_fps: float | None) -> None:
        self._due = 0.0
        self.limit(max_fps)

    def limit(self, max_fps: float | None) -> None:
        """Change the limit, from the next frame on."""
        self._period = 1 / max_fps if max_fps else 0.0

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
