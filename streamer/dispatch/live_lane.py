"""Keeps the waiting crops of live cameras, the newest of each track, and reports when an ended track is finished.

Pure: no clock, no socket.
"""

from collections import Counter, OrderedDict
from itertools import islice

from streamer.config import Dispatch
from streamer.values import FaceCrop, TrackEnd


class LiveLane:
    """The waiting crops by track, and the ended tracks that still have unresolved crops."""

    def __init__(self, config: Dispatch) -> None:
        self._config = config
        self._waiting: OrderedDict[str, FaceCrop] = OrderedDict()  # by track id, oldest first
        self._unresolved: Counter[str] = Counter()  # crops per track that are neither answered nor given up
        self._ended: dict[str, TrackEnd] = {}  # ended tracks with unresolved crops

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, crop: FaceCrop) -> tuple[FaceCrop, str] | None:
        """Queue a crop. Returns the crop that was removed for it, if any, and the reason.

        The reasons are `superseded` (by this newer crop of its track) and `overload` (more than `max_waiting` crops
        wait: the one of lowest quality is removed).
        """
        track_id = crop.key.id
        self._unresolved[track_id] += 1
        older = self._waiting.pop(track_id, None)
        self._waiting[track_id] = crop
        if older is not None:
            return older, "superseded"
        if len(self._waiting) > self._config.max_waiting:
            worst = min(self._waiting, key=lambda track: self._waiting[track].quality.value)
            return self._waiting.pop(worst), "overload"
        return None

    def end(self, end: TrackEnd) -> TrackEnd | None:
        """Note that a track has ended. Returns its end if all its crops are resolved; otherwise `resolve` will."""
        if self._unresolved[end.key.id]:
            self._ended[end.key.id] = end
            return None
        del self._unresolved[end.key.id]
        return end

    def resolve(self, crop: FaceCrop) -> TrackEnd | None:
        """Note that a crop was answered or given up. Returns the end of its track if that was the track's last crop."""
        track_id = crop.key.id
        self._unresolved[track_id] -= 1
        if self._unresolved[track_id] > 0:
            return None
        del self._unresolved[track_id]
        return self._ended.pop(track_id, None)

    def take(self, count: int) -> list[FaceCrop]:
        """Remove and return up to `count` crops, the longest waiting first.

        All are with their embeddings or all without, as the first one is: a batch is either.
        """
        first = next(iter(self._waiting.values()), None)
        alike = (one for one, crop in self._waiting.items() if first and crop.with_embedding is first.with_embedding)
        return [self._waiting.pop(track_id) for track_id in [*islice(alike, count)]]

    def take_all(self) -> list[FaceCrop]:
        """Remove and return all crops."""
        crops = list(self._waiting.values())
        self._waiting.clear()
        return crops

    def take_stale(self, received_before: float) -> list[FaceCrop]:
        """Remove and return the crops of frames that arrived before a moment (s, monotonic)."""
        stale = [track_id for track_id, crop in self._waiting.items() if crop.received < received_before]
        return [self._waiting.pop(track_id) for track_id in stale]
