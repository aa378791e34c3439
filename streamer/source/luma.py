"""The luma of a decoded frame as a small grey picture, without converting the frame to BGR."""

from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from streamer.source.geometry import Geometry
from streamer.values import LUMA_SIDE, Bytes

# Formats whose first plane is luma: bytes per value, and by how many bits more than 8 they are deep.
PLANAR = {
    **dict.fromkeys(("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "yuv411p"), (1, 0)),
    **dict.fromkeys(("yuv440p", "yuvj440p", "nv12", "nv21", "nv16", "gray"), (1, 0)),
    **dict.fromkeys(("yuv420p10le", "yuv422p10le", "yuv444p10le", "gray10le"), (2, 2)),
    **dict.fromkeys(("yuv420p12le", "yuv422p12le", "yuv444p12le", "gray12le"), (2, 4)),
    **dict.fromkeys(("p010le", "p210le", "p016le"), (2, 8)),  # in the upper bits
}
LINES = 2  # lines of the frame per line of the small picture that are averaged; the others are skipped


class LumaReader:
    """Reads the luma of the frames of one stream. For one thread."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def read(self, frame: av.VideoFrame, geometry: Geometry) -> Bytes:
        """Return the upright picture of a frame, small and grey (rows, columns); black if it cannot be read."""
        size = small_size(geometry.shown)
        inner = (size[1], size[0]) if geometry.turns % 2 else size
        layout = PLANAR.get(frame.format.name)
        try:
            small = _shrunk(frame, inner, *layout) if layout else self._converted(frame, inner)
        except (FFmpegError, ValueError):  # a damaged frame; converting it to BGR fails too, and is counted
            small = np.zeros((inner[1], inner[0]), np.uint8)
        return np.ascontiguousarray(geometry.upright(small))

    def _converted(self, frame: av.VideoFrame, size: tuple[int, int]) -> Bytes:
        return np.asarray(self._reformatter.reformat(frame, *size, "gray", threads=1).to_ndarray(), np.uint8)


def small_size(shown: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of the luma of a picture of this width and height."""
    scale = LUMA_SIDE / max(shown)
    return max(1, round(shown[0] * scale)), max(1, round(shown[1] * scale))


def luma_of(pixels: Bytes) -> Bytes:
    """Return a BGR picture (h, w, 3) small and grey, as `LumaReader` does."""
    size = small_size((pixels.shape[1], pixels.shape[0]))
    return np.asarray(cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY))


def _shrunk(frame: av.VideoFrame, size: tuple[int, int], width: int, deeper: int) -> Bytes:
    plane = frame.planes[0]
    values: NDArray[Any] = np.frombuffer(memoryview(plane), np.uint8 if width == 1 else np.dtype("<u2"))
    lines = values[: plane.height * plane.line_size // width].reshape(plane.height, plane.line_size // width)
    step = max(1, frame.height // (LINES * size[1]))
    thin = lines[::step, : frame.width]
    small: NDArray[Any] = cv2.resize(thin, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small if width == 1 else small >> deeper, np.uint8)
