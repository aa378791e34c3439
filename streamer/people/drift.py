"""How the scores and the quality of identified tracks change over the weeks, by stream and by person. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

WEEK_S = 7 * 24 * 3600
MONDAY_S = 4 * 24 * 3600  # the first Monday of Unix time
LEAST = 8  # tracks in each half, to say that scores have fallen
FALLEN = 0.03  # cosine, least fall of the median
CERTAIN = 3.0  # standard deviations of chance


@dataclass(frozen=True, slots=True)
class Seen:
    """A past track that was identified."""

    at: datetime  # UTC, when it began
    camera: str
    person: str
    score: float  # for the person, by the present references
    quality: float  # 0..1


@dataclass(frozen=True, slots=True)
class Period:
    """The identified tracks of some days."""

    begin: datetime  # UTC
    camera: str  # empty: all
    tracks: int
    score: float  # median
    quality: float  # median, 0..1


@dataclass(frozen=True, slots=True)
class Halves:
    """The older and the newer half of the tracks of a person, or of all."""

    tracks: int
    earlier: float  # median score
    later: float
    fallen: bool  # more than by chance


def by_week(seen: Sequence[Seen]) -> list[Period]:
    """Return the weeks in which somebody was identified, oldest first."""
    weeks: dict[int, list[Seen]] = {}
    for one in seen:
        weeks.setdefault((int(one.at.timestamp()) - MONDAY_S) // WEEK_S, []).append(one)
    return [
        _period(some, "", datetime.fromtimestamp(week * WEEK_S + MONDAY_S, UTC)) for week, some in sorted(weeks.items())
    ]


def by_camera(seen: Sequence[Seen]) -> list[Period]:
    """Return all days of each camera."""
    cameras: dict[str, list[Seen]] = {}
    for one in seen:
        cameras.setdefault(one.camera, []).append(one)
    return [_period(some, name, min(one.at for one in some)) for name, some in sorted(cameras.items())]


def by_person(seen: Sequence[Seen]) -> Mapping[str, Halves]:
    """Return whether the scores of each person have fallen."""
    people: dict[str, list[Seen]] = {}
    for one in seen:
        people.setdefault(one.person, []).append(one)
    return {name: halves(some) for name, some in people.items()}


def halves(seen: Sequence[Seen]) -> Halves:
    """Compare the newer half with the older one: by their medians, and by ranks (Mann-Whitney)."""
    scores = np.array([one.score for one in sorted(seen, key=lambda one: one.at)])
    middle = len(scores) // 2
    earlier, later = scores[:middle], scores[middle:]
    if not len(earlier):
        only = float(np.median(scores)) if len(scores) else 0.0
        return Halves(len(scores), only, only, False)
    medians = float(np.median(earlier)), float(np.median(later))
    n, m = len(earlier), len(later)
    wins = float((earlier[:, None] > later).sum() + 0.5 * (earlier[:, None] == later).sum()) if n * m < 4e6 else 0.0
    z = (wins - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    fallen = min(n, m) >= LEAST and medians[0] - medians[1] >= FALLEN and z >= CERTAIN
    return Halves(len(scores), *medians, fallen)


def worse_cameras(cameras: Sequence[Period]) -> list[Period]:
    """Return the cameras whose scores are clearly lower than usual among them."""
    enough = [one for one in cameras if one.tracks >= LEAST]
    if len(enough) < 3:
        return []
    usual = float(np.median([one.score for one in enough]))
    return [one for one in enough if one.score < usual - 0.1]


def since(days: int, now: datetime) -> str:
    """Return the id (UUIDv7) after which the tracks of these days come."""
    value = f"{max(0, int((now - timedelta(days=days)).timestamp() * 1000)):012x}"
    return f"{value[:8]}-{value[8:]}"


def _period(some: Sequence[Seen], camera: str, begin: datetime) -> Period:
    scores, qualities = [one.score for one in some], [one.quality for one in some]
    return Period(begin, camera, len(some), float(np.median(scores)), float(np.median(qualities)))
