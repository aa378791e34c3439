"""Groups the crops of a recorded analysis into batches that depend on their order only, so runs are repeatable."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from streamer.values import Bytes, FaceAnalysis, FaceCrop

Analyse = Callable[[Sequence[Bytes]], Awaitable[list[FaceAnalysis | None]]]


class CropBatches:
    """A client of the dispatcher that keeps every crop and makes its caller wait while too many are unanswered."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        analyse: Analyse,
        on_result: Callable[[FaceCrop, FaceAnalysis | None], None],
        size: int,
        max_waiting: int,
    ) -> None:
        """`size`: crops per batch. `max_waiting`: limit of unanswered crops, at least two batches."""
        self._group = group
        self._analyse = analyse
        self._on_result = on_result
        self._size = size
        self._room = asyncio.Semaphore(max(2, max_waiting // size))  # batches
        self._filling: list[FaceCrop] = []

    async def add(self, crop: FaceCrop) -> None:
        """Add a crop. If it completes a batch, wait until that may be sent."""
        self._filling.append(crop)
        if len(self._filling) == self._size:
            await self.seal()

    async def seal(self) -> None:
        """Send the batch that is being filled, even if it is not full. May wait like `add`."""
        if self._filling:
            batch, self._filling = self._filling, []
            await self._room.acquire()
            self._group.create_task(self._send(batch))

    async def _send(self, batch: list[FaceCrop]) -> None:
        try:
            analyses = await self._analyse([crop.pixels for crop in batch])
        finally:
            self._room.release()
        for crop, analysis in zip(batch, analyses, strict=True):
            self._on_result(crop, analysis)
