"""Makes the timeline of expressions: segments with start and end, from the smoothed belief of each sample.

A segment is a run of samples with one clear expression. The border between two runs is half-way between their samples.
A run ends with the last sample before a gap: nothing is stated about time without analyses. Segments that are shorter
than `expression_min_s` are dropped, and segments of one expression that are less than that apart are joined.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from streamer.aggregate.expression import CLEAR
from streamer.aggregate.samples import Doubles
from streamer.config import Aggregate
from streamer.values import Floats, Segment

BRIDGED_S = 0.4  # s, shorter breaks within an expression are closed before short segments are dropped


class _Run(NamedTuple):
    """Consecutive samples of the same expression."""

    which: int | None  # index into the 7 expressions; None: no clear one
    start: float  # s, media time
    end: float  # s, media time
    belief: float  # sum of the belief in `which` over the samples
    samples: int


@dataclass(frozen=True, slots=True, eq=False)
class TimelineBase:
    """The runs of the samples that are no longer kept."""

    time: float | None = None  # s, media time of the last of them; None: there are no such samples
    last: Doubles = field(default_factory=lambda: np.zeros(7))  # belief of that sample
    seconds: Doubles = field(default_factory=lambda: np.zeros(7))  # s, time of each expression
    fixed: tuple[_Run, ...] = ()  # segments that later samples cannot change; only the last may still grow
    runs: tuple[_Run, ...] = ()  # the runs after these, unprocessed


def fold_timeline(
    settings: Aggregate, base: TimelineBase, times: Sequence[float], beliefs: Sequence[Doubles]
) -> TimelineBase:
    """Return the base with samples added, given by media time (s) and belief (7,)."""
    runs = _runs(settings, base, times, beliefs)
    long = [_long_enough(run, settings) for run in runs]
    between = [place for place in range(1, len(runs)) if long[place - 1] and long[place]]
    fixed = base.fixed
    if between:  # segments are never joined across the border of two long runs
        fixed = (*fixed[:-1], *_to_segments(settings, [*fixed[-1:], *runs[: between[-1]]]))
        runs = runs[between[-1] :]
    return TimelineBase(times[-1], beliefs[-1], _seconds(settings, base, times, beliefs), fixed, tuple(runs))


def segments(
    settings: Aggregate, base: TimelineBase, times: Sequence[float], beliefs: Sequence[Doubles]
) -> tuple[Segment, ...]:
    """Return the timeline of all samples, oldest first."""
    runs = _to_segments(settings, [*base.fixed[-1:], *_runs(settings, base, times, beliefs)])
    return tuple(
        Segment(run.which, run.start, run.end, run.belief / run.samples)
        for run in (*base.fixed[:-1], *runs)
        if run.which is not None
    )


def shares(settings: Aggregate, base: TimelineBase, times: Sequence[float], beliefs: Sequence[Doubles]) -> Floats:
    """Return the share (7,) of the analysed time that each expression had; the mean belief if there is no such time."""
    seconds = _seconds(settings, base, times, beliefs)
    total = float(seconds.sum())
    found = seconds / total if total > 0 else np.mean(beliefs, axis=0)
    return found.astype(np.float32)


def _seconds(settings: Aggregate, base: TimelineBase, times: Sequence[float], beliefs: Sequence[Doubles]) -> Doubles:
    """Return the time (7,) of each expression, s. Two samples share the time between them, up to `expression_gap_s`."""
    before = [] if base.time is None else [base.time]
    all_times = np.array([*before, *times])
    believed = np.stack([*([base.last] if before else []), *beliefs])
    passed = np.minimum(np.diff(all_times), settings.expression_gap_s)
    seconds: Doubles = base.seconds + passed @ (believed[1:] + believed[:-1]) / 2
    return seconds


def _runs(settings: Aggregate, base: TimelineBase, times: Sequence[float], beliefs: Sequence[Doubles]) -> list[_Run]:
    """Return the runs of the base, continued by these samples."""
    runs = list(base.runs)
    last = base.time
    for time, belief in zip(times, beliefs, strict=True):
        leader = int(belief.argmax())
        share = float(belief[leader])
        which = leader if share >= CLEAR else None
        linked = last is not None and time - last <= settings.expression_gap_s
        if linked and runs and runs[-1].which == which:
            run = runs[-1]
            runs[-1] = run._replace(end=time, belief=run.belief + share, samples=run.samples + 1)
        else:
            start = (last + time) / 2 if linked and last is not None else time
            if linked and runs:
                runs[-1] = runs[-1]._replace(end=start)
            runs.append(_Run(which, start, time, share, 1))
        last = time
    return runs


def _to_segments(settings: Aggregate, runs: Sequence[_Run]) -> list[_Run]:
    """Return the segments: runs of clear expressions, joined over short breaks and without short ones."""
    joined = _join([run for run in runs if run.which is not None], BRIDGED_S)
    return _join([run for run in joined if _long_enough(run, settings)], settings.expression_min_s)


def _long_enough(run: _Run, settings: Aggregate) -> bool:
    return run.which is not None and run.end - run.start >= settings.expression_min_s


def _join(runs: Sequence[_Run], gap_s: float) -> list[_Run]:
    joined: list[_Run] = []
    for run in runs:
        if joined and joined[-1].which == run.which and run.start - joined[-1].end < gap_s:
            before = joined[-1]
            joined[-1] = _Run(
                run.which, before.start, run.end, before.belief + run.belief, before.samples + run.samples
            )
        else:
            joined.append(run)
    return joined
