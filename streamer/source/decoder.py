"""Video files to frames, and what files and cameras have in common: encoded packets to timed pictures."""

import contextlib
import logging
import math
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from streamer import metrics
from streamer.errors import InputError
from streamer.source.clock import MediaClock
from streamer.values import Bytes, ClockSource, Frame

if TYPE_CHECKING:
    from av.packet import Packet

USUAL_STEP_S = 0.04  # distance of two pictures where the stream does not say
NOT_VIDEO = {"tty", "bin", "xbin", "adf", "idf", "concat"}  # FFmpeg paints text files as pictures, or follows lists
MISSING_S, MISSING_SHARE = 1.0, 0.05  # a video that ends earlier than it says by more than both was cut off

log = logging.getLogger(__name__)


class NoSuchFile(InputError):
    """Nothing of this name is there."""


class TruncatedVideo(InputError):
    """The file ends before the video does; the `frames` before that are valid."""

    def __init__(self, message: str, frames: int) -> None:
        super().__init__(message)
        self.frames = frames


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says of itself; `duration_s` and `frames` are estimates, 0 if unknown."""

    width: int  # px, as shown
    height: int  # px
    duration_s: float
    frames: int
    fps: float
    codec: str


def probe_file(path: Path) -> VideoInfo:
    """Look into a video and decode its first picture. Raises InputError."""
    with open_file(path) as container:
        stream = video_stream(container, str(path))
        first = next(iter(_pictures(container, stream, path, "", False)), None)
        if first is None:
            raise InputError(f"{path}: no picture in it can be decoded")
        width, height = first.size
        duration = _declared_duration(stream) or (container.duration or 0) / av.time_base
        fps = _rate(stream) or 1 / USUAL_STEP_S
        frames = _indexed_frames(container, stream) or round(duration * fps)
        return VideoInfo(width, height, duration, frames, fps, stream.codec_context.name)


def read_file(path: Path, camera: str, epoch: int) -> Iterator[Frame]:
    """Every picture of a video, in order, with the time since the first one.

    Raises InputError if nothing can be read, TruncatedVideo after the last frame of a file that was cut off.
    """
    for picture in file_pictures(path, camera):
        pixels = picture.pixels()
        if pixels is not None:
            yield Frame(camera, epoch, picture.media_time, None, ClockSource.FILE_PTS, time.monotonic(), pixels)


class Picture:
    """A decoded picture that is not converted yet."""

    __slots__ = ("_decoder", "frame", "media_time")

    def __init__(self, frame: av.VideoFrame, media_time: float, decoder: "Decoder") -> None:
        self.frame = frame
        self.media_time = media_time  # s
        self._decoder = decoder

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as shown."""
        size = (self.frame.width, self.frame.height)
        return size if self.frame.rotation % 180 == 0 else size[::-1]

    @property
    def stream_time(self) -> float | None:
        """The stream's own timestamp in s; None: it has none."""
        if self.frame.pts is None or self.frame.time_base is None:
            return None
        return float(self.frame.pts * self.frame.time_base)

    def pixels(self) -> Bytes | None:
        """(h, w, 3) BGR, turned upright; None: it cannot be converted, its decoder counts it as damaged."""
        try:
            pixels = self._decoder.reformatter.reformat(self.frame, format="bgr24", threads=1).to_ndarray()
        except FFmpegError:
            self._decoder.unconverted += 1
            self._decoder.drop_damaged()
            return None
        turns = round(self.frame.rotation / 90)
        return np.ascontiguousarray(np.rot90(pixels, turns) if turns else pixels, np.uint8)


class Decoder:
    """One video stream's packets to pictures; damaged and untimed ones are dropped and counted."""

    def __init__(self, stream: av.VideoStream, camera: str, presentation_times: bool = True) -> None:
        """`presentation_times` False: the container stores decoding times only."""
        self.decoded = 0
        self.damaged = 0
        self.unconverted = 0  # of the damaged ones, those that were given out as pictures
        self.untimed = 0
        self.reformatter = VideoReformatter()  # one for all pictures: it keeps the conversion tables
        self.clock = MediaClock(stream.time_base or Fraction(1, 90_000), 1 / (_rate(stream) or 1 / USUAL_STEP_S))
        self._camera = camera
        self._presentation_times = presentation_times

    def decode(self, packet: "Packet[av.VideoStream]") -> Iterator[Picture]:
        """The pictures that become complete with this packet (an empty one: the last ones)."""
        try:
            frames = packet.decode()
        except FFmpegError:  # each codec has its own word for damage: no permission, not implemented, ...
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
            yield Picture(frame, media_time, self)

    def drop_damaged(self) -> None:
        """Count a picture that is left out because it is damaged."""
        self.damaged += 1
        self._drop("corrupt")

    def _drop(self, reason: str) -> None:
        if self._camera:
            metrics.frames_dropped.labels(self._camera, reason).inc()


