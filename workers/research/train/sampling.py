"""Which faces come when: an endless sequence per stream that anybody can look up at any place.

Nothing is drawn one after the other: the n-th face of a stream is a function of n and the seed. So a run goes on
exactly where it stopped, and each process knows its own faces without having seen those of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mix:
    """Parts of a stream: the faces of part p are shares[p] of all, whatever sizes[p] is.

    An epoch is as long as the part that is largest for its share needs to come once; smaller ones come several times.
    Published, an epoch was as long as the recognition set and a part that did not fit a whole number of times was cut
    at its end, always the same; here another random rest comes in each epoch.
    """

    sizes: tuple[int, ...]  # faces
    shares: tuple[float, ...]  # sum 1
    seed: tuple[int, ...]

    @property
    def epoch(self) -> int:
        """Faces of an epoch."""
        return max(ceil(size / share) for size, share in zip(self.sizes, self.shares, strict=True))

    def rows(self, first: int, count: int) -> Integers:
        """(count,) the faces from place `first` on, each as its row in all parts one below the other."""
        found = []
        while count > 0:
            epoch, place = divmod(first, self.epoch)
            part = _order(self, epoch)[place : place + count]
            found.append(part)
            first, count = first + len(part), count - len(part)
        return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)

    def quotas(self) -> tuple[int, ...]:
        """Faces of each part in an epoch: as the shares say, the largest remainders rounded up."""
        exact = np.array(self.shares) * self.epoch
        whole = np.floor(exact + 1e-9).astype(np.int64)
        most = np.argsort(whole - exact, kind="stable")[: self.epoch - int(whole.sum())]
        whole[most] += 1
        return tuple(whole.tolist())


@lru_cache(maxsize=8)
def _order(mix: Mix, epoch: int) -> NDArray[np.uint32]:
    """(mix.epoch,) rows in the order of this epoch."""
    random = np.random.default_rng([*mix.seed, epoch])
    parts, offset = [], 0
    for size, quota in zip(mix.sizes, mix.quotas(), strict=True):
        passes = np.tile(np.arange(size, dtype=np.uint32), quota // size)
        rest = random.permutation(size)[: quota % size].astype(np.uint32)
        parts += [passes + np.uint32(offset), rest + np.uint32(offset)]
        offset += size
    return random.permutation(np.concatenate(parts))


def place(step: int, rank: int, world: int, batch: int) -> int:
    """Where the faces of a process at a step begin in their stream; the batches of one step follow each other."""
    return (step * world + rank) * batch


def checked_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Shares that sum to 1. Raises ValueError for one that is not above 0."""
    if not all(share > 0 for share in shares):
        raise ValueError(f"shares must be above 0, they are {list(shares)}")
    return tuple(share / sum(shares) for share in shares)
