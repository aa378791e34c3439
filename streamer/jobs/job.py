"""What a job is: the values that travel between the store, the runner and the API."""

import enum
import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, field_validator, model_validator

from streamer.detect.region import Region
from streamer.section import Section

TABLES = ("parquet", "csv", "jsonl")
FORMATS = ("mot", "webvtt", "eaf", "faces", "contact-sheet")
LARGEST_REQUEST_ID = 128  # characters

Time = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]  # s
Rate = Annotated[float, Field(ge=1e-3, le=1e6, allow_inf_nan=False)]  # per second


class JobState(enum.StrEnum):
    """The state of a job."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class JobOptions(Section):
    """How a recording is analysed: the options of `streamer analyze` that jobs have. The defaults are those there."""

    start: Time = 0.0
    end: Time | None = None
    sample_fps: Rate | None = None
    effort: Annotated[int, Field(ge=1, le=5)] | None = None
    detect_fps: Rate | None = None
    region: str = ""
    min_face_px: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    video_stream: Annotated[int, Field(ge=0, le=999)] | None = None
    start_time: AwareDatetime | None = None
    embeddings: bool = False
    explain: bool = False
    annotate: bool = False
    report: bool = False
    tables: tuple[Literal[TABLES], ...] = ()  # type: ignore[valid-type]
    formats: tuple[Literal[FORMATS], ...] = ()  # type: ignore[valid-type]

    @field_validator("tables", "formats")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names in one order, each once, so that equal options are equal."""
        return tuple(name for name in (*TABLES, *FORMATS) if name in names)

    @field_validator("region")
    @classmethod
    def _is_region(cls, text: str) -> str:
        return str(Region.parse(text)) if text else text

    @model_validator(mode="after")
    def _in_order(self) -> "JobOptions":
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end: {self.end:g} s must be after start, which is {self.start:g} s")
        return self

    def arguments(self) -> list[str]:
        """Return them as arguments of `streamer analyze`."""
        given: dict[str, object] = {
            "--start": self.start or None,
            "--end": self.end,
            "--sample-fps": self.sample_fps,
            "--effort": self.effort,
            "--detect-fps": self.detect_fps,
            "--region": self.region or None,
            "--min-face": self.min_face_px or None,
            "--video-stream": self.video_stream,
            "--start-time": self.start_time.isoformat() if self.start_time is not None else None,
            "--tables": ",".join(self.tables) or None,
            "--formats": ",".join(self.formats) or None,
        }
        named = [f"{name}={_plain(value)}" for name, value in given.items() if value is not None]
        flags = ("embeddings", "explain", "annotate", "report")
        return [*named, *(f"--{name}" for name in flags if getattr(self, name))]


def _plain(value: object) -> str:
    """Return a value as an option: numbers without an exponent, which times may not have."""
    return f"{value:.12f}" if isinstance(value, float) and "e" in repr(value) else str(value)


@dataclass(frozen=True, slots=True)
class Source:
    """The recording of a job."""

    name: str  # of the file
    path: str = ""  # on this machine, with its links resolved; empty: it was uploaded
    sha256: str = ""  # of an upload, 64 hex digits
    upload_id: str = ""  # of an upload

    def is_like(self, other: "Source") -> bool:
        """Return whether two are the same recording, even if it was sent twice."""
        return (self.name, self.path, self.sha256) == (other.name, other.path, other.sha256)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One file of the results."""

    name: str  # path below the folder of the results, with '/'
    size: int  # bytes
    sha256: str  # 64 hex digits


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    share: float = 0.0  # 0..1
    frames: int = 0
    expected: int = 0  # frames; 0: not known
    media_time: float = 0.0  # s since the first frame
    frames_per_s: float = 0.0  # 0: not known


@dataclass(frozen=True, slots=True)
class Job:
    """An analysis of one recording."""

    id: str
    request_id: str  # of the client; empty: none
    owner: str | None  # id of the token that added it; None: it was added without one
    source: Source
    options: JobOptions
    config: str  # JSON: the settings of the streamer when it was added, which decide the results
    created: datetime
    state: JobState = JobState.QUEUED
    started: datetime | None = None
    ended: datetime | None = None
    progress: Progress = Progress()
    error: str = ""  # why it failed
    problems: tuple[str, ...] = ()  # what the results lack
    results: tuple[ResultFile, ...] = ()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in ENDED

    @property
    def key(self) -> str | None:
        """What is unique among all jobs for the request that added it; None: it had no id."""
        return request_key(self.owner, self.request_id)


def request_key(owner: str | None, request_id: str) -> str | None:
    """Return a key of an owner's request, 64 hex digits: another owner's request of the same id has another one."""
    return hashlib.sha256(f"{owner or ''}\0{request_id}".encode()).hexdigest() if request_id else None


def new_id(now: datetime) -> str:
    """Return the id of a job made at this time: ids made later sort behind it."""
    return f"{round(now.timestamp() * 1000):012x}{secrets.token_hex(6)}"


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class JobProblem(Exception):
    """What a client asks for cannot be done; the message says why."""


class UnknownJob(JobProblem):
    """There is no such job, upload or file."""


class DifferentJob(JobProblem):
    """There is a job with this request id, and it is about something else."""


class TooMuch(JobProblem):
    """A limit would be exceeded."""


class NotNow(JobProblem):
    """The state of the job, or of the streamer, does not allow it."""


class NotAllowed(JobProblem):
    """Not this client, or not this path."""


class Invalid(JobProblem):
    """A field is wrong; the message begins with its path."""
