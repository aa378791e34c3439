"""Which tracks were beside each other, and which crop is the best."""

from collections.abc import Mapping, Sequence

import numpy as np

from streamer.recorded.presence import Presence
from streamer.values import ClockSource, Detections, Interval, Observation, Track, TrackState, TrackSummary
from tests.support.builders import crop, key, summary

LEFT, RIGHT = (10, 10, 60, 70), (200, 10, 250, 70)
NEARLY_LEFT = (14, 12, 64, 72)
FPS = 25


def frame(index: int, boxes: Mapping[str, tuple[int, int, int, int]]) -> Observation:
    corners = np.array(list(boxes.values()), np.float32).reshape(-1, 4)
    found = Detections(corners, np.full(len(boxes), 0.9, np.float32), np.zeros((len(boxes), 5, 2), np.float32))
    time = index / FPS
    tracks = [Track(key(n), TrackState.CONFIRMED, corners[row], 0.9, row, 0.0, time) for row, n in enumerate(boxes)]
    return Observation("cam", 0, time, None, ClockSource.FILE_PTS, 0.0, (640, 480), found, tuple(tracks))


def track(name: str, start: float, end: float, split_from: str = "", before: Sequence[Interval] = ()) -> TrackSummary:
    intervals = (*before, Interval(name, start, end))
    return summary(name, first_seen=intervals[0].first_seen, intervals=intervals, time=end, split_from=split_from)


def seen(spans: Mapping[str, tuple[tuple[int, int, int, int], float, float]]) -> list[tuple[str, str]]:
    """Which of the tracks are apart, that were at a place from and to a time (s)."""
    presence = Presence()
    for index in range(round(max(end for _, _, end in spans.values()) * FPS) + 1):
        time = index / FPS
        presence.observe(frame(index, {n: box for n, (box, start, end) in spans.items() if start <= time <= end}))
    return presence.apart([track(name, start, end) for name, (_, start, end) in spans.items()])


def test_two_faces_of_one_frame_are_two_people() -> None:
    assert seen({"a": (LEFT, 0, 4), "b": (RIGHT, 0, 4)}) == [("a", "b")]
    assert seen({"a": (LEFT, 0, 10), "b": (RIGHT, 4, 4.4)}) == [("a", "b")]  # all of the shorter one
    assert seen({"a": (LEFT, 0, 6), "b": (RIGHT, 4, 10)}) == [("a", "b")]


def test_one_face_found_twice_and_one_after_the_other_are_not() -> None:
    assert seen({"a": (LEFT, 0, 4), "b": (NEARLY_LEFT, 0, 4)}) == []
    assert seen({"a": (LEFT, 0, 4), "b": (RIGHT, 4.2, 8)}) == []


def test_a_face_that_is_faded_into_its_next_shot_may_be_one_person() -> None:
    assert seen({"a": (LEFT, 0, 4.4), "b": (RIGHT, 4, 8)}) == []


def test_every_pair_of_a_group_is_found() -> None:
    boxes = {name: ((100 * place, 0, 100 * place + 50, 60), 0.0, 3.0) for place, name in enumerate("abcd")}
    assert len(seen(boxes)) == 6


def test_a_track_that_was_split_off_was_where_the_first_one_was_under_its_id() -> None:
    presence = Presence()
    for index in range(200):  # until 6 s both were called a, with b beside the second
        boxes = {"a" if index < 150 else "a+": LEFT}
        presence.observe(frame(index, boxes | ({"b": RIGHT} if index >= 100 else {})))
    first, second, other = track("a", 0, 3.96), track("a+", 4.0, 7.96, split_from="a"), track("b", 4.0, 7.96)
    assert presence.apart([first, second, other]) == [("a+", "b")]


def test_the_best_crop_is_found_with_its_frame_under_all_ids_of_the_track() -> None:
    presence = Presence()
    for index in range(100):
        presence.observe(frame(index, {"a" if index < 50 else "b": LEFT}))
    presence.observe(frame(99, {}))  # the end of the video has the time of its last frame
    for name, time, quality in [("a", 0.4, 0.5), ("a", 1.2, 0.7), ("b", 2.4, 0.9), ("b", 3.0, 0.9)]:
        presence.analysed(crop(name, time, quality))
    joined = track("b", 2.0, 3.96, before=[Interval("a", 0.0, 1.96)])
    assert presence.best_crop(joined) == ("b", 0.9, 2.4, 60)
    assert presence.best_crop(track("a", 0.0, 1.0)) == ("a", 0.5, 0.4, 10)
    assert presence.best_crop(track("nobody", 0.0, 1.0)) is None
