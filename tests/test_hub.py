import itertools
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from streamer.api.paging import page, page_token
from streamer.config import Publish
from streamer.hub import ENDED_S, ENDED_TRACKS, Event, Hub, Subscriber
from streamer.values import EndReason, TrackState, TrackSummary
from tests.support.builders import summary

SOON, REFRESH = 0.01, 1.0


def final(track: str = "t1", revision: int = 9, camera: str = "door") -> TrackSummary:
    return summary(track, revision, camera, state=TrackState.ENDED, final=True, end_reason=EndReason.TIMEOUT, time=5.0)


def hub(max_pending: int = 100) -> Hub:
    return Hub(Publish(max_pending=max_pending, update_interval_s=REFRESH))


def drained(subscriber: Subscriber, now: float = 0.0) -> list[Event]:
    return list(iter(lambda: subscriber.take(now), None))


def taken(subscriber: Subscriber, now: float = 0.0) -> list[tuple[str, str, int]]:
    """Kind, track and revision of all that waits."""
    return [
        (event.kind.value, event.summary.key.id, event.summary.revision) if event.summary else (event.kind.value, "", 0)
        for event in drained(subscriber, now)
    ]


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"faceanalytics_{name}") or 0.0


def test_a_track_is_new_then_updated_then_ended_exactly_once() -> None:
    tracks = hub()
    watcher = tracks.subscribe()
    for offered in (summary(revision=1), summary(revision=2)):
        tracks.offer(offered, 0.0)
    assert taken(watcher) == [("NEW", "t1", 1), ("UPDATE", "t1", 2)]
    for offered in (final(), final(), summary(revision=10)):
        tracks.offer(offered, 0.1)
    assert taken(watcher) == [("END", "t1", 9)]


def test_a_mere_new_position_is_published_only_when_nothing_was_for_a_while() -> None:
    tracks = hub()
    watcher = tracks.subscribe()
    for index in range(30):
        tracks.offer(summary(time=index / 10), index / 10)
    updates = [event.summary.last.time for event in drained(watcher)[1:] if event.summary]
    assert updates == [2.0]  # coalesced with that of 1.0
    for index in range(30, 60):
        tracks.offer(summary(time=index / 10), index / 10)
        assert len(drained(watcher)) == (1 if index in (30, 40, 50) else 0)


def test_a_summary_older_than_the_last_is_ignored() -> None:
    tracks = hub()
    watcher = tracks.subscribe()
    for revision in (3, 2, 1):
        tracks.offer(summary(revision=revision), 5.0 - revision)
    assert taken(watcher) == [("NEW", "t1", 3)]
    assert tracks.live()[0].revision == 3


def test_a_track_whose_first_summary_is_final_is_new_and_ended() -> None:
    tracks = hub()
    watcher = tracks.subscribe()
    tracks.offer(final(), 0.0)
    assert taken(watcher) == [("NEW", "t1", 9), ("END", "t1", 9)]


def test_updates_that_wait_coalesce_and_keep_their_place() -> None:
    tracks = hub()
    watcher = tracks.subscribe()
    for revision in range(1, 6):
        for name in ("t1", "t2"):
            tracks.offer(summary(name, revision), 0.0)
    tracks.offer(final("t1"), 0.0)
    assert taken(watcher) == [
        ("NEW", "t1", 1),
        ("NEW", "t2", 1),
        ("UPDATE", "t1", 5),
        ("UPDATE", "t2", 5),
        ("END", "t1", 9),
    ]


def test_a_subscriber_who_takes_nothing_is_given_up_and_disturbs_no_other() -> None:
    tracks, dropped = hub(max_pending=16), metric("subscriber_dropped_total")
    sleeper, reader = tracks.subscribe(), tracks.subscribe()
    seen = []
    for index in range(20):
        tracks.offer(summary(f"t{index:02}"), 0.0)
        seen += taken(reader)
        assert sleeper.overflow.is_set() == (index >= 16)
    assert seen == [("NEW", f"t{index:02}", 1) for index in range(20)]
    assert sleeper.wake.is_set()
    assert taken(sleeper) == []
    tracks.unsubscribe(sleeper)
    tracks.unsubscribe(reader)
    assert metric("subscriber_dropped_total") == dropped + 1


