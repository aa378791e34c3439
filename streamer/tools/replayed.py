"""Prints which past tracks have another identity by other settings."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from faceanalytics.names import printable
from streamer.tools.printed import print_table
from streamer.values import IdentityDecision, IdentityStatus

PERSON = ("person", "before", "after", "lost", "gained")  # numbers of tracks
MOST = 1000  # changed tracks that are listed


class Track(Protocol):
    """One past track, decided by two settings."""

    @property
    def track_id(self) -> str: ...
    @property
    def camera(self) -> str: ...
    @property
    def began(self) -> datetime: ...
    @property
    def stored(self) -> IdentityDecision | None: ...
    @property
    def before(self) -> IdentityDecision: ...
    @property
    def after(self) -> IdentityDecision: ...
    @property
    def changed(self) -> bool: ...


class Searched(Protocol):
    """What the gallery was searched with."""

    @property
    def people(self) -> int: ...
    @property
    def before(self) -> float: ...
    @property
    def after(self) -> float: ...
    @property
    def model_id(self) -> str: ...


def show(tracks: Sequence[Track], names: Mapping[str, str], by: Searched, other_model: int, as_json: bool) -> None:
    """Print the tracks. `names`: of people by id; `other_model`: number of tracks of other weights, left out."""
    changed = [one for one in tracks if one.changed]
    differ = sum(_differs(one) for one in tracks)
    people = _by_person(tracks, names)
    if as_json:
        whole = {
            "people": by.people,
            "model_id": by.model_id,
            "threshold": {"before": round(by.before, 6), "after": round(by.after, 6)},
            "tracks": len(tracks),
            "changed": len(changed),
            "other_model": other_model,
            "stored_otherwise": differ,
            "by_person": [
                dict(zip(("person", "before", "after", "lost", "gained"), row, strict=True)) for row in people
            ],
            "each": [_plain(one, names) for one in tracks],
        }
        print(json.dumps(whole, ensure_ascii=False))
        return
    print(f"{by.people} people; named from cosine {by.before:.3f} before, {by.after:.3f} after")
    if changed:
        rows = [
            (
                one.track_id,
                printable(one.camera),
                f"{one.began:%Y-%m-%d %H:%M:%S}",
                f"{_best(one.before):.3f}",
                _who(one.before, names),
                _who(one.after, names),
            )
            for one in changed[:MOST]
        ]
        print_table(("track", "stream", "began (UTC)", "cosine", "before", "after"), rows)
    if len(changed) > MOST:
        print(f"and {len(changed) - MOST} more; --json lists all")
    if people:
        print_table(
            PERSON,
            [(printable(row[0]), *(str(number) for number in row[1:])) for row in people],
        )
    print(f"{len(changed)} of {len(tracks)} tracks would have another identity")
    if other_model:
        print(f"{other_model} tracks of other weights are left out")
    if differ:
        print(f"{differ} tracks are stored with another identity than the settings before give for their last template")


def _by_person(tracks: Sequence[Track], names: Mapping[str, str]) -> list[tuple[str, int, int, int, int]]:
    """Return name, tracks before and after, and tracks lost and gained, of each person; the most changed first."""
    counts: dict[str, Counter[str]] = {}
    for one in tracks:
        before, after = _person(one.before), _person(one.after)
        for person, what in ((before, "before"), (after, "after")):
            counts.setdefault(person, Counter())[what] += 1
        if before != after:
            counts[before]["lost"] += 1
            counts[after]["gained"] += 1
    counts.pop("", None)
    rows = [
        (names.get(person, person), one["before"], one["after"], one["lost"], one["gained"])
        for person, one in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row[3] - row[4], row[0]))


def _person(decision: IdentityDecision) -> str:
    return decision.person_id if decision.status is IdentityStatus.IDENTIFIED else ""


def _who(decision: IdentityDecision, names: Mapping[str, str]) -> str:
    if decision.status is IdentityStatus.IDENTIFIED:
        name = names.get(decision.person_id, decision.person or decision.person_id)
        return printable(name) + (" (confirmed)" if decision.confirmed else "")
    reason = decision.reason.value.lower().replace("_", " ") if decision.reason else ""
    return f"{decision.status.value.lower()}{f' ({reason})' if reason else ''}"


def _best(decision: IdentityDecision) -> float:
    return decision.candidates[0].similarity if decision.candidates else 0.0


def _differs(one: Track) -> bool:
    stored = one.stored
    return stored is not None and (stored.status, _person(stored)) != (one.before.status, _person(one.before))


def _plain(one: Track, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "track_id": one.track_id,
        "stream_id": one.camera,
        "began": one.began.isoformat(),
        "stored": _decision(one.stored, names) if one.stored is not None else None,
        "before": _decision(one.before, names),
        "after": _decision(one.after, names),
        "changed": one.changed,
    }


def _decision(one: IdentityDecision, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "status": one.status.value,
        "person_id": _person(one),
        "person": names.get(one.person_id, one.person) if _person(one) else "",
        "reason": one.reason.value if one.reason else "",
        "similarity": round(_best(one), 6),
        "confirmed": one.confirmed,
    }
