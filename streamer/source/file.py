"""Read video files: their properties, their frames, and whether they are complete."""

import contextlib
import logging
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError

from faceanalytics.errors import InputError
from streamer.source.choice import Choice, choose_stream, count_pictures, stated_pictures
from streamer.source.decoder import USUAL_STEP_S, Decoder, frame_rate
from streamer.source.geometry import Geometry
from streamer.source.picture import DecodedFrame
from streamer.values import ClockSource, Frame

log = logging.getLogger(__name__)

NOT_VIDEO = {"tty", "bin", "xbin", "adf", "idf", "concat"}  # FFmpeg renders text files as video, or follows lists

MISSING_S, MISSING_SHARE = 1.0, 0.05  # a video that ends before its declared end by more than both was cut off


class NoSuchFile(InputError):
    """The file does not exist."""


class TruncatedVideo(InputError):
    """The file ends before the video does; its first `frames` frames are valid."""

    def __init__(self, message: str, frames: int) -> None:
        super().__init__(message)
        self.frames = frames


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Properties in the header of a file; `duration_s` and `frames` are estimates, 0 if unknown."""

    width: int  # px, upright and with square pixels
    height: int  # px
    duration_s: float
    frames: int
    fps: float
    codec: str
    geometry: Geometry  # of the first frame
    video_stream: int  # which one of the file's video streams, from 0


def probe_file(path: Path, video_stream: int | None = None) -> VideoInfo:
    """Read the properties of a video and decode its first frame. Raises InputError.

    `video_stream`: which one of several, from 0; None: the one that players show.
    """
    with open_file(path) as container:
        choice = _choose(container, path, video_stream)
        stream = choice.stream
        first = next(iter(_decode(container, stream, path, "", False)), None)
        if first is None:
            raise InputError(f"{path}: none of its frames can be decoded")
        width, height = first.size
        duration = _declared_duration(stream) or (container.duration or 0) / av.time_base
        fps = frame_rate(stream) or 1 / USUAL_STEP_S
        frames = _indexed_frames(container, stream) or round(duration * fps)
        codec = stream.codec_context.name
        return VideoInfo(width, height, duration, frames, fps, codec, first.geometry, choice.number)


def read_file(path: Path, camera: str, epoch: int, video_stream: int | None = None) -> Iterator[Frame]:
    """Yield every frame of a video, in order, timed from the first one; `video_stream` as in `probe_file`.

    Raises InputError if no frame can be read, TruncatedVideo after the last frame of a file that was cut off.
    """
    for decoded in decode_file(path, camera, video_stream=video_stream):
        pixels = decoded.pixels()
        if pixels is not None:
            yield Frame(camera, epoch, decoded.media_time, None, ClockSource.FILE_PTS, time.monotonic(), pixels)


def decode_file(path: Path, camera: str, warn: bool = True, video_stream: int | None = None) -> Iterator[DecodedFrame]:
    """Yield every frame of a video file; raises like `read_file`. `warn`: log problems that were worked around."""
    with open_file(path) as container:
        choice = _choose(container, path, video_stream)
        if warn and choice.count > 1:
            log.info("%s: reading %s", path, choice.description)
        yield from _decode(container, choice.stream, path, camera, warn)


def open_file(path: Path) -> InputContainer:
    """Open a video file. Raises InputError, NoSuchFile if it does not exist."""
    _check_file(path)
    try:
        # protocol: a file must not make us fetch others; metadata: in old files it may have any encoding
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


def _choose(container: InputContainer, path: Path, number: int | None) -> Choice:
    """Choose the video stream; its pictures are counted in a second container where the header does not state them."""
    pictures = stated_pictures(container)
    if number is None and pictures is None:
        with open_file(path) as counted:
            pictures = count_pictures(counted)
    return choose_stream(container, str(path), number, pictures)


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoSuchFile(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from error
    except ValueError as error:  # a name that contains a null character
        raise InputError(f"{str(path)!r}: cannot be opened: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: not a file")
    if status.st_size == 0:
        raise InputError(f"{path}: the file is empty")


def _decode(
    container: InputContainer, stream: av.VideoStream, path: Path, camera: str, warn: bool
) -> Iterator[DecodedFrame]:
    note = partial(log.warning if warn else log.debug, "%s: %s", path)
    decoder = Decoder(stream, camera, presentation_times=container.format.name != "avi", note=note)
    packets, frames, last_damaged, last, problem = 0, 0, False, None, ""
    demuxer = container.demux(stream)
    while True:
        try:
            packet = next(demuxer)
        except StopIteration:
            break
        except FFmpegError as error:
            problem = error.strerror or "the rest cannot be read"
            break
        if packet.size:
            packets, last_damaged = packets + 1, packet.is_corrupt
        for decoded in decoder.decode(packet):
            frames, last = frames + 1, decoded
            yield decoded
    frames -= decoder.unconverted
    if last is None or not frames:
        raise InputError(f"{path}: none of its frames can be decoded")
    if warn:
        _report(path, decoder)
    problem = problem or _what_is_missing(stream, _indexed_frames(container, stream) - packets, last_damaged, last)
    if problem:
        raise TruncatedVideo(f"{path}: the video is cut off after {last.media_time:.2f} s: {problem}", frames)


def _what_is_missing(stream: av.VideoStream, packets_missing: int, last_damaged: bool, last: DecodedFrame) -> str:
    """Return why the file is incomplete, or an empty string."""
    if last_damaged:
        return "its last frame is incomplete"
    if packets_missing > 0:
        return f"{packets_missing} frames of its index are missing"
    declared = _declared_duration(stream)
    end = max(last.media_time, last.stream_time or 0.0)  # some containers count from 0, others from the first frame
    if declared - end > max(MISSING_S, MISSING_SHARE * declared):
        return f"its declared length is {declared:.2f} s"
    return ""


def _report(path: Path, decoder: Decoder) -> None:
    """Log one line for each kind of problem that was worked around."""
    if decoder.damaged:
        log.warning("%s: %d damaged frames dropped", path, decoder.damaged)
    if decoder.untimed:
        log.warning("%s: %d frames dropped because their timestamps do not increase", path, decoder.untimed)
    if decoder.clock.estimated:
        log.warning("%s: %d frames have no timestamp; theirs were estimated", path, decoder.clock.estimated)
    if decoder.clock.restarts:
        log.warning("%s: the timestamps restart %d times", path, decoder.clock.restarts)


def _indexed_frames(container: InputContainer, stream: av.VideoStream) -> int:
    """Return the number of frames in the index of an MP4, which is exact; 0 for other containers."""
    return stream.frames if "mp4" in container.format.name.split(",") else 0


def _declared_duration(stream: av.VideoStream) -> float:
    """Return the length of the video stream in s by its header, or 0 if the header does not state it."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    with contextlib.suppress(ValueError):  # Matroska keeps it as text: 00:01:02.500000000
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return 0.0


def _why_invalid(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "an MP4 without its index (moov): the file was cut off or never finished"
    return "not a video"
