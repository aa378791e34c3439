"""What is no face, and what is seen too poorly, is not described; the reasons say why."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from streamer.aggregate.covering import cover
from streamer.aggregate.described import Seen, Tally, agreement, is_cut, is_plausible, undescribed
from streamer.aggregate.samples import Sample
from streamer.config import Aggregate
from streamer.select.align import TEMPLATE
from streamer.values import Agreement, Bytes, Floats, IdentityEstimate, Reason, TrackEstimates, Undescribed
from tests.support.builders import evidence

SETTINGS = Aggregate()
BOX = np.array([100, 100, 212, 212], np.float32)
FACE = (TEMPLATE + 100).astype(np.float32)
FRAME = (640, 480)
BLANK = np.eye(512, dtype=np.float32)[0]


def template(blank_cosine: float) -> Floats:
    vector = np.zeros(512, np.float32)
    vector[:2] = blank_cosine, np.sqrt(1 - blank_cosine**2)
    return vector


def seen(score: float = 0.85, landmarks: Floats = FACE, frames: int = 10) -> Seen:
    found = Seen()
    for _ in range(frames):
        found.add(score, BOX, landmarks, FRAME)
    return found


def sample(quality: float = 0.6, inside: float = 1.0, cover: float | None = 0.0, weakest: str = "size") -> Sample:
    return Sample(0.0, quality, 30.0, None, np.zeros(0), None, 20.0, weakest, inside, cover)


def reasons(
    *samples: Sample,
    found: Seen | None = None,
    blank_cosine: float = 0.1,
    status: Agreement = Agreement.CONSISTENT,
    skipped: tuple[Reason, ...] = (),
) -> list[str]:
    identity = IdentityEstimate(template(blank_cosine), 0.9, 0, evidence(), status) if samples else None
    estimates = TrackEstimates(identity=identity, samples=len(samples), model_id="m")
    tally = Tally().added(SETTINGS, samples)
    return [one.value for one in undescribed(SETTINGS, found or seen(), tally, estimates, skipped, BLANK)]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([sample()], []),
        ([sample(0.3), sample(0.3)], []),
        ([sample(0.3)], ["TOO_FEW_SAMPLES"]),
        ([sample(0.2)] * 5, ["LOW_QUALITY"]),
        ([sample(0.2, weakest="pose")] * 5, ["EXTREME_POSE"]),
        ([sample(0.2, inside=0.6, weakest="inside")] * 5, ["BORDER"]),
        ([sample(inside=0.7)] * 2, ["BORDER"]),
        ([sample(inside=0.7), sample(), sample()], []),  # it came in from the edge
        ([sample(cover=20.0)] * 2, ["COVERED"]),
        ([sample(cover=20.0), sample(), sample()], []),  # a hand passed the mouth
        ([sample(cover=20.0), sample(cover=None), sample(cover=None)], ["COVERED"]),  # what is unknown says nothing
    ],
)
def test_a_track_is_described_when_its_crops_suffice(samples: list[Sample], expected: list[str]) -> None:
    assert reasons(*samples) == expected


def test_a_template_like_that_of_nothing_is_no_face_if_the_detector_doubts_it_too() -> None:
    assert reasons(sample(), blank_cosine=0.5) == ["LOW_QUALITY"]
    assert reasons(sample(), blank_cosine=0.8) == ["LOW_QUALITY"]
    assert reasons(sample(), blank_cosine=0.8, found=seen(0.6)) == ["FALSE_FACE", "LOW_QUALITY"]
    assert reasons(sample(), blank_cosine=0.1, found=seen(0.6)) == []
    assert reasons(sample(), blank_cosine=0.1, found=seen(0.5)) == ["LOW_QUALITY"]


def test_a_face_that_the_edge_cuts_off_is_not_called_false() -> None:
    assert reasons(sample(inside=0.6), blank_cosine=0.9, found=seen(0.6)) == ["BORDER", "LOW_QUALITY"]


def test_a_face_whose_mouth_is_at_the_edge_of_the_frame_is_cut_off() -> None:
    bottom = float(FACE[:, 1].max())
    assert is_cut(BOX, FACE, (640, round(bottom + 5)))
    assert not is_cut(BOX, FACE, (640, round(bottom + 25)))
    assert is_cut(BOX - 135, FACE - 135, FRAME)  # the left eye
    at_edge = Seen()
    for place in range(10):
        at_edge.add(0.85, BOX, FACE, (640, 200) if place < 6 else FRAME)
    assert reasons(sample(), found=at_edge) == ["BORDER"]
    for _ in range(5):  # it came in
        at_edge.add(0.85, BOX, FACE, FRAME)
    assert reasons(sample(), found=at_edge) == []


def test_landmarks_that_no_face_has_make_a_weak_detection_a_false_face() -> None:
    upside_down = FACE[[0, 1, 2, 3, 4]].copy()
    upside_down[3:] -= [[0, 60], [0, 60]]  # the mouth above the eyes
    assert reasons(found=seen(0.5, upside_down)) == ["FALSE_FACE", "NOT_ANALYSED"]
    assert reasons(found=seen(0.8, upside_down)) == ["NOT_ANALYSED"]


def test_a_track_without_an_analysis_says_what_prevented_it() -> None:
    assert reasons() == ["NOT_ANALYSED"]
    assert reasons(skipped=(Reason.BUDGET,)) == ["NOT_ANALYSED"]
    assert reasons(skipped=(Reason.SMALL_BOUNDING_BOX, Reason.LOW_SHARPNESS)) == ["NOT_ANALYSED", "LOW_QUALITY"]
    assert reasons(skipped=(Reason.EXTREME_POSE,)) == ["NOT_ANALYSED", "EXTREME_POSE"]


def test_crops_of_several_people_are_not_described() -> None:
    assert reasons(sample(), status=Agreement.CONFLICTING) == [Undescribed.CONFLICTING.value]
    assert agreement(SETTINGS, 0.44, 3, 0) is Agreement.CONFLICTING
    assert agreement(SETTINGS, 0.44, 2, 0) is Agreement.CONSISTENT  # two crops say too little
    assert agreement(SETTINGS, 0.9, 3, 3) is Agreement.CONSISTENT
    assert agreement(SETTINGS, 0.9, 2, 3) is Agreement.CONFLICTING
    assert agreement(SETTINGS, None, 1, 0) is Agreement.CONSISTENT


@pytest.mark.parametrize("degrees", [0, 45, 90, 180, 270])
def test_landmarks_of_a_face_are_plausible_however_it_is_turned(degrees: float) -> None:
    turn = cv2.getRotationMatrix2D((156, 156), degrees, 0.8)
    turned = (FACE @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    assert is_plausible(BOX, turned)


def test_landmarks_outside_the_box_mirrored_or_in_one_place_are_not_plausible() -> None:
    assert not is_plausible(BOX, FACE + 60)
    assert not is_plausible(BOX, FACE[[1, 0, 2, 4, 3]])
    assert not is_plausible(BOX, np.full((5, 2), 150, np.float32))


def painted(mouth: tuple[int, int, int]) -> Bytes:
    crop = np.full((112, 112, 3), (190, 140, 115), np.uint8)  # skin
    crop[63:] = mouth
    return crop


def test_cloth_over_the_mouth_has_not_the_colour_of_skin() -> None:
    assert cover(painted((190, 140, 115))) == pytest.approx(0, abs=1)
    assert cover(painted((150, 110, 90))) < SETTINGS.max_cover  # in the shadow
    for cloth in ((235, 235, 235), (120, 170, 210), (30, 30, 30)):
        assert cover(painted(cloth)) > SETTINGS.max_cover
    assert cover(np.full((112, 112, 3), 120, np.uint8)) == 0


def test_the_tally_is_a_sum_over_all_crops() -> None:
    some = [sample(0.6), sample(0.4, inside=0.5), replace(sample(0.5), cover=30.0)]
    whole = Tally().added(SETTINGS, some)
    assert whole.quality == pytest.approx(1.5)
    assert (whole.cut, whole.covered, whole.best) == (0.4, 0.5, 0.6)
    assert whole == Tally().added(SETTINGS, some[:1]).added(SETTINGS, some[1:])
