"""Estimates how many more cameras would fit, from the last minute of those that are running. Pure."""

import enum
from collections.abc import Mapping
from math import floor

FULL = 0.8  # share of the time; beyond it, waiting times grow fast
MEASURED_S = 10.0  # less is too little to say anything


class Limit(enum.Enum):
    """What limits the number of cameras."""

    DETECTOR = "DETECTOR"
    WORKERS = "WORKERS"
    CPU = "CPU"
    STREAMS = "STREAMS"


def more_streams(
    uses: Mapping[Limit, float | None], running: int, overloaded: int, free: int, seconds: float
) -> tuple[int, Limit] | None:
    """Return how many more cameras like the running ones fit, and what limits them; None: that is not known.

    `uses`: share of the time in which each part was busy, 0..1, or None if that is not known; all of it counts as work
    for the running cameras. `overloaded`: how many of them are; `free`: streams that the settings allow in addition;
    `seconds`: time over which it was measured.
    """
    known = {limit: use for limit, use in uses.items() if use is not None}
    if not running or not known or seconds < MEASURED_S:
        return None
    busiest = max(known, key=lambda limit: known[limit])
    if overloaded:
        return 0, busiest
    rooms = {limit: floor(running * max(0.0, FULL - use) / use + 1e-9) for limit, use in known.items() if use > 0}
    rooms[Limit.STREAMS] = max(0, free)
    scarcest = min(rooms, key=lambda limit: rooms[limit])
    return rooms[scarcest], scarcest
