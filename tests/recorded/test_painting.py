"""Painting faces into frames: legible at every size, over no face, and drawn after scaling."""

import numpy as np
import pytest

from streamer.recorded.captions import Caption, caption
from streamer.recorded.painting import Face, Fit, Painter, Shown, fitted
from streamer.recorded.placing import Rect
from streamer.values import Bytes


def face(box: Rect, key: str = "a", name: str = "#1") -> Face:
    return Face(key, (f"{name} 27 happy", f"{name} 27", name), (0, 200, 250), box)


def painted(size: tuple[int, int], *faces: Face, notice: str = "") -> Bytes:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    Painter(*size, notice).paint(pixels, Fit(1.0, 0, 0), 0.0, Shown(faces))
    return pixels


def label_rows(pixels: Bytes, box: Rect) -> int:
    """How many rows above the box are painted."""
    return int((pixels[: int(box.top) - 3].max(axis=(1, 2)) > 0).sum())


@pytest.mark.parametrize(("width", "rows"), [(30, (14, 20)), (80, (16, 26)), (400, (30, 52))])
def test_a_label_is_as_large_as_its_face_within_limits(width: int, rows: tuple[int, int]) -> None:
    box = Rect(600, 400, 600 + width, 400 + 1.2 * width)
    assert rows[0] <= label_rows(painted((1920, 1080), face(box)), box) <= rows[1]


def test_no_pixel_of_a_label_is_over_a_face() -> None:
    chance = np.random.default_rng(3)
    for _ in range(40):
        faces = []
        for number in range(8):
            left, top = chance.uniform(0, 560), chance.uniform(0, 300)
            width = chance.uniform(20, 80)
            faces.append(face(Rect(left, top, left + width, top + 1.2 * width), str(number)))
        pixels = painted((640, 360), *faces)
        for one in faces:
            inner = pixels[
                int(one.box.top) + 3 : int(one.box.bottom) - 3, int(one.box.left) + 3 : int(one.box.right) - 3
            ]
            lines = (inner == (0, 200, 250)).all(axis=2)  # a box or its corner may cross, ink may not
            assert not ((inner.max(axis=2) > 0) & ~lines).any()


def test_a_tiny_picture_is_painted_without_labels_that_do_not_fit() -> None:
    for size in ((2, 2), (16, 16), (40, 12), (12, 40)):
        painted(size, face(Rect(0, 0, *size)), notice="UNTRAINED")


def test_the_size_of_a_label_does_not_tremble_with_its_box() -> None:
    painter, rows = Painter(640, 360), set()
    for step in range(20):
        box = Rect(200, 100, 300 + step % 3, 220)
        pixels = np.zeros((360, 640, 3), np.uint8)
        painter.paint(pixels, Fit(1.0, 0, 0), step / 25, Shown((face(box),)))
        rows.add(label_rows(pixels, box))
    assert len(rows) == 1


def test_labels_of_frames_of_another_size_are_drawn_after_scaling() -> None:
    """So they are as large as in all other frames."""
    large = np.zeros((720, 1280, 3), np.uint8)
    image, fit = fitted(large, 640, 360)
    assert fit == Fit(0.5, 0, 0)
    image = image.copy()
    Painter(640, 360).paint(image, fit, 0.0, Shown((face(Rect(400, 200, 600, 440)),)))
    wanted = painted((640, 360), face(Rect(200, 100, 300, 220)))
    assert (image == wanted).all()


def test_frames_of_another_aspect_have_their_boxes_between_the_bars() -> None:
    image, fit = fitted(np.zeros((240, 480, 3), np.uint8), 320, 240)
    assert image.shape == (240, 320, 3)
    assert fit.rect(Rect(0, 0, 480, 240)) == Rect(0, 40, 320, 200)
    assert fit.points([(240, 120)]) == [(160, 120)]


@pytest.mark.parametrize(("name", "other"), [("Zoë", "Zoe"), ("Çağla", "Cagla"), ("李", "?"), ("Иван", "????")])
def test_names_are_drawn_in_their_own_letters(name: str, other: str) -> None:
    drawn, instead = (painted((640, 360), face(Rect(200, 100, 300, 220), name=each)) for each in (name, other))
    assert (drawn != instead).any()


@pytest.mark.parametrize(
    ("record", "texts"),
    [
        ({"number": 3, "age": {"years": 27.4}, "decision": None}, ("#3 27 happy", "#3 27", "#3")),
        ({"number": 3, "age": {"years": -1.6}, "decision": None}, ("#3 0 happy", "#3 0", "#3")),
        ({"number": 3, "age": None, "decision": {"person": None}}, ("#3 happy", "#3", "#3")),
        ({"number": 3, "age": {"years": 27.4}, "decision": {"person": "Ann"}}, ("Ann 27 happy", "Ann 27", "Ann")),
        ({"number": 3, "age": None, "decision": None, "described": False}, ("#3 ?", "#3 ?", "#3")),
    ],
)
def test_a_label_is_short_and_begins_with_the_name(record: dict[str, object], texts: tuple[str, str, str]) -> None:
    assert caption(record).texts("happiness") == texts


def test_a_face_of_unknown_expression_has_no_expression_in_its_label() -> None:
    assert Caption("#3", "27").texts() == ("#3 27", "#3 27", "#3")
