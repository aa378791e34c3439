"""Clips like those of cameras of 640x360 pixels and 10 frames/s: an empty scene, and a crowd of six faces."""

from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np

from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.source.file import read_file
from streamer.source.images import read_image
from streamer.values import Bytes

SIZE, FPS, SECONDS = (640, 360), 10, 20
NOISE = 2.0  # standard deviation of a pixel, grey levels
LAMP_S = 6.0  # from one switching of the lamp to the next
FACE_PX, CELL = 56, (213, 180)  # width of a face, and the part of the picture (w, h) in which it moves
SURE = 0.7  # score of a face in a photograph that is one
PHOTOGRAPHS = (
    ("skimage", "data/astronaut.png"),
    ("ultralytics", "assets/zidane.jpg"),
    ("ultralytics", "assets/bus.jpg"),
)


def make_empty(path: Path) -> None:
    """Write an empty room: the noise of a camera, and a lamp that is switched on and off."""
    room = _room()
    light = cv2.GaussianBlur(cv2.circle(np.zeros_like(room), (500, 90), 60, (255, 255, 255), -1), (0, 0), 30)
    lit = np.asarray(cv2.add(room, cv2.convertScaleAbs(light, alpha=0.5)), np.uint8)
    _write(path, (lit if int(number / FPS / LAMP_S) % 2 else room for number in range(FPS * SECONDS)))


def make_crowd(path: Path) -> None:
    """Write six faces of photographs in installed packages, each moving about in its part of the room."""
    _write(path, _crowd(_faces(6)))


def make_crowd_of(video: Path, path: Path) -> None:
    """Write the frames of a video at the size and rate of the other clips, cut to their aspect."""
    _write(path, _scaled(video))


def _crowd(faces: list[Bytes]) -> Iterator[Bytes]:
    room, steps = _room(), FPS * SECONDS
    for number in range(steps):
        picture = room.copy()
        for place, face in enumerate(faces):
            height, width = face.shape[:2]
            angle = 2 * np.pi * number / steps * (place % 3 + 1)  # whole turns, so that the clip can be repeated
            x = CELL[0] * (place % 3) + (CELL[0] - width) * (0.5 + 0.4 * np.sin(angle))
            y = CELL[1] * (place // 3) + (CELL[1] - height) * (0.5 + 0.4 * np.cos(angle))
            picture[int(y) : int(y) + height, int(x) : int(x) + width] = face
        yield picture


def _faces(count: int) -> list[Bytes]:
    """Return cuttings of photographs, each with one face of FACE_PX in its middle: the strongest, mirrored if few."""
    detector, found = Detector(Detect()), list[tuple[float, Bytes]]()
    for package, name in PHOTOGRAPHS:
        spec = find_spec(package)
        assert spec is not None, f"needs the package {package}"
        assert spec.submodule_search_locations, f"needs the package {package}"
        photograph = read_image(Path(spec.submodule_search_locations[0]) / name)
        faces = detector.detect([photograph])[0]
        for box, score in zip(faces.boxes, faces.scores, strict=True):
            if score > SURE:
                found.append((float(score), _cutting(photograph, box)))
    strongest = [face for _, face in sorted(found, key=lambda pair: -pair[0])]
    mirrored = [np.ascontiguousarray(face[:, ::-1]) for face in strongest]
    return [*strongest, *mirrored][:count]


def _cutting(photograph: Bytes, box: np.ndarray) -> Bytes:
    """Return the surroundings of a face, twice as wide as it."""
    left, top, right, bottom = box
    scale = FACE_PX / (right - left)
    side = 2 * FACE_PX
    shift = side / 2 - scale * np.array([(left + right) / 2, (top + bottom) / 2])
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    wide = cv2.warpAffine(photograph, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(wide, np.uint8)


def _scaled(video: Path) -> Iterator[Bytes]:
    frames = [frame.pixels for frame in read_file(video, "", 0)]
    height = frames[0].shape[1] * SIZE[1] // SIZE[0]
    top = max(0, (frames[0].shape[0] - height) // 2)
    for number in range(FPS * SECONDS):
        pixels = frames[round(number * 2.5) % len(frames)][top : top + height]
        yield np.asarray(cv2.resize(pixels, SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def _room() -> Bytes:
    """Return walls with some edges."""
    chance = np.random.default_rng(3)
    coarse = (chance.uniform(70, 150, (6, 10, 1)) + chance.uniform(-8, 8, (6, 10, 3))).astype(np.float32)
    walls = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        x, y = chance.integers(0, SIZE[0]), chance.integers(0, SIZE[1])
        cv2.rectangle(walls, (int(x), int(y)), (int(x) + 90, int(y) + 60), chance.uniform(60, 160, 3).tolist(), 2)
    return np.clip(walls, 0, 255).astype(np.uint8)


def _write(path: Path, pictures: Iterator[Bytes]) -> None:
    """Encode as cameras do: one slice, a key frame every two seconds, no B-frames, 0.8 Mbit/s."""
    chance = np.random.default_rng(0)
    noise = chance.normal(0, NOISE, (8, SIZE[1], SIZE[0], 1)).astype(np.float32)
    options = {"preset": "veryfast", "bf": "0", "g": str(2 * FPS), "x264-params": "sliced-threads=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.bit_rate = "yuv420p", 800_000
        for number, picture in enumerate(pictures):
            noisy = np.clip(picture + noise[number % len(noise)], 0, 255).astype(np.uint8)
            image = av.VideoFrame.from_ndarray(noisy, format="bgr24")
            image.pts, image.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
