"""Detect faces in a part of the picture only, and from a least width on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.detect.mounted import MountedWatch
from streamer.detect.parts import Sight
from streamer.values import Bytes, Detections, Floats, Frame

Place = tuple[int, int, int, int]  # x1 y1 x2 y2, px


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the upright picture: x, y of the upper left corner, width, height."""

    values: tuple[float, float, float, float]  # px or percent
    percent: tuple[bool, bool, bool, bool]  # of the picture's width or height

    @classmethod
    def parse(cls, text: str) -> "Region":
        """Read `x,y,width,height`, each a number of pixels or, with %, a share of the picture. Raises ValueError."""
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 4:
            raise ValueError(f"{text!r} is not a region: write x,y,width,height in pixels or with %")
        try:
            x, y, width, height = (float(part.removesuffix("%")) for part in parts)
        except ValueError:
            raise ValueError(f"{text!r} is not a region: a value is not a number") from None
        percent = tuple(part.endswith("%") for part in parts)
        if not all(np.isfinite((x, y, width, height))) or min(x, y) < 0 or min(width, height) <= 0:
            raise ValueError(f"{text!r} is not a region: x and y are 0 or more, width and height above 0")
        return cls((x, y, width, height), (percent[0], percent[1], percent[2], percent[3]))

    def corners(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return x1 y1 x2 y2 (px) in a picture of this width and height; nothing of it may be inside."""
        scaled = [
            value * size[place % 2] / 100 if percent else value
            for place, (value, percent) in enumerate(zip(self.values, self.percent, strict=True))
        ]
        ends = scaled[0], scaled[1], scaled[0] + scaled[2], scaled[1] + scaled[3]
        x1, y1, x2, y2 = (min(round(end), size[place % 2]) for place, end in enumerate(ends))
        return x1, y1, x2, y2

    def __str__(self) -> str:
        return ",".join(f"{v:g}{'%' if percent else ''}" for v, percent in zip(self.values, self.percent, strict=True))


class LimitedWatch:
    """Detects as `MountedWatch` does, but only faces in a region and those that are wide enough.

    The detector gets the region alone: that is faster, and small faces are enlarged more. A face belongs to the region
    if its centre lies inside.
    """

    def __init__(self, watch: MountedWatch, region: Region | None, min_width: float) -> None:
        """`min_width`: of a face, px of the frame."""
        self._watch, self._region, self._min_width = watch, region, min_width

    def detect(self, frames: Sequence[Frame], regions: Sequence[Floats | None] | None = None) -> list[Detections]:
        """Detect the faces of each frame as `look` does."""
        return [sight.faces for sight in self.look(frames, regions)]

    def look(self, frames: Sequence[Frame], regions: Sequence[Floats | None] | None = None) -> list[Sight]:
        """Detect the faces of each frame, in pixels of the whole frame. There is at most one frame per camera.

        `regions` are those of `Watch.look`; what of them is outside the region here is left out. A frame looked at
        everywhere inside the region counts as looked at as a whole.
        """
        places = [self._region.corners(frame.size) if self._region else (0, 0, *frame.size) for frame in frames]
        views = [_view(frame.pixels, place) for frame, place in zip(frames, places, strict=True)]
        # a frame of another size may lie beside the region
        rows = [number for number, view in enumerate(views) if view.size]
        shown = [replace(frames[number], pixels=views[number]) for number in rows]
        inside = [_inside(regions[number], places[number]) for number in rows] if regions else None
        found = iter(self._watch.look(shown, inside) if shown else [])
        return [
            self._limited(next(found), place) if view.size else Sight(Detections.none(), None)
            for view, place in zip(views, places, strict=True)
        ]

    def forget(self, camera: str) -> None:
        """Forget a camera whose next frame may show anything."""
        self._watch.forget(camera)

    def _limited(self, sight: Sight, place: Place) -> Sight:
        x1, y1, x2, y2 = place
        faces = sight.faces
        corner = np.array([x1, y1], np.float32)
        limits = np.array([x2 - x1, y2 - y1], np.float32)
        centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
        inside = ((centres >= 0) & (centres <= limits)).all(axis=1)
        kept = faces.rows(np.flatnonzero(inside & (faces.boxes[:, 2] - faces.boxes[:, 0] >= self._min_width)))
        moved = Detections(kept.boxes + np.tile(corner, 2), kept.scores, kept.landmarks + corner, kept.turned)
        return Sight(moved, sight.looked + np.tile(corner, 2) if sight.looked is not None else None)


def _inside(boxes: Floats | None, place: Place) -> Floats | None:
    """Return regions (n, 4) of the frame in pixels of its part; those beside it are empty."""
    if boxes is None:
        return None
    x1, y1, x2, y2 = place
    return np.asarray(boxes - np.array([x1, y1, x1, y1]), np.float32).clip(0, np.array([x2 - x1, y2 - y1] * 2))


def _view(pixels: Bytes, place: Place) -> Bytes:
    x1, y1, x2, y2 = place
    return np.ascontiguousarray(pixels[y1:y2, x1:x2])
