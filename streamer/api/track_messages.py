"""Converts summaries of tracks to messages."""

from datetime import timedelta

from faceanalytics.v1 import faces_pb2, tracks_pb2
from streamer.api.messages import timestamp
from streamer.labels import ATTRIBUTE_VALUES, EXPRESSION_VALUES
from streamer.store.decisions import to_message, visitor_message
from streamer.values import (
    LANDMARK_NAMES,
    AgeEstimate,
    AttributeEstimate,
    Evidence,
    ExpressionEstimate,
    Floats,
    IdentityEstimate,
    TrackSummary,
)

SEGMENTS = 100  # newest segments of a timeline in a message; the limit bounds the messages of a long track


def to_proto(summary: TrackSummary, include_embedding: bool = False) -> tracks_pb2.Track:
    """Return the message of a summary, with the embedding only if `include_embedding`."""
    last, estimates = summary.last, summary.estimates
    width, height = last.frame_size
    age, expression = estimates.age, estimates.expression
    attributes, identity = estimates.attributes, estimates.identity
    return tracks_pb2.Track(
        track_id=summary.key.id,
        stream_id=summary.key.camera,
        stream_epoch=summary.epoch,
        number=summary.key.number,
        state=tracks_pb2.TrackState.Value(f"TRACK_STATE_{summary.state.value}"),
        first_seen_s=summary.first_seen,
        last_seen_s=last.time,
        first_captured_at=timestamp(summary.first_captured_at),
        last_captured_at=timestamp(last.captured_at),
        clock_source=tracks_pb2.ClockSource.Value(f"CLOCK_SOURCE_{summary.clock_source.value}"),
        box=_box(last.box),
        landmarks=_landmarks(last.landmarks) if last.landmarks is not None else None,
        frame_width=width,
        frame_height=height,
        detection_score=last.score,
        quality=summary.quality,
        reasons=[tracks_pb2.Reason.Value(f"REASON_{reason.value}") for reason in summary.reasons],
        age=_age(age, _evidence(age.evidence, summary)) if age else None,
        expression=_expression(expression, _evidence(expression.evidence, summary)) if expression else None,
        attributes=_attributes(attributes, _evidence(attributes.evidence, summary)) if attributes else None,
        identity=_identity(identity, _evidence(identity.evidence, summary), include_embedding) if identity else None,
        samples=estimates.samples,
        model_id=estimates.model_id,
        revision=summary.revision,
        split_from=summary.split_from,
        final=summary.final,
        end_reason=tracks_pb2.EndReason.Value(
            f"END_REASON_{summary.end_reason.value if summary.end_reason else 'UNSPECIFIED'}"
        ),
        decision=to_message(summary.decision) if summary.decision else None,
        intervals=[
            tracks_pb2.Interval(track_id=one.track_id, first_seen_s=one.first_seen, last_seen_s=one.last_seen)
            for one in summary.intervals
        ],
        merged_into=summary.merged_into,
        described=summary.described,
        undescribed_reasons=[
            tracks_pb2.UndescribedReason.Value(f"UNDESCRIBED_REASON_{reason.value}") for reason in summary.undescribed
        ],
        visitor=visitor_message(summary.visitor) if summary.visitor else None,
    )


def _box(box: Floats) -> faces_pb2.Box:
    left, top, right, bottom = box.tolist()
    return faces_pb2.Box(x=left, y=top, width=right - left, height=bottom - top)


def _landmarks(points: Floats) -> faces_pb2.Landmarks:
    named = zip(LANDMARK_NAMES, points.tolist(), strict=True)
    return faces_pb2.Landmarks(**{name: faces_pb2.Point(x=x, y=y) for name, (x, y) in named})


def _evidence(evidence: Evidence, summary: TrackSummary) -> tracks_pb2.Evidence:
    seen = summary.last.captured_at
    ago = timedelta(seconds=summary.last.time - evidence.last_inferred)
    return tracks_pb2.Evidence(
        samples=evidence.samples,
        best_quality=evidence.best_quality,
        last_inferred_s=evidence.last_inferred,
        last_inferred_at=timestamp(seen - ago) if seen is not None else None,
        revision=evidence.revision,
        final=summary.final,
    )


def _age(age: AgeEstimate, evidence: tracks_pb2.Evidence) -> tracks_pb2.AgeEstimate:
    return tracks_pb2.AgeEstimate(years=age.years, low_years=age.low, high_years=age.high, evidence=evidence)


def _expression(estimate: ExpressionEstimate, evidence: tracks_pb2.Evidence) -> tracks_pb2.ExpressionEstimate:
    shares = zip(EXPRESSION_VALUES, estimate.distribution.tolist(), strict=True)
    current = estimate.current
    return tracks_pb2.ExpressionEstimate(
        appears=faces_pb2.EXPRESSION_UNSPECIFIED if current is None else EXPRESSION_VALUES[current],
        since_s=estimate.current_since,
        distribution=[tracks_pb2.ExpressionShare(expression=which, share=share) for which, share in shares],
        timeline=[
            tracks_pb2.ExpressionSegment(
                expression=EXPRESSION_VALUES[segment.expression],
                start_s=segment.start,
                end_s=segment.end,
                confidence=segment.confidence,
            )
            for segment in estimate.timeline[-SEGMENTS:]
        ],
        evidence=evidence,
    )


def _attributes(estimate: AttributeEstimate, evidence: tracks_pb2.Evidence) -> tracks_pb2.AttributeEstimate:
    parts = zip(estimate.which, estimate.scores.tolist(), estimate.presence, strict=True)
    return tracks_pb2.AttributeEstimate(
        scores=[
            tracks_pb2.AttributeScore(
                attribute=ATTRIBUTE_VALUES[place],
                score=score,
                presence=tracks_pb2.Presence.Value(f"PRESENCE_{presence.value}"),
            )
            for place, score, presence in parts
        ],
        evidence=evidence,
    )


def _identity(
    estimate: IdentityEstimate, evidence: tracks_pb2.Evidence, include_embedding: bool
) -> tracks_pb2.IdentityEstimate:
    return tracks_pb2.IdentityEstimate(
        embedding=estimate.template.tolist() if include_embedding else (),
        consistency=estimate.consistency,
        outliers=estimate.outliers,
        evidence=evidence,
        status=tracks_pb2.IdentityAgreement.Value(f"IDENTITY_AGREEMENT_{estimate.status.value}"),
    )
