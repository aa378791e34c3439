"""Clips as cameras send them, made here from photographs of the installed packages: faces that move, and noise."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from streamer.values import Bytes
from tests.support.photographs import photographs

FPS = 25
NOISE = 3.0  # standard deviation of a pixel, grey levels
MOST_PX = 400  # longer side of a photograph in a frame of 1080 rows
STEP_PX = 4  # that the picture moves in each frame, there and back


def make_clip(path: Path, size: tuple[int, int], frames: int, codec: str = "libx264") -> Path:
    """Write a clip of this width and height without B-frames, at 25 frames/s; its end leads to its beginning."""
    width, height = size
    wall = _wall(width + 2 * STEP_PX * frames, height)
    noise = np.random.default_rng(0).normal(0, NOISE, (height, width, 1)).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=_options(codec))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 4_000_000 * width * height // (1920 * 1080)
        for number in range(frames):
            left = STEP_PX * min(number, frames - number)
            pixels = wall[:, left : left + width] + np.roll(noise, 131 * number, (0, 1))
            image = av.VideoFrame.from_ndarray(np.clip(pixels, 0, 255).astype(np.uint8), format="bgr24")
            image.pts, image.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return path


def _wall(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return photographs side by side in rows (h, w, 3)."""
    side = MOST_PX * height // 1080
    wall = np.full((height, width, 3), 90, np.float32)
    pictures = [_fitted(picture, side) for picture in photographs()[:-1]]
    number = 0
    for top in range(0, height - side + 1, side + side // 8):
        for left in range(0, width - side + 1, side + side // 4):
            picture = pictures[number % len(pictures)]
            number += 1
            wall[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return wall


def _fitted(picture: Bytes, side: int) -> Bytes:
    scale = side / max(picture.shape[:2])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _options(codec: str) -> dict[str, str]:
    if codec == "libx265":
        return {"preset": "ultrafast", "g": "50", "x265-params": "log-level=none:bframes=0"}
    return {"preset": "ultrafast", "bf": "0", "g": "50", "x264-params": "sliced-threads=0"}
