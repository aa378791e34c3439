"""The tracker: a list of frames in, tracks and their ends out."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from streamer import config
from streamer.track.tracker import Tracker
from streamer.values import Detections, EndReason, Track, TrackEnd, TrackKey, TrackState

TENTATIVE, CONFIRMED, LOST = TrackState.TENTATIVE, TrackState.CONFIRMED, TrackState.LOST
SIZE = (1280, 720)
DT = 0.04  # s

Face = tuple[float, float, float]  # centre x, centre y, score
Answer = tuple[list[Track], list[TrackEnd]]


def new_key(number: int) -> TrackKey:
    return TrackKey(f"cam-{number:06d}", "cam", number)


def boxes_of(faces: Sequence[Face], side: float = 60) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    half = side / 2
    return np.array([(x - half, y - half, x + half, y + half) for x, y, _ in faces], np.float32).reshape(-1, 4)


def found(*faces: Face) -> Detections:
    scores = np.array([score for _, _, score in faces], np.float32)
    return Detections(boxes_of(faces), scores, np.zeros((len(faces), 5, 2), np.float32))


def boxes(*rows: Sequence[float], score: float = 0.9) -> Detections:
    return Detections(
        np.array(rows, np.float32).reshape(-1, 4),
        np.full(len(rows), score, np.float32),
        np.zeros((len(rows), 5, 2), np.float32),
    )


def a_tracker(**settings: float) -> Tracker:
    return Tracker(config.Track.model_validate(settings), new_key)


def run(tracker: Tracker, frames: Iterable[Detections], start: float = 0.0, dt: float = DT) -> list[Answer]:
    return [tracker.update(start + index * dt, frame, SIZE) for index, frame in enumerate(frames)]


def states(answers: Iterable[Answer], number: int = 1) -> list[TrackState | None]:
    """The state of one track in each frame, None where it does not exist."""
    return [next((t.state for t in tracks if t.key.number == number), None) for tracks, _ in answers]


def ends(answers: Iterable[Answer]) -> list[TrackEnd]:
    return [end for _, ended in answers for end in ended]


def numbers(answer: Answer) -> list[int]:
    return [track.key.number for track in answer[0]]


STILL = found((300, 300, 0.9))
NOTHING = Detections.none()


def test_a_track_is_confirmed_lost_found_again_and_ended() -> None:
    frames = [STILL] * 4 + [NOTHING] * 3 + [STILL] + [NOTHING] * 6
    answers = run(a_tracker(lost_s=0.19), frames)
    assert states(answers) == [TENTATIVE] * 2 + [CONFIRMED] * 2 + [LOST] * 3 + [CONFIRMED] + [LOST] * 4 + [None] * 2
    (end,) = ends(answers)
    assert (end.key.number, end.reason, end.confirmed) == (1, EndReason.TIMEOUT, True)
    assert end.time == pytest.approx(12 * DT)


def test_a_track_says_when_it_was_seen_and_which_detection_it_is() -> None:
    frames = [found((300, 300, 0.9)), found((800, 300, 0.8), (300, 300, 0.7)), NOTHING]
    tracker = a_tracker(confirm_hits=1)
    first, second, third = run(tracker, frames, start=5.0)
    assert [(t.first_seen, t.last_seen, t.detection) for t in first[0]] == [(5.0, 5.0, 0)]
    assert [(t.key.number, t.detection) for t in second[0]] == [(1, 1), (2, 0)]
    assert second[0][0].score == pytest.approx(0.7)
    assert [(t.detection, t.last_seen, t.state) for t in third[0]] == [(None, 5.04, LOST)] * 2


@pytest.mark.parametrize("hits", [1, 2, 5])
def test_a_track_counts_after_confirm_hits_detections(hits: int) -> None:
    answers = run(a_tracker(confirm_hits=hits), [STILL] * 6)
    assert states(answers) == [TENTATIVE] * (hits - 1) + [CONFIRMED] * (7 - hits)


def test_a_tentative_track_ends_with_its_first_miss() -> None:
    answers = run(a_tracker(), [STILL, STILL, NOTHING])
    assert states(answers) == [TENTATIVE, TENTATIVE, None]
    assert [(end.confirmed, end.reason) for end in ends(answers)] == [(False, EndReason.TIMEOUT)]


def test_a_key_is_given_at_birth_and_stays() -> None:
    tracker = a_tracker()
    answers = run(tracker, [STILL, NOTHING, STILL, STILL, STILL])
    assert [numbers(answer) for answer in answers] == [[1], [], [2], [2], [2]]
    assert {track.key for tracks, _ in answers[2:] for track in tracks} == {new_key(2)}


def test_two_cameras_number_for_themselves() -> None:
    one, other = a_tracker(), a_tracker()
    run(one, [STILL, NOTHING, STILL])
    assert numbers(other.update(0.0, STILL, SIZE)) == [1]


def test_a_weak_detection_holds_on_to_a_track_but_begins_none() -> None:
    weak = found((300, 300, 0.2))
    assert not any(tracks for tracks, _ in run(a_tracker(), [weak] * 5))
    answers = run(a_tracker(), [STILL] * 3 + [weak] * 5)
    assert states(answers)[3:] == [CONFIRMED] * 5


def test_a_detection_between_high_and_new_score_begins_no_track() -> None:
    between = found((300, 300, 0.55))
    assert not any(tracks for tracks, _ in run(a_tracker(), [between] * 5))


def test_two_faces_that_cross_keep_their_numbers() -> None:
    frames = [found((200 + 10 * i, 300, 0.9), (800 - 10 * i, 330, 0.9)) for i in range(60)]
    answers = run(a_tracker(), frames)
    for index, (tracks, _) in enumerate(answers):
        assert [(t.key.number, t.detection) for t in tracks] == [(1, 0), (2, 1)], f"frame {index}"


def test_a_walking_face_is_found_again_behind_a_pillar() -> None:
    frames = [NOTHING if 15 <= i < 27 else found((200 + 8 * i, 300, 0.9)) for i in range(40)]
    answers = run(a_tracker(), frames)
    assert states(answers)[14:28] == [CONFIRMED] + [LOST] * 12 + [CONFIRMED]
    hidden = next(t for t in answers[26][0])
    np.testing.assert_allclose(hidden.box, boxes_of([(200 + 8 * 26, 300, 0)])[0], atol=12)
    assert numbers(answers[-1]) == [1]


def test_a_face_that_stood_still_while_hidden_too_long_is_a_new_one() -> None:
    answers = run(a_tracker(lost_s=1.0), [STILL] * 5 + [NOTHING] * 30 + [STILL] * 3)
    assert numbers(answers[-1]) == [2]
    assert [end.reason for end in ends(answers)] == [EndReason.TIMEOUT]


def test_dropped_frames_do_not_bend_the_speed() -> None:
    """The face moves more than its width between the frames that are left; only real time says where it is."""
    kept = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 30, 31]
    tracker = a_tracker()
    for i in kept:
        tracks, _ = tracker.update(i * DT, found((100 + 12 * i, 300, 0.9)), SIZE)
        assert [t.key.number for t in tracks] == [1], f"frame {i}"


def test_a_jump_that_no_box_overlaps_is_still_the_same_face_if_it_is_near() -> None:
    def jump(distance: float) -> list[int]:
        answers = run(a_tracker(), [STILL] * 10 + [NOTHING] * 11 + [found((300 + distance, 300, 0.9))])
        return [t.key.number for t in answers[-1][0] if t.detection is not None]

    assert jump(75) == [1]
    assert jump(200) == [2]


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    [
        ("walks out to the right", [(1000 + 14 * i, 300) for i in range(18)], EndReason.LEFT_FRAME),
        ("touches the edge", [(31, 300)] * 5, EndReason.LEFT_FRAME),
        ("vanishes inside", [(640, 360)] * 5, EndReason.TIMEOUT),
    ],
)
def test_the_reason_of_an_end_shows_whether_the_person_left(
    name: str, path: list[tuple[float, float]], reason: EndReason
) -> None:
    answers = run(a_tracker(lost_s=1.0), [found((x, y, 0.9)) for x, y in path] + [NOTHING] * 30)
    assert [end.reason for end in ends(answers)] == [reason], name


def test_across_a_cut_boxes_are_not_matched() -> None:
    tracker = a_tracker(max_gap_s=1.0, lost_s=2.0)
    run(tracker, [STILL] * 5)
    tracks, ended = tracker.update(4 * DT + 1.2, STILL, SIZE)
    assert [(t.key.number, t.state) for t in tracks] == [(1, LOST), (2, TENTATIVE)]
    assert not ended
    np.testing.assert_allclose(tracks[0].box, boxes_of([(300, 300, 0)])[0], atol=0.5)
    later = run(tracker, [STILL] * 25, start=4 * DT + 1.3)
    assert numbers(later[-1]) == [2]
    assert [(end.key.number, end.reason) for end in ends(later)] == [(1, EndReason.TIMEOUT)]


def test_a_new_face_that_jumps_further_than_its_box_is_confirmed() -> None:
    answers = run(a_tracker(), [found((300 + 75 * i, 300, 0.9)) for i in range(3)], dt=1 / 5)
    assert states(answers) == [TENTATIVE, TENTATIVE, CONFIRMED]


def test_across_a_cut_without_a_gap_boxes_are_not_matched_either() -> None:
    tracker = a_tracker()
    run(tracker, [STILL] * 5)
    tracks, ended = tracker.update(5 * DT, STILL, SIZE, new_shot=True)
    assert [(t.key.number, t.state) for t in tracks] == [(2, TENTATIVE)]
    assert [(end.key.number, end.reason, end.time) for end in ended] == [(1, EndReason.LEFT_FRAME, 5 * DT)]
    later = run(tracker, [STILL] * 25, start=6 * DT)
    assert numbers(later[-1]) == [2]
    assert ends(later) == []


def test_a_cut_longer_than_lost_s_ends_what_was_before() -> None:
    tracker = a_tracker()
    run(tracker, [STILL] * 5)
    tracks, ended = tracker.update(10.0, STILL, SIZE)
    assert [t.key.number for t in tracks] == [2]
    assert [(end.key.number, end.reason, end.time) for end in ended] == [(1, EndReason.TIMEOUT, 10.0)]


def test_one_frame_per_second_is_not_a_cut() -> None:
    answers = run(a_tracker(), [STILL] * 4, dt=1.0)
    assert states(answers) == [TENTATIVE, TENTATIVE, CONFIRMED, CONFIRMED]


def test_the_end_of_a_source_ends_all_and_numbers_go_on() -> None:
    tracker = a_tracker()
    run(tracker, [STILL] * 3 + [found((300, 300, 0.9), (700, 300, 0.9))])
    ended = tracker.end_all(EndReason.SOURCE_LOST)
    assert [(end.key.number, end.confirmed) for end in ended] == [(1, True), (2, False)]
    assert {(end.reason, end.time) for end in ended} == {(EndReason.SOURCE_LOST, 3 * DT)}
    assert tracker.end_all(EndReason.SHUTDOWN) == []
    assert numbers(tracker.update(0.0, STILL, SIZE)) == [3]


@pytest.mark.parametrize("time", [1.0, 0.5, float("nan"), float("inf")])
def test_time_must_grow(time: float) -> None:
    tracker = a_tracker()
    tracker.update(1.0, STILL, SIZE)
    with pytest.raises(ValueError, match="time"):
        tracker.update(time, STILL, SIZE)


@pytest.mark.parametrize(
    "odd",
    [
        (np.nan, 0, 50, 50),
        (0, 0, np.inf, 50),
        (-1e30, -1e30, 1e30, 1e30),
        (100, 100, 100, 180),
        (100, 100, 180, 100),
        (180, 180, 100, 100),
    ],
)
def test_a_detection_that_is_no_box_is_ignored(odd: tuple[float, ...]) -> None:
    good = (270, 270, 330, 330)
    answers = run(a_tracker(), [boxes(odd, good)] * 4)
    assert [numbers(answer) for answer in answers] == [[1]] * 4
    assert {t.detection for tracks, _ in answers for t in tracks} == {1}
    assert all(np.isfinite(t.box).all() for tracks, _ in answers for t in tracks)


def test_a_detection_without_a_score_is_ignored() -> None:
    answers = run(a_tracker(), [boxes((270, 270, 330, 330), score=float("nan"))] * 3)
    assert [numbers(answer) for answer in answers] == [[]] * 3


def test_a_speck_is_followed_without_a_warning() -> None:
    answers = run(a_tracker(), [boxes((100, 100, 100.01, 100.01))] * 4 + [NOTHING] * 2)
    assert all(np.isfinite(t.box).all() for tracks, _ in answers for t in tracks)


def test_one_face_detected_twice_is_one_track() -> None:
    face, twin = (270, 270, 330, 330), (271, 270, 331, 331)
    answers = run(a_tracker(), [boxes(face, face, twin)] * 6)
    assert [numbers(answer) for answer in answers] == [[1]] * 6


def test_the_order_of_detections_does_not_matter() -> None:
    random = np.random.default_rng(3)
    centres, speed = random.uniform(100, 600, (25, 2)), random.normal(0, 6, (25, 2))
    one, other = a_tracker(), a_tracker()
    for index in range(40):
        seen = random.random(25) < 0.8
        faces = [
            (*place, score)
            for place, score in zip((centres + index * speed)[seen], random.random(seen.sum()), strict=True)
        ]
        order = random.permutation(len(faces))
        tracks, ended = one.update(index * DT, found(*faces), SIZE)
        mixed, mixed_ended = other.update(index * DT, found(*(faces[i] for i in order)), SIZE)
        assert [(t.key, t.state, t.box.tolist(), t.score) for t in tracks] == [
            (t.key, t.state, t.box.tolist(), t.score) for t in mixed
        ]
        assert [t.detection for t in tracks] == [None if t.detection is None else order[t.detection] for t in mixed]
        assert ended == mixed_ended
    assert numbers((tracks, ended)), "nothing was tracked"


def test_five_hundred_faces_at_once_keep_their_numbers() -> None:
    """In rows so dense that with the margin each box overlaps its neighbours'."""
    places = [(40.0 + 48 * (i % 25), 30.0 + 34 * (i // 25)) for i in range(500)]
    frames = [boxes(*((x + i, y, x + i + 40, y + 30) for x, y in places)) for i in range(10)]
    answers = run(a_tracker(), frames)
    for tracks, ended in answers:
        assert [track.detection for track in tracks] == [track.key.number - 1 for track in tracks]
        assert (len(tracks), ended) == (500, [])


def test_a_box_is_smoothed_and_the_detections_stay_as_they_were() -> None:
    random = np.random.default_rng(1)
    tracker = a_tracker()
    raw, smooth = [], []
    for index in range(80):
        frame = found((300 + float(random.normal(0, 3)), 300, 0.8))
        before = frame.boxes.copy()
        tracks, _ = tracker.update(index * DT, frame, SIZE)
        np.testing.assert_array_equal(frame.boxes, before)
        raw.append(frame.boxes[0, 0])
        smooth.append(tracks[0].box[0])
    assert np.std(np.diff(smooth[20:])) < 0.9 * np.std(np.diff(raw[20:]))


def test_two_hundred_faces_are_followed_each_by_one_track() -> None:
    grid = [(60 + 70 * (i % 17), 40 + 55 * (i // 17)) for i in range(200)]
    random = np.random.default_rng(2)
    tracker = a_tracker()
    for index in range(10):
        shifts = random.normal(0, 2, 200)
        rows = [(x + d - 20, y - 20, x + d + 20, y + 20) for (x, y), d in zip(grid, shifts, strict=True)]
        tracks, ended = tracker.update(index * DT, boxes(*rows), SIZE)
        assert [t.detection for t in sorted(tracks, key=lambda t: t.detection or 0)] == list(range(200))
        assert not ended
    assert {t.key.number for t in tracks} == set(range(1, 201))


@pytest.mark.parametrize("scale", [2.0, 0.5])
def test_tracks_go_on_in_frames_of_another_size_and_the_same_aspect(scale: float) -> None:
    """The faces move, so the velocities are carried over too."""
    tracker = a_tracker()
    before = run(tracker, [found((300 + 8 * index, 300, 0.9), (800, 300, 0.9)) for index in range(20)])
    resized = (round(1280 * scale), round(720 * scale))
    after = []
    for index in range(20, 40):
        faces = [(300 + 8 * index, 300), (800, 300)] if index > 21 else [(800, 300)]  # the first is lost for a moment
        rows = boxes_of([(x * scale, y * scale, 0.9) for x, y in faces], 60 * scale)
        after.append(tracker.update(index * DT, boxes(*rows), resized))
    assert numbers(before[-1]) == [1, 2]
    assert all(numbers(answer) == [1, 2] for answer in after)
    assert states(after) == [LOST] * 2 + [CONFIRMED] * 18
    lost = after[1][0][0].box
    assert (lost[0] + lost[2]) / 2 == pytest.approx((300 + 8 * 21) * scale, abs=6 * scale)
    assert lost[2] - lost[0] == pytest.approx(60 * scale, rel=0.1)


def test_a_frame_of_another_aspect_begins_a_new_shot_and_boxes_stay_in_the_frame() -> None:
    tracker = a_tracker(lost_s=0.19)
    run(tracker, [found((300, 300, 0.9))] * 5)
    answers = [tracker.update(0.2 + index * DT, found((300, 300, 0.9)), (720, 720)) for index in range(6)]
    assert states(answers, 1)[:4] == [LOST] * 4
    assert states(answers, 2)[-1] is CONFIRMED
    lost = answers[0][0][0].box
    assert lost[2] < 720 * 330 / 1280 + 1
    assert [end.key.number for end in ends(answers)] == [1]
