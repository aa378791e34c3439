"""Draws faces into the frames of a video: boxes, landmarks, and labels in free space."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from streamer.recorded.placing import LabelPlacer, Place, Rect, Wanted
from streamer.values import Bytes

Colour = tuple[int, int, int]  # BGR
Points = Sequence[tuple[float, float]]

LARGEST, SMALLEST, OF_FACE = 1 / 33, 1 / 95, 0.17  # font size, share of the picture's height and of the face's width
READABLE = 9  # px, smallest font size
ANOTHER_SIZE = 0.2  # relative change of the font size of a face that is followed
PADDING = 2  # px around a text
TALLEST, WEIGHT = "Ag#()|", 400  # letters that give the height of all texts; weight of the font


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame, in pixels of that frame."""

    key: str  # track id
    texts: tuple[str, str, str]  # full, shorter and shortest label
    colour: Colour
    box: Rect
    landmarks: Points = ()
    in_view: bool = True  # False if not confirmed yet, or if this is where a lost face is expected


@dataclass(frozen=True, slots=True)
class Shown:
    """What to draw into one frame."""

    faces: tuple[Face, ...]
    others: tuple[Rect, ...] = ()  # faces without a label, which no label may cover


class Fit(NamedTuple):
    """How frames of another size get the size of the video."""

    scale: float
    left: int  # px
    top: int

    def rect(self, box: Rect) -> Rect:
        """Return a rectangle of the frame in pixels of the video."""
        x, y = self.left, self.top
        return Rect(*(round(side * self.scale + start) for side, start in zip(box, (x, y, x, y), strict=True)))

    def points(self, points: Points) -> list[tuple[int, int]]:
        """Return points of the frame in pixels of the video."""
        return [(round(x * self.scale + self.left), round(y * self.scale + self.top)) for x, y in points]


@dataclass(slots=True)
class Painter:
    """Draws into the frames of one video, in order."""

    width: int  # px, of the video
    height: int
    notice: str = ""  # for every frame
    _placer: LabelPlacer = field(init=False)
    _sizes: dict[str, int] = field(init=False, default_factory=dict)  # font sizes, px, by track id

    def __post_init__(self) -> None:
        self._placer = LabelPlacer(self.width, self.height)

    def paint(self, pixels: Bytes, fit: Fit, time: float, shown: Shown) -> None:
        """Draw into a frame that has the size of the video; `fit` is how it got it."""
        thick = max(1, round(self.height / 500))
        boxes = [fit.rect(face.box) for face in shown.faces]
        masks = [self._masks(face, box) for face, box in zip(shown.faces, boxes, strict=True)]
        notice = self._notice()
        taken = [fit.rect(other) for other in shown.others]
        if notice is not None:
            taken.append(Rect(0, self.height - notice.shape[0], notice.shape[1], self.height))
        wanted = [
            Wanted(face.key, _widened(box, thick), tuple((mask.shape[1], mask.shape[0]) for mask in three))
            for face, box, three in zip(shown.faces, boxes, masks, strict=True)
        ]
        places = self._placer.place(time, wanted, taken)
        for face, box in zip(shown.faces, boxes, strict=True):
            line = thick + 1 if face.in_view else 1
            cv2.rectangle(pixels, (int(box.left), int(box.top)), (int(box.right), int(box.bottom)), face.colour, line)
            for point in fit.points(face.landmarks):
                cv2.circle(pixels, point, thick, face.colour, -1)
        for face, three, place in zip(shown.faces, masks, places, strict=True):
            if place is not None:
                _label(pixels, face.colour, three[place.text], place, thick)
        if notice is not None:
            _blend(pixels, notice, 0, self.height - notice.shape[0], (20, 20, 20), (120, 120, 255))

    def _masks(self, face: Face, box: Rect) -> list[Bytes]:
        wanted = OF_FACE * (box.right - box.left)
        lowest = max(READABLE, SMALLEST * self.height)
        size = round(max(lowest, min(wanted, max(lowest, LARGEST * self.height))))
        before = self._sizes.get(face.key, size)
        if abs(size - before) <= ANOTHER_SIZE * before:  # a size that changes all the time makes a label tremble
            size = before
        self._sizes[face.key] = size
        return [_text(text, size) for text in face.texts]

    def _notice(self) -> Bytes | None:
        if not self.notice:
            return None
        size = max(READABLE, round(self.height / 47))
        return _text(self.notice, size)[: self.height, : self.width]


def fitted(pixels: Bytes, width: int, height: int) -> tuple[Bytes, Fit]:
    """Scale a frame to this size with the aspect kept, with black bars where the aspects differ.

    If the frame lacks only the last row or column of an even size, that is repeated.
    """
    rows, columns = pixels.shape[:2]
    if (height - rows, width - columns) == (rows % 2, columns % 2):
        edges = 0, rows % 2, 0, columns % 2
        same = pixels if edges == (0, 0, 0, 0) else cv2.copyMakeBorder(pixels, *edges, cv2.BORDER_REPLICATE)
        return np.asarray(same, np.uint8), Fit(1.0, 0, 0)
    scale = min(width / columns, height / rows)
    columns, rows = (max(1, round(scale * side)) for side in (columns, rows))
    small = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (width - columns) // 2, (height - rows) // 2
    bars = top, height - rows - top, left, width - columns - left
    bordered = cv2.copyMakeBorder(small, *bars, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return np.asarray(bordered, np.uint8), Fit(scale, left, top)


def _label(pixels: Bytes, colour: Colour, mask: Bytes, place: Place, thick: int) -> None:
    if place.leader is not None:
        cv2.line(pixels, *place.leader, colour, thick, cv2.LINE_AA)
    _blend(pixels, mask, int(place.rect.left), int(place.rect.top), colour, (0, 0, 0))


def _blend(pixels: Bytes, mask: Bytes, left: int, top: int, ground: Colour, ink: Colour) -> None:
    share = mask[..., None].astype(np.float32) / 255
    colour = np.array(ground, np.float32) * (1 - share) + np.array(ink, np.float32) * share
    pixels[top : top + mask.shape[0], left : left + mask.shape[1]] = colour.round().astype(np.uint8)


@lru_cache(maxsize=512)
def _text(text: str, size: int) -> Bytes:
    """Return the coverage of a text (h, w), 0..255, with padding; all texts of a size have one height."""
    font = cv2.FontFace("sans")  # it has Latin, Greek, Cyrillic and CJK letters
    _, top, _, height = cv2.getTextSize((0, 0), TALLEST, (0, 0), font, size, WEIGHT)
    left, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), font, size, WEIGHT)
    canvas = np.zeros((height + 2 * PADDING, width + 2 * PADDING), np.uint8)
    cv2.putText(canvas, text, (PADDING - left, PADDING - top), (255, 255, 255), font, size, WEIGHT)
    return canvas


def _widened(box: Rect, thick: int) -> Rect:
    """Return a box with its line."""
    return Rect(box.left - thick, box.top - thick, box.right + thick + 1, box.bottom + thick + 1)
