"""Videos with sound, in which what is heard tells the time: silence with short beeps."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from tests.support.videos import TIME_BASE, image

BEEP_S = 0.1
FPS = 25


def sound(seconds: float, beeps: Sequence[float], rate: int, pitch: float = 1000.0) -> NDArray[np.float32]:
    """(n,) -1..1: beeps that begin at these times (s)."""
    time = np.arange(round(seconds * rate)) / rate
    heard = np.zeros(len(time), bool)
    for beep in beeps:
        heard |= (time >= beep) & (time < beep + BEEP_S)
    return np.asarray(np.where(heard, 0.7 * np.sin(2 * np.pi * pitch * time), 0), np.float32)


def make_sounding(
    path: Path,
    codecs: Sequence[str] = ("aac",),
    *,
    seconds: float = 2.0,
    audio_seconds: float | None = None,
    beeps: Sequence[float] = (0.5, 1.5),
    start: float = 0.0,
    rate: int = 48_000,
    layout: str = "stereo",
    size: tuple[int, int] = (320, 240),
) -> Path:
    """Encode `seconds` of images and an audio stream per codec, all from the time `start`. Beeps count from there.

    The beeps of the second stream are 0.2 s later than those of the first, and so on.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": "25", "bf": "0"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.time_base = TIME_BASE
        streams = [_audio_stream(container, codec, rate, layout) for codec in codecs]
        feeds = [
            _chunks(stream, sound(audio_seconds or seconds, [beep + 0.2 * place for beep in beeps], rate), start)
            for place, stream in enumerate(streams)
        ]
        for number in range(round(seconds * FPS)):
            time = start + number / FPS
            frame = av.VideoFrame.from_ndarray(image(number, size), format="bgr24")
            frame.pts, frame.time_base = round(time / TIME_BASE), TIME_BASE
            container.mux(video.encode(frame))
            for stream, feed in zip(streams, feeds, strict=True):
                while feed and float(feed[0].pts or 0) / rate <= time:
                    container.mux(stream.encode(feed.pop(0)))
        container.mux(video.encode(None))
        for stream, feed in zip(streams, feeds, strict=True):
            for chunk in feed:
                container.mux(stream.encode(chunk))
            container.mux(stream.encode(None))
    return path


def _audio_stream(container: av.container.OutputContainer, codec: str, rate: int, layout: str) -> AudioStream:
    options = {"strict": "-2"} if codec in ("opus", "vorbis", "dca") else {}
    stream = container.add_stream(codec, rate=rate, layout=layout, options=options)
    assert isinstance(stream, AudioStream)
    return stream


def _chunks(stream: AudioStream, samples: NDArray[np.float32], start: float) -> list[av.AudioFrame]:
    rate, channels, first = stream.codec_context.sample_rate, stream.codec_context.layout.nb_channels, 0
    chunks = []
    for first in range(0, len(samples), 1024):
        part = samples[first : first + 1024]
        chunk = av.AudioFrame.from_ndarray(
            np.repeat(part[None], channels, axis=0), format="fltp", layout=stream.codec_context.layout.name
        )
        chunk.sample_rate, chunk.time_base = rate, Fraction(1, rate)
        chunk.pts = round(start * rate) + first
        chunks.append(chunk)
    return chunks


def heard(path: Path, place: int = 0) -> tuple[list[float], float]:
    """When the beeps of an audio stream begin, s, and when the stream ends."""
    beeps, loud, end = [], False, 0.0
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", 16_000)
        for frame in container.decode(container.streams.audio[place]):
            if frame.time is None:
                continue
            begin, samples = (
                frame.time,
                np.concatenate([one.to_ndarray()[0] for one in resampler.resample(frame)] or [[]]),
            )
            end = max(end, begin + frame.samples / frame.sample_rate)
            for block in range(0, len(samples) - 79, 80):  # 5 ms
                level = float(np.sqrt(np.mean(samples[block : block + 80] ** 2)))
                if level > 0.15 and not loud:
                    beeps.append(begin + block / 16_000)
                loud = level > 0.05
    return beeps, end
