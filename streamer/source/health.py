"""Measure a camera from what was counted for it: rates, overload and the quality of the link.

- Rates are means over the last RATE_S seconds.
- A camera is *overloaded* once OVERLOAD_FROM of its frames were skipped over RATE_S seconds because newer ones arrived,
  until that share is at most OVERLOAD_TO over RELIEF_S.
- The link is POOR if in the last LINK_S seconds it broke twice or lost POOR_LOSS of its frames, or if it is down; FAIR
  if it broke once or lost FAIR_LOSS; else GOOD. Lost are damaged frames, and those that gaps in the timestamps suggest.
"""

import statistics
from collections import deque
from dataclasses import dataclass

from streamer.metrics import StreamTotals
from streamer.values import ClockSource, LinkQuality, SourceState, SourceStatus

RATE_S = 10.0
SLACK_S = 0.5  # samples are not taken exactly every second
RELIEF_S = 30.0  # longer than RATE_S: cameras with few frames per second would change to and fro
LINK_S = 60.0
OVERLOAD_FROM = 0.2
OVERLOAD_TO = 0.05
POOR_LOSS = 0.05
FAIR_LOSS = 0.005
SKIPPED = "overload"  # the reason of frames that were replaced before they could be analysed
DAMAGED = "corrupt"
STEPS = 25  # steps between frames that are compared with their median
GAP_STEPS = 1.8  # a longer step, in medians, is a gap
LONGEST_GAP_S = 5.0  # a longer one is a jump of the clock


@dataclass(frozen=True, slots=True)
class Flow:
    """What arrives from a camera, and what becomes of it."""

    fps_in: float = 0.0  # frames/s
    fps_analysed: float = 0.0  # frames/s
    fps_wanted: float = 0.0  # frames/s for analysis: those that max_fps leaves
    skipped: float = 0.0  # 0..1, share of the wanted frames that newer ones replaced
    frame_age: float | None = None  # s
    overloaded: bool = False
    link_quality: LinkQuality | None = None


@dataclass(frozen=True, slots=True)
class _Sample:
    time: float  # s
    decoded: int
    analysed: int
    wanted: int  # analysed, or replaced by newer ones
    lost: int
    breaks: int
    age_s: float


class Health:
    """The measurements of one camera over time."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()  # of the last LINK_S, and one before
        self._overloaded = False

    def sample(self, now: float, status: SourceStatus, totals: StreamTotals) -> Flow:
        """Take in the totals at `now` (s) and return the present flow."""
        lost = totals.missing + totals.dropped.get(DAMAGED, 0)
        wanted = totals.analysed + totals.dropped.get(SKIPPED, 0)
        counts = totals.decoded, totals.analysed, wanted, lost, totals.disconnects, totals.age_s
        newest = _Sample(now, *counts)
        self._samples.append(newest)
        while len(self._samples) > 1 and self._samples[1].time <= now - LINK_S:
            self._samples.popleft()
        since = self._before(now - RATE_S)
        elapsed = newest.time - since.time
        analysed, wanted = newest.analysed - since.analysed, newest.wanted - since.wanted
        skipped = _share(newest, since)
        if not wanted or _share(newest, self._before(now - RELIEF_S)) <= OVERLOAD_TO:
            self._overloaded = False
        elif skipped >= OVERLOAD_FROM and elapsed >= RATE_S - SLACK_S:
            self._overloaded = True
        return Flow(
            fps_in=(newest.decoded - since.decoded) / elapsed if elapsed else 0.0,
            fps_analysed=analysed / elapsed if elapsed else 0.0,
            fps_wanted=wanted / elapsed if elapsed else 0.0,
            skipped=skipped,
            frame_age=(newest.age_s - since.age_s) / analysed if analysed else None,
            overloaded=self._overloaded,
            link_quality=self._link_quality(newest, status),
        )

    def _before(self, moment: float) -> _Sample:
        """Return the newest sample from before about `moment` (s), or the oldest one."""
        before = (each for each in reversed(self._samples) if each.time <= moment + SLACK_S)
        return next(before, self._samples[0])

    def _link_quality(self, newest: _Sample, status: SourceStatus) -> LinkQuality | None:
        if status.clock_source is ClockSource.FILE_PTS or not status.connects:
            return None
        if status.state is not SourceState.RUNNING:
            return LinkQuality.POOR if status.state is SourceState.RECONNECTING else None
        oldest = self._samples[0]
        breaks, lost = newest.breaks - oldest.breaks, newest.lost - oldest.lost
        loss = lost / max(1, newest.decoded - oldest.decoded + lost)
        if breaks >= 2 or loss >= POOR_LOSS:
            return LinkQuality.POOR
        return LinkQuality.FAIR if breaks or loss >= FAIR_LOSS else LinkQuality.GOOD


def _share(newest: _Sample, since: _Sample) -> float:
    """Return the share of the wanted frames between two samples that newer ones replaced."""
    wanted = newest.wanted - since.wanted
    return 1 - (newest.analysed - since.analysed) / wanted if wanted else 0.0


class Gaps:
    """Finds frames that are missing between the timestamps of others."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._steps: list[float] = []  # s

    def missing(self, media_time: float) -> int:
        """Return how many frames are missing among the last STEPS before `media_time` (s); in between, return 0.

        The steps are compared with each other only, so that a camera may change its frame rate.
        """
        if self._last is not None and 0 < media_time - self._last <= LONGEST_GAP_S:
            self._steps.append(media_time - self._last)
        self._last = media_time
        if len(self._steps) < STEPS:
            return 0
        usual = statistics.median(self._steps)
        gaps = sum(round(step / usual) - 1 for step in self._steps if step > GAP_STEPS * usual)
        self._steps.clear()
        return gaps
