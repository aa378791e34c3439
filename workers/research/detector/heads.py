"""Turn real faces to the side, up and down by a 3D head model.

Most images show faces from the front. Such a face becomes the texture of ICT-FaceKit's head, aligned by the
landmarks, and the head is turned. Parts that the front view does not show get a plain colour, like hair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from faceanalytics.errors import ConfigError
from streamer.values import Bytes, Floats
from workers.research.detector.geometry import Scene
from workers.research.detector.labels import Labelled

Integers: TypeAlias = NDArray[np.integer[Any]]

SIDE, CENTIMETRES = 128, 30.0  # side of the square that a turned head is rendered in: pixels, and on the head
SKIN = (range(11248), range(21451, 24591))  # vertices of face, head and neck; of the eyeballs
FACE = 9409  # number of vertices of the face, which come first
WIDE, HIGH, LOW = 6.6, 9.8, -8.0  # cm: limits of the part of the face that a detector's box surrounds
FINE = 5  # sample points along each side of a quad
SHOWN = 0.2  # smallest frontal component of a unit normal: steeper surfaces are not visible from the front
NECK, HAIRLINE = -10.5, 8.0  # cm: the head ends below the one, the texture above the other


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A turned head, ready to be textured."""

    origin: Floats  # (SIDE, SIDE, 2) position of each pixel in the front view, cm right and down
    textured: Floats  # (SIDE, SIDE) 1 where the front view shows the surface, else 0
    mask: Bytes  # (SIDE, SIDE) opacity, 255 on the head
    front: Floats  # (5, 2) landmarks in the front view, cm right and down
    landmarks: Floats  # (5, 2) x y, pixels
    box: Floats  # (4,) x1 y1 x2 y2, pixels


def open_heads(path: Path, count: int, seed: int) -> list[Pose]:
    """Make `count` heads of random shape, each in a random pose. Raises ConfigError."""
    try:
        with np.load(path) as data:
            neutral, identity = data["neutral"], data["identity"].astype(np.float32)
            quads, marks = data["faces"], data["landmark68"]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"heads: {path} is not ICT-FaceKit as .npz (neutral, identity, faces, landmark68)") from error
    skin = np.zeros(len(neutral), bool)
    for part in SKIN:
        skin[part] = True
    quads = quads[skin[quads].all(axis=1)]
    draw = np.random.default_rng((seed, 3))
    poses = []
    for _ in range(count):
        vertices = neutral + np.tensordot(draw.normal(0, 0.7, len(identity)).astype(np.float32), identity, 1)
        poses.append(_pose(vertices, quads, marks, draw))
    return poses