def test_updates_alone_never_give_a_subscriber_up() -> None:
    tracks = hub(max_pending=16)
    watcher = tracks.subscribe()
    for revision in range(1000):
        tracks.offer(summary(revision=revision), 0.0)
    assert taken(watcher) == [("NEW", "t1", 0), ("UPDATE", "t1", 999)]


def test_a_snapshot_larger_than_the_bound_is_no_overflow() -> None:
    tracks = hub(max_pending=16)
    for index in range(50):
        tracks.offer(summary(f"t{index:02}"), 0.0)
    watcher = tracks.subscribe(snapshot=True)
    tracks.offer(summary("t99"), 0.0)
    tracks.offer(summary("t00", 2), 0.0)
    tracks.offer(final("t01"), 0.0)
    assert not watcher.overflow.is_set()
    assert taken(watcher) == [
        *(("SNAPSHOT", f"t{index:02}", 1) for index in range(50)),
        ("SNAPSHOT_END", "", 0),
        ("NEW", "t99", 1),
        ("UPDATE", "t00", 2),
        ("END", "t01", 9),
    ]


def test_an_empty_snapshot_has_an_end_too() -> None:
    assert taken(hub().subscribe(snapshot=True)) == [("SNAPSHOT_END", "", 0)]


@pytest.mark.parametrize("joins_at", range(8))
def test_whenever_a_watcher_joins_each_track_begins_once_and_ends_once(joins_at: int) -> None:
    offers = [summary("a"), summary("b"), summary("a", 2), final("a"), summary("c"), final("b"), final("c")]
    tracks = hub()
    for offered in offers[:joins_at]:
        tracks.offer(offered, 0.0)
    watcher = tracks.subscribe(snapshot=True)
    for offered in offers[joins_at:]:
        tracks.offer(offered, 0.0)
    events = taken(watcher)
    begun = [name for kind, name, _ in events if kind in ("SNAPSHOT", "NEW")]
    ended = [name for kind, name, _ in events if kind == "END"]
    gone = {offered.key.id for offered in offers[:joins_at] if offered.final}
    assert sorted(begun) == sorted({"a", "b", "c"} - gone)
    assert sorted(ended) == sorted(begun)


def test_a_watcher_hears_only_of_the_streams_it_asked_for() -> None:
    tracks = hub()
    tracks.offer(summary("t1", camera="door"), 0.0)
    tracks.offer(summary("t2", camera="yard"), 0.0)
    watcher = tracks.subscribe(["yard"], snapshot=True)
    tracks.offer(summary("t3", camera="door"), 0.0)
    tracks.offer(summary("t4", camera="yard"), 0.0)
    assert taken(watcher) == [("SNAPSHOT", "t2", 1), ("SNAPSHOT_END", "", 0), ("NEW", "t4", 1)]


def test_a_minimum_interval_holds_updates_back_but_not_new_and_end() -> None:
    tracks = hub()
    watcher = tracks.subscribe(min_interval_s=2.0)
    tracks.offer(summary(revision=1), 0.0)
    tracks.offer(summary(revision=2), 0.0)
    assert taken(watcher, 0.0) == [("NEW", "t1", 1), ("UPDATE", "t1", 2)]
    tracks.offer(summary(revision=3), 0.5)
    tracks.offer(summary(revision=4), 1.0)
    assert taken(watcher, 1.0) == []
    assert watcher.due() == 2.0
    assert taken(watcher, 2.0) == [("UPDATE", "t1", 4)]
    assert watcher.due() == float("inf")
    tracks.offer(summary(revision=5), 2.5)
    tracks.offer(final(), 2.6)
    assert taken(watcher, 2.6) == [("END", "t1", 9)]


def test_updates_that_come_due_at_once_do_not_overflow() -> None:
    tracks = hub(max_pending=16)
    watcher = tracks.subscribe(min_interval_s=10.0)
    names = [f"t{index:02}" for index in range(40)]
    for revision, name in itertools.product((1, 2, 3), names):
        tracks.offer(summary(name, revision), 0.0)
        taken(watcher, 0.0)
    assert taken(watcher, 10.0) == [("UPDATE", name, 3) for name in names]
    assert not watcher.overflow.is_set()


