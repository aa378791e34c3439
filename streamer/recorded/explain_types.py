"""Defines the records of explain.jsonl."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from streamer.recorded.field_types import (
    STRICT,
    Count,
    Name,
    Pixels,
    Quality,
    Seconds,
    TrackId,
    TrackNumber,
)
from streamer.recorded.record_types import Age, Box, Decision, NewestExpression


class FaceQuality(TypedDict):
    """How well a face can be analysed, and what lowers it."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    value: Quality
    reasons: list[Name]
    factors: dict[str, float]
    eye_distance_px: float
    yaw_deg: float
    pitch_deg: float
    sharpness: float


class Choice(TypedDict):
    """explain.jsonl: what was decided about one face in one frame."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["choice"]
    media_time_s: Seconds
    track_id: TrackId
    number: TrackNumber
    crop_media_time_s: Seconds
    decision: Name
    expected_gain: float
    quality: FaceQuality


class State(TypedDict):
    """explain.jsonl: a track that is not confirmed or not in view."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["state"]
    media_time_s: Seconds
    track_id: TrackId
    number: TrackNumber
    state: Literal["TENTATIVE", "CONFIRMED", "LOST", "ENDED"]
    box: Box
    frame_width: NotRequired[Pixels]
    frame_height: NotRequired[Pixels]


class Answer(TypedDict):
    """explain.jsonl: the estimates of a track after an analysis."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["answer"]
    media_time_s: Seconds
    track_id: TrackId
    number: TrackNumber
    crop_media_time_s: Seconds
    samples: Count
    reasons: list[Name]
    described: bool
    undescribed_reasons: list[Name]
    age: Age | None
    expression: NewestExpression | None
    decision: Decision | None


class TrackChoices(TypedDict):
    """explain.jsonl: how often each decision was made for a track."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["track"]
    media_time_s: Seconds
    track_id: TrackId
    number: TrackNumber
    decisions: dict[str, Count]
    unusable: dict[str, Count]
    first_sent_s: Seconds | None
