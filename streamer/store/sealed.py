"""What is stored and must not be read from a copy of the disk: encrypted if there is a key, else as it is.

These are the settings of streams, whose addresses hold passwords; the key of the resume tokens; and what identifies
people: pictures of faces, and tracks and events with names. A name is searched for by its fingerprint.
"""

import base64
import binascii
from collections.abc import Iterable

from streamer.encryption import FORM, NotReadable, Sealer
from streamer.store.values import Row, StoreUnavailable

SETTINGS, TOKEN_KEY = "streams.settings", "meta.key"  # purposes of texts
TRACK, EVENT, FACE, PERSON = "tracks.payload", "events.payload", "faces.jpeg", "tracks.person"
MARK = "sealed:"  # begins what is encrypted; JSON begins with a brace


class Sealed:
    """Writes and reads texts of a column. Without a key they are written as they are."""

    def __init__(self, sealer: Sealer | None, purpose: str = SETTINGS) -> None:
        self._sealer = sealer
        self._purpose = purpose

    def write(self, text: str, row: str) -> str:
        """Return what to store for a row."""
        if self._sealer is None:
            return text
        return MARK + base64.b64encode(self._sealer.seal(text.encode(), self._purpose, row)).decode()

    def read(self, stored: str, row: str) -> str:
        """Return the text of a row. Raises NotReadable, also if it is encrypted and there is no key."""
        if not stored.startswith(MARK):
            return stored
        if self._sealer is None:
            raise NotReadable(f"{self._purpose}: encrypted; name the key with store.key_file")
        return self._sealer.open(_decoded(stored), self._purpose, row).decode()

    def is_current(self, stored: str) -> bool:
        """Return whether `write` would encrypt it in the same way; if not, store it again."""
        if self._sealer is None or not stored.startswith(MARK):
            return self._sealer is None
        return self._sealer.is_current(_decoded(stored))


def _decoded(stored: str) -> bytes:
    try:
        return base64.b64decode(stored.removeprefix(MARK), validate=True)
    except binascii.Error as error:
        raise NotReadable("damaged") from error


class Columns:
    """Seals and opens what identifies people in the rows of tracks, events and faces."""

    def __init__(self, sealer: Sealer | None) -> None:
        self._sealer = sealer

    def event(self, row: Row) -> Row:
        """Return the row of an event as it is stored."""
        return self._sealed(row, "payload", EVENT, str(row["sequence"]))

    def face(self, row: Row) -> Row:
        """Return the row of a picture as it is stored."""
        return self._sealed(row, "jpeg", FACE, row["track_id"])

    def track(self, row: Row) -> Row:
        """Return the row of a track as it is stored: with a key, `person` is the fingerprint of the name."""
        if self._sealer is None:
            return row
        name = row["person"]
        person = self._sealer.fingerprints(name, PERSON)[0] if name is not None else None
        return self._sealed({**row, "person": person}, "payload", TRACK, row["track_id"])

    def persons(self, names: Iterable[str]) -> list[str]:
        """Return what the column `person` has for these names: the names, and their fingerprints with each key."""
        wanted = list(names)
        if self._sealer is not None:
            wanted += [mark for name in list(wanted) for mark in self._sealer.fingerprints(name, PERSON)]
        return wanted

    def open(self, stored: bytes, purpose: str, row: object) -> bytes:
        """Return the content of a column. Raises NotReadable."""
        if stored[:1] != FORM:
            return bytes(stored)
        if self._sealer is None:
            raise NotReadable(f"{purpose}: encrypted; name the key with store.key_file")
        return self._sealer.open(bytes(stored), purpose, str(row))

    def is_current(self, stored: bytes) -> bool:
        """Return whether a content would be stored in the same way today."""
        if self._sealer is None or stored[:1] != FORM:
            return self._sealer is None
        return self._sealer.is_current(bytes(stored))

    def _sealed(self, row: Row, column: str, purpose: str, place: str) -> Row:
        if self._sealer is None:
            return row
        return {**row, column: self._sealer.seal(row[column], purpose, place)}


def readable(columns: Columns, stored: bytes, purpose: str, row: object) -> bytes:
    """Return the content of a column. Raises StoreUnavailable if it is damaged: all keys were there at the start."""
    try:
        return columns.open(stored, purpose, row)
    except NotReadable as error:
        raise StoreUnavailable(f"row {row}: {error}") from error