def test_an_update_that_is_due_replaces_the_one_held_back() -> None:
    tracks = hub()
    watcher = tracks.subscribe(min_interval_s=1.0)
    for revision, now in ((1, 0.0), (2, 0.0)):
        tracks.offer(summary(revision=revision), now)
    taken(watcher, 0.0)
    tracks.offer(summary(revision=3), 0.5)
    tracks.offer(summary(revision=4), 1.5)
    assert taken(watcher, 1.5) == [("UPDATE", "t1", 4)]


def test_an_ended_track_can_be_looked_up_for_a_while() -> None:
    tracks = hub()
    tracks.offer(summary(), 0.0)
    tracks.offer(final(), 1.0)
    found = tracks.get("t1", 1.0 + ENDED_S - SOON)
    assert found is not None
    assert found.final
    assert tracks.get("t1", 1.0 + ENDED_S) is None
    assert tracks.get("t2", 1.0) is None
    assert tracks.live() == []


def test_the_memory_of_ended_tracks_is_bounded() -> None:
    tracks = hub()
    for index in range(ENDED_TRACKS + 5):
        tracks.offer(final(f"t{index:05}"), 0.0)
    assert tracks.get("t00003", 0.0) is None
    assert tracks.get(f"t{ENDED_TRACKS + 4:05}", 0.0) is not None


def test_live_tracks_are_listed_oldest_first() -> None:
    tracks = hub()
    for name, camera in (("t3", "door"), ("t1", "yard"), ("t2", "door")):
        tracks.offer(summary(name, camera=camera), 0.0)
    assert [one.key.id for one in tracks.live()] == ["t1", "t2", "t3"]
    assert [one.key.id for one in tracks.live(["door"])] == ["t2", "t3"]


def test_the_latency_of_a_result_is_counted_once_per_analysis() -> None:
    tracks = hub()
    count, total = metric("result_latency_seconds_count"), metric("result_latency_seconds_sum")
    tracks.offer(summary(revision=1, received=10.0), 10.1)
    analysed = summary(revision=2, samples=1, model_id="a", received=10.0)
    tracks.offer(analysed, 10.4)
    tracks.offer(replace(analysed, received=12.0), 12.1)
    tracks.offer(summary(revision=3, samples=1, model_id="b", received=12.0), 12.5)
    assert metric("result_latency_seconds_count") == count + 2
    assert metric("result_latency_seconds_sum") == pytest.approx(total + 0.4 + 0.5)


def test_the_subscribers_are_counted() -> None:
    before = metric("subscribers")
    tracks = hub()
    one, two = tracks.subscribe(), tracks.subscribe()
    assert metric("subscribers") == before + 2
    tracks.unsubscribe(one)
    tracks.unsubscribe(two)
    assert metric("subscribers") == before


def test_closing_wakes_everyone_and_leaves_what_waits() -> None:
    tracks = hub()
    watcher = tracks.subscribe()
    tracks.offer(summary(), 0.0)
    tracks.offer(final(), 0.0)
    tracks.close()
    assert watcher.closing
    assert watcher.wake.is_set()
    assert taken(watcher) == [("NEW", "t1", 1), ("END", "t1", 9)]
    assert tracks.subscribe().closing


@pytest.mark.parametrize(
    ("after", "size", "expected"),
    [
        ("", 0, (["a", "b", "c", "d"], "")),
        ("", 2, (["a", "b"], "b")),
        ("b", 2, (["c", "d"], "")),
        ("b", 1, (["c"], "c")),
        ("bb", 5, (["c", "d"], "")),
        ("d", 2, ([], "")),
        ("", 4, (["a", "b", "c", "d"], "")),
    ],
)
def test_pages_follow_each_other(after: str, size: int, expected: tuple[list[str], str]) -> None:
    items, following = expected
    assert page(["a", "b", "c", "d"], str, after, size) == (items, page_token(following) if following else "")


def test_a_page_has_a_default_and_a_largest_size() -> None:
    names = [f"{index:05}" for index in range(2000)]
    assert len(page(names, str, "", 0)[0]) == 100
    assert len(page(names, str, "", 5000)[0]) == 1000
