"""The clock of one video stream, without side effects: timestamps in, media time out.

Timestamps lie on a line: each is a little after the one before. A few that lie elsewhere are errors, whose frames are
placed by their neighbours. When enough in a row agree on another line, the stream has restarted, and time goes on there
without the jump. Frames come in the order in which they are shown, so none has to be dropped for its timestamp.
"""

from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import NamedTuple

AGREE = 8  # timestamps in a row that make a new line; more is a delay when live, and frames held in memory otherwise
USUAL_STEPS = 2.5  # a step up to this many times the usual one is on the line; an outlier returns by at least 3
HOLE_S = 3_500.0  # a jump beyond this is not a pause: just below the hour by which clocks are put forward
PAUSE_S = 1.0  # a camera's step beyond this is a pause only if that time has really passed
NEAR_S = 60.0  # further away, a timestamp is not used to set the camera's wall clock
NUDGE = 0.25  # least distance of an estimated frame to the next, in usual steps


class Moment(NamedTuple):
    """When a frame is shown."""

    time: float  # s, media time
    estimated: bool  # placed by its neighbours, for lack of a usable timestamp


class MediaClock:
    """Converts the timestamps of a stream to media time: seconds since its first frame, strictly increasing."""

    def __init__(self, time_base: Fraction, step: float, live: bool = False) -> None:
        """`time_base`: seconds per unit of a timestamp; `step`: interval between frames by the header, in s.

        `live`: a step of the timestamps is compared with the time that has passed, as nothing of what follows is known.
        """
        self.estimated = 0  # frames placed by their neighbours
        self.restarts = 0  # times that a new line began
        self.jump = 0.0  # s, by which the timestamps jumped at the last restart
        self._time_base = time_base
        self._declared = step
        self._live = live
        self._origin: tuple[int, float] | None = None  # a timestamp and its media time: the line
        self._good = 0  # last timestamp on the line
        self._good_received = 0.0  # s, monotonic
        self._on_line = 0  # frames on this line
        self._placed = 0  # frames on any line
        self._steps: deque[float] = deque(maxlen=AGREE + 1)  # s, the last ones on a line
        self._doubtful: deque[int] = deque(maxlen=AGREE)  # timestamps since the last one on the line
        self._began = 0.0  # s, monotonic: when the first frame arrived, if it had no timestamp
        self._last: float | None = None  # s, media time of the last frame
        self._last_estimated = False
        self._last_duration = 0  # of the last frame, in units of a timestamp; 0: unknown

    def needs_following(self, stamp: int | None) -> bool:
        """Return whether the timestamps that follow decide what this one means."""
        if self._live or stamp is None or self._origin is None:
            return False
        return not 0 < self._seconds(stamp - self._good) <= USUAL_STEPS * self._step()

    def time_of(
        self, stamp: int | None, duration: int = 0, following: Sequence[int | None] = (), received: float = 0.0
    ) -> Moment:
        """Return when the next frame is shown.

        `duration` of the frame, 0 if unknown, and `following` (AGREE - 1 timestamps, fewer at the end) are in units of
        a timestamp; `received` is when a live frame arrived (s, monotonic).
        """
        later = [each for each in following if each is not None]
        if stamp is not None and self._accepts(stamp, later, received):
            time = self._not_too_early(self._at(stamp))
            estimated = time != self._at(stamp)
        else:
            time, estimated = self._guess(following, received), True
        self.estimated += estimated
        self._last, self._last_estimated, self._last_duration = time, estimated, duration
        return Moment(time, estimated)

    def line_time(self, stamp: int | None) -> float | None:
        """Return the media time of a timestamp in s, or None if it is far from the last frame: it may be wrong."""
        if stamp is None or self._origin is None or self._last is None:
            return None
        time = self._at(stamp)
        return time if abs(time - self._last) <= NEAR_S else None

    def _accepts(self, stamp: int, later: Sequence[int], received: float) -> bool:
        """Return whether the timestamp is right, on the present line or on a new one that it begins."""
        if self._origin is None:
            self._begin(stamp, received)
        elif self._fits(stamp, later, received):
            self._steps.append(self._seconds(stamp - self._good))
            self._take(stamp, received)
        else:
            self._doubtful.append(stamp)
            if not self._persists([*self._doubtful, *later][-AGREE:]):
                return False
            self._restart(stamp, received)
        return True

    def _fits(self, stamp: int, later: Sequence[int], received: float) -> bool:
        """Return whether the timestamp is on the line, perhaps after a pause."""
        ahead = self._seconds(stamp - self._good)
        if ahead <= 0:
            return False
        if ahead <= USUAL_STEPS * self._step():
            return True
        if self._live:
            return ahead <= PAUSE_S or received - self._good_received >= ahead / 2
        if self._mostly_wrong:
            return False  # no pause is known from such timestamps
        if sum(self._good < each < stamp for each in later) > sum(each > stamp for each in later):
            return False  # the others go on from before
        # one picture an hour, say, has steps like this one
        steps = [self._seconds(after - before) for before, after in pairwise([stamp, *later])]
        return ahead <= HOLE_S or (bool(steps) and min(steps) > 0 and median(steps) >= ahead / 10)

    def _persists(self, stamps: Sequence[int]) -> bool:
        """Return whether these timestamps make a new line."""
        back, step = self._seconds(self._good - stamps[0]), self._step()
        if len(stamps) < AGREE or 0 <= back < step:  # within a step it is jitter
            return False
        longest = max(USUAL_STEPS * step, abs(back) / 4)  # shorter than the way of an outlier to the old line
        return all(0 < self._seconds(after - before) <= longest for before, after in pairwise(stamps))

    def _restart(self, stamp: int, received: float) -> None:
        if self.restarts == 0 and self._on_line < AGREE / 2:  # the stream began with the outliers
            self.estimated += self._on_line
        else:
            self.restarts += 1
            self.jump = self._at(stamp) - (self._last or 0.0) - self._step()
        self._begin(stamp, received)

    def _begin(self, stamp: int, received: float) -> None:
        self._origin, self._on_line = (stamp, 0.0 if self._last is None else self._last + self._step()), 0
        self._take(stamp, received)

    def _take(self, stamp: int, received: float) -> None:
        self._good, self._good_received = stamp, received
        self._on_line += 1
        self._placed += 1
        self._doubtful.clear()

    def _guess(self, following: Sequence[int | None], received: float) -> float:
        """Return the media time of a frame without a usable timestamp: one step on, but before the next good one.

        If a camera has sent no timestamp at all, its frames are shown as they arrive.
        """
        step = self._step()
        if self._last is None:
            self._began = received
            return 0.0
        if self._live and self._origin is None:
            return max(received - self._began, self._last + NUDGE * step)
        for frames, stamp in enumerate(following, start=2):
            if stamp is not None and self._origin is not None and stamp > self._good:
                room = self._at(stamp) - self._last
                return self._last + max(min(step, room / frames), NUDGE * step)
        return self._last + step

    def _at(self, stamp: int) -> float:
        assert self._origin is not None
        return self._origin[1] + self._seconds(stamp - self._origin[0])

    def _not_too_early(self, time: float) -> float:
        if self._last is None or not self._last_estimated:
            return time
        return max(time, self._last + NUDGE * self._step())

    def _step(self) -> float:
        """Return the usual interval between frames, in s."""
        if self._steps and not self._mostly_wrong:
            return median(self._steps)
        return self._seconds(self._last_duration) or self._declared

    @property
    def _mostly_wrong(self) -> bool:
        """Whether most timestamps so far were wrong, so that they teach nothing."""
        return self.estimated > self._placed

    def _seconds(self, units: int) -> float:
        return float(units * self._time_base)
