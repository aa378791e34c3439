"""Recordings composed of clips whose people are known: cuts, cross-fades, loops and returns, with the truth beside."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from streamer.source.file import read_file
from streamer.values import Bytes

TIME_BASE = Fraction(1, 90_000)


@dataclass(frozen=True, slots=True)
class Scene:
    """A piece of a clip. Its end is that of the clip, which starts again if the scene is longer."""

    clip: Path
    person: str = ""  # who is in it, if one person is
    start_s: float = 0.0
    length_s: float | None = None  # None: up to the end of the clip
    mirrored: bool = False
    gain: float = 1.0  # factor of the brightness
    zoom: float = 1.0  # the middle of the picture, enlarged by this factor
    fade_s: float = 0.0  # cross-fade from the scene before; 0: a cut


@dataclass(frozen=True, slots=True)
class Shown:
    """A scene in the recording: from the first frame that shows it alone or partly, to the first of the next one."""

    scene: Scene
    start_s: float
    end_s: float


def compose(path: Path, scenes: Sequence[Scene], size: tuple[int, int] = (640, 480), fps: int = 25) -> list[Shown]:
    """Encode the scenes one after the other as H.264 of this size (w, h) and rate; return when each is shown."""
    shown: list[Shown] = []
    number = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "18"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        last: Bytes | None = None
        for scene in scenes:
            first, fading, before = number, round(scene.fade_s * fps), last
            for place, pixels in enumerate(_images(scene, size, fps)):
                last = pixels
                if before is not None and place < fading:  # over the last picture of the scene before
                    share = (place + 1) / (fading + 1)
                    pixels = np.asarray(cv2.addWeighted(pixels, share, before, 1 - share, 0), np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
                frame.time_base, frame.pts = TIME_BASE, round(number / fps / TIME_BASE)
                container.mux(stream.encode(frame))
                number += 1
            shown.append(Shown(scene, first / fps, number / fps))
        container.mux(stream.encode(None))
    return shown


def _images(scene: Scene, size: tuple[int, int], fps: int) -> Iterator[Bytes]:
    """Yield the pictures (h, w, 3) BGR of a scene, at `fps` by the clip's own clock."""
    frames = [(frame.media_time, frame.pixels) for frame in read_file(scene.clip, "scene", 0)]
    times = np.array([time for time, _ in frames])
    clip_s = float(times[-1] + np.median(np.diff(times)))
    length_s = scene.length_s if scene.length_s is not None else clip_s - scene.start_s
    pictures: dict[int, Bytes] = {}
    for number in range(round(length_s * fps)):
        place = int(np.searchsorted(times, (scene.start_s + number / fps) % clip_s + 1e-6, "right")) - 1
        if place not in pictures:
            pictures[place] = _fitted(frames[max(place, 0)][1], size, scene)
        yield pictures[place]


def _fitted(pixels: Bytes, size: tuple[int, int], scene: Scene) -> Bytes:
    """Scale a picture into this size (w, h) with black bars where its aspect is another."""
    height, width = pixels.shape[:2]
    if scene.zoom != 1.0:
        across, down = round(width / scene.zoom), round(height / scene.zoom)
        left, top = (width - across) // 2, (height - down) // 2
        pixels = pixels[top : top + down, left : left + across]
        height, width = pixels.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    if scene.mirrored:
        inner = inner[:, ::-1]
    if scene.gain != 1.0:
        inner = cv2.convertScaleAbs(inner, alpha=scene.gain)
    out = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - inner.shape[0]) // 2, (size[0] - inner.shape[1]) // 2
    out[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return out
