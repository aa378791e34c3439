"""Values that the store takes in and gives out."""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any


class LogKind(enum.Enum):
    """The kind of an event in the log."""

    NEW = "NEW"  # a track was confirmed
    DECISION = "DECISION"  # its identity was decided, or decided differently
    MERGE = "MERGE"  # it continues as another track
    SPLIT = "SPLIT"  # it showed two people and has ended; the second one is a NEW track
    END = "END"  # it has ended
    CAMERA = "CAMERA"  # a stream was added, changed or removed
    GALLERY = "GALLERY"  # the gallery was changed
    AGGREGATE = "AGGREGATE"  # what a camera has counted in an interval, in the privacy mode aggregate_only
    JOURNEY = "JOURNEY"  # a person or visitor has appeared at another camera
    REVISION = "REVISION"  # a track that has ended has another identity, because the gallery was changed


ENDS = frozenset({LogKind.END, LogKind.MERGE, LogKind.SPLIT})
OF_TRACKS = ENDS | {LogKind.NEW, LogKind.REVISION, LogKind.JOURNEY}  # kinds that subscribers receive from the log


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event of the log, which is never changed once it is stored."""

    sequence: int  # from 1, without holes
    at: datetime  # UTC, by the streamer's clock
    kind: LogKind
    camera: str
    track_id: str  # empty for CAMERA, GALLERY and AGGREGATE
    payload: bytes  # the track as a message of protos/faceanalytics/v1, without embedding; JSON if there is no track


@dataclass(frozen=True, slots=True)
class Missing:
    """Events of a part of the log that are no longer stored."""

    first: int  # sequence of the first of them
    last: int
    count: int


@dataclass(frozen=True, slots=True)
class TrackQuery:
    """Which stored tracks are wanted. All conditions must hold; empty ones and None always do."""

    cameras: tuple[str, ...] = ()
    since: datetime | None = None  # UTC; seen at this time or later
    before: datetime | None = None  # UTC; first seen before this time
    states: tuple[str, ...] = ()  # names of TrackState
    persons: tuple[str, ...] = ()
    min_age: float | None = None  # years
    max_age: float | None = None  # years
    expressions: tuple[int, ...] = ()  # values of the proto's Expression
    attributes: tuple[int, ...] = ()  # values of the proto's Attribute that must all be present
    described: bool = False  # only those with age, expression and attributes
    unnamed: bool = False  # only those that are identified as nobody


@dataclass(frozen=True, slots=True)
class StoreState:
    """How the store is doing."""

    degraded: bool  # events are published without being stored
    problem: str  # why; empty: it works
    since: datetime | None  # UTC, when it began to be degraded
    backlog: int  # events that wait to be stored
    lost: int  # events that could not be stored since the start
    sequence: int  # of the newest event of the log


Row = dict[str, Any]


class ForgedToken(ValueError):
    """A resume token was not made by this store."""


class StoreUnavailable(Exception):
    """The database does not answer now."""


class Unfinished(StoreUnavailable):
    """The database stopped answering within a change, which is finished when it works again."""
