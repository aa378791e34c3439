"""The same numbers for parts of the faces: who is answered worse than others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from workers.research.data.face_set import FaceSet, Integers, Labels
from workers.research.evaluate.inference import Floats
from workers.research.evaluate.score import Outputs, Scores

AGES = (0, 3, 10, 20, 30, 40, 50, 60, 70, 121)  # years; each group from one up to the next
GENDERS = ("female", "male")
LIGHTNESS = ("darkest third", "middle third", "lightest third")  # of mean luma of the crops of this set
LUMA = np.array([0.299, 0.587, 0.114])  # of R, G, B (ITU-R BT.601)
JUDGED = ("age", "gender", "expression")  # kinds whose numbers are means over faces
FEWEST = 10  # faces, of which a number still says something

Judge = Callable[[Labels, Outputs], Scores]


def by_group(
    faces: FaceSet, rows: Integers, outputs: Outputs, judges: Mapping[str, Judge], kinds: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Numbers by grouping and group; `outputs` are those of these rows of the set.

    Groups with fewer than 10 faces are not there. Lightness is that of the images, of skin and of light together.
    """
    labels = faces.labels.at(rows)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for grouping, group, members in _groups(labels, lambda: _luma(faces, rows)):
        if len(members) < FEWEST:
            continue
        theirs = {slug: output[members] for slug, output in outputs.items()}
        numbers: dict[str, float] = {"faces": len(members)}
        for kind in kinds:
            if kind in JUDGED:
                numbers |= judges[kind](labels.at(members), theirs).metrics
        found.setdefault(grouping, {})[group] = numbers
    return found


def _groups(labels: Labels, luma: Callable[[], Floats]) -> Iterator[tuple[str, str, Integers]]:
    """Grouping, group and its rows."""
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
    """(n,) mean of each image."""
    return np.array([faces.images.read(int(row)).mean((0, 1)) @ LUMA for row in rows], np.float32)
