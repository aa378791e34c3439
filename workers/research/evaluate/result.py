"""Define the result of a protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """Metrics whose names end in their unit, and what they were measured on."""

    metrics: Mapping[str, float]  # *_percent, *_years, *_error (0..1); nan: undefined
    counts: Mapping[str, int]  # faces, pairs, persons and so on
    data: str  # sha256 of images and labels
    hashed: str  # what the sha256 covers
    absent: tuple[str, ...] = ()  # what was not measured, and why
    unreadable: tuple[str, ...] = ()  # images that were left out, one line each
    details: Mapping[str, Any] = field(default_factory=dict)  # tables too long for a line


def percent(share: float) -> float:
    return 100 * float(share)
