"""Defines the records of tracks, people, shots and frames: what each line holds, with units, checked strictly."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from streamer.recorded.field_types import (
    STRICT,
    Cosine,
    Count,
    Degrees,
    FrameNumber,
    Name,
    Number,
    Pixels,
    Quality,
    Seconds,
    Share,
    TrackId,
    TrackNumber,
)


class Point(TypedDict):
    """A place in a frame, pixels."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    x: float
    y: float


class Box(TypedDict):
    """A rectangle in a frame, pixels; x and y are its upper left corner."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    x: float
    y: float
    width: Annotated[float, Field(ge=0)]
    height: Annotated[float, Field(ge=0)]


class Landmarks(TypedDict):
    """Left and right as seen in the image."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


class Frame(TypedDict):
    """observations.jsonl: one analysed frame, before its observations."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["frame"]
    frame: FrameNumber
    media_time_s: Seconds
    shot: Annotated[Number, Field(description="number of the shot, from 1")]
    faces: Annotated[Count, Field(description="observations that follow")]
    frame_width: NotRequired[Annotated[Pixels, Field(description="if it is not that of the header")]]
    frame_height: NotRequired[Pixels]
    time_estimated: NotRequired[
        Annotated[Literal[True], Field(description="the neighbours of the frame gave its time")]
    ]
    searched: NotRequired[
        Annotated[Literal[False], Field(description="not searched for faces, to save time; its faces are interpolated")]
    ]


class Observation(TypedDict):
    """observations.jsonl: one face in one frame."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["observation"]
    frame: FrameNumber
    media_time_s: Seconds
    track_id: TrackId
    number: TrackNumber
    box: Box
    frame_width: NotRequired[Pixels]
    frame_height: NotRequired[Pixels]
    detection_score: Share
    landmarks: Landmarks
    quality: Annotated[Quality | None, Field(description="by its geometry alone if the face was not chosen")]
    yaw_deg: Annotated[Degrees | None, Field(description="positive looks to the right of the image; null: unknown")]
    pitch_deg: Annotated[Degrees | None, Field(description="positive looks down")]
    roll_deg: Annotated[Degrees | None, Field(description="positive is turned clockwise in the image")]
    time_estimated: NotRequired[Literal[True]]
    interpolated: NotRequired[
        Annotated[Literal[True], Field(description="between the detections of the frames before and after")]
    ]
    skipped: NotRequired[Annotated[list[Name], Field(description="why the face could not be analysed")]]


class CropAnalysis(TypedDict):
    """What SwinFace gives for one crop; null: the weights lack it."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    age_years: float | None
    expression: Annotated[dict[str, Share] | None, Field(description="scores by name")]
    attributes: Annotated[dict[str, Share] | None, Field(description="scores of presence by name, not calibrated")]
    embedding_norm: float | None


class Analysis(TypedDict):
    """observations.jsonl: one analysed crop; frame and time are its own, which may be before the line's place."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["analysis"]
    frame: FrameNumber
    media_time_s: Seconds
    track_id: TrackId
    number: TrackNumber
    quality: Quality
    analysis: Annotated[CropAnalysis | None, Field(description="null: no worker answered")]


class Evidence(TypedDict):
    """The data behind an estimate."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    samples: Annotated[Count, Field(description="analyses that went in")]
    best_quality: Quality
    last_inferred_s: Seconds
    revision: Count


class Age(Evidence):
    """The age that the face appears to have; between low and high with 80 % probability."""

    years: float
    low_years: float
    high_years: float


class Segment(TypedDict):
    """A stretch of time in which the face appeared to show one expression."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    appears: str
    start_s: Seconds
    end_s: Seconds
    confidence: Share


class NewestExpression(Evidence):
    """What the face appears to show, now and over the whole track."""

    appears: str | None
    since_s: Seconds
    distribution: Annotated[dict[str, Share], Field(description="shares of the analysed time")]


class Expression(NewestExpression):
    """The same with what was shown when."""

    timeline: list[Segment]


