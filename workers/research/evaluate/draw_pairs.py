"""Draw verification pairs from a set with identities, by LFW's rule."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.research.evaluate.verification import FOLDS

Integers = NDArray[np.int64]
PAIRS = 6000  # as in LFW


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """n pairs of faces of a set."""

    first: Integers  # (n,) row of the set
    second: Integers  # (n,)
    same: NDArray[np.bool_]  # (n,) whether both show one person
    fold: Integers  # (n,) 0, 1, ...

    def __len__(self) -> int:
        return len(self.first)

    def at(self, rows: Integers | NDArray[np.bool_]) -> "Pairs":
        """Return only these pairs."""
        return Pairs(self.first[rows], self.second[rows], self.same[rows], self.fold[rows])


def draw_pairs(identity: Integers, pairs: int = PAIRS, folds: int = FOLDS, seed: int = 0) -> Pairs:
    """Draw different pairs of rows of `identity` (n,), fold by fold, half of each fold showing one person.

    As in LFW's view 2, folds have disjoint persons, so that a threshold is tested on other persons than it was chosen
    on. A pair of one person is drawn by first drawing the person; a pair of two by drawing two persons, then a face of
    each. A person gets a second pair only after all others of the fold have one. Negative identities are unknown.

    Returns at most `pairs`, and equally fewer in each fold if a fold has too few. Raises ValueError if a fold has none.
    """
    if pairs < 2 * folds:
        raise ValueError(f"{pairs} pairs are too few for {folds} folds of both kinds")
    generator = np.random.default_rng(seed)
    persons = _deal(identity, folds, generator)
    each = min(pairs // (2 * folds), *(_possible(part) for part in persons))
    if each < 1:
        raise ValueError(
            f"{folds} folds need at least one person with two faces and another person each; "
            "the set has too few to draw pairs from"
        )
    first, second = [], []
    for part in persons:
        for draw in (_draw_same, _draw_other):
            drawn = draw(part, each, generator)
            first.append(drawn[:, 0])
            second.append(drawn[:, 1])
    same = np.tile(np.repeat([True, False], each), folds)
    return Pairs(np.concatenate(first), np.concatenate(second), same, np.repeat(np.arange(folds), 2 * each))


def _deal(identity: Integers, folds: int, generator: np.random.Generator) -> list[list[Integers]]:
    """Return the rows of each person by fold: persons in random order, those with several faces dealt first."""
    rows = np.flatnonzero(identity >= 0)
    rows = rows[np.argsort(identity[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(identity[rows])) + 1
    persons = [part for part in np.split(rows, starts) if len(part)]
    shuffled = [persons[index] for index in generator.permutation(len(persons))]
    shuffled.sort(key=lambda part: len(part) < 2)
    return [shuffled[number::folds] for number in range(folds)]


def _possible(persons: list[Integers]) -> int:
    """Return the number of different pairs of one person, or of two persons if that is smaller."""
    sizes = np.array([len(part) for part in persons], np.int64)
    same = int((sizes * (sizes - 1) // 2).sum())
    return min(same, int(sizes.sum() * (sizes.sum() - 1) // 2) - same)


def _draw_same(persons: list[Integers], count: int, generator: np.random.Generator) -> Integers:
    """Draw pairs of one person, (count, 2) rows."""
    several = [persons[index] for index in generator.permutation(len(persons)) if len(persons[index]) > 1]
    limits = np.array([len(part) * (len(part) - 1) // 2 for part in several])
    drawn = []
    for part, share in zip(several, _shares(limits, count), strict=True):
        for number in generator.choice(len(part) * (len(part) - 1) // 2, share, replace=False):
            high = int((1 + np.sqrt(1 + 8 * number)) / 2)  # pair `number` of (1,0) (2,0) (2,1) (3,0) ...
            low = int(number) - high * (high - 1) // 2
            drawn.append((part[low], part[high]))
    return np.array(drawn, np.int64)


def _shares(limits: Integers, count: int) -> Integers:
    """Distribute `count` in turn over all persons without exceeding their limits."""
    level = 0
    while np.minimum(limits, level + 1).sum() <= count and level < limits.max():
        level += 1
    shares = np.minimum(limits, level)
    rest = np.flatnonzero(limits > level)[: count - shares.sum()]
    shares[rest] += 1
    return shares


def _draw_other(persons: list[Integers], count: int, generator: np.random.Generator) -> Integers:
    """Draw pairs of two persons, (count, 2) rows."""
    sizes = np.array([len(part) for part in persons])
    owner = np.repeat(np.arange(len(persons)), sizes)
    rows = np.concatenate(persons)
    if len(rows) ** 2 < 16 * count + 4096:  # few rows: choose among all pairs, as rejection sampling would be slow
        first, second = np.triu_indices(len(rows), 1)
        apart = np.flatnonzero(owner[first] != owner[second])
        chosen = generator.choice(apart, count, replace=False)
        return np.stack([rows[first[chosen]], rows[second[chosen]]], 1)
    drawn: dict[tuple[int, int], None] = {}
    while len(drawn) < count:
        one, two = (int(index) for index in generator.choice(len(persons), 2, replace=False))
        pair = (int(generator.choice(persons[one])), int(generator.choice(persons[two])))
        drawn.setdefault((min(pair), max(pair)))
    return np.array(list(drawn), np.int64)
