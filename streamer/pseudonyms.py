"""Pseudonyms of people, which change with each period and cannot be joined across periods.

A pseudonym is a keyed hash (HMAC-SHA-256) of a lasting id. The key is random, exists only in the memory of this
process, and is overwritten when its period ends. After that nobody can compute whose pseudonym it was.
"""

import base64
import hmac
import secrets
from datetime import datetime, timedelta

KEY_BYTES = 32
SHOWN = 10  # bytes of the hash: two of a million people share a pseudonym with a probability of 4e-13


class Pseudonyms:
    """Makes pseudonyms. `now` must not go back by more than the clock of a machine does."""

    def __init__(self, rotation_hours: float) -> None:
        self._length = timedelta(hours=rotation_hours)
        self._period: datetime | None = None  # start, local time without zone
        self._key = bytearray(KEY_BYTES)

    def of(self, person: str, now: datetime) -> str:
        """Return the pseudonym that somebody with a lasting id has at `now` (with a zone)."""
        start = self.start(now)
        if self._period is None or start > self._period:  # a clock that is set back keeps the newer key
            self.destroy()
            self._key[:] = secrets.token_bytes(KEY_BYTES)
            self._period = start
        digest = hmac.digest(self._key, person.encode(), "sha256")
        return "p-" + base64.b32encode(digest[:SHOWN]).decode().lower()

    def start(self, now: datetime) -> datetime:
        """Return the start of the period that holds at `now`, in local time without zone."""
        local = now.astimezone().replace(tzinfo=None)
        first = datetime(2001, 1, 1)  # a midnight, and a Monday
        return first + (local - first) // self._length * self._length

    def destroy_old(self, now: datetime) -> None:
        """Destroy the key if its period has ended."""
        if self._period is not None and self.start(now) > self._period:
            self.destroy()

    def destroy(self) -> None:
        """Destroy the key. The next pseudonyms are of another one."""
        self._key[:] = bytes(KEY_BYTES)
        self._period = None
