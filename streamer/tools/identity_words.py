"""Formats the identity of a track for people: the name, or why there is none."""

from faceanalytics.names import printable
from faceanalytics.v1 import tracks_pb2


def who(decision: tracks_pb2.IdentityDecision) -> str:
    """Return the person's name, or why there is no name."""
    if decision.status == tracks_pb2.IDENTITY_STATUS_IDENTIFIED:
        return printable(decision.person) or decision.person_id
    status = tracks_pb2.IdentityStatus.Name(decision.status).removeprefix("IDENTITY_STATUS_").lower()
    reason = why(decision)
    return f"{status} ({reason})" if reason else status


def why(decision: tracks_pb2.IdentityDecision) -> str:
    """Return why nobody is named; empty: nobody is similar enough."""
    first, second = [*(_candidate(one) for one in decision.candidates[:2]), "", ""][:2]
    best = decision.candidates[0].similarity if decision.candidates else 0.0
    match decision.reason:
        case tracks_pb2.IDENTITY_REASON_AMBIGUOUS if second:
            return f"ambiguous: {first} or {second}"
        case tracks_pb2.IDENTITY_REASON_SAME_FRAME if first:
            return f"like {first}, but another face in the same frame has the name"
        case tracks_pb2.IDENTITY_REASON_LOOK_ALIKE if first:
            return f"like {first}, but others are, too: cosine {best:.2f}, {decision.required:.2f} needed"
        case tracks_pb2.IDENTITY_REASON_NOT_CONFIRMED if first:
            return f"{first}, if the next search agrees"
        case tracks_pb2.IDENTITY_REASON_TOO_LITTLE_EVIDENCE:
            return "too few good images"
        case tracks_pb2.IDENTITY_REASON_BELOW_THRESHOLD | tracks_pb2.IDENTITY_REASON_UNSPECIFIED:
            return ""
    return tracks_pb2.IdentityReason.Name(decision.reason).removeprefix("IDENTITY_REASON_").lower().replace("_", " ")


def _candidate(candidate: tracks_pb2.Candidate) -> str:
    return printable(candidate.person) or candidate.person_id
