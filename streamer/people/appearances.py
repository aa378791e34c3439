"""Where visitors appeared: tracks with times, visits made of them, and how far clocks may differ. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from streamer.values import ClockSource

ARRIVAL_S = 1.0  # between a sight and the arrival of its frame, at most, as a rule
CAMERA_S = 0.1  # within which a clock of a camera that agrees with this machine's is right


@dataclass(frozen=True, slots=True)
class Appearance:
    """A track of a visitor, or of a person."""

    track_id: str
    camera: str
    visitor_id: str  # empty: the face is too poor to decide, or it is a person of the gallery
    first_visitor_id: str  # that it had at first
    first_seen: datetime  # UTC, by `clock`; without a wall clock by this machine's
    last_seen: datetime
    clock: ClockSource
    uncertainty_s: float | None  # of these times against those of other cameras, to each side; None: not known
    scene: str  # media times of one scene can be compared
    spans: tuple[tuple[float, float], ...]  # s, media time: when it was in view
    person_id: str = ""


def data_of(one: Appearance) -> dict[str, Any]:
    """Return an appearance as plain data, without the id of the track."""
    return {
        "camera": one.camera,
        "visitor": one.visitor_id,
        "first": one.first_visitor_id,
        "first_seen": one.first_seen.timestamp(),
        "last_seen": one.last_seen.timestamp(),
        "clock": one.clock.value,
        "uncertainty": one.uncertainty_s,
        "scene": one.scene,
        "spans": one.spans,
    }


def appearance_of(track_id: str, data: Mapping[str, Any]) -> Appearance:
    """Return the appearance of plain data."""
    return Appearance(
        track_id,
        data["camera"],
        data["visitor"],
        data["first"],
        datetime.fromtimestamp(data["first_seen"], UTC),
        datetime.fromtimestamp(data["last_seen"], UTC),
        ClockSource(data["clock"]),
        data["uncertainty"],
        data["scene"],
        tuple((float(start), float(end)) for start, end in data["spans"]),
    )


def uncertainty_of(clock: ClockSource, offset_s: float | None) -> float | None:
    """Return how far times may be from those of this machine, s; None: not known.

    `offset_s`: arrival minus the camera's own clock, which is its delay plus its error.
    """
    if clock is ClockSource.ARRIVAL:
        return ARRIVAL_S
    if clock is ClockSource.RTCP_NTP and offset_s is not None:
        return max(CAMERA_S, abs(offset_s)) + (ARRIVAL_S if offset_s < 0 else 0.0)
    return None


def order(one: Appearance) -> tuple[datetime, str]:
    """Return by what appearances are sorted."""
    return one.first_seen, one.track_id


def visits(appearances: Iterable[Appearance], gap_s: float) -> list[list[Appearance]]:
    """Return the appearances of one visitor by visit, oldest first. Less than `gap_s` apart they are one visit."""
    found: list[list[Appearance]] = []
    end = datetime.min.replace(tzinfo=UTC)
    for one in sorted(appearances, key=order):
        if found and one.first_seen - end < timedelta(seconds=gap_s):
            found[-1].append(one)
            end = max(end, one.last_seen)
        else:
            found.append([one])
            end = one.last_seen
    return found


def dwell(visit: Sequence[Appearance], since: datetime | None = None, before: datetime | None = None) -> timedelta:
    """Return the time of a visit from the first to the last sight, within a period."""
    start = min(one.first_seen for one in visit)
    end = max(one.last_seen for one in visit)
    if since is not None:
        start = max(start, since)
    if before is not None:
        end = min(end, before)
    return max(end - start, timedelta())


def beside(one: Appearance, other: Appearance) -> bool:
    """Return whether two tracks were in view in the same frames, so that they show two faces."""
    if one.scene != other.scene or one.track_id == other.track_id:
        return False
    return any(a <= d and c <= b for a, b in one.spans for c, d in other.spans)


def pairs_beside(appearances: Iterable[Appearance]) -> list[tuple[str, str]]:
    """Return the pairs of tracks that were in view in the same frames."""
    scenes: dict[str, list[Appearance]] = {}
    for one in appearances:
        scenes.setdefault(one.scene, []).append(one)
    found = []
    for members in scenes.values():
        open_ones: list[Appearance] = []
        for one in sorted(members, key=lambda each: (each.spans[0][0] if each.spans else 0.0, each.track_id)):
            start = one.spans[0][0] if one.spans else 0.0
            open_ones = [each for each in open_ones if each.spans and each.spans[-1][1] >= start]
            found += [(each.track_id, one.track_id) for each in open_ones if beside(each, one)]
            open_ones.append(one)
    return found


def encoded(one: Appearance) -> str:
    """Return the data of an appearance as text that is equal if they are."""
    return json.dumps(data_of(one), sort_keys=True)
