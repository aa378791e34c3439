"""Make track ids: unique and sortable by birth for cameras, reproducible for files."""

import itertools
import time
import uuid
from collections import Counter
from collections.abc import Callable
from hashlib import sha256

from streamer.values import TrackKey

SPLIT_NUMBERS = 1_000_000  # numbers above this belong to tracks that were split off others

KeyMaker = Callable[[str, int], TrackKey]


def live_keys() -> KeyMaker:
    """Make ids for cameras: UUIDv7, which sort by birth and do not repeat across restarts and machines."""
    counter = itertools.count()

    def key(camera: str, number: int) -> TrackKey:
        return TrackKey(_uuid7(time.time_ns() // 1_000_000, next(counter)), camera, number)

    return key


def _uuid7(milliseconds: int, count: int) -> str:
    """Format a UUIDv7 (RFC 9562); the 12 bits after the time are a counter, so that ids of one millisecond sort too."""
    random = uuid.uuid4().int & ((1 << 62) - 1)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | (count & 0xFFF) << 64 | 2 << 62 | random))


def recorded_keys(content_hash: str) -> KeyMaker:
    """Make ids for a file: UUIDv8 of the track's number and the file's hash, so that the same file gives the same."""

    def key(camera: str, number: int) -> TrackKey:
        digest = int.from_bytes(sha256(f"{content_hash} {number}".encode()).digest()[:10], "big")
        low = digest & ((1 << 62) - 1)
        middle = digest >> 62 & 0xFFF
        return TrackKey(str(uuid.UUID(int=number << 80 | 8 << 76 | middle << 64 | 2 << 62 | low)), camera, number)

    return key


def split_keys(new_key: KeyMaker) -> Callable[[TrackKey], TrackKey]:
    """Make keys for tracks that are split off others, with numbers that the tracker does not use."""
    counts: Counter[str] = Counter()

    def key(old: TrackKey) -> TrackKey:
        counts[old.camera] += 1
        return new_key(old.camera, SPLIT_NUMBERS + counts[old.camera])

    return key
