"""Decode the packets of a video stream, from a file or a camera, into timed frames."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import av
from av.container import InputContainer
from av.error import FFmpegError

from streamer import metrics
from streamer.source.deinterlace import Deinterlacer
from streamer.source.hardware import CPU, own_decoder
from streamer.source.media_clock import AGREE, MediaClock, Moment
from streamer.source.picture import Converter, DecodedFrame
from streamer.values import TimeBase

if TYPE_CHECKING:
    from av.packet import Packet

StreamT = TypeVar("StreamT", bound=av.stream.Stream)

log = logging.getLogger(__name__)

USUAL_STEP_S = 0.04  # interval between frames if the stream does not state its frame rate


class _Held(NamedTuple):
    """A decoded frame whose media time is not known yet."""

    decoded: DecodedFrame
    stamp: int | None  # timestamp
    duration: int  # in units of the timestamp; 0: unknown


class Damage:
    """Counts the frames of one stream that are dropped because they are damaged."""

    def __init__(self, camera: str) -> None:
        self.dropped = 0
        self.unconverted = 0  # of these, frames that had already been yielded
        self._camera = camera

    def drop(self) -> None:
        """Count a frame that cannot be decoded."""
        self.dropped += 1
        if self._camera:
            metrics.frames_dropped.labels(self._camera, "corrupt").inc()

    def drop_unconverted(self) -> None:
        """Count a frame that cannot be converted to BGR."""
        self.unconverted += 1
        self.drop()


class Decoder:
    """Decodes the packets of one video stream; damaged frames are dropped and counted."""

    def __init__(
        self,
        stream: av.VideoStream,
        camera: str,
        *,
        presentation_times: bool = True,
        timestamps: bool = True,
        live: bool = False,
        note: Callable[[str], None] = log.debug,
        time_base: Fraction | None = None,
        device: str = CPU,
    ) -> None:
        """Decode on `device`; raises InputError if it cannot decode the stream.

        `presentation_times`: False if the container stores decoding times only; `timestamps`: False if it stores no
        times, so that those of the packets are FFmpeg's guess. `note` is called once for each oddity of the picture.
        `time_base`: of the times of the packets, if they are not those of the stream.

        `live`: a frame is never held until the next ones show whether its timestamp is right.
        """
        self._context = own_decoder(stream, device) or stream.codec_context
        self.decoded = 0
        self.skims = False  # frames to which no other refers are skipped
        self.damage = Damage(camera)  # apart, so that no cycle of references keeps a decoder alive
        self.by_decoding_time = not presentation_times
        self.timestamps = timestamps
        self._deinterlacer = Deinterlacer(note)
        self.converter = Converter(stream, self.damage.drop_unconverted, note, device)
        step = 1 / (frame_rate(stream) or 1 / USUAL_STEP_S)
        self._time_base = time_base or stream.time_base or Fraction(1, 90_000)
        self.clock = MediaClock(self._time_base, step, live)
        self._camera = camera
        self._live = live
        self._held: deque[_Held] = deque()
        self._stamped = False  # a presentation time has been seen
        self._last_dts: int | None = None  # where the next decoding time is, once the packets have ended

    @property
    def time_base(self) -> TimeBase:
        """Return where the media times so far come from."""
        clock, source = self.clock, "dts" if self.by_decoding_time else "pts"
        rebuilt = clock.estimated or clock.restarts
        return TimeBase("estimated" if rebuilt else source, clock.estimated, clock.restarts)

    def skim(self, fewer: bool) -> None:
        """Skip the frames to which no other frame refers, which saves their decoding; False: decode all again."""
        if fewer != self.skims:
            self.skims = fewer
            self._context.skip_frame = "NONREF" if fewer else "DEFAULT"

    def decode(self, packet: "Packet[av.VideoStream]", received: float = 0.0) -> Iterator[DecodedFrame]:
        """Yield the frames that this packet completes; an empty packet flushes the last ones.

        `received`: when a camera's packet arrived (s, monotonic).
        """
        try:
            frames = self._context.decode(packet)
        except FFmpegError:  # each codec reports damage differently: no permission, not implemented, ...
            self.damage.drop()
            frames = []
        yield from self._timed(frames, received, rest=not packet.size)

    def finish(self) -> Iterator[DecodedFrame]:
        """Yield the last frames of a stream, also if it broke off and no empty packet has flushed them."""
        try:
            frames = self._context.decode(None)
        except FFmpegError:
            frames = []
        yield from self._timed(frames, 0.0, rest=True)

    def _timed(self, frames: Sequence[av.VideoFrame], received: float, rest: bool) -> Iterator[DecodedFrame]:
        """Yield frames with their media time, but hold those that the next timestamps explain. `rest`: hold none."""
        for frame in self._deinterlacer.frames(frames, flush=rest):
            self.decoded += 1
            if self._camera:
                metrics.frames_decoded.labels(self._camera).inc()
            if frame.is_corrupt:
                self.damage.drop()
                continue
            decoded = DecodedFrame(frame, 0.0, self.converter)
            self._held.append(_Held(decoded, self._stamp(frame), frame.duration or 0))
        while self._held and (rest or len(self._held) >= AGREE or not self.clock.needs_following(self._held[0].stamp)):
            decoded, stamp, duration = self._held.popleft()
            following = [each.stamp for each in islice(self._held, AGREE - 1)]
            decoded.media_time, decoded.time_estimated = self._time_of(stamp, duration, following, received)
            if stamp is not None and not decoded.time_estimated:
                decoded.clock_time = float(stamp * self._time_base)
            yield decoded

    def _time_of(self, stamp: int | None, duration: int, following: list[int | None], received: float) -> Moment:
        restarts = self.clock.restarts
        moment = self.clock.time_of(stamp, duration, following, received)
        if moment.estimated and self._camera:
            metrics.frames_time_estimated.labels(self._camera).inc()
        if self._live and self.clock.restarts != restarts:
            log.warning(
                "camera %s: its timestamps jumped by %+.3f s; media time goes on without the jump",
                self._camera,
                self.clock.jump,
            )
        return moment

    def _stamp(self, frame: av.VideoFrame) -> int | None:
        """Return the presentation time of a frame, or the decoding time if the stream has no others."""
        if not self.timestamps:
            return None
        if not self.by_decoding_time:
            self._stamped = self._stamped or frame.pts is not None
            self.by_decoding_time = not self._stamped and frame.dts is not None
        if not self.by_decoding_time:
            return frame.pts
        # frames that the end of the stream flushes belong to no packet: they have no decoding time
        stamp = self._last_dts if frame.dts is None else frame.dts
        self._last_dts = None if stamp is None or not frame.duration else stamp + frame.duration
        return stamp


def demux(container: InputContainer, *streams: StreamT) -> Iterator["Packet[StreamT]"]:
    """Yield the packets of streams up to their end. Raises FFmpegError."""
    try:
        yield from cast("Iterator[Packet[StreamT]]", container.demux(streams))
    except IndexError:  # of PyAV, at the end, if streams have appeared that the header does not have
        return


def frame_rate(stream: av.VideoStream) -> float | None:
    """Return the frames per second in the header, or None without a credible value."""
    rates = (float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate)
    return next((rate for rate in rates if math.isfinite(rate) and 0.1 <= rate <= 240), None)
