"""Faces in a part of the picture, in pixels of the whole picture."""

import numpy as np
import pytest

from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.detect.mounted import MountedWatch
from streamer.detect.region import LimitedWatch, Region
from streamer.values import ClockSource, Detections, Frame
from tests.support.patch_detector import FACE, paint, write_lite_patch_detector

PLACES = [(40, 30), (400, 300)]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    path = write_lite_patch_detector(tmp_path_factory.mktemp("detector") / "lite.onnx")
    return Detector(Detect(weights=str(path), max_upscale=1))


def frame() -> Frame:
    pixels = np.full((480, 640, 3), 90, np.uint8)
    for left, top in PLACES:
        paint(pixels, left, top)
    return Frame("cam", 0, 0.0, None, ClockSource.FILE_PTS, 0.0, pixels)


def found(detector: Detector, region: str | None, min_width: float = 0) -> Detections:
    watch = LimitedWatch(MountedWatch(detector), Region.parse(region) if region else None, min_width)
    return watch.detect([frame()])[0]


def corners(faces: Detections) -> list[tuple[int, int]]:
    return sorted((round(float(x)), round(float(y))) for x, y in faces.boxes[:, :2])


def test_faces_in_the_region_are_where_they_are_in_the_picture(detector: Detector) -> None:
    everywhere = found(detector, None)
    np.testing.assert_allclose(corners(everywhere), PLACES, atol=8)
    for region, which in (("320,240,320,240", 1), ("50%,50%,50%,50%", 1), ("0,0,200,50%", 0)):
        faces = found(detector, region)
        np.testing.assert_allclose(corners(faces), [PLACES[which]], atol=8)
        row = int(np.abs(everywhere.boxes[:, 0] - faces.boxes[0, 0]).argmin())
        np.testing.assert_allclose(faces.landmarks[0], everywhere.landmarks[row], atol=8)


def test_a_face_whose_centre_is_outside_is_left_out(detector: Detector) -> None:
    assert len(found(detector, f"0,0,{40 + FACE // 2 - 6},480")) == 0


def test_narrower_faces_are_left_out(detector: Detector) -> None:
    assert len(found(detector, None, FACE - 8)) == 2
    assert len(found(detector, None, FACE + 8)) == 0


def test_a_frame_without_the_region_has_no_faces(detector: Detector) -> None:
    assert len(found(detector, "700,0,50,50")) == 0


@pytest.mark.parametrize("text", ["", "1,2,3", "a,0,1,1", "-1,0,5,5", "0,0,0,5", "0,0,inf,5"])
def test_other_regions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a region"):
        Region.parse(text)


def test_a_region_is_written_as_it_was_read() -> None:
    assert str(Region.parse(" 10%, 0,50.5% ,100")) == "10%,0,50.5%,100"
