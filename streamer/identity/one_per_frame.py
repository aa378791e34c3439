"""Names a person once among the faces of one frame: the track that is most surely the person keeps the name. Pure.

A track that a person confirmed comes first, then one that ended under the name, because its last event is out, then
the most similar one. The one that has the name keeps it until another leads it by `gallery.hysteresis`.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamer.boxes import iou
from streamer.config import Gallery as Settings
from streamer.identity.beside import ONE_FACE, Beside
from streamer.identity.corrections import Corrections
from streamer.values import IdentityDecision, IdentityReason, IdentityStatus

Doubles = NDArray[np.float64]

EVERY_CAMERA = "*"  # in gallery.mirrors


@dataclass(slots=True)
class Claim:
    """A track that a search, or somebody, says to be a person."""

    camera: str
    person: str  # id, or name if the gallery has no ids
    similarity: float  # cosine to the person; 1 if nothing is known
    confirmed: bool
    track_ids: tuple[str, ...]  # of the track and of those that were joined to it
    granted: bool = False  # it is published under the name
    ended: bool = False


class OnePerFrame:
    """The tracks that compete for people."""

    def __init__(self, settings: Settings, beside: Beside) -> None:
        self._settings = settings
        self._beside = beside
        self._exempt: Container[str] = frozenset()
        self._claims: dict[str, Claim] = {}  # by track id
        self._shown: dict[str, IdentityDecision] = {}  # of open tracks
        self._ended: dict[str, tuple[str, tuple[str, ...]]] = {}  # camera and ids of tracks that open ones were beside

    def use(self, exempt: Container[str], people: Container[str], corrections: Corrections) -> None:
        """Use another gallery. `exempt`: people who may be named twice in a frame; `people`: ids of all.

        What was said about tracks that have ended counts at once.
        """
        self._exempt = exempt
        for track_id, (camera, track_ids) in self._ended.items():
            said, claim = corrections.person_of(track_ids), self._claims.get(track_id)
            if said is not None:
                self._claims[track_id] = Claim(camera, said, 1.0, True, track_ids, granted=True, ended=True)
            elif claim is not None and (
                claim.person in corrections.not_of(track_ids) or claim.person not in people or claim.confirmed
            ):
                del self._claims[track_id]

    def claim(self, track_id: str, camera: str, found: IdentityDecision, track_ids: tuple[str, ...]) -> set[str]:
        """Take in what a search found for a track; return the ids of other tracks that gain or lose their name."""
        before = self._claims.pop(track_id, None)
        changed = set()
        if found.status is IdentityStatus.IDENTIFIED:
            person = found.person_id or found.person
            there = [one.similarity for one in found.candidates if person in (one.person_id, one.person)]
            had = before is not None and before.person == person and before.granted
            similarity = there[0] if there else 1.0
            self._claims[track_id] = Claim(camera, person, similarity, found.confirmed, track_ids, had)
            changed |= self._settle(track_id)
        if before is not None and (track_id not in self._claims or self._claims[track_id].person != before.person):
            for other in self._beside.others(track_id):
                if other in self._claims and self._claims[other].person == before.person:
                    changed |= self._settle(other)
        return changed - {track_id}

    def settle(self, track_id: str) -> set[str]:
        """Decide again because the company of a track has changed; return the ids of tracks that this changes."""
        return self._settle(track_id) if track_id in self._claims else set()

    def shown(self, track_id: str, found: IdentityDecision) -> IdentityDecision:
        """Return the decision to publish for a track, given what a search found for it."""
        claim, before = self._claims.get(track_id), self._shown.get(track_id)
        decision = found
        if claim is not None and not claim.granted:
            decision = hidden(found, next(iter(self._winners(track_id)), ""))
        if before is not None:
            grew = (before.status, before.person_id, before.person) != _who(decision)
            decision = replace(decision, revision=before.revision + grew)
        self._shown[track_id] = decision
        return decision

    def end(self, track_id: str, camera: str, track_ids: tuple[str, ...]) -> None:
        """Take in the end of a track. Its name stays taken if it has one."""
        self._ended[track_id] = camera, track_ids
        self._shown.pop(track_id, None)
        claim = self._claims.get(track_id)
        if claim is not None and claim.granted:
            claim.ended = True
        elif claim is not None:
            del self._claims[track_id]
        for gone in self._beside.end(track_id):
            self._claims.pop(gone, None)
            self._ended.pop(gone, None)

    def forget(self, track_id: str) -> set[str]:
        """Forget a track that continues another one; return the ids of others that this changes."""
        self._shown.pop(track_id, None)
        claim = self._claims.pop(track_id, None)
        if claim is None:
            return set()
        near = [one for one in self._beside.others(track_id) if one in self._claims]
        return set().union(*(self._settle(one) for one in near if self._claims[one].person == claim.person))

    def _settle(self, track_id: str) -> set[str]:
        """Grant the name among all tracks that compete with this one, directly or by others; return what changes."""
        group = self._group(track_id)
        before = {one: self._claims[one].granted for one in group}
        for one in group:
            claim = self._claims[one]
            claim.granted = claim.granted and claim.ended
        for one in sorted(group, key=lambda name: (*self._rank(self._claims[name], before[name]), name)):
            claim = self._claims[one]
            if not claim.ended:
                claim.granted = claim.confirmed or self._is_exempt(claim) or not self._winners(one)
        return {one for one in group if self._claims[one].granted != before[one]}

    def _group(self, track_id: str) -> list[str]:
        person, group, waiting = self._claims[track_id].person, {track_id}, [track_id]
        while waiting:
            for other in self._beside.others(waiting.pop()):
                if other not in group and other in self._claims and self._claims[other].person == person:
                    group.add(other)
                    waiting.append(other)
        return sorted(group)

    def _winners(self, track_id: str) -> list[str]:
        """Return the tracks beside this one that have the name which this one competes for."""
        person = self._claims[track_id].person
        near = (one for one in self._beside.others(track_id) if one in self._claims)
        return [one for one in near if self._claims[one].person == person and self._claims[one].granted]

    def _rank(self, claim: Claim, had: bool) -> tuple[bool, bool, float]:
        lead = self._settings.hysteresis if had else 0.0
        return not claim.confirmed, not claim.ended, -(claim.similarity + lead)

    def _is_exempt(self, claim: Claim) -> bool:
        return bool({claim.camera, EVERY_CAMERA} & {*self._settings.mirrors}) or claim.person in self._exempt


def in_one_picture(
    found: Sequence[IdentityDecision], boxes: Doubles, exempt: Container[str] = frozenset()
) -> list[IdentityDecision]:
    """Name each person at most once among the faces of a picture: the most similar face keeps the name.

    `boxes`: (n, 4) corners; faces whose boxes overlap are one that was found twice. `exempt`: ids of people who may be
    named twice.
    """
    decided, named = list(found), list[int]()
    if len(found) < 2:
        return decided
    apart = iou(boxes, boxes) < ONE_FACE
    for row in sorted(range(len(found)), key=lambda row: -_similarity(found[row])):
        one = found[row]
        if one.status is not IdentityStatus.IDENTIFIED:
            continue
        person = one.person_id or one.person
        if person not in exempt and any(
            apart[row, other] and person == (found[other].person_id or found[other].person) for other in named
        ):
            decided[row] = hidden(one, "")
        else:
            named.append(row)
    return decided


def _similarity(decision: IdentityDecision) -> float:
    return decision.candidates[0].similarity if decision.candidates else 1.0


def hidden(decision: IdentityDecision, beside: str) -> IdentityDecision:
    """Return the decision for a track in one frame with the track `beside`, which has the name."""
    return replace(
        decision,
        status=IdentityStatus.UNDECIDED,
        person="",
        person_id="",
        reason=IdentityReason.SAME_FRAME,
        beside_track_id=beside,
        confirmed=False,
    )


def _who(decision: IdentityDecision) -> tuple[IdentityStatus, str, str]:
    return decision.status, decision.person_id, decision.person
