"""The values as messages of faceanalytics.v1, and the settings of streams back from them."""

from datetime import datetime, timedelta
from typing import Any, Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from faceanalytics.v1 import faces_pb2, streams_pb2, system_pb2, tracks_pb2
from streamer.config import Stream, redact
from streamer.errors import ConfigError
from streamer.values import (
    LANDMARK_NAMES,
    AgeEstimate,
    AttributeEstimate,
    Evidence,
    ExpressionEstimate,
    Floats,
    IdentityDecision,
    IdentityEstimate,
    Model,
    SourceStatus,
    TrackSummary,
)

EXPRESSIONS = faces_pb2.Expression.values()[1:]  # in the order of the network's outputs
ATTRIBUTES = faces_pb2.Attribute.values()[1:]
SEGMENTS = 100  # of a timeline, the newest; more would make every message of a long track longer
TRANSPORTS = {
    streams_pb2.TRANSPORT_UNSPECIFIED: "tcp",
    streams_pb2.TRANSPORT_TCP: "tcp",
    streams_pb2.TRANSPORT_UDP: "udp",
}
# fields of config.Stream -> what the API calls them
API_NAMES = {
    "id": "stream_id",
    "uri": "settings.uri",
    "transport": "settings.transport",
    "connect_timeout_s": "settings.connect_timeout",
    "stall_timeout_s": "settings.stall_timeout",
    "max_fps": "settings.max_fps",
    "loop": "settings.loop",
    "enabled": "settings.paused",
}


