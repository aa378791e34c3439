"""Small real videos for tests: a moving pattern with the number of each frame painted in, readable after encoding."""

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext

from streamer.values import Bytes

CELL = 16  # px, side of one painted bit
BITS = 16
TIME_BASE = Fraction(1, 90_000)


def image(number: int, size: tuple[int, int] = (320, 240)) -> Bytes:
    """(h, w, 3) BGR: `number` in the first row of cells (white is 1), below it a bright disc that moves along."""
    width, height = size
    pixels = np.full((height, width, 3), (90, 60, 40), np.uint8)
    for bit in range(BITS):
        pixels[:CELL, bit * CELL : (bit + 1) * CELL] = 255 if number >> bit & 1 else 0
    centre = (20 + number * 4 % (width - 40), height // 2)
    return np.asarray(cv2.circle(pixels, centre, 20, (40, 160, 240), thickness=-1), np.uint8)


def read_number(pixels: Bytes) -> int:
    """The number that `image` painted."""
    middles = pixels[CELL // 2, CELL // 2 : BITS * CELL : CELL].mean(axis=1)
    return sum(1 << bit for bit, grey in enumerate(middles) if grey > 127)


def make_video(
    path: Path,
    *,
    frames: int = 50,
    fps: float = 25.0,
    times: Sequence[float] | None = None,
    codec: str = "libx264",
    size: tuple[int, int] = (320, 240),
    b_frames: int = 0,
    gop: int = 25,
    rotation: int = 0,
    index_first: bool = False,
    container_format: str | None = None,
) -> Path:
    """Encode `frames` images at `fps`, or at `times` (s); `index_first` puts an MP4's index before its images."""
    muxer = {"movflags": "faststart"} if index_first else {}
    with av.open(str(path), "w", format=container_format, options=muxer) as container:
        stream = container.add_stream(
            codec, rate=Fraction(fps).limit_denominator(1001), options=_options(codec, b_frames, gop)
        )
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.codec_context.thread_count = 1  # as cameras do: one slice per image; and the same bytes everywhere
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        if times is not None:
            stream.codec_context.time_base = TIME_BASE
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames if times is None else len(times)):
            frame = av.VideoFrame.from_ndarray(image(number, size), format="bgr24")
            frame.time_base = TIME_BASE
            frame.pts = round((number / fps if times is None else times[number]) / TIME_BASE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_resized(path: Path, images: Sequence[Bytes], fps: int = 25) -> Path:
    """`images` (h, w, 3) BGR as one H.264 stream, whose size changes with theirs, as a camera that is switched over."""
    step = round(1 / fps / TIME_BASE)
    encoder: VideoCodecContext | None = None
    with av.open(str(path), "w") as container:
        stream = container.add_mux_stream("h264", width=images[0].shape[1], height=images[0].shape[0])
        stream.time_base = TIME_BASE
        for index, pixels in enumerate(images):
            height, width = pixels.shape[:2]
            if encoder is None or (encoder.width, encoder.height) != (width, height):
                _mux(container, stream, encoder.encode(None) if encoder is not None else [])
                encoder = _encoder(width, height, fps)
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts, frame.time_base = index * step, TIME_BASE
            _mux(container, stream, encoder.encode(frame))
        assert encoder is not None
        _mux(container, stream, encoder.encode(None))
    return path


def _encoder(width: int, height: int, fps: int) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.thread_count = TIME_BASE, Fraction(fps), 1
    encoder.options = {"preset": "ultrafast", "crf": "18", "g": "25", "bf": "0"}
    return encoder


def _mux(container: OutputContainer, stream: Stream, packets: "Sequence[Packet[Any]]") -> None:
    for packet in packets:
        packet.stream = stream
        container.mux(packet)


def make_audio(path: Path) -> Path:
    """A second of silence without any image."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        for start in range(0, 16_000, 1000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def break_jpeg(video: Path, number: int) -> Path:
    """A copy beside an MJPEG `video` whose image `number` has colours sampled as no decoder implements it."""
    data = bytearray(video.read_bytes())
    headers = [match.start() for match in re.finditer(rb"\xff\xc0\x00\x11\x08", data)]
    data[headers[number] + 11] = 0x44
    broken = video.with_name(f"broken-{video.name}")
    broken.write_bytes(data)
    return broken


def cut_off(video: Path, share: float) -> Path:
    """A copy beside `video` with only the first `share` of its bytes."""
    data = video.read_bytes()
    shorter = video.with_name(f"cut-off-{video.name}")
    shorter.write_bytes(data[: int(len(data) * share)])
    return shorter


def _options(codec: str, b_frames: int, gop: int) -> dict[str, str]:
    if codec == "libx264":
        return {"preset": "ultrafast", "g": str(gop), "bf": str(b_frames), "sc_threshold": "0"}
    if codec == "libx265":
        return {"preset": "ultrafast", "g": str(gop), "x265-params": f"log-level=none:bframes={b_frames}:pools=1"}
    return {}


def to_h264(video: Path, path: Path, passes: int = 1) -> Path:
    """`video` (any format) as an H.264 file with the same times, for servers that speak no other codec.

    With more `passes` it plays to the end, back, and so on, so that a short clip becomes longer without a jump.
    """
    with av.open(str(video)) as source:
        frames = [(frame.time, frame.reformat(format="yuv420p")) for frame in source.decode(video=0)]
    times = [time for time, _ in frames if time is not None]
    step = (times[-1] - times[0]) / (len(times) - 1)
    with av.open(str(path), "w") as container:
        # one slice per image: GStreamer's payloader loses all but the last of several
        options = {"preset": "ultrafast", "crf": "18", "g": "25", "bf": "0", "x264-params": "sliced-threads=0"}
        stream = container.add_stream("libx264", options=options)
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.time_base = TIME_BASE
        stream.width, stream.height = frames[0][1].width & ~1, frames[0][1].height & ~1
        stream.pix_fmt = "yuv420p"
        for turn in range(passes):
            began = turn * (times[-1] - times[0] + step)
            for index, time in enumerate(times):
                image = frames[-1 - index if turn % 2 else index][1]
                shown = began + (times[-1] - times[-1 - index] if turn % 2 else time - times[0])
                image.pts, image.time_base = round(shown / TIME_BASE), TIME_BASE
                container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return path
