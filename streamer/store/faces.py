"""Keeps the best crop of each open track, as a JPEG, until it is written."""

from dataclasses import dataclass
from datetime import datetime

import simplejpeg

from streamer.store.values import Row
from streamer.values import FaceCrop

JPEG_QUALITY = 90  # percent


@dataclass(slots=True, eq=False)
class _Best:
    quality: float
    at: datetime
    jpeg: bytes
    written: bool = False


class BestFaces:
    """The best crop of each track, by the id under which the track is published."""

    def __init__(self) -> None:
        self._best: dict[str, _Best] = {}

    def see(self, track_id: str, crop: FaceCrop, now: datetime) -> None:
        """Take in an analysed crop of a track."""
        known = self._best.get(track_id)
        if known is None or crop.quality.value > known.quality:
            jpeg = simplejpeg.encode_jpeg(crop.pixels, quality=JPEG_QUALITY, colorspace="RGB")
            self._best[track_id] = _Best(crop.quality.value, now, jpeg)

    def rows(self, track_ids: set[str]) -> list[Row]:
        """Return the rows of these tracks whose crop has become better since it was written."""
        fresh = {name: self._best[name] for name in sorted(track_ids & self._best.keys())}
        return [_row(name, best) for name, best in fresh.items() if not best.written]

    def written(self, rows: list[Row]) -> None:
        """Note that rows are stored."""
        for row in rows:
            best = self._best.get(row["track_id"])
            if best is not None and best.at == row["at"]:
                best.written = True

    def forget(self, track_id: str) -> None:
        """Forget a track that has ended and is stored."""
        self._best.pop(track_id, None)


def _row(track_id: str, best: _Best) -> Row:
    return {"track_id": track_id, "at": best.at, "quality": best.quality, "jpeg": best.jpeg}
