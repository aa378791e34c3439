"""Make a short clip with real faces, by panning and zooming over photographs inside installed packages."""

from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np

from faceanalytics.errors import InputError
from faceanalytics.files import replacing
from streamer.source.images import read_image
from streamer.values import Bytes

WIDTH, HEIGHT, FPS = 1280, 720, 25
SCENE_S = 4.0
View = tuple[
    float, float, float
]  # centre x, centre y, width of the visible part; in widths and heights of the photograph
# package, file in it, view at the start and at the end of the scene
SCENES: tuple[tuple[str, str, View, View], ...] = (
    ("skimage", "data/astronaut.png", (0.55, 0.40, 1.0), (0.45, 0.25, 0.70)),
    ("ultralytics", "assets/zidane.jpg", (0.45, 0.50, 0.85), (0.60, 0.45, 0.70)),
    ("ultralytics", "assets/bus.jpg", (0.45, 0.55, 1.0), (0.30, 0.50, 0.70)),
)


def make_clip(path: Path) -> None:
    """Write the clip (H.264, 1280x720, 25 frames per second, 12 s). Raises InputError if a package is missing."""
    with replacing(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index, pixels in enumerate(_frames()):
            image = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            image.pts, image.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def _frames() -> Iterator[Bytes]:
    count = round(SCENE_S * FPS)
    for package, name, start, end in SCENES:
        photograph = photograph_of(package, name)
        for step in range(count):
            ease = 0.5 - 0.5 * np.cos(np.pi * step / (count - 1))
            yield view_of(photograph, tuple(a + ease * (b - a) for a, b in zip(start, end, strict=True)))


def photograph_of(package: str, name: str) -> Bytes:
    spec = find_spec(package)
    place = Path(spec.submodule_search_locations[0]) / name if spec and spec.submodule_search_locations else None
    if place is None or not place.is_file():
        raise InputError(f"the demo needs {name} of the package {package}: pip install 'faceanalytics[demo]'")
    return read_image(place)


def view_of(photograph: Bytes, view: tuple[float, ...]) -> Bytes:
    """Scale the visible part to the clip's size, black outside the photograph."""
    height, width = photograph.shape[:2]
    scale = WIDTH / (view[2] * width)
    shift_x = _inside(WIDTH / 2 - scale * view[0] * width, WIDTH - scale * width)
    shift_y = _inside(HEIGHT / 2 - scale * view[1] * height, HEIGHT - scale * height)
    matrix = np.array([[scale, 0, shift_x], [0, scale, shift_y]])
    flags = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.warpAffine(photograph, matrix, (WIDTH, HEIGHT), flags=flags), np.uint8)


def _inside(shift: float, smallest: float) -> float:
    """Return the closest shift that shows no border, or centre a photograph that is too small for that."""
    return smallest / 2 if smallest > 0 else min(0.0, max(smallest, shift))