def to_proto(summary: TrackSummary, include_embedding: bool = False) -> tracks_pb2.Track:
    """The message for a summary; the embedding only if asked for."""
    width, height = summary.frame_size
    age, expression = summary.age, summary.expression
    attributes, identity = summary.attributes, summary.identity
    return tracks_pb2.Track(
        track_id=summary.key.id,
        stream_id=summary.key.camera,
        stream_epoch=summary.epoch,
        number=summary.key.number,
        state=tracks_pb2.TrackState.Value(f"TRACK_STATE_{summary.state.value}"),
        first_seen_s=summary.first_seen,
        last_seen_s=summary.last_seen,
        first_captured_at=_timestamp(summary.first_captured_at),
        last_captured_at=_timestamp(summary.last_captured_at),
        clock_source=tracks_pb2.ClockSource.Value(f"CLOCK_SOURCE_{summary.clock_source.value}"),
        box=_box(summary.box),
        landmarks=None if summary.landmarks is None else _landmarks(summary.landmarks),
        frame_width=width,
        frame_height=height,
        detection_score=summary.score,
        quality=summary.quality,
        reasons=[tracks_pb2.Reason.Value(f"REASON_{reason.value}") for reason in summary.reasons],
        age=_age(age, _evidence(age.evidence, summary)) if age else None,
        expression=_expression(expression, _evidence(expression.evidence, summary)) if expression else None,
        attributes=_attributes(attributes, _evidence(attributes.evidence, summary)) if attributes else None,
        identity=_identity(identity, _evidence(identity.evidence, summary), include_embedding) if identity else None,
        samples=summary.samples,
        model_id=summary.model_id,
        revision=summary.revision,
        split_from=summary.split_from,
        final=summary.final,
        end_reason=tracks_pb2.EndReason.Value(
            f"END_REASON_{summary.end_reason.value if summary.end_reason else 'UNSPECIFIED'}"
        ),
        decision=_decision(summary.decision) if summary.decision else None,
        intervals=[
            tracks_pb2.Interval(track_id=one.track_id, first_seen_s=one.first_seen, last_seen_s=one.last_seen)
            for one in summary.intervals
        ],
        merged_into=summary.merged_into,
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def seconds(duration: Duration) -> float:
    """A duration in s."""
    return duration.seconds + duration.nanos * 1e-9


def _box(box: Floats) -> faces_pb2.Box:
    left, top, right, bottom = box.tolist()
    return faces_pb2.Box(x=left, y=top, width=right - left, height=bottom - top)


def _landmarks(points: Floats) -> faces_pb2.Landmarks:
    named = zip(LANDMARK_NAMES, points.tolist(), strict=True)
    return faces_pb2.Landmarks(**{name: faces_pb2.Point(x=x, y=y) for name, (x, y) in named})


def _evidence(evidence: Evidence, summary: TrackSummary) -> tracks_pb2.Evidence:
    seen = summary.last_captured_at
    ago = timedelta(seconds=summary.last_seen - evidence.last_inferred)
    return tracks_pb2.Evidence(
        samples=evidence.samples,
        best_quality=evidence.best_quality,
        last_inferred_s=evidence.last_inferred,
        last_inferred_at=None if seen is None else _timestamp(seen - ago),
        revision=evidence.revision,
        final=summary.final,
    )


def _age(age: AgeEstimate, evidence: tracks_pb2.Evidence) -> tracks_pb2.AgeEstimate:
    return tracks_pb2.AgeEstimate(years=age.years, low_years=age.low, high_years=age.high, evidence=evidence)


def _expression(estimate: ExpressionEstimate, evidence: tracks_pb2.Evidence) -> tracks_pb2.ExpressionEstimate:
    shares = zip(EXPRESSIONS, estimate.distribution.tolist(), strict=True)
    current = estimate.current
    return tracks_pb2.ExpressionEstimate(
        appears=faces_pb2.EXPRESSION_UNSPECIFIED if current is None else EXPRESSIONS[current],
        since_s=estimate.current_since,
        distribution=[tracks_pb2.ExpressionShare(expression=which, share=share) for which, share in shares],
        timeline=[
            tracks_pb2.ExpressionSegment(
                expression=EXPRESSIONS[segment.expression],
                start_s=segment.start,
                end_s=segment.end,
                confidence=segment.confidence,
            )
            for segment in estimate.timeline[-SEGMENTS:]
        ],
        evidence=evidence,
    )


def _attributes(estimate: AttributeEstimate, evidence: tracks_pb2.Evidence) -> tracks_pb2.AttributeEstimate:
    parts = zip(estimate.which, estimate.scores.tolist(), estimate.signs, strict=True)
    return tracks_pb2.AttributeEstimate(
        scores=[
            tracks_pb2.AttributeScore(
                attribute=ATTRIBUTES[place], score=score, sign=tracks_pb2.Sign.Value(f"SIGN_{sign.value}")
            )
            for place, score, sign in parts
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
    )


def _decision(decision: IdentityDecision) -> tracks_pb2.IdentityDecision:
    reason = decision.reason.value if decision.reason else "UNSPECIFIED"
    return tracks_pb2.IdentityDecision(
        status=tracks_pb2.IdentityStatus.Value(f"IDENTITY_STATUS_{decision.status.value}"),
        person=decision.person,
        reason=tracks_pb2.IdentityReason.Value(f"IDENTITY_REASON_{reason}"),
        candidates=[tracks_pb2.Candidate(person=one.person, similarity=one.similarity) for one in decision.candidates],
        margin=decision.margin,
        threshold=decision.threshold,
        samples=decision.samples,
        best_quality=decision.best_quality,
        revision=decision.revision,
    )


def model_to_proto(model: Model, workers: int) -> system_pb2.Model:
    """The message for a model that so many workers have."""
    return system_pb2.Model(
        model_id=model.id,
        tells_age=model.age,
        tells_expression=model.expression,
        attributes=[ATTRIBUTES[place] for place in model.attributes],
        tells_identity=model.identity,
        licence=model.licence,
        workers=workers,
    )


def stream_to_proto(stream: Stream, status: SourceStatus) -> streams_pb2.Stream:
    """The message for a stream, its address without user, password and query."""
    error = status.error.value if status.error else "UNSPECIFIED"
    return streams_pb2.Stream(
        stream_id=stream.id,
        settings=streams_pb2.StreamSettings(
            uri=shown_address(stream),
            transport=streams_pb2.TRANSPORT_UDP if stream.transport == "udp" else streams_pb2.TRANSPORT_TCP,
            connect_timeout=_duration(stream.connect_timeout_s),
            stall_timeout=_duration(stream.stall_timeout_s),
            max_fps=stream.max_fps or 0.0,
            loop=stream.loop,
            paused=not stream.enabled,
        ),
        state=streams_pb2.StreamState.Value(f"STREAM_STATE_{status.state.value}"),
        error_code=streams_pb2.StreamErrorCode.Value(f"STREAM_ERROR_CODE_{error}"),
        error_message=status.message,
        epoch=status.epoch,
        connects=status.connects,
        frames_decoded=status.frames_decoded,
        frame_width=status.width,
        frame_height=status.height,
    )


def shown_address(stream: Stream) -> str:
    """The address as answers show it; empty if it is in a file that cannot be read."""
    try:
        return redact(stream.address())
    except ConfigError:
        return ""


def stream_fields(settings: streams_pb2.StreamSettings) -> dict[str, dict[str, Any]]:
    """Each of the settings by name, as the fields of config.Stream that it stands for."""
    max_fps = settings.max_fps if settings.max_fps != 0 else None
    return {
        "uri": {"uri": settings.uri, "uri_file": None},
        "transport": {"transport": TRANSPORTS.get(settings.transport, "unknown")},
        "connect_timeout": {"connect_timeout_s": _given(settings, "connect_timeout")},
        "stall_timeout": {"stall_timeout_s": _given(settings, "stall_timeout")},
        "max_fps": {"max_fps": max_fps},
        "loop": {"loop": settings.loop},
        "paused": {"enabled": not settings.paused},
    }


def _given(settings: streams_pb2.StreamSettings, name: Literal["connect_timeout", "stall_timeout"]) -> float:
    """A duration of the settings in s; absent: the default of the configuration."""
    if settings.HasField(name):
        return seconds(getattr(settings, name))
    return float(Stream.model_fields[f"{name}_s"].default)


def _duration(value: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration
