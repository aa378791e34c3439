"""Defines the header of every file of results, and summary.json."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from streamer.recorded.field_types import (
    STRICT,
    Count,
    Instant,
    Pixels,
    Seconds,
)


class Geometry(TypedDict):
    """How the stored pictures were made upright with square pixels."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    stored_width: Pixels
    stored_height: Pixels
    sample_aspect_ratio: Annotated[str, Field(description="width:height of a stored pixel")]
    matrix: Annotated[list[list[float]], Field(description="takes published x, y, 1 to stored x, y")]


class Source(TypedDict):
    """The video that was analysed."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    name: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    width: Pixels
    height: Pixels
    video_stream: Count
    geometry: Geometry


class TimeBase(TypedDict):
    """Where media times come from."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    zero: Literal["first frame"]
    source: Literal["pts", "dts", "estimated"]
    estimated_frames: Count
    restarts: Count


class Part(TypedDict):
    """The part of the video that was analysed."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    start_s: Seconds
    end_s: Annotated[Seconds | None, Field(description="null: up to the end of the video")]
    sample_fps: Annotated[float | None, Field(description="most frames per second; null: all")]
    region: Annotated[str | None, Field(description="x,y,width,height, in pixels or percent; null: the whole picture")]
    min_face_px: Annotated[float, Field(ge=0, description="narrower faces were left out")]


class Outputs(TypedDict):
    """What the weights were trained for."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    age: bool
    expression: bool
    attributes: list[str]
    identity: bool


class Header(TypedDict):
    """The first line of each file: what was analysed, and with what."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    type: Literal["header"]
    schema_version: Literal[5]
    version: Annotated[str, Field(description="of faceanalytics")]
    run_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="hash of what decides the files of a run")]
    source: Source
    time_base: TimeBase
    start_time: Annotated[Instant | None, Field(description="when the first frame was taken; null: unknown")]
    start_time_source: Annotated[
        Literal["option", "file"] | None, Field(description="option: --start-time; file: the creation time in it")
    ]
    part: Part
    detector: str
    model_id: str
    outputs: Outputs
    licence: str
    gallery: Annotated[dict[str, Any] | None, Field(description="what names were decided with")]
    config_hash: str
    options: Annotated[dict[str, bool], Field(description="that choose files: embeddings, explain")]


class Summary(TypedDict):
    """summary.json: how much there was, and whether it is complete."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    run_id: str
    source_sha256: str
    frames: Count
    tracks: Count
    crops: Count
    lost_crops: Count
    dropped: dict[str, Count]
    complete: bool
    problem: Annotated[str | None, Field(description="why it was not analysed to its end; null: it was")]
    people: Annotated[Count, Field(description="at least; of those too poor to compare, the most in view at once")]
    described_tracks: Count
    undescribed_tracks: Count
    false_faces: Count
    shots: Count
