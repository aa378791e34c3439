"""Makes the values of the Python API of the messages about tracks."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from faceanalytics import tracks
from faceanalytics.tracks import Box, Interval, LiveTrack, Point
from faceanalytics.v1 import faces_pb2, tracks_pb2
from streamer.values import LANDMARK_NAMES


def to_track(track: tracks_pb2.Track) -> LiveTrack:
    """The value for a message."""
    return LiveTrack(
        track_id=track.track_id,
        stream_id=track.stream_id,
        stream_epoch=track.stream_epoch,
        number=track.number,
        state=_word(tracks_pb2.TrackState.Name(track.state), "TRACK_STATE_"),
        first_seen_s=track.first_seen_s,
        last_seen_s=track.last_seen_s,
        first_captured_at=to_time(track.first_captured_at) if track.HasField("first_captured_at") else None,
        last_captured_at=to_time(track.last_captured_at) if track.HasField("last_captured_at") else None,
        clock_source=_word(tracks_pb2.ClockSource.Name(track.clock_source), "CLOCK_SOURCE_"),
        end_reason=_word(tracks_pb2.EndReason.Name(track.end_reason), "END_REASON_") if track.end_reason else None,
        box=Box(track.box.x, track.box.y, track.box.width, track.box.height),
        landmarks=_landmarks(track.landmarks) if track.HasField("landmarks") else {},
        frame_width=track.frame_width,
        frame_height=track.frame_height,
        detection_score=track.detection_score,
        quality=track.quality,
        reasons=tuple(_word(tracks_pb2.Reason.Name(reason), "REASON_") for reason in track.reasons),
        samples=track.samples,
        model_id=track.model_id,
        described=track.described,
        undescribed_reasons=tuple(
            _word(tracks_pb2.UndescribedReason.Name(reason), "UNDESCRIBED_REASON_")
            for reason in track.undescribed_reasons
        ),
        age=_age(track.age) if track.HasField("age") else None,
        expression=_expression(track.expression) if track.HasField("expression") else None,
        attributes=_attributes(track.attributes) if track.HasField("attributes") else None,
        identity=_identity(track.identity) if track.HasField("identity") else None,
        decision=to_decision(track.decision) if track.HasField("decision") else None,
        intervals=tuple(Interval(one.track_id, one.first_seen_s, one.last_seen_s) for one in track.intervals),
        merged_into=track.merged_into or None,
        split_from=track.split_from or None,
        revision=track.revision,
        final=track.final,
        embedding=np.array(track.identity.embedding, np.float32) if track.identity.embedding else None,
        visitor=_visitor(track.visitor) if track.HasField("visitor") else None,
        journey=_journey(track.journey) if track.HasField("journey") else None,
    )


def _visitor(visitor: tracks_pb2.VisitorSighting) -> tracks.VisitorSighting:
    return tracks.VisitorSighting(
        visitor_id=visitor.visitor_id,
        seen_before=visitor.seen_before,
        visits=visitor.visits,
        first_seen_at=to_time(visitor.first_seen_at),
    )


def _journey(step: tracks_pb2.JourneyStep) -> tracks.JourneyStep:
    return tracks.JourneyStep(
        step=step.step,
        from_track_id=step.from_track_id,
        from_stream_id=step.from_stream_id,
        gap_s=step.gap.ToTimedelta().total_seconds(),
        uncertainty_s=step.uncertainty.ToTimedelta().total_seconds() if step.HasField("uncertainty") else None,
    )


def _landmarks(points: faces_pb2.Landmarks) -> dict[str, Point]:
    return {name: Point(getattr(points, name).x, getattr(points, name).y) for name in LANDMARK_NAMES}


def _age(age: tracks_pb2.AgeEstimate) -> tracks.Age:
    return tracks.Age(years=age.years, low_years=age.low_years, high_years=age.high_years, **_evidence(age.evidence))


def _expression(estimate: tracks_pb2.ExpressionEstimate) -> tracks.Expression:
    return tracks.Expression(
        appears=_expression_name(estimate.appears) if estimate.appears else None,
        since_s=estimate.since_s,
        distribution={_expression_name(one.expression): one.share for one in estimate.distribution},
        timeline=tuple(
            tracks.Segment(
                appears=_expression_name(one.expression),
                start_s=one.start_s,
                end_s=one.end_s,
                confidence=one.confidence,
            )
            for one in estimate.timeline
        ),
        **_evidence(estimate.evidence),
    )


def _attributes(estimate: tracks_pb2.AttributeEstimate) -> tracks.Attributes:
    names = [_word(faces_pb2.Attribute.Name(one.attribute), "ATTRIBUTE_").lower() for one in estimate.scores]
    presence = [_word(tracks_pb2.Presence.Name(one.presence), "PRESENCE_") for one in estimate.scores]
    return tracks.Attributes(
        scores=dict(zip(names, [one.score for one in estimate.scores], strict=True)),
        presence=dict(zip(names, presence, strict=True)),
        **_evidence(estimate.evidence),
    )


def _identity(estimate: tracks_pb2.IdentityEstimate) -> tracks.Identity:
    return tracks.Identity(
        consistency=estimate.consistency if estimate.HasField("consistency") else None,
        outliers=estimate.outliers,
        status=_word(tracks_pb2.IdentityAgreement.Name(estimate.status), "IDENTITY_AGREEMENT_"),
        **_evidence(estimate.evidence),
    )


def to_decision(decision: tracks_pb2.IdentityDecision) -> tracks.Decision:
    """Return the value for the identity of a track."""
    return tracks.Decision(
        status=_word(tracks_pb2.IdentityStatus.Name(decision.status), "IDENTITY_STATUS_"),
        person=decision.person or None,
        reason=_word(tracks_pb2.IdentityReason.Name(decision.reason), "IDENTITY_REASON_") if decision.reason else None,
        candidates=tuple(tracks.Candidate(one.person, one.similarity) for one in decision.candidates),
        margin=decision.margin if decision.HasField("margin") else None,
        threshold=decision.threshold if decision.HasField("threshold") else None,
        samples=decision.samples,
        best_quality=decision.best_quality,
        required=decision.required if decision.HasField("required") else None,
        beside_track_id=decision.beside_track_id or None,
        pseudonym=decision.pseudonym or None,
    )


def _evidence(evidence: tracks_pb2.Evidence) -> dict[str, Any]:
    return {
        "samples": evidence.samples,
        "best_quality": evidence.best_quality,
        "last_inferred_s": evidence.last_inferred_s,
        "revision": evidence.revision,
    }


def _expression_name(value: faces_pb2.Expression.ValueType) -> str:
    return _word(faces_pb2.Expression.Name(value), "EXPRESSION_").lower()


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix)


def to_time(timestamp: Timestamp) -> datetime:
    """Return a moment, UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)
