"""What holds of the tracker whatever it is given."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.values import Detections
from tests.support.box_filter import InspectedFilter
from tests.track.test_tracker import SIZE, Answer, a_tracker

Box = tuple[float, float, float, float, float]
ODD = st.sampled_from([float("nan"), float("inf"), -1e9, 0.0])
COORDINATE = st.one_of(st.floats(-200, 1500), ODD)
ANY_BOX = st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE, st.one_of(st.floats(0, 1), ODD))
FACE = st.tuples(st.floats(0, 1200), st.floats(0, 650), st.floats(5, 150), st.floats(0.05, 1)).map(
    lambda face: (face[0], face[1], face[0] + face[2], face[1] + 1.2 * face[2], face[3])
)
FRAMES = st.lists(st.tuples(st.floats(0.01, 0.6), st.lists(st.one_of(FACE, FACE, ANY_BOX), max_size=12)), max_size=25)


def detections(rows: list[Box]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4], np.zeros((len(rows), 5, 2), np.float32))


def followed(frames: list[tuple[float, list[Box]]]) -> list[Answer]:
    tracker, time, answers = a_tracker(), 0.0, []
    for gap, rows in frames:
        time += gap
        answers.append(tracker.update(time, detections(rows), SIZE))
    return answers


@settings(max_examples=40, deadline=None)
@given(FRAMES)
def test_tracks_are_boxes_with_numbers_of_their_own_and_the_same_each_time(
    frames: list[tuple[float, list[Box]]],
) -> None:
    answers = followed(frames)
    ended: set[int] = set()
    for (tracks, ends), (_, rows) in zip(answers, frames, strict=True):
        numbers = [track.key.number for track in tracks]
        assert len(set(numbers)) == len(numbers)
        assert not ended & set(numbers)
        ended |= {end.key.number for end in ends}
        used = [track.detection for track in tracks if track.detection is not None]
        assert len(set(used)) == len(used)
        assert all(0 <= row < len(rows) for row in used)
        for track in tracks:
            assert np.isfinite(track.box).all()
            assert (track.box[2:] > track.box[:2]).all()
    again = [[(track.key.number, track.box.tolist()) for track in tracks] for tracks, _ in followed(frames)]
    assert again == [[(track.key.number, track.box.tolist()) for track in tracks] for tracks, _ in answers]


@settings(max_examples=40, deadline=None)
@given(FACE, st.lists(st.tuples(st.floats(0.01, 3), st.one_of(FACE, st.none())), max_size=40))
def test_the_filter_never_knows_all_or_nonsense(first: Box, steps: list[tuple[float, Box | None]]) -> None:
    """Covariances stay symmetric and positive definite."""
    one = InspectedFilter()
    one.add(np.array([first[:4]]))
    for gap, face in steps:
        one.predict(gap)
        if face is not None:
            one.update([0], np.array([face[:4]]), np.array([face[4]]))
        covariance = one.covariance  # (1, 4, 2, 2)
        assert np.isfinite(one.boxes()).all()
        assert np.array_equal(covariance, covariance.swapaxes(2, 3))
        assert (np.linalg.eigvalsh(covariance) > 0).all()
