"""What a face appeared to show and when: samples and what is believed of each, to segments with start and end.

A segment is a run of samples of one clear expression. It changes half-way between two samples, and ends with the last
sample before a gap: nothing is said about time in which nobody looked. What is too short to be seen by a person is no
segment, and two segments of one expression with no more than that between them are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from streamer.aggregate.expression import CLEAR
from streamer.aggregate.samples import Doubles
from streamer.config import Aggregate
from streamer.values import Floats, Segment

BRIDGED_S = 0.4  # s, a shorter break is none, before anything is left out


class _Run(NamedTuple):
    """Samples in a row of the same expression."""

    which: int | None  # None: none is clear
    start: float  # s, media time
    end: float  # s, media time
    belief: float  # sum over its samples
    samples: int


@dataclass(frozen=True, slots=True, eq=False)
class TimelineBase:
    """The samples that are no longer kept."""

    time: float | None = None  # s, media time of the last of them; None: there is none
    last: Doubles = field(default_factory=lambda: np.zeros(7))  # what is believed of it
    seconds: Doubles = field(default_factory=lambda: np.zeros(7))  # s, for each expression
    settled: tuple[_Run, ...] = ()  # segments that nothing that follows can change, except that the last may go on
    runs: tuple[_Run, ...] = ()  # those after them, as they are


def fold_timeline(
    settings: Aggregate, base: TimelineBase, times: Sequence[float], beliefs: Sequence[Doubles]
) -> TimelineBase:
    """The base with these samples in it: media times (s), and what is believed of each (7,)."""
    runs = _runs(settings, base, times, beliefs)
    long = [_lasts(run, settings) for run in runs]
    between = [place for place in range(1, len(runs)) if long[place - 1] and long[place]]
    settled = base.settled
    if between:  # nothing is joined or left out over the border of two long runs
        settled = (*settled[:-1], *_tidy(settings, [*settled[-1:], *runs[: between[-1]]]))
        runs = runs[between[-1] :]
    return TimelineBase(times[-1], beliefs[-1], _seconds(settings, base, times, beliefs), settled, tuple(runs))


def segments(
    settings: Aggregate, base: TimelineBase, times: Sequence[float], beliefs: Sequence[Doubles]
) -> tuple[Segment, ...]:
    """The timeline of all samples, oldest first."""
    runs = _tidy(settings, [*base.settled[-1:], *_runs(settings, base, times, beliefs)])
    return tuple(
        Segment(run.which, run.start, run.end, run.belief / run.samples)
        for run in (*base.settled[:-1], *runs)
        if run.which is not None
    )


def shares(settings: Aggregate, base: TimelineBase, times: Sequence[float], beliefs: Sequence[Doubles]) -> Floats:
    """The share (7,) of the analysed time that each expression had; one sample alone is all there is to say."""
    seconds = _seconds(settings, base, times, beliefs)
    total = float(seconds.sum())
    found = seconds / total if total > 0 else np.mean(beliefs, axis=0)
    return found.astype(np.float32)


def _seconds(settings: Aggregate, base: TimelineBase, times: Sequence[float], beliefs: Sequence[Doubles]) -> Doubles:
    """s for each expression (7,): two samples share the time between them, but no more of it than a gap may have."""
    before = [] if base.time is None else [base.time]
    all_times = np.array([*before, *times])
    believed = np.stack([*([base.last] if before else []), *beliefs])
    passed = np.minimum(np.diff(all_times), settings.expression_gap_s)
    seconds: Doubles = base.seconds + passed @ (believed[1:] + believed[:-1]) / 2
    return seconds


def _runs(settings: Aggregate, base: TimelineBase, times: Sequence[float], beliefs: Sequence[Doubles]) -> list[_Run]:
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


def _tidy(settings: Aggregate, runs: Sequence[_Run]) -> list[_Run]:
    """Without what is too short, and joined where too little is between."""
    joined = _join([run for run in runs if run.which is not None], BRIDGED_S)
    return _join([run for run in joined if _lasts(run, settings)], settings.expression_min_s)


def _lasts(run: _Run, settings: Aggregate) -> bool:
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
