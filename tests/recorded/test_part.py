"""Which frames of a video are analysed, by their media times."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import pytest

from faceanalytics.errors import ConfigError
from streamer.config import Track
from streamer.detect.region import Region
from streamer.recorded.part import Part, parse_time
from streamer.source.file import Length
from streamer.source.picture import DecodedFrame


@dataclass(frozen=True)
class At:
    media_time: float


def taken(part: Part, times: Sequence[float]) -> list[float]:
    return [frame.media_time for frame in part.frames(cast("list[DecodedFrame]", [At(time) for time in times]))]


EVEN = [n / 25 for n in range(100)]


def test_without_limits_every_frame_is_taken() -> None:
    assert taken(Part(), EVEN) == EVEN


def test_start_is_included_and_end_is_not() -> None:
    assert taken(Part(start_s=1.0, end_s=2.0), EVEN) == EVEN[25:50]
    assert taken(Part(start_s=0.99, end_s=2.01), EVEN) == EVEN[25:51]


def test_samples_are_even_in_media_time() -> None:
    assert taken(Part(sample_fps=5), EVEN) == EVEN[::5]
    assert taken(Part(start_s=1, sample_fps=5), EVEN) == EVEN[25::5]
    assert taken(Part(sample_fps=30), EVEN) == EVEN
    uneven = taken(Part(sample_fps=10), EVEN)
    assert len(uneven) == 40
    assert all(0.07 < later - one < 0.13 for one, later in pairwise(uneven))


def test_after_a_pause_sampling_goes_on_in_step() -> None:
    assert taken(Part(sample_fps=2), [0, 0.1, 3.2, 3.3, 3.5, 3.6, 4.0]) == [0, 3.2, 3.5, 4.0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1:30", 90), ("01:30.250", 90.25), ("1:00:00", 3600), (".5", 0.5), ("75:00", 4500)],
)
def test_times_are_seconds_or_have_colons(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:75", "1:60:00", "1:2:3:4", "abc", "1e3", "nan"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize(
    "values", [{"start_s": -1}, {"start_s": 2, "end_s": 2}, {"sample_fps": 0}, {"min_face_px": float("nan")}]
)
def test_parts_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Part(**values)


def test_frames_too_far_apart_to_follow_a_face_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"leaves 2 s between two frames, but track\.max_gap_s is 1\.5 s"):
        Part(sample_fps=0.5).check(Track())
    Part(sample_fps=0.5).check(Track(max_gap_s=2.5))


def test_a_region_beside_the_picture_is_refused() -> None:
    Part(region=Region.parse("600,0,100,100")).check_region((640, 480))
    with pytest.raises(ConfigError, match="has nothing there"):
        Part(region=Region.parse("640,0,100,100")).check_region((640, 480))


def test_the_expected_frames_are_those_of_the_part() -> None:
    length = Length(duration_s=100, frames=2500, fps=25)
    assert Part().expected(length) == 2500
    assert Part(start_s=20, end_s=60).expected(length) == 1000
    assert Part(start_s=20, end_s=600, sample_fps=5).expected(length) == 400
    assert Part().expected(Length(0, 0, 25)) == 0
