"""Define the order of faces: an endless sequence per stream with random access.

The n-th face of a stream is a function of n and the seed. So a run resumes exactly where it stopped, and each process
knows its own faces without iterating over those of the others.
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
    """Parts of a stream that are sampled by share, whatever their sizes.

    An epoch is long enough for the part that is largest for its share to appear once; smaller parts repeat. In the
    published code an epoch was one pass over the recognition set, and a part that did not fit a whole number of times
    was always cut at the same place; here each epoch draws another random remainder.
    """

    sizes: tuple[int, ...]  # faces
    shares: tuple[float, ...]  # sum 1
    seed: tuple[int, ...]

    @property
    def epoch(self) -> int:
        """Faces of an epoch."""
        return max(ceil(size / share) for size, share in zip(self.sizes, self.shares, strict=True))

    def rows(self, first: int, count: int) -> Integers:
        """Return the faces from position `first` on, as rows of the concatenated parts, (count,)."""
        chunks = []
        while count > 0:
            epoch, start = divmod(first, self.epoch)
            chunk = _order(self, epoch)[start : start + count]
            chunks.append(chunk)
            first, count = first + len(chunk), count - len(chunk)
        return np.concatenate(chunks).astype(np.int64) if chunks else np.empty(0, np.int64)

    def quotas(self) -> tuple[int, ...]:
        """Return the faces of each part in an epoch, by the largest remainder method."""
        exact = np.array(self.shares) * self.epoch
        whole = np.floor(exact + 1e-9).astype(np.int64)
        largest = np.argsort(whole - exact, kind="stable")[: self.epoch - int(whole.sum())]
        whole[largest] += 1
        return tuple(whole.tolist())


@lru_cache(maxsize=8)
def _order(mix: Mix, epoch: int) -> NDArray[np.uint32]:
    """Return the rows in the order of this epoch, (mix.epoch,)."""
    random = np.random.default_rng([*mix.seed, epoch])
    parts, offset = [], 0
    for size, quota in zip(mix.sizes, mix.quotas(), strict=True):
        passes = np.tile(np.arange(size, dtype=np.uint32), quota // size)
        rest = random.permutation(size)[: quota % size].astype(np.uint32)
        parts += [passes + np.uint32(offset), rest + np.uint32(offset)]
        offset += size
    return random.permutation(np.concatenate(parts))


def place(step: int, rank: int, world: int, batch: int) -> int:
    """Return the position in a stream of a process's first face of a step; the batches of a step are consecutive."""
    return (step * world + rank) * batch


def checked_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Scale shares to sum to 1. Raises ValueError unless all are above 0."""
    if not all(share > 0 for share in shares):
        raise ValueError(f"shares must be above 0, but are {list(shares)}")
    return tuple(share / sum(shares) for share in shares)