def file_pictures(path: Path, camera: str, warn: bool = True) -> Iterator[Picture]:
    """Every picture of a video file; raises like `read_file`. `warn`: log the trouble that was worked around."""
    with open_file(path) as container:
        yield from _pictures(container, video_stream(container, str(path)), path, camera, warn)


def open_file(path: Path) -> InputContainer:
    """Raises InputError that says what is wrong with the file, NoSuchFile if it is not there."""
    _check_file(path)
    try:
        # protocol: a file must not make us fetch others; metadata: old files have it in any encoding
        container = av.open(
            f"file:{path}", "r", container_options={"protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except InvalidDataError as error:
        raise InputError(f"{path}: {_why_invalid(path)}") from error
    except (FFmpegError, OSError) as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from error
    if container.format.name in NOT_VIDEO:
        container.close()
        raise InputError(f"{path}: not a video")
    return container


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoSuchFile(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from error
    except ValueError as error:  # a name with a zero in it
        raise InputError(f"{str(path)!r}: cannot be opened: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: not a file")
    if status.st_size == 0:
        raise InputError(f"{path}: the file is empty")


def video_stream(container: InputContainer, name: str) -> av.VideoStream:
    """The first video stream that is not a cover picture. Raises InputError if there is none that can be decoded."""
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise InputError(f"{name}: no video in it (only {kinds})")
    if cast("av.VideoCodecContext | None", moving[0].codec_context) is None:
        raise InputError(f"{name}: the codec of its video is not supported")
    return moving[0]


def _pictures(
    container: InputContainer, stream: av.VideoStream, path: Path, camera: str, warn: bool
) -> Iterator[Picture]:
    decoder = Decoder(stream, camera, presentation_times=container.format.name != "avi")
    packets, pictures, last_damaged, last, problem = 0, 0, False, None, ""
    demuxer = container.demux(stream)
    while True:
        try:
            packet = next(demuxer)
        except StopIteration:
            break
        except FFmpegError as error:
            problem = error.strerror or "it cannot be read"
            break
        if packet.size:
            packets, last_damaged = packets + 1, packet.is_corrupt
        for picture in decoder.decode(packet):
            pictures, last = pictures + 1, picture
            yield picture
    pictures -= decoder.unconverted
    if last is None or not pictures:
        raise InputError(f"{path}: no picture in it can be decoded")
    if warn:
        _report(path, decoder)
    problem = problem or _what_is_missing(stream, _indexed_frames(container, stream) - packets, last_damaged, last)
    if problem:
        raise TruncatedVideo(f"{path}: the video is cut off after {last.media_time:.2f} s: {problem}", pictures)


def _what_is_missing(stream: av.VideoStream, packets_missing: int, last_damaged: bool, last: Picture) -> str:
    """Why the file is not whole; empty if it is."""
    if last_damaged:
        return "its last picture is incomplete"
    if packets_missing > 0:
        return f"{packets_missing} pictures of its index are not there"
    declared = _declared_duration(stream)
    end = max(last.media_time, last.stream_time or 0.0)  # some containers count from 0, others from the first picture
    if declared - end > max(MISSING_S, MISSING_SHARE * declared):
        return f"it says it lasts {declared:.2f} s"
    return ""


def _report(path: Path, decoder: Decoder) -> None:
    """One line for each kind of trouble that was worked around."""
    if decoder.damaged:
        log.warning("%s: %d damaged pictures left out", path, decoder.damaged)
    if decoder.untimed:
        log.warning("%s: %d pictures left out, their timestamps do not come after those before", path, decoder.untimed)
    if decoder.clock.estimated:
        log.warning("%s: %d pictures have no timestamp, it was estimated", path, decoder.clock.estimated)
    if decoder.clock.restarts:
        log.warning("%s: the timestamps begin anew %d times", path, decoder.clock.restarts)


def _indexed_frames(container: InputContainer, stream: av.VideoStream) -> int:
    """Number of pictures by an MP4's index, which is exact; 0 for other containers."""
    return stream.frames if "mp4" in container.format.name.split(",") else 0


def _declared_duration(stream: av.VideoStream) -> float:
    """Length of the video stream in s by its header; 0 if it does not say."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    with contextlib.suppress(ValueError):  # Matroska keeps it as text: 00:01:02.500000000
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return 0.0


def _rate(stream: av.VideoStream) -> float | None:
    """Pictures per second as far as the header tells; None if it says nothing credible."""
    rates = (float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate)
    return next((rate for rate in rates if math.isfinite(rate) and 0.1 <= rate <= 240), None)


def _why_invalid(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "an MP4 without its index (moov): it was cut off, or never finished"
    return "not a video"
