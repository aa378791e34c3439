"""Frames that are not searched for faces, or only in parts: tracks coast, and nothing counts as missed."""

import numpy as np
import pytest

from streamer.values import Detections, TrackState
from tests.track.test_tracker import DT, NOTHING, SIZE, STILL, a_tracker, found, run

CONFIRMED, LOST = TrackState.CONFIRMED, TrackState.LOST
LEFT = np.array([[0, 0, 640, 720]], np.float32)


def moving(frame: int) -> Detections:
    return found((300 + 4 * frame, 300, 0.9))


def test_a_track_coasts_along_its_path_and_is_found_there() -> None:
    tracker = a_tracker()
    run(tracker, [moving(frame) for frame in range(10)])
    for frame in range(10, 20):
        (track,) = tracker.coast(frame * DT, SIZE)
        assert (track.state, track.detection) == (CONFIRMED, None)
        assert (track.box[0] + track.box[2]) / 2 == pytest.approx(300 + 4 * frame, abs=4)
        assert track.last_seen == 9 * DT
    ((track,), ended) = tracker.update(20 * DT, moving(20), SIZE)
    assert (track.key.number, track.detection, ended) == (1, 0, [])


def test_nothing_is_lost_while_nobody_looks_however_long_that_is() -> None:
    tracker = a_tracker(lost_s=0.5, max_gap_s=0.5)
    run(tracker, [STILL] * 5)
    for frame in range(5, 255):
        (track,) = tracker.coast(frame * DT, SIZE, np.array([True]))
    assert track.state is CONFIRMED
    (track,), ended = tracker.update(255 * DT, NOTHING, SIZE)
    assert (track.state, ended) == (LOST, [])  # it is searched for from now on, for as long as any other
    (track,), _ = tracker.update(256 * DT, STILL, SIZE)
    assert (track.key.number, track.state) == (1, CONFIRMED)


def test_a_track_that_is_missed_after_a_pause_ends_lost_s_later() -> None:
    tracker = a_tracker(lost_s=0.5)
    run(tracker, [STILL] * 5)
    for frame in range(5, 100):
        tracker.coast(frame * DT, SIZE, np.array([True]))
    alive = [bool(tracker.update(frame * DT, NOTHING, SIZE)[0]) for frame in range(100, 120)]
    assert alive == [True] * 12 + [False] * 8  # 0.5 s after frame 99, in which nothing had changed yet


def test_a_face_at_which_nothing_changes_stays_where_it_was_seen() -> None:
    tracker = a_tracker()
    answers = run(tracker, [moving(frame) for frame in range(10)])
    ((seen,), _) = answers[-1]
    for frame in range(10, 60):
        (track,) = tracker.coast(frame * DT, SIZE, np.array([True]))
    assert track.box == pytest.approx(seen.box, abs=0.01)
    moved = tracker.coast(60 * DT, SIZE, np.array([False]))[0]
    assert moved.box == pytest.approx(seen.box, abs=0.01)  # at rest, too


def test_a_track_outside_the_searched_parts_coasts_and_one_inside_is_missed() -> None:
    tracker = a_tracker()
    run(tracker, [found((300, 300, 0.9), (900, 300, 0.9))] * 5)
    for frame in range(5, 10):
        tracks, _ = tracker.update(frame * DT, NOTHING, SIZE, looked=LEFT)
    assert [track.state for track in tracks] == [LOST, CONFIRMED]
    tracks, _ = tracker.update(10 * DT, found((900, 300, 0.9)), SIZE, looked=np.zeros((0, 4), np.float32))
    assert [track.state for track in tracks] == [LOST, CONFIRMED]
    assert tracks[1].detection == 0  # a detection counts wherever it is


def test_the_outlook_says_how_uncertain_places_become_and_changes_nothing() -> None:
    tracker = a_tracker()
    run(tracker, [moving(frame) for frame in range(10)])
    drifts = [float(tracker.outlook(9 * DT + ahead).drift[0]) for ahead in (0.0, 0.1, 0.2, 0.4, 0.8)]
    assert drifts == sorted(drifts)
    assert drifts[0] < 0.05
    assert drifts[-1] > 0.3
    outlook = tracker.outlook(9 * DT + 0.4)
    assert outlook.boxes[0, 0] == pytest.approx(270 + 4 * 19, abs=4)
    assert outlook.unseen == pytest.approx([0.4])
    assert (outlook.confirmed.tolist(), outlook.lost.tolist()) == ([True], [False])
    assert drifts[0] == float(tracker.outlook(9 * DT).drift[0])


def test_the_outlook_of_an_empty_scene_is_empty() -> None:
    outlook = a_tracker().outlook(5.0)
    assert [len(each) for each in (outlook.boxes, outlook.drift, outlook.unseen, outlook.lost)] == [0, 0, 0, 0]
