"""Films whose shot changes are known: cuts and cross-fades composed of clips, and what only looks like a cut."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from streamer.source.file import read_file
from streamer.values import Bytes
from tests.support.composed import Scene, compose

Picture = tuple[float, Bytes]  # media time in s, pixels (h, w, 3) BGR
BRIGHT, DARK = 1.8, 0.55  # factors of the brightness


@dataclass(frozen=True, slots=True)
class Change:
    """A shot change: a cut at frame `first` = `last`, or a cross-fade, whose mixed frames are these."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Film:
    """A film of one kind. Its changes are all there are."""

    kind: str
    path: Path
    changes: tuple[Change, ...]
    every: int = 1  # only every so many frames are shown
    edit: Callable[[list[Picture]], list[Picture]] = list

    def pictures(self) -> Iterator[Picture]:
        frames = [(one.media_time, one.pixels) for one in read_file(self.path, "film", 0)]
        yield from self.edit(frames[:: self.every])


# The same studio, the same framing: three people in nine clips.
PEOPLE = (("again", "brother", "no"), ("bird", "milk", "please"), ("book", "learn", "school"))
OTHERS = (
    "stage-cuts.mp4",
    "street-crowd-1080p.mp4",
    "head-pose-face-detection-female-and-male.gif",
    "face-demographics-walking-and-pause.gif",
    "classroom.gif",
    "shop-from-above-1080p-hevc.mp4",
    "people-detection.gif",
)
FADES_S = (0.2, 0.4, 0.8, 1.5)


def films(clips: Path, folder: Path) -> list[Film]:
    """Compose the films from the clips of the data folder, as files in `folder`."""
    return [*_cuts(clips, folder), *_fades(clips, folder), *_harmless(clips, folder)]


def _asl(clips: Path, name: str) -> Path:
    return clips / "asl" / f"{name}.mkv"


def _cuts(clips: Path, folder: Path) -> Iterator[Film]:
    maker = _Maker(folder)
    orders = [(0, 1, 2), (2, 1, 0), (1, 0, 2)]
    for turn, order in enumerate(orders):
        names = [PEOPLE[person][(turn + step) % 3] for step in range(3) for person in order]
        scenes = [Scene(_asl(clips, name), length_s=1.0, start_s=0.2 * (place % 3)) for place, name in enumerate(names)]
        yield maker.film("cut: other person, same framing", scenes, fps=(25, 30, 15)[turn])
    for person in PEOPLE:
        scenes = [Scene(_asl(clips, name), length_s=1.2) for name in person]
        yield maker.film("cut: same person, same framing", scenes)
    scenes = [Scene(_asl(clips, "book"), length_s=0.8, start_s=start) for start in (0.0, 1.4, 2.4, 0.6)]
    yield maker.film("cut: jump within a clip", scenes)
    scenes = [Scene(_asl(clips, "again"), length_s=0.8, start_s=start) for start in (0.0, 1.2, 0.6, 1.6)]
    yield maker.film("cut: jump within a clip", scenes)
    scenes = [
        Scene(_asl(clips, name), length_s=0.8, zoom=zoom, mirrored=mirrored, gain=gain)
        for name, zoom, mirrored, gain in (
            ("milk", 1.0, False, 1.0),
            ("milk", 1.6, False, 1.0),
            ("learn", 1.6, False, 0.7),
            ("learn", 1.6, True, 1.0),
            ("no", 1.3, True, 0.8),
            ("no", 1.3, False, 1.2),
            ("no", 1.0, False, 0.9),
        )
    ]
    yield maker.film("cut: zoomed, mirrored, other brightness", scenes)
    scenes = [Scene(clips / name, length_s=1.0, zoom=zoom) for zoom in (1.0, 1.5) for name in OTHERS]
    # stage-cuts.mp4 has an edit of its own 0.7 s after its start
    yield maker.film("cut: other scenes", [_shorter(scene) for scene in scenes])
    yield Film("cut: a real edit", clips / "stage-cuts.mp4", tuple(Change(at, at) for at in (20, 82, 211)))
    edit = tuple(Change(at, at) for at in (10, 41, 106))
    yield Film("cut: a real edit", clips / "stage-cuts.mp4", edit, every=2)
    for turn, film in enumerate([maker.last(0), maker.last(3)]):
        path = folder / f"poor-{turn}.mp4"
        encode(path, [pixels for _, pixels in film.pictures()], 25, bit_rate=120_000)
        yield Film("cut: low bit rate", path, film.changes)


