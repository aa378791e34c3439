"""Decode the packets of a video stream, from a file or a camera, into timed frames."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from faceanalytics.errors import InputError
from streamer import metrics
from streamer.source.clock import MediaClock
from streamer.source.hardware import CPU, own_decoder
from streamer.values import Bytes

if TYPE_CHECKING:
    from av.packet import Packet

USUAL_STEP_S = 0.04  # interval between frames if the stream does not state its frame rate


class DecodedFrame:
    """A decoded frame, converted to BGR on request."""

    __slots__ = ("_decoder", "frame", "media_time")

    def __init__(self, frame: av.VideoFrame, media_time: float, decoder: "Decoder") -> None:
        self.frame = frame
        self.media_time = media_time  # s
        self._decoder = decoder

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels, after rotation."""
        size = (self.frame.width, self.frame.height)
        return size if self.frame.rotation % 180 == 0 else size[::-1]

    @property
    def decoder(self) -> str:
        """Return the codec and the device that decoded it, such as "h264 on cpu"."""
        return self._decoder.name

    @property
    def stream_time(self) -> float | None:
        """Return the stream's own timestamp in s, or None without one."""
        if self.frame.pts is None or self.frame.time_base is None:
            return None
        return float(self.frame.pts * self.frame.time_base)

    def pixels(self) -> Bytes | None:
        """Convert to BGR (h, w, 3), rotated upright. Returns None, and counts the frame as damaged, if that fails."""
        try:
            pixels = self._decoder.reformatter.reformat(self.frame, format="bgr24", threads=1).to_ndarray()
        except FFmpegError:
            self._decoder.unconverted += 1
            self._decoder.drop_damaged()
            return None
        turns = round(self.frame.rotation / 90)
        return np.ascontiguousarray(np.rot90(pixels, turns) if turns else pixels, np.uint8)


class Decoder:
    """Decode the packets of one video stream; damaged and untimed frames are dropped and counted."""

    def __init__(
        self,
        stream: av.VideoStream,
        camera: str,
        presentation_times: bool = True,
        *,
        time_base: Fraction | None = None,
        device: str = CPU,
    ) -> None:
        """Decode on `device`; raises InputError if it cannot decode the stream.

        `presentation_times`: False if the container stores decoding times only. `time_base`: of the times of the
        packets, if they are not those of the stream.
        """
        self.name = f"{stream.codec_context.name} on {device}"
        self._context = own_decoder(stream, device)
        self.decoded = 0
        self.damaged = 0
        self.unconverted = 0  # damaged frames that had already been yielded
        self.untimed = 0
        self.reformatter = VideoReformatter()  # one for all frames: it keeps the conversion tables
        step = 1 / (frame_rate(stream) or 1 / USUAL_STEP_S)
        self.clock = MediaClock(time_base or stream.time_base or Fraction(1, 90_000), step)
        self._camera = camera
        self._presentation_times = presentation_times

    def decode(self, packet: "Packet[av.VideoStream]") -> Iterator[DecodedFrame]:
        """Yield the frames that this packet completes; an empty packet flushes the last ones."""
        try:
            frames = packet.decode() if self._context is None else self._context.decode(packet)
        except FFmpegError:  # each codec reports damage differently: no permission, not implemented, ...
            self.drop_damaged()
            return
        for frame in frames:
            self.decoded += 1
            if self._camera:
                metrics.frames_decoded.labels(self._camera).inc()
            if frame.is_corrupt:
                self.drop_damaged()
                continue
            media_time = self.clock.time_of(frame.pts if self._presentation_times else frame.dts)
            if media_time is None:
                self.untimed += 1
                self._drop("time")
                continue
            yield DecodedFrame(frame, media_time, self)

    def drop_damaged(self) -> None:
        """Count a frame that is dropped because it is damaged."""
        self.damaged += 1
        self._drop("corrupt")

    def _drop(self, reason: str) -> None:
        if self._camera:
            metrics.frames_dropped.labels(self._camera, reason).inc()


def video_stream(container: InputContainer, name: str) -> av.VideoStream:
    """Return the first video stream that is not cover art. Raises InputError if none can be decoded."""
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise InputError(f"{name}: contains no video (only {kinds})")
    if cast("av.VideoCodecContext | None", moving[0].codec_context) is None:
        raise InputError(f"{name}: its video codec is not supported; re-encode it, for example as H.264")
    return moving[0]


def frame_rate(stream: av.VideoStream) -> float | None:
    """Return the frames per second in the header, or None without a credible value."""
    rates = (float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate)
    return next((rate for rate in rates if math.isfinite(rate) and 0.1 <= rate <= 240), None)