def head(pose: Pose, donor: Labelled, draw: Generator) -> tuple[Scene, Bytes]:
    """Render the donor's face on a turned head; return it with its mask (SIDE, SIDE)."""
    given = donor.decoded()
    ones = np.concatenate([pose.front, np.ones((5, 1), np.float32)], axis=1)
    matrix = np.linalg.lstsq(ones, donor.landmarks[0], rcond=None)[0].astype(np.float32)  # (3, 2)
    places = pose.origin @ matrix[:2] + matrix[2]
    across, down = (np.ascontiguousarray(places[..., axis], np.float32) for axis in (0, 1))
    skin = cv2.remap(given, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colour = given.reshape(-1, 3).mean(axis=0) * 0.8 if draw.random() < 0.3 else draw.uniform(10, 140) * _hair(draw)
    strands = cv2.resize(draw.normal(0, 14, (32, 20, 1)).astype(np.float32), (SIDE, SIDE))[..., None]
    inside = (across >= 0) & (across < given.shape[1]) & (down >= 0) & (down < given.shape[0])
    share = cv2.blur(pose.textured * inside, (5, 5))[..., None]
    image = (skin * share + (colour + strands) * (1 - share)).clip(0, 255).astype(np.uint8)
    return Scene(image, pose.box[None], pose.landmarks[None]), pose.mask


def _hair(draw: Generator) -> Floats:
    """Draw a hair tone, relative BGR (3,): dark, brown, blond or grey."""
    tones = np.array([[1, 1, 1], [0.6, 0.8, 1.1], [0.7, 1.1, 1.3], [1.2, 1.2, 1.2]], np.float32)
    tone: Floats = tones[int(draw.integers(len(tones)))]
    return tone


def _pose(vertices: Floats, quads: Integers, marks: Integers, draw: Generator) -> Pose:
    """Turn a head at random and project its surface: mostly to the side, otherwise up or down."""
    side, nod = draw.uniform(15, 85) * draw.choice([-1, 1]), draw.normal(0, 18)
    if draw.random() < 0.4:
        side, nod = draw.normal(0, 12), draw.uniform(18, 50) * draw.choice([-1, 1], p=[0.35, 0.65])
    turn = _rotation(np.deg2rad(side), np.deg2rad(nod))
    corners = vertices[quads]  # (q, 4, 3)
    normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    towards = normals[:, 2] / np.maximum(np.linalg.norm(normals, axis=1), 1e-9)
    points, shown = _dense(corners), np.repeat(towards > SHOWN, FINE**2)
    keep = points[:, 1] > NECK
    points, shown = points[keep], shown[keep] & (points[keep, 1] < HAIRLINE)
    seen = points @ turn.T
    order = np.argsort(seen[:, 2])  # far to near: later points overwrite
    cells = (_pixels(seen[order, :2])).astype(int).clip(0, SIDE - 1)
    drawn = np.zeros((SIDE, SIDE, 4), np.float32)
    values = np.stack([points[order, 0], -points[order, 1], shown[order], np.ones(len(order))], axis=1)
    drawn[cells[:, 1], cells[:, 0]] = values
    near = cv2.boxFilter(drawn, -1, (3, 3), normalize=False)
    holes = (drawn[..., 3] == 0) & (near[..., 3] >= 4)
    drawn[holes] = near[holes] / near[holes][:, 3:]
    five = np.stack([part.mean(axis=0) for part in _five(vertices, marks)])
    face = vertices[:FACE]
    inner = face[(np.abs(face[:, 0]) < WIDE) & (face[:, 1] < HIGH) & (face[:, 1] > LOW) & (face[:, 2] > 1.5)]
    around = _pixels((inner @ turn.T)[:, :2])
    return Pose(
        origin=np.ascontiguousarray(drawn[..., :2]),
        textured=np.ascontiguousarray(drawn[..., 2]),
        mask=np.asarray(cv2.blur((drawn[..., 3] > 0).astype(np.uint8) * 255, (3, 3)), np.uint8),
        front=(five[:, :2] * (1, -1)).astype(np.float32),
        landmarks=_pixels((five @ turn.T)[:, :2]).astype(np.float32),
        box=np.concatenate([around.min(axis=0), around.max(axis=0)]).astype(np.float32),
    )


def _five(vertices: Floats, marks: Integers) -> Sequence[Floats]:
    """Return the five groups of vertices whose means are the landmarks."""
    return [vertices[marks[part]] for part in (range(36, 42), range(42, 48), [30], [48], [54])]


def _rotation(side: float, nod: float) -> Floats:
    """Return the matrix (3, 3) of a head that turns to the side, then nods, by angles in radians."""
    around = np.array([[np.cos(side), 0, np.sin(side)], [0, 1, 0], [-np.sin(side), 0, np.cos(side)]])
    down = np.array([[1, 0, 0], [0, np.cos(nod), -np.sin(nod)], [0, np.sin(nod), np.cos(nod)]])
    return np.asarray(down @ around, np.float32)


def _pixels(points: Floats) -> Floats:
    """Convert points (n, 2) in cm right and up from the centre to pixels."""
    return np.asarray(points * np.float32(SIDE / CENTIMETRES) * (1, -1) + SIDE / 2, np.float32)


def _dense(corners: Floats) -> Floats:
    """Sample quads (q, 4, 3) evenly; return points (q * FINE^2, 3)."""
    steps = (np.arange(FINE, dtype=np.float32) + 0.5) / FINE
    across, along = np.meshgrid(steps, steps)
    weights = np.stack(
        [(1 - across) * (1 - along), across * (1 - along), across * along, (1 - across) * along], axis=-1
    ).reshape(-1, 4)
    return np.asarray(np.einsum("pk,qkc->qpc", weights, corners).reshape(-1, 3), np.float32)