def _shorter(scene: Scene) -> Scene:
    return Scene(scene.clip, length_s=0.6, zoom=scene.zoom) if scene.clip.name == "stage-cuts.mp4" else scene


def _fades(clips: Path, folder: Path) -> Iterator[Film]:
    maker = _Maker(folder, "fade")
    for fade_s in FADES_S:
        names = ("again", "bird", "learn", "no", "please")
        scenes = [
            Scene(_asl(clips, name), length_s=1.0 + (fade_s if place else 0), fade_s=fade_s if place else 0.0)
            for place, name in enumerate(names)
        ]
        longest = {"again": 2.5, "bird": 2.0, "learn": 2.0, "no": 2.1, "please": 2.3}
        scenes = [
            Scene(one.clip, length_s=min(one.length_s or 0, longest[one.clip.stem]), fade_s=one.fade_s)
            for one in scenes
        ]
        yield maker.film(f"cross-fade {fade_s} s: other person, same framing", scenes)
        scenes = [
            Scene(clips / name, start_s=1.0 if name.startswith("stage") else 0.0, length_s=1.0 + fade_s, fade_s=fade_s)
            for name in ("stage-cuts.mp4", "street-crowd-1080p.mp4", "asl/book.mkv", OTHERS[2], OTHERS[3])
        ]
        yield maker.film(
            f"cross-fade {fade_s} s: other scenes", [Scene(scenes[0].clip, start_s=1.0, length_s=1.0), *scenes[1:]]
        )


def _harmless(clips: Path, folder: Path) -> Iterator[Film]:
    whole = [*sorted((clips / "asl").glob("*.mkv")), *(clips / name for name in OTHERS if not name.startswith("stage"))]
    for path in (*whole, clips / "head-pose-face-detection-female.gif"):
        yield Film("none: clips as they are", path, ())
    for every in (3, 6):
        for path in (
            clips / "street-crowd-1080p.mp4",
            clips / OTHERS[2],
            clips / OTHERS[3],
            _asl(clips, "again"),
            _asl(clips, "learn"),
        ):
            yield Film(f"none: every {every}rd frame" if every == 3 else "none: every 6th frame", path, (), every=every)
    three = (_asl(clips, "book"), _asl(clips, "bird"), clips / "street-crowd-1080p.mp4", clips / OTHERS[2])
    for path in three:
        yield Film("none: camera flash", path, (), edit=flash)
        yield Film("none: brightness in steps", path, (), edit=steps)
        yield Film("none: camera pans fast", path, (), edit=pan)
        yield Film("none: shaken camera", path, (), edit=shake)
        yield Film("none: something near passes", path, (), edit=occlude)
        yield Film("none: slow dimming", path, (), edit=dim)
    for turn, path in enumerate(three[:3]):
        frames = [(one.media_time, one.pixels) for one in read_file(path, "film", 0)][:100]
        poor = folder / f"pumping-{turn}.mp4"
        encode(poor, [pixels for _, pixels in noise(frames)], 25, bit_rate=150_000 if turn < 2 else 600_000, group=12)
        yield Film("none: noise, low bit rate", poor, ())


