"""Read video files: their properties, their frames, and whether they are complete."""

import contextlib
import logging
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError

from faceanalytics.errors import InputError
from streamer.config import redact
from streamer.source.decoder import USUAL_STEP_S, DecodedFrame, Decoder, frame_rate, video_stream
from streamer.source.hardware import CPU, QSV, acceleration, check_decodes
from streamer.source.lists import allowed_formats, name_of_list
from streamer.values import ClockSource, Frame

log = logging.getLogger(__name__)

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

    width: int  # px, after rotation
    height: int  # px
    duration_s: float
    frames: int
    fps: float
    codec: str


def probe_file(path: Path, device: str = CPU) -> VideoInfo:
    """Read the properties of a video and decode its first frame on `device`. Raises InputError."""
    with open_file(path, device) as container:
        stream = video_stream(container, str(path))
        first = next(iter(_decode(container, stream, path, "", False, device)), None)
        if first is None:
            raise InputError(f"{path}: none of its frames can be decoded")
        width, height = first.size
        duration = _declared_duration(stream) or (container.duration or 0) / av.time_base
        fps = frame_rate(stream) or 1 / USUAL_STEP_S
        frames = _indexed_frames(container, stream) or round(duration * fps)
        return VideoInfo(width, height, duration, frames, fps, stream.codec_context.name)


def read_file(path: Path, camera: str, epoch: int, device: str = CPU) -> Iterator[Frame]:
    """Yield every frame of a video, in order, timed from the first one, decoded on `device`.

    Raises InputError if no frame can be read, TruncatedVideo after the last frame of a file that was cut off.
    """
    for decoded in decode_file(path, camera, device=device):
        pixels = decoded.pixels()
        if pixels is not None:
            yield Frame(camera, epoch, decoded.media_time, None, ClockSource.FILE_PTS, time.monotonic(), pixels)


def decode_file(path: Path, camera: str, warn: bool = True, device: str = CPU) -> Iterator[DecodedFrame]:
    """Yield every frame of a video file; raises like `read_file`. `warn`: log problems that were worked around."""
    with open_file(path, device) as container:
        yield from _decode(container, video_stream(container, str(path)), path, camera, warn, device)


def open_file(path: Path, device: str = CPU) -> InputContainer:
    """Open a video file to decode it on `device`. Raises InputError, NoSuchFile if it does not exist."""
    _check_file(path)
    if device.startswith(QSV):
        raise InputError(f"{path}: qsv decodes cameras only, not files: set decode_device to cpu")
    try:
        # whitelists: a file must not make us read others; metadata: in old files it may have any encoding
        return av.open(
            f"file:{path}",
            "r",
            container_options={"protocol_whitelist": "file", "format_whitelist": allowed_formats()},
            metadata_errors="replace",
            hwaccel=acceleration(device),
        )
    except (InvalidDataError, ArgumentError) as error:  # the second: a demuxer that the whitelist lacks
        raise InputError(f"{path}: {_why_invalid(path)}") from error
    except (FFmpegError, OSError) as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from error
    except RuntimeError as error:  # of PyAV: no stream can be decoded on the device
        raise InputError(f"{path}: {device} cannot decode its codec") from error


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        where = redact(str(path))  # it may be an address with a password, whose error must not show it either
        raise NoSuchFile(f"{where}: no such file") from None
    except OSError as error:
        raise InputError(f"{redact(str(path))}: cannot be opened: {error.strerror}") from None
    except ValueError as error:  # a name that contains a null character
        raise InputError(f"{str(path)!r}: cannot be opened: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: not a file")
    if status.st_size == 0:
        raise InputError(f"{path}: the file is empty")


def _decode(
    container: InputContainer, stream: av.VideoStream, path: Path, camera: str, warn: bool, device: str
) -> Iterator[DecodedFrame]:
    check_decodes(stream, device)
    decoder = Decoder(stream, camera, presentation_times=container.format.name != "avi", device=device)
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
    kind = name_of_list(path)
    if kind:
        return f"{kind}, not a video; only `streamer analyze --allow-lists` reads the files that it names"
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "an MP4 without its index (moov): the file was cut off or never finished"
    return "not a video"