class Attributes(Evidence):
    """The attributes that the weights were trained for."""

    scores: Annotated[dict[str, Share], Field(description="mean score of presence, not calibrated")]
    presence: dict[str, Literal["PRESENT", "ABSENT", "UNDECIDED"]]


class Candidate(TypedDict):
    """How similar a person of the gallery is."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    person: str
    similarity: Cosine


class Decision(TypedDict):
    """Who the face is, of the people of the gallery."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    status: Literal["IDENTIFIED", "UNKNOWN", "UNDECIDED"]
    person: str | None
    reason: Name | None
    candidates: list[Candidate]
    margin: float | None
    threshold: float | None
    samples: Count
    best_quality: Quality
    required: NotRequired[
        Annotated[float, Field(description="cosine that the first candidate needs, if more than threshold")]
    ]
    beside_track_id: NotRequired[
        Annotated[str, Field(description="the track that has the name, if the reason is SAME_FRAME")]
    ]


class Interval(TypedDict):
    """A stretch of a track's presence without a break."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    track_id: TrackId
    first_seen_s: Seconds
    last_seen_s: Seconds


class Identity(Evidence):
    """How well the crops of a track agree."""

    consistency: Cosine | None
    outliers: Count
    status: Literal["CONSISTENT", "CONFLICTING"]


class Track(TypedDict):
    """tracks.jsonl: everything known of one track."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["track"]
    track_id: TrackId
    number: TrackNumber
    first_seen_s: Seconds
    last_seen_s: Seconds
    end_reason: Name | None
    box: Annotated[Box, Field(description="at last_seen_s")]
    frame_width: NotRequired[Pixels]
    frame_height: NotRequired[Pixels]
    quality: Annotated[Quality, Field(description="of the best crop")]
    reasons: Annotated[list[Name], Field(description="why it was not analysed; empty: it was")]
    samples: Count
    model_id: str
    described: Annotated[bool, Field(description="age and expression are published")]
    undescribed_reasons: list[Name]
    age: Age | None
    expression: Expression | None
    attributes: Attributes | None
    decision: Annotated[
        Decision | None, Field(description="null: there is no gallery, or the crops conflict or show no face")
    ]
    intervals: list[Interval]
    identity: Identity | None
    split_from: TrackId | None
    revision: Count
    final: bool


class Shot(TypedDict):
    """shots.jsonl: one shot of the video."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["shot"]
    shot: Number
    transition: Literal["START", "CUT", "FADE"]
    start_frame: FrameNumber
    end_frame: Annotated[int, Field(ge=0, description="last frame of the shot")]
    start_s: Seconds
    end_s: Seconds


class Appearance(TypedDict):
    """A stretch of a person's presence."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    track_id: TrackId
    start_s: Seconds
    end_s: Seconds


class BestCrop(TypedDict):
    """The crop of the highest quality of a person."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    track_id: TrackId
    media_time_s: Seconds
    frame: FrameNumber


class Shares(TypedDict):
    """What a person appears to show over their whole time."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    mostly: str
    shares: dict[str, Share]


class Person(TypedDict):
    """people.jsonl: one person with their tracks."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["person"]
    person_id: Annotated[str, Field(min_length=1, description="opaque, unique over all recordings")]
    number: Annotated[int, Field(ge=1, description="by first appearance")]
    name: Annotated[str | None, Field(description="of the gallery; null: nobody is named")]
    track_ids: Annotated[list[TrackId], Field(min_length=1)]
    intervals: list[Appearance]
    first_seen_s: Seconds
    last_seen_s: Seconds
    seen_s: Annotated[float, Field(ge=0, description="seconds in view")]
    described: bool
    undescribed_reasons: list[Name]
    age: Age | None
    expression: Shares | None
    attributes: Attributes | None
    samples: Count
    best_quality: Quality
    best: BestCrop | None
    uncertain: NotRequired[Annotated[Literal[True], Field(description="too poor to compare with other people")]]
