"""The time from the first sight of a track to the decision whom it shows."""

from dataclasses import replace

from streamer import metrics
from streamer.decision_times import DecisionTimes
from streamer.readings import total
from streamer.values import IdentityDecision, IdentityReason, IdentityStatus, TrackSummary
from tests.support.builders import summary

UNDECIDED = IdentityDecision(
    IdentityStatus.UNDECIDED, "", IdentityReason.TOO_LITTLE_EVIDENCE, (), None, None, 1, 0.5, 1
)
UNKNOWN = replace(UNDECIDED, status=IdentityStatus.UNKNOWN, reason=IdentityReason.BELOW_THRESHOLD, revision=2)


def counts() -> tuple[int, float, int]:
    """Decisions, the sum of their times (s), and tracks without one."""
    seconds = metrics.identity_decision_seconds
    return int(total(seconds, "_count")), total(seconds, "_sum"), int(total(metrics.identity_undecided))


def seen(name: str, decision: IdentityDecision | None, **changes: object) -> TrackSummary:
    return replace(summary(name), decision=decision, **changes)  # type: ignore[arg-type]


def test_the_first_decision_counts_from_the_first_sight_and_not_from_the_confirmation() -> None:
    times, before = DecisionTimes(), counts()
    times.see(seen("a", UNDECIDED, received=10.0, first_seen=0.5), 10.1)  # last seen at 1.0: for half a second
    times.see(seen("a", UNKNOWN, received=11.0), 11.2)
    times.see(seen("a", UNKNOWN, received=12.0), 13.0)
    decided, seconds, undecided = (after - first for after, first in zip(counts(), before, strict=True))
    assert (decided, round(seconds, 3), undecided) == (1, 1.7, 0)


def test_a_decision_at_the_end_is_too_late_and_a_merged_track_is_decided_with_the_other() -> None:
    times, before = DecisionTimes(), counts()
    for name in ("a", "b", "c"):
        times.see(seen(name, UNDECIDED if name != "c" else None, received=10.0), 10.0)
    times.see(seen("a", UNKNOWN, final=True), 12.0)
    times.see(seen("b", UNDECIDED, final=True, merged_into="a"), 12.0)
    times.see(seen("c", None, final=True), 12.0)  # nobody is recognised
    decided, _, undecided = (after - first for after, first in zip(counts(), before, strict=True))
    assert (decided, undecided) == (0, 1)
