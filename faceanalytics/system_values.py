"""What a streamer reports of itself, its cameras and its models, as values with the names of the API."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message

from faceanalytics.messages import to_values

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """A camera, or a file that is played as if it were one. Counts are since it was added."""

    stream_id: str
    settings: Mapping[str, Any]  # by their names in StreamSettings; durations are timedelta, unset ones None
    origin: str | None  # CONFIGURATION or API
    state: str | None  # such as RUNNING or RECONNECTING
    error_code: str | None  # such as AUTH_FAILED; None: no error
    error_message: str  # without credentials; without an error, what a connecting stream waits for
    epoch: int  # grows with each reconnection
    connects: int
    disconnects: int
    stalls: int
    frames_decoded: int
    frame_width: int  # pixels; 0 before the first frame
    frame_height: int  # pixels
    state_since: datetime | None  # UTC, as all times here
    next_retry_at: datetime | None  # None unless RECONNECTING
    last_frame_at: datetime | None  # when the newest frame arrived
    codec: str  # such as h264
    clock_source: str | None  # RTCP_NTP, ARRIVAL or FILE_PTS
    clock_offset: timedelta | None  # arrival minus the camera's clock
    privacy_mode: str | None  # that holds: IDENTITY, PSEUDONYMOUS or AGGREGATE_ONLY
    fps_in: float  # mean of the last 10 s
    fps_analysed: float  # mean of the last 10 s
    frames_analysed: int
    frames_dropped: Mapping[str, int]  # by reason, such as overload
    frames_unsearched: Mapping[str, int]  # by reason, such as quiet
    frames_missing: int
    frame_age: timedelta | None  # from arrival to detection, mean of the last 10 s
    overloaded: bool
    link_quality: str | None  # GOOD, FAIR or POOR
    decoder: str  # such as "h264 on cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """Weights that workers use, and the outputs that they were trained for."""

    model_id: str
    has_age: bool
    has_expression: bool
    attributes: tuple[str, ...]  # such as SMILING
    has_identity: bool
    licence: str
    workers: int  # connected ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How busy a streamer is, measured over the last minute or since its start. Shares are 0..1."""

    window: timedelta | None
    streams_running: int
    searches_per_second: float
    detector_use: float
    detector_time: timedelta | None  # mean of one call
    analyses_per_second: float
    allowed_analyses_per_second: float | None  # None: no limit
    possible_analyses_per_second: float | None  # None: not known
    worker_use: float | None  # None: no workers
    cpu_use: float | None  # None: the system does not say
    more_streams: int | None  # that would fit; None: not known
    limited_by: str | None  # DETECTOR, WORKERS, CPU or STREAMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a streamer has done. Each part is a mapping with the names of its message in the API."""

    process: Mapping[str, Any] | None
    frames: Mapping[str, Any] | None
    tracks: Mapping[str, Any] | None
    crops: Mapping[str, Any] | None
    latency: Mapping[str, Any] | None
    decisions: Mapping[str, Any] | None  # None: no track was decided or has ended
    subscribers: Mapping[str, Any] | None
    store: Mapping[str, Any] | None  # None: the streamer has none


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """What the store holds and how it is doing. Each part is a mapping with the names of its message in the API."""

    kind: str | None  # SQLITE or POSTGRESQL
    state: Mapping[str, Any] | None
    contents: Mapping[str, Any] | None  # None: the database does not answer
    retention: Mapping[str, Any] | None


def value_of(kind: type[Value], message: Message) -> Value:
    """Return the value for a message. Fields that this version does not know are left out."""
    values = to_values(message)
    return kind(**{field.name: values[field.name] for field in fields(kind)})  # type: ignore[arg-type]
