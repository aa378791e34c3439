"""Real videos whose headers say how to show their pictures, or that have several video streams."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Disposition

from streamer.values import Bytes
from tests.support.videos import image

FPS = 25
OPTIONS = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"},
}


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A video stream: its pictures (BGR, or frames as they are), and what its header says."""

    pictures: Sequence[Bytes | av.VideoFrame]
    codec: str = "libx264"
    aspect: Fraction | None = None  # sample aspect ratio
    matrix: tuple[int, ...] | None = None  # display matrix, 9 values
    disposition: int = 0
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    colours: tuple[int, int, int] | None = None  # matrix, transfer and primaries, as FFmpeg numbers them
    start: int = 0  # number of the first picture
    every: int = 1  # pictures of the clock per picture of the track


def numbered(frames: int, size: tuple[int, int] = (320, 240), first: int = 0) -> list[Bytes]:
    """Pictures with their numbers painted in."""
    return [image(first + number, size) for number in range(frames)]


def woven(pictures: Sequence[Bytes]) -> list[Bytes]:
    """Interlaced pictures, upper field first: each has the even lines of one picture and the odd lines of the next."""
    frames = [picture.copy() for picture in pictures[::2]]
    for frame, later in zip(frames, pictures[1::2], strict=True):
        frame[1::2] = later[1::2]
    return frames


def write(path: Path, *tracks: Track, container_format: str | None = None, **muxer: str) -> Path:
    """Encode the tracks beside each other into one file."""
    with av.open(str(path), "w", format=container_format, options=muxer) as container:
        streams = [_stream(container, track) for track in tracks]
        for number in range(max(track.start + track.every * len(track.pictures) for track in tracks)):
            for track, stream in zip(tracks, streams, strict=True):
                index, rest = divmod(number - track.start, track.every)
                if rest or not 0 <= index < len(track.pictures):
                    continue
                picture = track.pictures[index]
                frame = picture if isinstance(picture, av.VideoFrame) else av.VideoFrame.from_ndarray(picture, "bgr24")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def _stream(container: av.container.OutputContainer, track: Track) -> av.VideoStream:
    stream = container.add_stream(track.codec, rate=FPS, options=OPTIONS.get(track.codec, {}) | track.options)
    assert isinstance(stream, av.VideoStream)
    first = track.pictures[0]
    if isinstance(first, av.VideoFrame):
        stream.width, stream.height = first.width, first.height
    else:
        stream.height, stream.width = first.shape[:2]
    stream.codec_context.thread_count = 1
    stream.pix_fmt = track.pix_fmt
    if track.colours is not None:
        context = stream.codec_context
        context.colorspace, context.color_trc, context.color_primaries = track.colours
    if track.aspect is not None:
        stream.codec_context.sample_aspect_ratio = track.aspect
    if track.matrix is not None:
        stream.set_display_matrix(track.matrix)
    stream.disposition = Disposition(track.disposition)
    return stream
