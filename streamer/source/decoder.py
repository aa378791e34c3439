"""Decode the packets of a video stream, from a file or a camera, into timed frames."""

import logging
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.error import FFmpegError

from streamer import metrics
from streamer.source.clock import MediaClock
from streamer.source.deinterlace import Deinterlacer
from streamer.source.picture import Converter, DecodedFrame

if TYPE_CHECKING:
    from av.packet import Packet

log = logging.getLogger(__name__)

USUAL_STEP_S = 0.04  # interval between frames if the stream does not state its frame rate


class Decoder:
    """Decode the packets of one video stream; damaged and untimed frames are dropped and counted."""

    def __init__(
        self,
        stream: av.VideoStream,
        camera: str,
        presentation_times: bool = True,
        note: Callable[[str], None] = log.debug,
    ) -> None:
        """`presentation_times`: False if the container stores decoding times only. `note` is called once for each
        oddity of the picture.
        """
        self.decoded = 0
        self.damaged = 0
        self.unconverted = 0  # damaged frames that had already been yielded
        self.untimed = 0
        self._deinterlacer = Deinterlacer(note)
        self.converter = Converter(stream, self._drop_unconverted, note)
        self.clock = MediaClock(stream.time_base or Fraction(1, 90_000), 1 / (frame_rate(stream) or 1 / USUAL_STEP_S))
        self._camera = camera
        self._presentation_times = presentation_times

    def decode(self, packet: "Packet[av.VideoStream]") -> Iterator[DecodedFrame]:
        """Yield the frames that this packet completes; an empty packet flushes the last ones."""
        try:
            frames = packet.decode()
        except FFmpegError:  # each codec reports damage differently: no permission, not implemented, ...
            self.drop_damaged()
            frames = []
        for frame in self._deinterlacer.frames(frames, flush=not packet.size):
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
            yield DecodedFrame(frame, media_time, self.converter)

    def drop_damaged(self) -> None:
        """Count a frame that is dropped because it is damaged."""
        self.damaged += 1
        self._drop("corrupt")

    def _drop_unconverted(self) -> None:
        self.unconverted += 1
        self.drop_damaged()

    def _drop(self, reason: str) -> None:
        if self._camera:
            metrics.frames_dropped.labels(self._camera, reason).inc()


def frame_rate(stream: av.VideoStream) -> float | None:
    """Return the frames per second in the header, or None without a credible value."""
    rates = (float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate)
    return next((rate for rate in rates if math.isfinite(rate) and 0.1 <= rate <= 240), None)
