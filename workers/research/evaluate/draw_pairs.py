"""Pairs of faces from a set that only says who is who, by the rule that made LFW's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.research.evaluate.verification import FOLDS

Integers = NDArray[np.int64]
PAIRS = 6000  # as LFW has


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """n pairs of faces of a set."""

    first: Integers  # (n,) row of the set
    second: Integers  # (n,)
    same: NDArray[np.bool_]  # (n,) of one person
    fold: Integers  # (n,) 0, 1, ...

    def __len__(self) -> int:
        return len(self.first)

    def at(self, rows: Integers | NDArray[np.bool_]) -> "Pairs":
        """These pairs only."""
        return Pairs(self.first[rows], self.second[rows], self.same[rows], self.fold[rows])


def draw_pairs(identity: Integers, pairs: int = PAIRS, folds: int = FOLDS, seed: int = 0) -> Pairs:
    """Pairs of rows of `identity` (n,), as many of one person as of two in each fold, all different, fold by fold.

    As in LFW's view 2 the persons are parted into folds, so that a threshold is judged on persons it was not chosen
    on; a pair of one person is drawn by first drawing the person, a pair of two by drawing two persons, then a face
    of each. A person gives a second pair only when all the others of its fold gave one. Rows below 0 are nobody.

    At most `pairs`; fewer, in each fold equally, if some fold has no more. Raises ValueError if some fold has none.
    """
    if pairs < 2 * folds:
        raise ValueError(f"{pairs} pairs are too few for {folds} folds of both kinds")
    generator = np.random.default_rng(seed)
    persons = _deal(identity, folds, generator)
    each = min(pairs // (2 * folds), *(_possible(part) for part in persons))
    if each < 1:
        raise ValueError(
            f"{folds} folds need at least {folds} persons with two faces and another person each; "
            "there are too few to draw pairs from"
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
    """The rows of each person, by fold: persons in random order, those with two faces or more dealt out first."""
    rows = np.flatnonzero(identity >= 0)
    rows = rows[np.argsort(identity[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(identity[rows])) + 1
    persons = [part for part in np.split(rows, starts) if len(part)]
    shuffled = [persons[place] for place in generator.permutation(len(persons))]
    shuffled.sort(key=lambda part: len(part) < 2)
    return [shuffled[number::folds] for number in range(folds)]


def _possible(persons: list[Integers]) -> int:
    """How many different pairs of one person there are, or of two if those are fewer."""
    sizes = np.array([len(part) for part in persons], np.int64)
    same = int((sizes * (sizes - 1) // 2).sum())
    return min(same, int(sizes.sum() * (sizes.sum() - 1) // 2) - same)


def _draw_same(persons: list[Integers], count: int, generator: np.random.Generator) -> Integers:
    """(count, 2) rows."""
    several = [persons[place] for place in generator.permutation(len(persons)) if len(persons[place]) > 1]
    most = np.array([len(part) * (len(part) - 1) // 2 for part in several])
    drawn = []
    for part, share in zip(several, _shares(most, count), strict=True):
        for number in generator.choice(len(part) * (len(part) - 1) // 2, share, replace=False):
            high = int((1 + np.sqrt(1 + 8 * number)) / 2)  # pair `number` of (1,0) (2,0) (2,1) (3,0) ...
            low = int(number) - high * (high - 1) // 2
            drawn.append((part[low], part[high]))
    return np.array(drawn, np.int64)


def _shares(most: Integers, count: int) -> Integers:
    """How many of `count` each takes, one after the other around, none more than its `most`."""
    level = 0
    while np.minimum(most, level + 1).sum() <= count and level < most.max():
        level += 1
    shares = np.minimum(most, level)
    rest = np.flatnonzero(most > level)[: count - shares.sum()]
    shares[rest] += 1
    return shares


def _draw_other(persons: list[Integers], count: int, generator: np.random.Generator) -> Integers:
    """(count, 2) rows."""
    sizes = np.array([len(part) for part in persons])
    owner = np.repeat(np.arange(len(persons)), sizes)
    rows = np.concatenate(persons)
    if len(rows) ** 2 < 16 * count + 4096:  # few: of all that there are, as drawing until enough differ takes long
        first, second = np.triu_indices(len(rows), 1)
        apart = np.flatnonzero(owner[first] != owner[second])
        chosen = generator.choice(apart, count, replace=False)
        return np.stack([rows[first[chosen]], rows[second[chosen]]], 1)
    drawn: dict[tuple[int, int], None] = {}
    while len(drawn) < count:
        one, two = (int(place) for place in generator.choice(len(persons), 2, replace=False))
        pair = (int(generator.choice(persons[one])), int(generator.choice(persons[two])))
        drawn.setdefault((min(pair), max(pair)))
    return np.array(list(drawn), np.int64)
