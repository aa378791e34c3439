"""Read video files: their properties, their frames, and whether they are complete."""

import logging
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.format import Flags

from faceanalytics.errors import InputError
from streamer.config import redact
from streamer.source.choice import Choice, choose_stream, count_pictures, stated_pictures
from streamer.source.completeness import PacketTally, declared_duration, what_is_missing
from streamer.source.decoder import USUAL_STEP_S, Decoder, demux, frame_rate
from streamer.source.geometry import Geometry
from streamer.source.hardware import CPU, QSV, acceleration, check_decodes
from streamer.source.lists import FOLLOWED, allowed_formats, name_of_list
from streamer.source.picture import DecodedFrame, frame_of
from streamer.values import Frame, TimeBase

log = logging.getLogger(__name__)


class NoSuchFile(InputError):
    """The file does not exist."""


class TruncatedVideo(InputError):
    """The file ends before the video does; its first `frames` frames are valid."""

    def __init__(self, message: str, frames: int) -> None:
        super().__init__(message)
        self.frames = frames


class Length(NamedTuple):
    """How long a video is by its header: estimates, 0 if unknown."""

    duration_s: float
    frames: int
    fps: float


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
    creation_time: str | None = None  # tag of the container, as it stands there; None: it has none

    @property
    def length(self) -> Length:
        """Return how long it is."""
        return Length(self.duration_s, self.frames, self.fps)


def probe_file(path: Path, *, device: str = CPU, video_stream: int | None = None) -> VideoInfo:
    """Read the properties of a video and decode its first frame on `device`. Raises InputError.

    `video_stream`: which one of several, from 0; None: the one that players show.
    """
    with open_file(path, device) as container:
        choice = _choose(container, path, video_stream)
        stream = choice.stream
        first = next(iter(_decode(container, stream, path, "", False, ReadReport(), device)), None)
        if first is None:
            raise InputError(f"{path}: none of its frames can be decoded")
        width, height = first.size
        codec = stream.codec_context.name
        created = stream.metadata.get("creation_time") or container.metadata.get("creation_time")
        length = _length(container, stream)
        return VideoInfo(width, height, *length, codec, first.geometry, choice.number, created)


def stated_length(path: Path, video_stream: int | None = None) -> Length:
    """Read how long a video is by its header, without decoding it. Raises InputError."""
    with open_file(path) as container:
        return _length(container, _choose(container, path, video_stream).stream)


def chosen_stream(path: Path, video_stream: int | None = None) -> int:
    """Return which video stream of a file is read, from 0. Raises InputError."""
    with open_file(path) as container:
        return _choose(container, path, video_stream).number


def _length(container: InputContainer, stream: av.VideoStream) -> Length:
    duration = declared_duration(stream) or (container.duration or 0) / av.time_base
    fps = frame_rate(stream) or 1 / USUAL_STEP_S
    indexed = "mp4" in container.format.name.split(",")
    return Length(duration, (indexed and stream.frames) or round(duration * fps), fps)


class ReadReport:
    """How a file was read, up to the last frame so far."""

    def __init__(self) -> None:
        self.decoder: Decoder | None = None  # while nothing has been read

    @property
    def dropped(self) -> dict[str, int]:
        """Return the number of frames that were dropped, by reason."""
        damaged = 0 if self.decoder is None else self.decoder.damage.dropped
        return {"damaged": damaged} if damaged else {}

    @property
    def time_base(self) -> TimeBase:
        """Return where the media times come from."""
        return TimeBase() if self.decoder is None else self.decoder.time_base


class FinishedReport(ReadReport):
    """How a file was read in an earlier run."""

    def __init__(self, dropped: Mapping[str, int]) -> None:
        super().__init__()
        self._dropped = dict(dropped)

    @property
    def dropped(self) -> dict[str, int]:
        """Return the number of frames that were dropped, by reason."""
        return self._dropped


