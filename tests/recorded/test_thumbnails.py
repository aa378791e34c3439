"""Faces cut out of their video: of the right frame, upright, and never beyond the picture."""

from pathlib import Path

import numpy as np
import pytest

from faceanalytics.errors import InputError
from streamer.recorded.stored import Stored
from streamer.recorded.thumbnails import Moment, choose_moments, cut, fit, thumbnails
from streamer.source.file import read_file
from streamer.values import Bytes
from tests.support.stored_results import Seen, write_results
from tests.support.videos import image, make_video, write_resized

TIMES = [frame / 25 for frame in range(50)]
DISC = (28.0, 100.0, 24.0, 40.0)  # of frame 5, x y width height


def disc_of(pixels: Bytes) -> float:
    """The horizontal centre of the orange disc in a picture, px."""
    orange = (pixels[:, :, 2] > 180) & (pixels[:, :, 0] < 120)
    return float(np.nonzero(orange)[1].mean())


def moment(frame: int, box: tuple[float, float, float, float] = (0, 0, 320, 240)) -> Moment:
    return Moment(round(frame / 25, 6), box, (0.5, 0.9))


def test_each_picture_is_of_the_frame_of_its_moment(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4", b_frames=2)
    results = Stored(write_results(tmp_path / "results", [], times=TIMES, video=video))
    wanted = {number: moment(number) for number in (49, 0, 7, 8, 23)}
    found = thumbnails(video, results, wanted, largest=1000)
    assert list(found) == list(wanted)
    for number, pixels in found.items():
        assert pixels.shape == (240, 240, 3)
        whole = image(number, (320, 240))[:, 40:280]
        assert np.abs(pixels.astype(int) - whole).mean() < 6, number


def test_several_faces_of_one_frame_are_cut_out(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4")
    results = Stored(write_results(tmp_path / "results", [], times=TIMES, video=video))
    found = thumbnails(video, results, {"a": moment(5, DISC), "b": moment(5, (200, 100, 40, 40))}, largest=64)
    assert disc_of(found["a"]) * 76 / 64 == pytest.approx(38, abs=1)  # the box's middle, of a square of 76 px
    assert found["b"].shape == (64, 64, 3)


def test_a_turned_video_is_cut_upright(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4", rotation=90)
    results = Stored(write_results(tmp_path / "results", [], times=TIMES, video=video))
    (pixels,) = thumbnails(video, results, {0: moment(11, (0, 0, 240, 240))}, largest=1000).values()
    shown = [frame.pixels for frame in read_file(video, "video", 0)][11]
    assert shown.shape == (320, 240, 3)
    assert np.array_equal(pixels, shown[:240])


def test_frames_of_another_size_are_cut_in_their_own_pixels(tmp_path: Path) -> None:
    pictures = [image(number, (320, 240) if number < 5 else (640, 480)) for number in range(10)]
    video = write_resized(tmp_path / "video.mp4", pictures)
    results = Stored(write_results(tmp_path / "results", [], times=TIMES[:10], video=video))
    found = thumbnails(video, results, {number: moment(number, (4, 4, 130, 130)) for number in (4, 7)}, largest=1000)
    for number, pixels in found.items():
        side = len(pixels)
        assert side == 240 if number == 4 else 247
        assert np.abs(pixels.astype(int) - pictures[number][:side, :side]).mean() < 6


def test_a_moment_that_the_video_lacks_is_an_error(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4")
    results = Stored(write_results(tmp_path / "results", [], times=TIMES, video=video))
    with pytest.raises(InputError, match=r"the frame at 9\.000 s, in which a face was found, cannot be decoded"):
        thumbnails(video, results, {0: Moment(9.0, DISC, (0.5, 0.9))}, largest=64)
    with pytest.raises(InputError, match="stopped before"):
        thumbnails(video, results, {0: moment(5)}, largest=64, stopped=lambda: True)


def test_results_of_another_video_are_refused(tmp_path: Path) -> None:
    one, other = (make_video(tmp_path / f"{frames}.mp4", frames=frames) for frames in (3, 4))
    results = Stored(write_results(tmp_path / "results", [], times=TIMES[:3], video=one))
    results.check_video(one)
    with pytest.raises(InputError, match=r"the results are those of 3\.mp4, a different video than .*4\.mp4"):
        results.check_video(other)


@pytest.mark.parametrize(
    ("box", "left", "top", "side"),
    [
        ((100, 100, 20, 30), 82, 86, 57),  # in the middle: 30 * 1.9 px around it
        ((-10, -10, 40, 40), 0, 0, 76),  # half outside: the square moves inwards
        ((190, 150, 40, 40), 124, 84, 76),
        ((0, 0, 300, 300), 40, 0, 160),  # larger than the picture
    ],
)
def test_the_square_around_a_face_stays_inside_the_frame(
    box: tuple[float, float, float, float], left: int, top: int, side: int
) -> None:
    columns, rows = np.meshgrid(np.arange(200), np.arange(160))
    pixels = np.stack([columns, rows, rows], axis=2).astype(np.uint8)
    found = cut(pixels, box)
    assert found.shape == (side, side, 3)
    assert abs(int(found[0, 0, 0]) - left) <= 1
    assert abs(int(found[0, 0, 1]) - top) <= 1


def test_small_pictures_are_not_enlarged_and_are_copies() -> None:
    pixels = np.zeros((30, 30, 3), np.uint8)
    assert fit(pixels, 64).shape == (30, 30, 3)
    assert not np.shares_memory(fit(pixels, 64), pixels)
    assert fit(pixels, 20).shape == (20, 20, 3)


def test_the_best_moment_is_that_of_the_highest_quality(tmp_path: Path) -> None:
    tracks = [
        Seen("a", 1, 1, 0, 20, qualities={7: 0.8, 12: 0.9}),
        Seen("b", 2, 1, 30, 40, qualities={33: 0.95}),
        Seen("hand", 3, None, 0, 5),
        Seen("c", 4, 2, 0, 5),
    ]
    chosen = choose_moments(Stored(write_results(tmp_path, tracks, times=TIMES)))
    best = {name: one.media_time_s for name, one in chosen.tracks.items()}
    assert best == {"a": 0.48, "b": 1.32, "hand": 0.0, "c": 0.0}
    assert {number: one.media_time_s for number, one in chosen.people.items()} == {1: 1.32, 2: 0.0}


def test_the_best_moment_of_a_person_is_the_one_that_the_results_name(tmp_path: Path) -> None:
    tracks = [Seen("a", 1, 1, 0, 20, qualities={7: 0.8, 12: 0.9})]
    folder = write_results(tmp_path, tracks, times=TIMES, best={1: ("a", 7)})
    assert choose_moments(Stored(folder)).people[1].media_time_s == 0.28


def test_moments_over_time_are_the_best_of_equal_parts_of_the_time_in_view(tmp_path: Path) -> None:
    times = [frame / 10 for frame in range(200)]
    tracks = [
        Seen("a", 1, 1, 0, 30, qualities={4: 0.9, 25: 0.7}),
        Seen("b", 2, 1, 100, 130, qualities={101: 0.8, 129: 0.6}),
        Seen("c", 3, 2, 0, 199),
    ]
    results = Stored(write_results(tmp_path, tracks, times=times))
    over_time = choose_moments(results, most=4).over_time
    assert [one.media_time_s for one in over_time[1]] == [0.4, 2.5, 10.1, 12.9]
    assert len(over_time[2]) == 4
    assert len(choose_moments(results, most=99).over_time[1]) == 6  # one per second
    assert len(choose_moments(results).over_time[2]) == 1
