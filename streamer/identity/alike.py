"""Divides pictures that were taken for one person wherever they show several. Pure."""

from collections.abc import Sequence

import numpy as np

from streamer.values import Floats


def alike(vectors: Sequence[Floats], resembles: float) -> list[list[int]]:
    """Return the rows (ascending, largest group first) of unit embeddings (512,) that show one person each.

    The two groups whose means are most alike are joined, again and again, while the cosine of the means is at least
    `resembles`, from which two faces may be one person's. So a turned head stays with its person if other pictures lie
    between, and one picture of somebody else is a group of its own.
    """
    groups = [[row] for row in range(len(vectors))]
    sums = [np.asarray(one, np.float64) for one in vectors]
    while len(groups) > 1:
        means = np.stack([one / max(float(np.linalg.norm(one)), 1e-12) for one in sums])
        scores = means @ means.T
        np.fill_diagonal(scores, -2.0)
        first, second = sorted(divmod(int(scores.argmax()), len(groups)))
        if scores[first, second] < resembles:
            break
        groups[first] += groups.pop(second)
        sums[first] = sums[first] + sums.pop(second)
    return sorted((sorted(one) for one in groups), key=lambda one: (-len(one), one[0]))
