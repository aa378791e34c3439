"""The picture of a decoded frame: its size, and its pixels in the form that every stage expects."""

import struct
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from fractions import Fraction
from threading import Lock
from typing import Protocol, cast

import av
import numpy as np
from av.buffer import Buffer
from av.error import FFmpegError
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import Interpolation, VideoReformatter

from streamer.source.geometry import SQUARE, Geometry, credible, orientation
from streamer.source.luma import LumaReader
from streamer.source.tone_map import HDR, ToneMapper
from streamer.values import Bytes, ClockSource, Frame, Preview


class DecodedFrame:
    """A decoded frame, converted to BGR on request."""

    __slots__ = ("_converter", "clock_time", "frame", "geometry", "media_time", "time_estimated")

    def __init__(self, frame: av.VideoFrame, media_time: float, converter: "Converter") -> None:
        self.frame = frame
        self.media_time = media_time  # s
        self.clock_time: float | None = None  # s, the timestamp behind the media time; None: it was estimated
        self.time_estimated = False  # by its neighbours, for lack of a usable timestamp
        self.geometry = converter.geometry(frame)
        self._converter = converter

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height of the upright picture in square pixels."""
        return self.geometry.shown

    @property
    def codec(self) -> str:
        """Return the name of the codec, such as h264."""
        return self._converter.codec

    @property
    def decoder(self) -> str:
        """Return the codec and the device that decoded it, such as "h264 on cpu"."""
        return self._converter.decoder

    def pixels(self) -> Bytes | None:
        """Convert to upright BGR (h, w, 3) with square pixels. Returns None, and counts the frame as damaged, if that
        fails.
        """
        return self._converter.pixels(self.frame, self.geometry)

    def luma(self) -> Bytes:
        """Return the upright picture small and grey (rows, columns), its longer side LUMA_SIDE px."""
        return self._converter.luma.read(self.frame, self.geometry)


class Shown(Protocol):
    """A picture of a source, not yet converted: a DecodedFrame or an image."""

    @property
    def media_time(self) -> float: ...  # s
    @property
    def time_estimated(self) -> bool: ...
    @property
    def size(self) -> tuple[int, int]: ...
    def luma(self) -> Bytes: ...
    def pixels(self) -> Bytes | None: ...


def preview_of(
    shown: Shown,
    camera: str,
    epoch: int,
    received: float | None = None,
    captured_at: datetime | None = None,
    clock_source: ClockSource = ClockSource.FILE_PTS,
) -> Preview:
    """Return what is handed over before the conversion. `received`: s, monotonic; None: now, for files."""
    times = shown.media_time, captured_at, clock_source, time.monotonic() if received is None else received
    return Preview(camera, epoch, *times, shown.size, shown.luma(), shown.pixels, shown.time_estimated)


def frame_of(decoded: DecodedFrame, camera: str, epoch: int) -> Frame | None:
    """Convert a frame of a file; None if that fails, which is counted."""
    pixels = decoded.pixels()
    if pixels is None:
        return None
    times = decoded.media_time, None, ClockSource.FILE_PTS, time.monotonic()
    return Frame(camera, epoch, *times, pixels, decoded.time_estimated)


class Converter:
    """Converts the frames of one stream; its tables are kept from frame to frame.

    `pixels` may be called from any thread, the rest from one.
    """

    def __init__(
        self, stream: av.VideoStream, failed: Callable[[], None], note: Callable[[str], None], device: str = "cpu"
    ) -> None:
        """`failed` is called for each frame that cannot be converted, `note` once for each oddity of the stream.

        `device` decodes the frames.
        """
        self.codec = stream.codec_context.name
        self.decoder = f"{self.codec} on {device}"
        self._codec = stream.codec_context
        self._failed = failed
        self._note = note
        self._noted: set[str] = set()
        self._converting = Lock()  # the tables are not for two threads at once, which would crash the process
        self._reformatter = VideoReformatter()
        self.luma = LumaReader()
        self._tone_mapper: ToneMapper | None = ToneMapper()
        # a ratio of the container precedes that of the codec, which may change in mid-stream
        by_container = stream.sample_aspect_ratio
        different = by_container != self._codec.sample_aspect_ratio
        self._fixed = by_container if different and credible(by_container) is not None else None
        if different:
            self._credible(by_container)
        self._stated: Fraction | None = None  # sample aspect ratio by the stream, and what is made of it
        self._aspect = SQUARE
        self._late = 0  # frames since the ratio changed
        self._size = (0, 0)  # of the last frame

    def geometry(self, frame: av.VideoFrame) -> Geometry:
        """Return how to show a frame. Call it for each frame, in the order of decoding."""
        size, aspect = (frame.width, frame.height), self._fixed or self._codec.sample_aspect_ratio
        if aspect != self._stated:
            # the decoder has read the new ratio, but still gives the frames before it, which it had put in order
            self._late += 1
            if size != self._size or frame.key_frame or self._late > self._codec.reorder_depth:
                self._stated, self._late = aspect, 0
                self._aspect = self._credible(aspect)
        self._size = size
        return Geometry(size, self._aspect, *_orientation(frame))

    def pixels(self, frame: av.VideoFrame, geometry: Geometry) -> Bytes | None:
        """Return upright SDR, BGR (h, w, 3) with square pixels, or None if the frame cannot be converted."""
        try:
            with self._converting:
                image = self._to_bgr(self._to_sdr(frame) if frame.color_trc in HDR else frame, geometry)
        except FFmpegError:
            self._failed()
            return None
        return np.ascontiguousarray(geometry.upright(np.asarray(image.to_ndarray(), np.uint8)))

    def _to_bgr(self, frame: av.VideoFrame, geometry: Geometry) -> av.VideoFrame:
        if geometry.aspect == SQUARE:
            return self._reformatter.reformat(frame, format="bgr24", threads=1)
        width, height = geometry.square
        return self._reformatter.reformat(frame, width, height, "bgr24", interpolation=Interpolation.BICUBIC, threads=1)

    def _to_sdr(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._tone_mapper is not None:
            try:
                return self._tone_mapper.to_sdr(frame)
            except FFmpegError as error:
                self._tone_mapper = None
                self._say(f"its HDR pictures cannot be tone-mapped and look flat: {error.strerror}")
        return frame

    def _credible(self, aspect: Fraction | None) -> Fraction:
        taken = credible(aspect)
        if taken is None:
            self._say(f"its sample aspect ratio {aspect} cannot be true and is ignored")
        return taken or SQUARE

    def _say(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)


def _orientation(frame: av.VideoFrame) -> tuple[bool, int]:
    try:
        # frame.side_data would stay in the frame and refer to it: only a garbage collection would free the frame
        side_data = cast("Mapping[str, Buffer]", cast("Callable[..., object]", SideDataContainer)(frame))
    except ValueError:  # the frame has side data that PyAV does not know, such as Exif
        return False, round(frame.rotation / 90) % 4
    matrix = side_data.get("DISPLAYMATRIX")
    return (False, 0) if matrix is None else orientation(struct.unpack("=9i", bytes(matrix)))
