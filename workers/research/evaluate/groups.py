"""Score groups of faces separately, to show for whom the network is less accurate."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from workers.research.data.face_set import FaceSet, Integers, Labels
from workers.research.evaluate.inference import Floats
from workers.research.evaluate.score import Outputs, Scores

AGES = (0, 3, 10, 20, 30, 40, 50, 60, 70, 121)  # years, limits of the age groups
GENDERS = ("female", "male")
LIGHTNESS = ("darkest third", "middle third", "lightest third")  # thirds of the set by mean luma of the crop
LUMA = np.array([0.299, 0.587, 0.114])  # of R, G, B (ITU-R BT.601)
AVERAGED = ("age", "gender", "expression")  # kinds whose metrics are means over faces
MIN_FACES = 10  # smallest group for which a metric is meaningful

Scorer = Callable[[Labels, Outputs], Scores]


def by_group(
    faces: FaceSet, rows: Integers, outputs: Outputs, scorers: Mapping[str, Scorer], kinds: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return metrics by grouping and group; `outputs` are those of these rows of the set.

    Groups with fewer than MIN_FACES faces are left out. Lightness is that of the image: skin and illumination together.
    """
    labels = faces.labels.at(rows)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for grouping, group, members in _groups(labels, lambda: _luma(faces, rows)):
        if len(members) < MIN_FACES:
            continue
        of_members = {slug: output[members] for slug, output in outputs.items()}
        metrics: dict[str, float] = {"faces": len(members)}
        for kind in kinds:
            if kind in AVERAGED:
                metrics |= scorers[kind](labels.at(members), of_members).metrics
        result.setdefault(grouping, {})[group] = metrics
    return result


def _groups(labels: Labels, luma: Callable[[], Floats]) -> Iterator[tuple[str, str, Integers]]:
    """Yield grouping, group and its rows."""
    if labels.age is not None:
        for low, high in pairwise(AGES):
            name = f"{low}-{high - 1}" if high <= AGES[-2] else f"{low}+"
            yield "age", name, _where((labels.age >= low) & (labels.age < high))
    if labels.gender is not None:
        for number, name in enumerate(GENDERS):
            yield "gender", name, _where(labels.gender == number)
    thirds = np.array_split(np.argsort(luma(), kind="stable"), len(LIGHTNESS))
    for name, members in zip(LIGHTNESS, thirds, strict=True):
        yield "lightness", name, np.sort(members)


def _where(mask: NDArray[np.bool_]) -> Integers:
    return np.flatnonzero(mask).astype(np.int64)


def _luma(faces: FaceSet, rows: Integers) -> Floats:
    """Return the mean luma of each image, (n,)."""
    return np.array([faces.images.read(int(row)).mean((0, 1)) @ LUMA for row in rows], np.float32)
