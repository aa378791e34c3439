"""Finds which of many vectors may be the most similar to a probe, without keeping the vectors: only coarse copies.

Those of the bundled model take 128 bytes, of others up to 512, in place of 2048. The candidates are a few more than
wanted, and whoever has the vectors compares them again, so nothing is missed (see face_index.py for the bounds).
"""

import numpy as np

from streamer.identity.face_index import BLOCK, SIZE, Coarse, FaceIndex, Rows, rotation_of
from streamer.identity.int8_product import ZERO
from streamer.values import Floats

LEARN_FROM = 4096  # vectors, which are kept as floats until there are enough to learn the rotation from
HEADROOM = 1.5  # of the step: later vectors may have longer parts than those that it was learnt from
NO_FLOATS = np.zeros((0, SIZE), np.float32)


class CompactIndex(FaceIndex):
    """Coarse copies of unit vectors (512,) with an id each. Not for several threads at once."""

    def add(self, ids: Rows, vectors: Floats) -> None:
        """Add vectors (n, 512) with new ids (n,). Raises ValueError as FaceIndex does."""
        super().add(ids, vectors)
        if self._coarse is None and len(self) >= LEARN_FROM:
            sample = np.concatenate([block.vectors[: block.count] for block in self._blocks])
            rotation = rotation_of(sample)
            largest = float(np.abs(sample @ rotation).max())
            self._coarse = Coarse(rotation, HEADROOM * largest / (ZERO - 1))
            for block in self._blocks:
                block.encode(self._coarse, 0, block.vectors[: block.count])
        if self._coarse is not None:
            for block in self._blocks:
                block.vectors = NO_FLOATS

    def candidates(self, probe: Floats, count: int) -> Rows:
        """Return the ids of all vectors that may be among the `count` most similar to a unit probe (512,)."""
        kept = min(count, len(self))
        if kept <= 0:
            return np.zeros(0, np.int64)
        some = np.ascontiguousarray(probe[None], np.float32)
        (places,) = self._by_floats(some, kept) if self._coarse is None else self._by_bytes(some, kept)
        found: Rows = self._taken(places, "ids")
        return found

    def bytes(self) -> int:
        """Return the size of what is kept."""
        dimensions = 4 * SIZE if self._coarse is None else self._coarse.rotation.shape[1]
        return len(self._blocks) * BLOCK * (dimensions + 8)
