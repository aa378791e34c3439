"""Holds the rows of visitors that wait until their tracks are stored."""

from datetime import UTC, datetime

from sqlalchemy import Table

from streamer.people.appearances import Appearance, data_of
from streamer.people.keys import Sealed
from streamer.store.tables import merged_visitors, templates, visitor_tracks
from streamer.store.values import Row
from streamer.values import Floats


class VisitorRows:
    """What waits, by table and key; see store.Companion."""

    def __init__(self, pseudonyms: Sealed, faces: Sealed) -> None:
        """`pseudonyms` and `faces` seal the two."""
        self._pseudonyms = pseudonyms
        self._faces = faces
        self._waiting: dict[Table, dict[str, Row]] = {visitor_tracks: {}, templates: {}, merged_visitors: {}}

    def keep(self, one: Appearance) -> None:
        """Write an appearance."""
        payload = self._pseudonyms.data(data_of(one), one.track_id)
        row = {"track_id": one.track_id, "payload": payload, "at": datetime.now(UTC)}
        self._waiting[visitor_tracks][one.track_id] = row

    def keep_face(self, track_id: str, model_id: str, samples: int, quality: float, template: Floats) -> None:
        """Write the template (512,) of a live track."""
        self._waiting[templates][track_id] = {
            "track_id": track_id,
            "model_id": model_id,
            "samples": samples,
            "quality": quality,
            "template": self._faces.vector(template, track_id),
            "at": datetime.now(UTC),
        }

    def merge(self, gone: str, left: str) -> None:
        """Write that the id of a visitor leads to another one."""
        payload = self._pseudonyms.data({"into": left}, gone)
        self._waiting[merged_visitors][gone] = {"visitor_id": gone, "payload": payload, "at": datetime.now(UTC)}

    def forget(self, track_id: str) -> None:
        """Write nothing of a track."""
        self._waiting[visitor_tracks].pop(track_id, None)
        self._waiting[templates].pop(track_id, None)

    def waits(self, track_id: str) -> bool:
        """Return whether the appearance of a track is not stored yet."""
        return track_id in self._waiting[visitor_tracks]

    def rows(self, track_ids: set[str]) -> dict[Table, list[Row]]:
        """Return all that waits: a row that comes before its track is removed again if the track never comes."""
        del track_ids
        return {table: list(rows.values()) for table, rows in self._waiting.items() if rows}

    def done(self, rows: dict[Table, list[Row]]) -> None:
        """Note that rows are stored, unless there are newer ones."""
        for table, stored in rows.items():
            key, waiting = next(iter(table.primary_key)).name, self._waiting[table]
            for row in stored:
                if waiting.get(row[key]) is row:
                    del waiting[row[key]]
