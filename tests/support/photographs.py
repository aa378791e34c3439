"""A photograph with one face that comes inside a package, a short clip that pans over it, and a gallery of it."""

import shutil
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from streamer.values import Bytes

FACE = (179, 55, 273, 177)  # x1 y1 x2 y2, pixels, of the face in the photograph, roughly
SIZE = (640, 480)  # px, of the clip
FPS = 25
PAN = 50  # px and frames, from one turn of the view to the next; the face stays inside


def portrait() -> Path:
    """Eileen Collins by NASA, 512x512, public domain; scikit-image has it among its examples."""
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png"


def read_portrait() -> Bytes:
    """The photograph as BGR (512, 512, 3)."""
    return np.asarray(cv2.imread(str(portrait())), np.uint8)


def photographs() -> list[Bytes]:
    """Photographs with faces (h, w, 3) BGR from the installed packages, of several sizes; at least the portrait."""
    found = [read_portrait()]
    spec = find_spec("ultralytics")
    if spec is not None and spec.submodule_search_locations is not None:
        assets = Path(spec.submodule_search_locations[0]) / "assets"
        found += [np.asarray(cv2.imread(str(path)), np.uint8) for path in sorted(assets.glob("*.jpg"))]
    large = cv2.resize(found[-1], (1920, 1080), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(found[0], (200, 200), interpolation=cv2.INTER_AREA)
    return [*found, np.asarray(large, np.uint8), np.asarray(small, np.uint8)]


def make_face_clip(path: Path, seconds: float = 2.0) -> Path:
    """A video of the photograph, 640x480, 25 frames per second, panning slowly down and up again."""
    import av

    width, height = SIZE
    pixels = np.asarray(cv2.resize(read_portrait(), (width, width), interpolation=cv2.INTER_CUBIC), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "18", "bf": "0"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes everywhere
        for number in range(round(seconds * FPS)):
            top = PAN - abs(PAN - number % (2 * PAN))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[top : top + height]), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_gallery(folder: Path, name: str = "eileen") -> Path:
    """A gallery of one person with one image."""
    (folder / name).mkdir(parents=True)
    shutil.copy(portrait(), folder / name)
    return folder
