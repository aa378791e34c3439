"""Which crops are worth sending.

The rule: a track sends a crop when it is new, when the crop is clearly better than the best so far, or when
its last answer is older than `refresh_s`. Ages are media time, so a recorded analysis decides the same each time:
a crop counts as answered when it is sent, unless it is lost.
"""

from dataclasses import dataclass

from streamer.config import Schedule


@dataclass(slots=True)
class _Sent:
    time: float  # s, media time of the newest crop sent
    best: float  # 0..1, best quality sent


class Scheduler:
    def __init__(self, config: Schedule) -> None:
        self._config = config
        self._sent: dict[str, _Sent] = {}  # by track id

    def wants(self, track_id: str, time: float, quality: float) -> bool:
        """Whether a crop of this quality (0..1), taken at this media time (s), should be sent."""
        sent = self._sent.get(track_id)
        if sent is None:
            return True
        return time - sent.time >= self._config.refresh_s or quality >= sent.best + self._config.better_by

    def sent(self, track_id: str, time: float, quality: float) -> None:
        """A crop was sent."""
        before = self._sent.get(track_id)
        self._sent[track_id] = _Sent(time, max(quality, before.best) if before else quality)

    def forget(self, track_id: str) -> None:
        """The track has ended, or its last crop was lost: whatever comes next is new."""
        self._sent.pop(track_id, None)