class _Maker:
    """Composes films one after the other as files of a folder."""

    def __init__(self, folder: Path, stem: str = "cut") -> None:
        self._folder, self._stem = folder, stem
        self._made: list[Film] = []

    def film(self, kind: str, scenes: Sequence[Scene], fps: int = 25) -> Film:
        path = self._folder / f"{self._stem}-{len(self._made)}.mp4"
        shown = compose(path, scenes, fps=fps)
        changes = []
        for one in shown[1:]:
            first = round(one.start_s * fps)
            changes.append(Change(first, first + round(one.scene.fade_s * fps)))
        self._made.append(Film(kind, path, tuple(changes)))
        return self._made[-1]

    def last(self, place: int) -> Film:
        return self._made[place]


def encode(path: Path, pictures: Iterable[Bytes], fps: int, bit_rate: int, group: int = 250) -> None:
    """Encode pictures of one size as H.264 of this bit rate (bits/s), with a key frame every `group` frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast"})
        assert isinstance(stream, av.VideoStream)
        stream.bit_rate, stream.gop_size, stream.pix_fmt = bit_rate, group, "yuv420p"
        for number, pixels in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode(None))


def gained(pixels: Bytes, gain: float) -> Bytes:
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=gain), np.uint8)


def flash(pictures: list[Picture]) -> list[Picture]:
    """Every 20th frame and half of the next are lit by a flash."""
    gains = {10: BRIGHT, 11: 1.3}
    return [(time, gained(pixels, gains.get(place % 20, 1.0))) for place, (time, pixels) in enumerate(pictures)]


def steps(pictures: list[Picture]) -> list[Picture]:
    """The light goes off and on every 15 frames."""
    return [(time, gained(pixels, DARK if place // 15 % 2 else 1.0)) for place, (time, pixels) in enumerate(pictures)]


def dim(pictures: list[Picture]) -> list[Picture]:
    """The light goes down to a third within 20 frames and up again."""
    gains = 0.65 + 0.35 * np.cos(np.arange(len(pictures)) * np.pi / 20)
    return [(time, gained(pixels, gain)) for gain, (time, pixels) in zip(gains.tolist(), pictures, strict=True)]


def _window(pixels: Bytes, across: float, down: float) -> Bytes:
    """Cut out the window of half the size whose place is `across` and `down`, 0..1."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    left, top = round(across * width), round(down * height)
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def pan(pictures: list[Picture]) -> list[Picture]:
    """The camera stands for 10 frames, crosses its own width within 10 frames, and so on."""
    ramp = np.concatenate([np.zeros(10), np.linspace(0, 1, 10), np.ones(10), np.linspace(1, 0, 10)])
    ramp = ramp * ramp * (3 - 2 * ramp)  # it does not start at full speed
    return [(time, _window(pixels, ramp[place % 40], 0.3)) for place, (time, pixels) in enumerate(pictures)]


def shake(pictures: list[Picture]) -> list[Picture]:
    """The camera is held in an unsteady hand: it moves by up to 3 % of the width from frame to frame."""
    path = 0.5 + np.clip(np.cumsum(np.random.default_rng(1).normal(0, 0.03, (len(pictures), 2)), axis=0), -0.4, 0.4)
    return [(time, _window(pixels, *place)) for place, (time, pixels) in zip(path.tolist(), pictures, strict=True)]


def occlude(pictures: list[Picture]) -> list[Picture]:
    """A near object, a third of the width and all of the height, passes within 12 frames, every 30 frames."""
    out = []
    for place, (time, pixels) in enumerate(pictures):
        pixels = pixels.copy()
        height, width = pixels.shape[:2]
        left = round((place % 30 / 12 * 1.4 - 0.4) * width)
        pixels[height // 8 :, max(left, 0) : max(left + width // 3, 0)] = (40, 60, 90)
        out.append((time, pixels))
    return out


def noise(pictures: list[Picture]) -> list[Picture]:
    """Every picture has the noise of a poor sensor."""
    random = np.random.default_rng(2)
    return [
        (time, np.clip(pixels + random.normal(0, 15, pixels.shape), 0, 255).astype(np.uint8))
        for time, pixels in pictures
    ]
