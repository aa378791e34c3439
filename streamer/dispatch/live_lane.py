"""The crops of live cameras: of each track the newest waits, and an ended track is over with its last crop. Pure."""

from collections import Counter, OrderedDict

from streamer.config import Dispatch
from streamer.values import FaceCrop, TrackEnd


class LiveLane:
    """Waiting crops by track, and the tracks that have ended while crops of theirs are unresolved."""

    def __init__(self, config: Dispatch) -> None:
        self._config = config
        self._waiting: OrderedDict[str, FaceCrop] = OrderedDict()  # by track id, the oldest first
        self._unresolved: Counter[str] = Counter()  # crops per track that are neither answered nor given up
        self._ended: dict[str, TrackEnd] = {}  # ended tracks with unresolved crops

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, crop: FaceCrop) -> tuple[FaceCrop, str] | None:
        """Let a crop wait. Returns the crop that had to make room and why: `superseded` by a newer one of its track,
        or `overload`, the worst of more than `max_waiting`."""
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
        """A track has ended: its end, if no crop of it is unresolved; else `resolve` returns it with the last one."""
        if self._unresolved[end.key.id]:
            self._ended[end.key.id] = end
            return None
        del self._unresolved[end.key.id]
        return end

    def resolve(self, crop: FaceCrop) -> TrackEnd | None:
        """A crop was answered or given up: the end of its track, if that was the last one of an ended track."""
        track_id = crop.key.id
        self._unresolved[track_id] -= 1
        if self._unresolved[track_id] > 0:
            return None
        del self._unresolved[track_id]
        return self._ended.pop(track_id, None)

    def take(self, count: int) -> list[FaceCrop]:
        """Up to `count` crops, the longest waiting first; they wait no longer."""
        return [self._waiting.popitem(last=False)[1] for _ in range(min(count, len(self._waiting)))]

    def take_stale(self, received_before: float) -> list[FaceCrop]:
        """The crops of frames that arrived before this moment (s, monotonic); they wait no longer."""
        stale = [track_id for track_id, crop in self._waiting.items() if crop.received < received_before]
        return [self._waiting.pop(track_id) for track_id in stale]
