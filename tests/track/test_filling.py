"""Faces of frames that were not searched, from the frames before and after."""

from dataclasses import replace

import numpy as np
import pytest

from streamer.track.filling import Filling, fill
from streamer.track.tracker import Tracker
from streamer.values import ClockSource, Detections, Observation, TrackState
from tests.track.test_tracker import DT, NOTHING, SIZE, a_tracker, found


def at(x: float) -> Detections:
    faces = found((x, 300, 0.9))
    return replace(faces, landmarks=faces.boxes[:, :2, None].transpose(0, 2, 1) + np.zeros((1, 5, 2), np.float32))


def seen(tracker: Tracker, frame: int, faces: Detections | None, looked: np.ndarray | None = None) -> Observation:
    """The observation of one frame; None: it is not searched."""
    time = frame * DT
    if faces is None:
        tracks = tracker.coast(time, SIZE)
    else:
        tracks, _ = tracker.update(time, faces, SIZE, looked=looked)
    found_now = Detections.none() if faces is None else faces
    values = time, None, ClockSource.FILE_PTS, 0.0, SIZE, found_now, tuple(tracks)
    return Observation("cam", 1, *values, searched=faces is not None)


def confirmed(tracker: Tracker) -> list[Observation]:
    return [seen(tracker, frame, at(300)) for frame in range(3)]


def test_a_face_is_filled_in_on_the_straight_line_between_two_detections() -> None:
    tracker = a_tracker()
    frames = confirmed(tracker) + [seen(tracker, frame, None) for frame in (3, 4, 5)] + [seen(tracker, 6, at(320))]
    filled = fill(frames, 3)
    assert [len(one.detections) for one in filled] == [1] * 7
    centres = [float(one.detections.boxes[0, [0, 2]].mean()) for one in filled[2:]]
    assert centres == pytest.approx([300, 305, 310, 315, 320])
    assert [float(one.detections.landmarks[0, 0, 0]) for one in filled[2:]] == pytest.approx([270, 275, 280, 285, 290])
    assert [bool(one.filled) for one in filled] == [False] * 3 + [True] * 3 + [False]
    (track,) = filled[4].tracks
    assert (track.detection, track.last_seen, track.state) == (0, 4 * DT, TrackState.CONFIRMED)


def test_a_face_that_was_looked_for_and_missed_is_not_filled_in() -> None:
    tracker = a_tracker()
    plan = [None, NOTHING, None, at(304)]
    frames = confirmed(tracker) + [seen(tracker, frame, faces) for frame, faces in enumerate(plan, 3)]
    assert [len(one.detections) for one in fill(frames, 3)] == [1, 1, 1, 0, 0, 0, 1]


def test_a_face_that_has_gone_at_the_next_search_stays_for_half_of_the_time() -> None:
    tracker = a_tracker()
    plan = [None, None, None, None, NOTHING, NOTHING]
    frames = confirmed(tracker) + [seen(tracker, frame, faces) for frame, faces in enumerate(plan, 3)]
    assert [len(one.detections) for one in fill(frames, 3)] == [1, 1, 1, 1, 1, 0, 0, 0, 0]


def test_a_face_stays_until_the_end_of_the_source_and_moves_as_predicted() -> None:
    tracker = a_tracker()
    frames = [seen(tracker, frame, at(300 + 10 * frame)) for frame in range(5)]
    frames += [seen(tracker, frame, None) for frame in (5, 6)]
    end = replace(frames[-1], tracks=(), detections=Detections.none())
    filled = fill([*frames, end], 3)
    assert [len(one.detections) for one in filled] == [1] * 7 + [0]
    assert filled[6].detections.boxes[0] == pytest.approx([330, 270, 390, 330], abs=6)
    assert filled[6].detections.landmarks[0, 0] == pytest.approx([330, 270], abs=6)


def test_a_face_outside_the_searched_parts_is_filled_in_beside_others() -> None:
    tracker = a_tracker()
    both = found((300, 300, 0.9), (900, 300, 0.9))
    frames = [seen(tracker, frame, both) for frame in range(3)]
    frames.append(seen(tracker, 3, found((300, 300, 0.9)), np.array([[0, 0, 640, 720]], np.float32)))
    frames.append(seen(tracker, 4, both))
    filled = fill(frames, 3)
    assert [len(one.detections) for one in filled] == [2] * 5
    assert [track.detection for track in filled[3].tracks] == [0, 1]
    assert len(filled[3].filled) == 1


def test_frames_wait_for_a_whole_search_and_the_end_lets_them_go() -> None:
    tracker, filling = a_tracker(), Filling(3)
    first, second, third = confirmed(tracker)
    assert filling.add(first, whole=True) + filling.add(second, whole=True) == []  # it may never be confirmed
    given = filling.add(third, whole=True)
    assert given == [first, second, third]
    assert filling.add(seen(tracker, 3, None), whole=False) == []
    assert filling.add(seen(tracker, 4, at(300), np.zeros((0, 4), np.float32)), whole=False) == []
    given = filling.add(seen(tracker, 5, at(300)), whole=True)
    assert [(one.media_time, len(one.detections)) for one in given] == [(3 * DT, 1), (4 * DT, 1), (5 * DT, 1)]
    last = seen(tracker, 6, None)
    filling.add(last, whole=False)
    assert filling.flush() == [last]
    assert filling.flush() == []


def test_a_track_counts_as_confirmed_from_the_frame_in_which_it_would_be_if_all_were_searched() -> None:
    tracker = a_tracker()
    plan = [at(300), None, None, at(300), None, at(300)]
    frames = [seen(tracker, frame, faces) for frame, faces in enumerate(plan)]
    states = [[track.state for track in one.tracks] for one in fill(frames, 3)]
    assert states == [[TrackState.TENTATIVE]] * 2 + [[TrackState.CONFIRMED]] * 4
    assert [len(one.detections) for one in fill(frames, 3)] == [1] * 6
    again = [seen(a_tracker(), frame, faces) for frame, faces in enumerate([at(300), None])]
    assert [one.tracks[0].state for one in fill(again[:1], 3)] == [TrackState.TENTATIVE]
