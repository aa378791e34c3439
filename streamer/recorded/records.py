"""Makes the JSON records of a recorded analysis, with units in the field names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from streamer.labels import ATTRIBUTES, EXPRESSIONS
from streamer.values import (
    LANDMARK_NAMES,
    AgeEstimate,
    AttributeEstimate,
    Evidence,
    ExpressionEstimate,
    FaceAnalysis,
    FaceCrop,
    Floats,
    IdentityDecision,
    IdentityEstimate,
    Model,
    Observation,
    Quality,
    Reason,
    TimeBase,
    Track,
    TrackSummary,
)

if TYPE_CHECKING:
    from streamer.recorded.people import Person
    from streamer.source.file import VideoInfo  # PyAV, which a reader of results does not need

SCHEMA_VERSION = 5

Record = dict[str, Any]  # one line of a file of results


def box(corners: Floats) -> dict[str, float]:
    """Return a box x1 y1 x2 y2 (px) as named fields, rounded to 0.01 px."""
    x1, y1, x2, y2 = (float(value) for value in corners)
    return {"x": round(x1, 2), "y": round(y1, 2), "width": round(x2 - x1, 2), "height": round(y2 - y1, 2)}


def landmarks(points: Floats) -> dict[str, dict[str, float]]:
    """Return landmarks (5, 2) in px as named points, rounded to 0.01 px."""
    return {
        name: {"x": round(float(x), 2), "y": round(float(y), 2)}
        for name, (x, y) in zip(LANDMARK_NAMES, points, strict=True)
    }


def source_record(name: str, content_hash: str, info: "VideoInfo") -> dict[str, Any]:
    """Return the fields of the header about the video; `geometry.matrix` takes published x, y, 1 to stored x, y."""
    geometry = info.geometry
    return {
        "name": name,
        "sha256": content_hash,
        "width": info.width,
        "height": info.height,
        "video_stream": info.video_stream,
        "geometry": {
            "stored_width": geometry.stored[0],
            "stored_height": geometry.stored[1],
            "sample_aspect_ratio": f"{geometry.aspect.numerator}:{geometry.aspect.denominator}",
            "matrix": [[_number(value, 6) for value in row] for row in geometry.to_stored().tolist()],
        },
    }


def time_base_record(time_base: TimeBase) -> dict[str, Any]:
    """Return the field `time_base` of the header: media times are in seconds since the first frame."""
    return {
        "zero": "first frame",
        "source": time_base.source,
        "estimated_frames": time_base.estimated_frames,
        "restarts": time_base.restarts,
    }


def size_record(size: tuple[int, int], usual: tuple[int, int]) -> dict[str, int]:
    """Return width and height of a frame in px if they are not the usual ones, those of the header."""
    return {} if size == usual else {"frame_width": size[0], "frame_height": size[1]}


def model_record(model: Model) -> dict[str, Any]:
    """Return the fields of the header about the model. Outputs that it lacks are null or missing in every record."""
    return {
        "model_id": model.id,
        "outputs": {
            "age": model.age,
            "expression": model.expression,
            "attributes": [ATTRIBUTES[place] for place in model.attributes],
            "identity": model.identity,
        },
        "licence": model.licence,
    }


def scores(names: Sequence[str], values: Floats) -> dict[str, float]:
    """Return scores (n,) by name, rounded to four digits."""
    return {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}


def frame_record(observation: Observation, frame: int, faces: int, usual: tuple[int, int]) -> dict[str, Any]:
    """Return the record of one analysed frame, which stands before those of its `faces` observations.

    `frame` counts the analysed frames from 0; `usual` is the frame size in the header, px.
    """
    record: dict[str, Any] = {
        "type": "frame",
        "frame": frame,
        "media_time_s": round(observation.media_time, 6),
        "shot": observation.shot,
        "faces": faces,
        **size_record(observation.frame_size, usual),
    }
    if observation.time_estimated:
        record["time_estimated"] = True
    if not observation.searched:
        record["searched"] = False
    return record


def observation_record(
    observation: Observation, track: Track, frame: int, quality: Quality | None, usual: tuple[int, int]
) -> dict[str, Any]:
    """Return the record of one face in one frame, with the reasons if it could not be analysed.

    `quality`: None if it was not assessed; `usual` is the frame size in the header, px.
    """
    assert track.detection is not None
    record: dict[str, Any] = {
        "type": "observation",
        "frame": frame,
        "media_time_s": round(observation.media_time, 6),
        "track_id": track.key.id,
        "number": track.key.number,
        "box": box(track.box),
        **size_record(observation.frame_size, usual),
        "detection_score": round(track.score, 4),
        "landmarks": landmarks(observation.detections.landmarks[track.detection]),
        "quality": None if quality is None else round(quality.value, 4),
        **_pose(quality if quality is not None and quality.pose_known else None),
    }
    if observation.time_estimated:
        record["time_estimated"] = True
    if track.key.id in observation.filled:
        record["interpolated"] = True
    if track.key.id in observation.skipped:
        record["skipped"] = _names(observation.skipped[track.key.id])
    return record


def _pose(quality: Quality | None) -> dict[str, float | None]:
    """Return the head pose by name; None: it is not known."""
    angles = (None, None, None) if quality is None else (quality.yaw, quality.pitch, quality.roll)
    names = ("yaw_deg", "pitch_deg", "roll_deg")
    return {name: None if one is None else _number(one, 1) for name, one in zip(names, angles, strict=True)}


def analysis_record(crop: FaceCrop, frame: int, analysis: FaceAnalysis | None) -> dict[str, Any]:
    """Return the record of one crop's analysis; None: the crop was lost.

    `frame` and `media_time_s` are those of the crop, which may have waited.
    """
    return {
        "type": "analysis",
        "frame": frame,
        "media_time_s": round(crop.media_time, 6),
        "track_id": crop.key.id,
        "number": crop.key.number,
        "quality": round(crop.quality.value, 4),
        "analysis": None if analysis is None else _analysis(analysis),
    }


def _analysis(analysis: FaceAnalysis) -> dict[str, Any]:
    attributes = [ATTRIBUTES[place] for place in analysis.model.attributes]
    return {
        "age_years": None if analysis.age is None else _number(max(0.0, analysis.age), 2),
        "expression": None if analysis.expression is None else scores(EXPRESSIONS, analysis.expression),
        "attributes": scores(attributes, analysis.attributes) if attributes else None,
        "embedding_norm": None if analysis.embedding_norm is None else _number(analysis.embedding_norm, 3),
    }


def track_record(summary: TrackSummary, usual: tuple[int, int]) -> dict[str, Any]:
    """Return the final record of one track, in the field names of the API's Track.

    `usual` is the frame size in the header, px.
    """
    return {
        "type": "track",
        "track_id": summary.key.id,
        "number": summary.key.number,
        "first_seen_s": round(summary.first_seen, 6),
        "last_seen_s": round(summary.last.time, 6),
        "end_reason": summary.end_reason.value if summary.end_reason else None,
        "box": box(summary.last.box),
        **size_record(summary.last.frame_size, usual),
        "quality": round(summary.quality, 4),
        "reasons": _names(summary.reasons),
        "samples": summary.estimates.samples,
        "model_id": summary.estimates.model_id,
        **_described(summary),
        "age": _age(summary.estimates.age),
        "expression": _expression(summary.estimates.expression),
        "attributes": _attributes(summary.estimates.attributes),
        "decision": _decision(summary.decision),
        "intervals": [
            {
                "track_id": one.track_id,
                "first_seen_s": round(one.first_seen, 6),
                "last_seen_s": round(one.last_seen, 6),
            }
            for one in summary.intervals
        ],
        "identity": _identity(summary.estimates.identity),
        "split_from": summary.split_from or None,
        "revision": summary.revision,
        "final": summary.final,
    }


def person_record(person: "Person") -> Record:
    """Return the record of one person; the ids of `intervals` are those under which the observations have them."""
    parts = sorted(
        (part for track in person.tracks for part in track.intervals),
        key=lambda part: (part.first_seen, part.last_seen),
    )
    shares, best = person.estimates.expression, person.best
    record: Record = {
        "type": "person",
        "person_id": person.id,
        "number": person.number,
        "name": person.name or None,
        "track_ids": [track.key.id for track in person.tracks],
        "intervals": [
            {"track_id": part.track_id, "start_s": round(part.first_seen, 6), "end_s": round(part.last_seen, 6)}
            for part in parts
        ],
        "first_seen_s": round(min(part.first_seen for part in parts), 6),
        "last_seen_s": round(max(part.last_seen for part in parts), 6),
        "seen_s": round(sum(part.last_seen - part.first_seen for part in parts), 6),
        "described": not person.undescribed_reasons,
        "undescribed_reasons": list(person.undescribed_reasons),
        "age": _age(person.estimates.age),
        "expression": None
        if shares is None
        else {"mostly": EXPRESSIONS[shares.mostly], "shares": scores(EXPRESSIONS, shares.shares)},
        "attributes": _attributes(person.estimates.attributes),
        "samples": person.samples,
        "best_quality": round(best.quality, 4) if best is not None else 0.0,
        "best": None
        if best is None
        else {"track_id": best.track_id, "media_time_s": round(best.media_time, 6), "frame": best.frame},
    }
    if person.uncertain:
        record["uncertain"] = True
    return record


def answer_record(summary: TrackSummary) -> dict[str, Any]:
    """Return the estimates of a track so far, in the field names of its final record, but without the timeline."""
    expression = _expression(summary.estimates.expression)
    if expression is not None:
        del expression["timeline"]
    return {
        "samples": summary.estimates.samples,
        "reasons": _names(summary.reasons),
        **_described(summary),
        "age": _age(summary.estimates.age),
        "expression": expression,
        "decision": _decision(summary.decision),
    }


def _described(summary: TrackSummary) -> dict[str, Any]:
    return {
        "described": summary.described,
        "undescribed_reasons": [reason.value for reason in summary.undescribed],
    }


def _age(age: AgeEstimate | None) -> dict[str, Any] | None:
    if age is None:
        return None
    years = {"years": age.years, "low_years": age.low, "high_years": age.high}
    return {**{name: _number(value, 2) for name, value in years.items()}, **_evidence(age.evidence)}


def _expression(expression: ExpressionEstimate | None) -> dict[str, Any] | None:
    if expression is None:
        return None
    return {
        "appears": None if expression.current is None else EXPRESSIONS[expression.current],
        "since_s": round(expression.current_since, 6),
        "distribution": scores(EXPRESSIONS, expression.distribution),
        "timeline": [
            {
                "appears": EXPRESSIONS[segment.expression],
                "start_s": round(segment.start, 6),
                "end_s": round(segment.end, 6),
                "confidence": round(segment.confidence, 4),
            }
            for segment in expression.timeline
        ],
        **_evidence(expression.evidence),
    }


def _attributes(attributes: AttributeEstimate | None) -> dict[str, Any] | None:
    if attributes is None:
        return None
    names = [ATTRIBUTES[place] for place in attributes.which]
    presence = {name: one.value for name, one in zip(names, attributes.presence, strict=True)}
    return {"scores": scores(names, attributes.scores), "presence": presence, **_evidence(attributes.evidence)}


def _decision(decision: IdentityDecision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {
        "status": decision.status.value,
        "person": decision.person or None,
        "reason": decision.reason.value if decision.reason else None,
        "candidates": [{"person": one.person, "similarity": _number(one.similarity, 4)} for one in decision.candidates],
        "margin": None if decision.margin is None else _number(decision.margin, 4),
        "threshold": None if decision.threshold is None else _number(decision.threshold, 4),
        "samples": decision.samples,
        "best_quality": round(decision.best_quality, 4),
        **({} if decision.required is None else {"required": _number(decision.required, 4)}),
        **({"beside_track_id": decision.beside_track_id} if decision.beside_track_id else {}),
    }


def _identity(identity: IdentityEstimate | None) -> dict[str, Any] | None:
    if identity is None:
        return None
    consistency = None if identity.consistency is None else _number(identity.consistency, 4)
    return {
        "status": identity.status.value,
        "consistency": consistency,
        "outliers": identity.outliers,
        **_evidence(identity.evidence),
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "samples": evidence.samples,
        "best_quality": round(evidence.best_quality, 4),
        "last_inferred_s": round(evidence.last_inferred, 6),
        "revision": evidence.revision,
    }


def _number(value: float, digits: int) -> float:
    """Round a number; -0.0 becomes 0.0."""
    return round(value, digits) + 0.0


def _names(reasons: tuple[Reason, ...]) -> list[str]:
    return [reason.value for reason in reasons]
