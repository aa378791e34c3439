"""Small grey pictures of scenes that the attention sees, and its questions, made by the tests."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streamer.attention.looks import Candidate
from streamer.values import Bytes, ClockSource, Floats, Outlook, Preview

SIZE = 640, 360  # px, of the frames; a small picture has 160x90
SCALE = 4  # px of the frame per px of the small picture


class Blob(NamedTuple):
    """A square with the texture of a chessboard."""

    x: float  # px of the frame, left
    y: float  # px of the frame, top
    side: float  # px of the frame
    contrast: float = 100.0  # grey levels


class Scene:
    """A room with furniture, filmed with noise; the same each time."""

    def __init__(self, noise: float = 1.0, seed: int = 0) -> None:
        """`noise`: standard deviation in grey levels of the small picture."""
        self._random = np.random.default_rng(seed)
        coarse = self._random.uniform(60, 180, (9, 16))
        self.room = np.kron(coarse, np.ones((10, 10)))
        self._noise = noise

    def picture(self, blobs: Sequence[Blob] = (), light: float | Floats = 1.0) -> Bytes:
        """Film the room lit by `light` times the usual, with `blobs` in front of it."""
        scene = self.room.copy()
        for x, y, side, contrast in blobs:
            texture = 120 + contrast * (np.indices((8, 8)).sum(axis=0) % 2 - 0.5)
            left, top, length = round(x / SCALE), round(y / SCALE), max(1, round(side / SCALE))
            places = np.linspace(0, 7.99, length).astype(int)
            painted = texture[np.ix_(places, places)]
            rows, columns = slice(max(top, 0), max(top + length, 0)), slice(max(left, 0), max(left + length, 0))
            part = scene[rows, columns]
            low, first = max(-top, 0), max(-left, 0)
            part[:] = painted[low : low + part.shape[0], first : first + part.shape[1]]
        lit = scene * light + self._random.normal(0, self._noise, scene.shape)
        return lit.clip(0, 255).astype(np.uint8)


def preview(luma: Bytes, time: float, camera: str = "cam", epoch: int = 0, received: float | None = None) -> Preview:
    received = time if received is None else received
    return Preview(camera, epoch, time, None, ClockSource.ARRIVAL, received, SIZE, luma, lambda: None)


def outlook(
    boxes: Sequence[Sequence[float]] = (),
    drift: float = 0.0,
    unseen: float = 0.0,
    confirmed: bool = True,
    lost: bool = False,
) -> Outlook:
    n = len(boxes)
    return Outlook(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(n, drift, np.float32),
        np.full(n, unseen, np.float32),
        np.full(n, confirmed),
        np.full(n, lost),
    )


def candidate(preview: Preview, tracks: Outlook | None = None, wanted: float = 0.0) -> Candidate:
    tracks = tracks or outlook()
    return Candidate(preview, tracks, np.full(len(tracks.boxes), wanted, np.float32))
