"""Identity decisions in stored tracks. Names of people are not stored there, only ids; they are filled in when read.

So a person who is renamed or erased is renamed or erased in all of the past at once.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta

from faceanalytics.v1 import tracks_pb2
from streamer.values import Candidate, IdentityDecision, IdentityReason, IdentityStatus, JourneyStep, VisitorSighting

FOLDER = "folder-"  # begins ids of people whose names are those of folders, which are stored with their tracks


class Naming:
    """What is known of people when stored tracks are read. Without it they keep the ids only."""

    def __init__(self) -> None:
        # id -> id and name of the person who is left after merging; None: nobody, the person was erased
        self.find: Callable[[str], tuple[str, str] | None] | None = None
        self.ids: Callable[[Iterable[str]], list[str]] = nobody  # ids of people of these names
        self.visitor: Callable[[str], VisitorSighting | None] | None = None  # of a track; None: visitors are off

    def filled(self, payload: bytes) -> bytes:
        """Return the message of a stored track with the names of today."""
        if self.find is None:
            return payload
        track = tracks_pb2.Track.FromString(payload)
        if self.visitor is None and not _has_ids(track):
            return payload
        self.fill(track)
        return track.SerializeToString(deterministic=True)

    def fill(self, track: tracks_pb2.Track) -> None:
        """Write the names of today into a track."""
        if self.find is None:
            return
        decision = track.decision
        if decision.person_id and not decision.person_id.startswith(FOLDER):
            found = self.find(decision.person_id)
            if found is None:
                forget(track, {decision.person_id})
            else:
                decision.person_id, decision.person = found
        for place in reversed(range(len(decision.candidates))):
            one = decision.candidates[place]
            if one.person_id and not one.person_id.startswith(FOLDER):
                found = self.find(one.person_id)
                if found is None:
                    del decision.candidates[place]
                else:
                    one.person_id, one.person = found
        if self.visitor is not None and not is_identified(track):
            seen = self.visitor(track.track_id)
            track.ClearField("visitor")
            if seen is not None:
                track.visitor.CopyFrom(visitor_message(seen))

    def forget_erased(self, track: tracks_pb2.Track) -> None:
        """Remove people who were erased from a track."""
        if self.find is not None and _has_ids(track):
            ids = {track.decision.person_id, *(one.person_id for one in track.decision.candidates)}
            gone = {one for one in ids if one and not one.startswith(FOLDER) and self.find(one) is None}
            forget(track, gone)


def nobody(names: Iterable[str]) -> list[str]:
    """Return no ids: nobody has one."""
    del names
    return []


def without_names(track: tracks_pb2.Track) -> tracks_pb2.Track:
    """Remove the names of people who have an id, and pseudonyms, from a track that is going to be stored; return it."""
    track.ClearField("visitor")
    if _has_ids(track):
        if track.decision.person_id and not track.decision.person_id.startswith(FOLDER):
            track.decision.person = ""
        for one in track.decision.candidates:
            if one.person_id and not one.person_id.startswith(FOLDER):
                one.person = ""
    return track


def forget(track: tracks_pb2.Track, people: set[str]) -> bool:
    """Remove people from a track; return whether it was identified as one of them."""
    decision = track.decision
    for place in reversed(range(len(decision.candidates))):
        if decision.candidates[place].person_id in people:
            del decision.candidates[place]
    if decision.person_id not in people:
        return False
    decision.status = tracks_pb2.IDENTITY_STATUS_UNKNOWN
    decision.reason = tracks_pb2.IDENTITY_REASON_ERASED
    decision.person, decision.person_id, decision.confirmed = "", "", False
    decision.revision += 1
    return True


def mentions(track: tracks_pb2.Track, people: set[str]) -> bool:
    """Return whether a track names one of these people."""
    if not track.HasField("decision"):
        return False
    decision = track.decision
    return decision.person_id in people or any(one.person_id in people for one in decision.candidates)


def to_message(decision: IdentityDecision) -> tracks_pb2.IdentityDecision:
    """Return a decision as a message."""
    reason = decision.reason.value if decision.reason else "UNSPECIFIED"
    return tracks_pb2.IdentityDecision(
        status=tracks_pb2.IdentityStatus.Value(f"IDENTITY_STATUS_{decision.status.value}"),
        person=decision.person,
        reason=tracks_pb2.IdentityReason.Value(f"IDENTITY_REASON_{reason}"),
        candidates=[
            tracks_pb2.Candidate(person=one.person, similarity=one.similarity, person_id=one.person_id)
            for one in decision.candidates
        ],
        margin=decision.margin,
        threshold=decision.threshold,
        samples=decision.samples,
        best_quality=decision.best_quality,
        revision=decision.revision,
        person_id=decision.person_id,
        confirmed=decision.confirmed,
        beside_track_id=decision.beside_track_id,
        required=decision.required,
        pseudonym=decision.pseudonym,
    )


def is_identified(track: tracks_pb2.Track) -> bool:
    """Return whether a track shows a person of the gallery."""
    return track.decision.status == tracks_pb2.IDENTITY_STATUS_IDENTIFIED


def identified(payload: bytes) -> bool:
    """Return whether the message of a track shows a person of the gallery."""
    return is_identified(tracks_pb2.Track.FromString(payload))


def visitor_message(seen: VisitorSighting) -> tracks_pb2.VisitorSighting:
    """Return a sighting of a visitor as a message."""
    message = tracks_pb2.VisitorSighting(visitor_id=seen.visitor_id, seen_before=seen.seen_before, visits=seen.visits)
    message.first_seen_at.FromDatetime(seen.first_seen)
    return message


def step_message(step: JourneyStep) -> tracks_pb2.JourneyStep:
    """Return a step of a journey as a message."""
    message = tracks_pb2.JourneyStep(
        step=step.number, from_track_id=step.from_track_id, from_stream_id=step.from_camera
    )
    message.gap.FromTimedelta(timedelta(seconds=step.gap_s))
    if step.uncertainty_s is not None:
        message.uncertainty.FromTimedelta(timedelta(seconds=step.uncertainty_s))
    return message


def from_message(message: tracks_pb2.IdentityDecision) -> IdentityDecision:
    """Return the decision of a message."""
    reason = tracks_pb2.IdentityReason.Name(message.reason).removeprefix("IDENTITY_REASON_")
    return IdentityDecision(
        status=IdentityStatus(tracks_pb2.IdentityStatus.Name(message.status).removeprefix("IDENTITY_STATUS_")),
        person=message.person,
        reason=IdentityReason(reason) if message.reason else None,
        candidates=tuple(Candidate(one.person, one.similarity, one.person_id) for one in message.candidates),
        margin=message.margin if message.HasField("margin") else None,
        threshold=message.threshold if message.HasField("threshold") else None,
        samples=message.samples,
        best_quality=message.best_quality,
        revision=message.revision,
        person_id=message.person_id,
        confirmed=message.confirmed,
        beside_track_id=message.beside_track_id,
        required=message.required if message.HasField("required") else None,
        pseudonym=message.pseudonym,
    )


def _has_ids(track: tracks_pb2.Track) -> bool:
    if not track.HasField("decision"):
        return False
    return bool(track.decision.person_id) or any(one.person_id for one in track.decision.candidates)