def read_file(
    path: Path,
    camera: str,
    epoch: int,
    *,
    device: str = CPU,
    video_stream: int | None = None,
    report: ReadReport | None = None,
) -> Iterator[Frame]:
    """Yield every frame of a video, in order, timed from the first one; `report` says how it went.

    It is decoded on `device`; `video_stream` as in `probe_file`. Raises InputError if no frame can be read,
    TruncatedVideo after the last frame of a file that was cut off.
    """
    for decoded in decode_file(path, camera, device=device, video_stream=video_stream, report=report):
        frame = frame_of(decoded, camera, epoch)
        if frame is not None:
            yield frame


def decode_file(
    path: Path,
    camera: str,
    *,
    warn: bool = True,
    device: str = CPU,
    video_stream: int | None = None,
    report: ReadReport | None = None,
) -> Iterator[DecodedFrame]:
    """Yield every frame of a video file; raises like `read_file`. `warn`: log problems that were worked around."""
    with open_file(path, device) as container:
        choice = _choose(container, path, video_stream)
        if warn and choice.count > 1:
            log.info("%s: reading %s", path, choice.description)
        yield from _decode(container, choice.stream, path, camera, warn, report or ReadReport(), device)


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
    container: InputContainer,
    stream: av.VideoStream,
    path: Path,
    camera: str,
    warn: bool,
    report: ReadReport,
    device: str,
) -> Iterator[DecodedFrame]:
    check_decodes(stream, device)
    note = partial(log.warning if warn else log.debug, "%s: %s", path)
    decoder = Decoder(
        stream,
        camera,
        presentation_times=container.format.name != "avi",
        timestamps=Flags.no_timestamps not in Flags(container.format.flags),
        note=note,
        device=device,
    )
    report.decoder = decoder
    tally, frames, last = PacketTally(), 0, None
    for decoded in _frames(container, stream, decoder, tally):
        frames, last = frames + 1, decoded
        yield decoded
    frames -= decoder.damage.unconverted
    if last is None or not frames:
        raise InputError(f"{path}: none of its frames can be decoded")
    if warn:
        _warn(path, decoder, last.media_time)
    shown = last.media_time + float((last.frame.duration or 0) * (stream.time_base or 0))
    problem = what_is_missing(container, stream, path, tally, shown)
    if problem:
        raise TruncatedVideo(f"{path}: the video is cut off after {last.media_time:.2f} s: {problem}", frames)


def _frames(
    container: InputContainer, stream: av.VideoStream, decoder: Decoder, tally: PacketTally
) -> Iterator[DecodedFrame]:
    """Yield the frames of a stream up to its end, or to where it cannot be read, which is noted in `tally`."""
    packets = demux(container, stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except FFmpegError as error:
            tally.error = error.strerror or "the rest cannot be read"
            break
        tally.add(packet)
        yield from decoder.decode(packet)
    yield from decoder.finish()


def _warn(path: Path, decoder: Decoder, end: float) -> None:
    """Log one line for each kind of problem that was worked around; `end`: media time of the last frame, s."""
    clock = decoder.clock
    if decoder.damage.dropped:
        log.warning("%s: %d damaged frames dropped", path, decoder.damage.dropped)
    if not decoder.timestamps and end:
        log.warning("%s: has no timestamps; its frames are timed at %.4g per s", path, (clock.estimated - 1) / end)
    elif clock.estimated:
        log.warning("%s: frames without a usable timestamp, timed by their neighbours: %d", path, clock.estimated)
    if clock.restarts:
        log.warning("%s: jumps of the timestamps, left out of the media time: %d", path, clock.restarts)


def _why_invalid(path: Path) -> str:
    kind = name_of_list(path)
    if kind:
        if kind not in FOLLOWED:
            return f"{kind}, not a video; analyse the videos that it names"
        return f"{kind}, not a video; only `streamer analyze --allow-lists` reads the files that it names"
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "an MP4 without its index (moov): the file was cut off or never finished"
    return "not a video"
