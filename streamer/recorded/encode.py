"""Encodes the annotated video in the codec family of its source, as MP4 with the media times of the frames."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from streamer.values import Bytes

TIME_BASE = Fraction(1, 1_000_000)  # media times are rounded to microseconds in every file
THREADS = 1  # one, because with several the bytes depend on their number, and now and then on chance
SMALLEST = 64  # px, the shorter side from which all families can be encoded
QUALITIES = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Family:
    """How a family of codecs is encoded."""

    encoder: str
    rates: tuple[int, int, int]  # constant rate factor of low, medium and high quality
    options: tuple[tuple[str, str], ...]
    tag: str = ""  # in the MP4, where players expect another one than the usual


# without the macroblock tree, whose AVX-512 code reads memory that was never written, so that the bytes depend on it
H264 = Family("libx264", (28, 21, 16), (("preset", "veryfast"), ("x264-params", "mbtree=0")))
_X265 = f"log-level=error:info=0:pools={THREADS}:frame-threads={THREADS}"
_VP9 = Family("libvpx-vp9", (42, 33, 22), (("b", "0"), ("deadline", "realtime"), ("cpu-used", "7"), ("row-mt", "1")))
FAMILIES = {
    "h264": H264,
    "hevc": Family("libx265", (30, 24, 18), (("preset", "superfast"), ("x265-params", _X265)), "hvc1"),
    "vp8": _VP9,
    "vp9": _VP9,
    "av1": Family("libsvtav1", (48, 35, 22), (("preset", "10"), ("svtav1-params", f"lp={THREADS}"))),
}


def family_of(codec: str, width: int, height: int) -> Family:
    """Return how to encode a video of this codec (FFmpeg's name of the decoder) and size, px."""
    family = FAMILIES.get(av.Codec(codec, "r").canonical_name, H264)
    return family if min(width, height) >= SMALLEST else H264


class VideoWriter:
    """Encodes frames of one size."""

    def __init__(self, container: OutputContainer, codec: str, quality: str, frame_rate: float, comment: str) -> None:
        """`codec`: that of the source; `frame_rate`: about how many frames come per second."""
        self._container = container
        self._codec = codec
        self._quality = QUALITIES.index(quality)
        self._frame_rate = Fraction(max(1, min(round(frame_rate), 240)))
        self._stream: VideoStream | None = None
        container.metadata["comment"] = comment

    def add(self, pixels: Bytes, media_time: float, duration: float) -> None:
        """Encode BGR (h, w, 3) with even sides, shown from `media_time` for `duration` (s; 0: unknown).

        All frames have the size of the first. Raises FFmpegError.
        """
        if self._stream is None:
            self._stream = self._begin(pixels.shape[1], pixels.shape[0])
        image = av.VideoFrame.from_ndarray(pixels, format="bgr24")
        image.pts, image.time_base = round(media_time / TIME_BASE), TIME_BASE
        if duration > 0:
            image.duration = round(duration / TIME_BASE)
        self._container.mux(self._stream.encode(image))

    def finish(self) -> None:
        """Encode what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _begin(self, width: int, height: int) -> VideoStream:
        os.environ.setdefault("SVT_LOG", "1")  # else the AV1 encoder prints its settings
        family = family_of(self._codec, width, height)
        options = {"crf": str(family.rates[self._quality]), **dict(family.options)}
        stream = self._container.add_stream(family.encoder, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = TIME_BASE
        stream.codec_context.framerate = self._frame_rate
        stream.codec_context.thread_count = THREADS
        if family.tag:
            stream.codec_context.codec_tag = family.tag
        return stream


@contextmanager
def video_writer(path: Path, codec: str, quality: str, frame_rate: float, comment: str) -> Iterator[VideoWriter]:
    """Yield the writer of a new MP4 at `path`, which is complete at the end. Raises FFmpegError."""
    with av.open(f"file:{path}", "w", format="mp4") as container:
        writer = VideoWriter(container, codec, quality, frame_rate, comment)
        yield writer
        writer.finish()
