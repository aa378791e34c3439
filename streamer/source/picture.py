"""The picture of a decoded frame: its size, and its pixels in the form that every stage expects."""

from collections.abc import Callable

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from streamer.values import Bytes


class DecodedFrame:
    """A decoded frame, converted to BGR on request."""

    __slots__ = ("_converter", "frame", "media_time", "time_estimated")

    def __init__(self, frame: av.VideoFrame, media_time: float, converter: "Converter") -> None:
        self.frame = frame
        self.media_time = media_time  # s
        self.time_estimated = False  # by its neighbours, for lack of a usable timestamp
        self._converter = converter

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels, after rotation."""
        size = (self.frame.width, self.frame.height)
        return size if self.frame.rotation % 180 == 0 else size[::-1]

    def pixels(self) -> Bytes | None:
        """Convert to BGR (h, w, 3), rotated upright. Returns None, and counts the frame as damaged, if that fails."""
        return self._converter.pixels(self.frame)


class Converter:
    """Converts the frames of one stream; its tables are kept from frame to frame."""

    def __init__(self, failed: Callable[[], None]) -> None:
        """`failed` is called for each frame that cannot be converted."""
        self._failed = failed
        self._reformatter = VideoReformatter()

    def pixels(self, frame: av.VideoFrame) -> Bytes | None:
        """Return BGR (h, w, 3), rotated upright, or None if the frame cannot be converted."""
        try:
            pixels = self._reformatter.reformat(frame, format="bgr24", threads=1).to_ndarray()
        except FFmpegError:
            self._failed()
            return None
        turns = round(frame.rotation / 90)
        return np.ascontiguousarray(np.rot90(pixels, turns) if turns else pixels, np.uint8)
