"""The labelled images that scenes are made of, in memory, and the frequency of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.random import Generator

from faceanalytics.errors import ConfigError, InputError
from streamer.boxes import covered
from streamer.source.images import IMAGES, find_files, is_image, read_image
from streamer.values import Bytes, Floats
from workers.research.detector.config import DetectorConfig, Source
from workers.research.detector.heads import Pose, open_heads
from workers.research.detector.labels import Labelled, labelled

POSES = 120  # heads that faces are laid on
NOBODY = 0.7  # an image without a face is drawn as often as one whose face is turned so far


@dataclass(frozen=True, slots=True, eq=False)
class SourcePool:
    """The images of one source that suit its purpose."""

    source: Source
    images: Sequence[Labelled]
    shares: Floats  # (n,) rising to 1: how often each is drawn, those with turned faces more


class SourcePools:
    """Several sources, each drawn from as often as its weight says."""

    def __init__(self, pools: Sequence[SourcePool], weights: Sequence[float]) -> None:
        numbers = np.array(weights, np.float64)
        self._pools, self._ends = pools, np.cumsum(numbers / max(numbers.sum(), 1e-9))

    def __len__(self) -> int:
        return len(self._pools)

    def drawn(self, draw: Generator) -> tuple[Source, Labelled]:
        pool = self._pools[int(np.searchsorted(self._ends, draw.random() * 0.999999))]
        return pool.source, pool.images[int(np.searchsorted(pool.shares, draw.random() * 0.999999))]


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """All images that scenes are made of."""

    pasted: SourcePools  # each image has a face
    in_surroundings: SourcePools  # those of them with hair and shoulders, for crowds
    shown: SourcePools
    donors: Sequence[Labelled]  # aligned faces in colour or grey, to be set into others
    backgrounds: Sequence[Bytes]  # BGR, without faces
    poses: Sequence[Pose]  # heads that the donors' faces are laid on


def open_library(config: DetectorConfig) -> Library:
    """Read all labelled images of the run. Raises ConfigError, InputError."""
    found = {
        name: _ready(labelled(config, name, source), source)
        for name, source in config.sources.items()
        if source.paste or source.show
    }
    pasted, shown = [], []
    for name, images in found.items():
        source, faces = config.sources[name], [item for item in images if len(item.boxes)]
        if source.paste and faces:
            pasted.append(_pool(source, faces))
        if source.show and images:
            shown.append(_pool(source, images))
    if not pasted:
        raise ConfigError("the teachers agree on no face in the sources that are pasted; are they faces?")
    loose = [pool for pool in pasted if not pool.source.tight]
    if config.scenes.crowded and not loose:
        raise ConfigError("scenes.crowded: crowds need a source that is pasted and not tight, and has a face")
    return Library(
        SourcePools(pasted, [pool.source.paste for pool in pasted]),
        SourcePools(loose, [pool.source.paste for pool in loose]),
        SourcePools(shown, [pool.source.show for pool in shown]),
        [item for pool in pasted if pool.source.give for item in pool.images],
        _backgrounds([*config.backgrounds, *map(_packaged, config.packaged_backgrounds)]),
        open_heads(config.heads, POSES, config.seed) if config.heads else [],
    )


def _ready(items: Sequence[Labelled], source: Source) -> Sequence[Labelled]:
    """Decode all but tight images, which are many and small enough to be decoded each time."""
    return items if source.tight else [replace(item, image=item.decoded()) for item in items]


def without_faces(item: Labelled, side: int, draw: Generator) -> Bytes | None:
    """Find a square of at most `side` pixels without sure or unsure faces; None if there is no such square."""
    image = item.decoded()
    height, width = image.shape[:2]
    taken = np.concatenate([item.boxes, item.unsure])
    for _ in range(6):
        size = int(min(height, width, side * draw.uniform(0.3, 1.5)))
        left, top = int(draw.integers(width - size + 1)), int(draw.integers(height - size + 1))
        box = np.array([left, top, left + size, top + size], np.float32)
        if size >= 24 and covered(taken, box[None]).max(initial=0) < 0.02:
            return image[top : top + size, left : left + size]
    return None


def turned(landmarks: Floats) -> float:
    """Measure how far a face with these landmarks (5, 2) is turned: 0 for a front view, about 1 for a half profile.

    The nose leaves the middle between the eyes when the head turns, and gets near the eyes or mouth when it nods.
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    across, down = landmarks[1] - landmarks[0], mouth - eyes
    length = max(1e-6, float(down @ down))
    nose = landmarks[2] - eyes
    nod = float(nose @ down) / length
    aside = float(np.linalg.norm(nose - nod * down)) / max(1e-6, float(np.linalg.norm(across)), length**0.5 / 2)
    return float(aside / 0.4 + max(0.0, abs(nod - 0.55) - 0.05) / 0.25)


def _pool(source: Source, images: Sequence[Labelled]) -> SourcePool:
    poses = [max((turned(landmarks) for landmarks in item.landmarks), default=NOBODY) for item in images]
    weights = 0.1 + np.square(np.minimum(poses, 1.5))
    return SourcePool(source, images, np.asarray(np.cumsum(weights) / weights.sum(), np.float32))


def _packaged(name: str) -> Path:
    """Raises ConfigError."""
    package, _, rest = name.partition("/")
    found = find_spec(package)
    path = Path(found.submodule_search_locations[0]) / rest if found and found.submodule_search_locations else None
    if path is None or not path.is_file():
        raise ConfigError(f"packaged_backgrounds: there is no {name}; is the package {package!r} installed?")
    return path


def _backgrounds(paths: Sequence[Path]) -> list[Bytes]:
    """Raises ConfigError."""
    try:
        found = [read_image(file) for file in find_files(paths, IMAGES) if not file.is_dir() and is_image(file.name)]
    except InputError as error:
        raise ConfigError(f"backgrounds: {error}") from error
    if paths and not found:
        raise ConfigError(f"backgrounds: there is no image in {', '.join(map(str, paths))}")
    return found
