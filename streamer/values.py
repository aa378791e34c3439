"""The values that travel between the stages.

Two clocks, never mixed: `media_time` is the source's own clock in seconds since its start, the only
clock of tracking and aggregation; `received` is `time.monotonic()` in seconds, for latency only.
Arrays are not written to after birth.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

MIN_COUNT = 10  # pairs of strangers that must reach a cosine before their share is believed
CROP_SIZE = 112  # px, width and height of an aligned crop
LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")  # left and right as seen in the image


def _check_shape(name: str, array: NDArray[np.generic], expected: tuple[int | None, ...]) -> None:
    fits = len(array.shape) == len(expected) and all(
        want is None or have == want for have, want in zip(array.shape, expected, strict=True)
    )
    if not fits:
        wanted = tuple("n" if size is None else size for size in expected)
        raise ValueError(f"{name} has shape {array.shape}, expected {wanted}")


class ClockSource(enum.Enum):
    """Where `captured_at` comes from."""

    RTCP_NTP = "RTCP_NTP"  # the camera's own wall clock, from its RTCP sender reports
    ARRIVAL = "ARRIVAL"  # this machine's clock when the frame arrived
    FILE_PTS = "FILE_PTS"  # a file: there is no wall clock, only media time


class TrackState(enum.Enum):
    TENTATIVE = "TENTATIVE"
    CONFIRMED = "CONFIRMED"
    LOST = "LOST"
    ENDED = "ENDED"


class EndReason(enum.Enum):
    TIMEOUT = "TIMEOUT"
    LEFT_FRAME = "LEFT_FRAME"
    MERGED = "MERGED"
    SOURCE_REMOVED = "SOURCE_REMOVED"
    SOURCE_LOST = "SOURCE_LOST"
    SHUTDOWN = "SHUTDOWN"
    END_OF_FILE = "END_OF_FILE"
    SPLIT = "SPLIT"  # its crops turned out to be of two persons: another track goes on


class Reason(enum.Enum):
    """Why a face was not analysed, or why its crop is poor."""

    SMALL_BOUNDING_BOX = "SMALL_BOUNDING_BOX"
    LOW_SHARPNESS = "LOW_SHARPNESS"
    LOW_BRIGHTNESS = "LOW_BRIGHTNESS"
    EXTREME_POSE = "EXTREME_POSE"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    BUDGET = "BUDGET"  # it could be analysed, but its turn has not come


class SendDecision(enum.Enum):
    """What became of a followed face in one frame."""

    SENT = "SENT"  # its crop goes to a worker
    UNUSABLE = "UNUSABLE"  # a Reason says why
    TOO_SOON = "TOO_SOON"  # the track was analysed just before, or its last crop is still out
    NOTHING_TO_GAIN = "NOTHING_TO_GAIN"  # its answers would hardly change
    BETTER_CROP = "BETTER_CROP"  # a better one of the same track waits
    BUDGET = "BUDGET"  # it waits: others would gain more, and no more may be sent now


class SourceState(enum.Enum):
    NOT_STARTED = "NOT_STARTED"
    CONNECTING = "CONNECTING"
    RUNNING = "RUNNING"
    RECONNECTING = "RECONNECTING"
    PAUSED = "PAUSED"
    ENDED = "ENDED"
    ERROR = "ERROR"


class SourceErrorCode(enum.Enum):
    AUTH_FAILED = "AUTH_FAILED"
    NOT_FOUND = "NOT_FOUND"
    TLS_CERTIFICATE = "TLS_CERTIFICATE"
    TLS_HANDSHAKE = "TLS_HANDSHAKE"
    TIMEOUT = "TIMEOUT"
    CODEC_UNSUPPORTED = "CODEC_UNSUPPORTED"
    CONNECTION_FAILED = "CONNECTION_FAILED"


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a camera is doing; replaced whole at each change, so any thread may read it."""

    state: SourceState
    error: SourceErrorCode | None = None
    message: str = ""  # for people, without credentials
    epoch: int = 0  # counts successful connections of this process; grows at each reconnect
    connects: int = 0  # successful connections since the start
    frames_decoded: int = 0
    width: int = 0  # px
    height: int = 0  # px


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    camera: str
    epoch: int  # grows at each reconnect; media_time is comparable within one epoch only
    media_time: float  # s since the first frame of this epoch
    captured_at: datetime | None  # UTC; None for files
    clock_source: ClockSource
    received: float  # s, time.monotonic()
    pixels: Bytes  # (h, w, 3) BGR

    def __post_init__(self) -> None:
        _check_shape("pixels", self.pixels, (None, None, 3))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True, slots=True)
class SourceEnd:
    """A camera has no more frames in this epoch: its tracks end with `reason`."""

    camera: str
    epoch: int
    reason: EndReason


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces of one frame, as columns."""

    boxes: Floats  # (n, 4) x1 y1 x2 y2, frame pixels
    scores: Floats  # (n,) 0..1
    landmarks: Floats  # (n, 5, 2) x y, frame pixels, in the order of LANDMARK_NAMES

    def __post_init__(self) -> None:
        _check_shape("boxes", self.boxes, (None, 4))
        _check_shape("scores", self.scores, (len(self.boxes),))
        _check_shape("landmarks", self.landmarks, (len(self.boxes), 5, 2))

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> "Detections":
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


@dataclass(frozen=True, slots=True, order=True)
class TrackKey:
    """Which track: `id` is unique over cameras and restarts; `number` is small, for overlays and MOT files."""

    id: str  # opaque, sorts by birth
    camera: str
    number: int  # from 1, per camera


class Track(NamedTuple):
    """One followed face at one frame. A tuple, because a crowd has hundreds of them in each frame."""

    key: TrackKey
    state: TrackState
    box: Floats  # (4,) x1 y1 x2 y2, frame pixels, smoothed by the filter
    score: float  # 0..1, of the last detection
    detection: int | None  # row in this frame's Detections; None: not seen now, the box is predicted
    first_seen: float  # s, media time
    last_seen: float  # s, media time of the last detection


@dataclass(frozen=True, slots=True)
class TrackEnd:
    key: TrackKey
    reason: EndReason
    time: float  # s, media time
    confirmed: bool  # False: it was never published


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a face can be analysed."""

    value: float  # 0..1
    reasons: tuple[Reason, ...] = ()  # what lowers it below its floor; empty: good enough
    eye_distance: float = 0.0  # px in the frame
    yaw: float = 0.0  # degrees, relative to the viewing ray
    pitch: float = 0.0  # degrees
    sharpness: float = 0.0  # variance of the Laplacian over contrast, see crop.py
    factors: Mapping[str, float] = field(default_factory=dict)  # each 0..1, whose product `value` is


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    key: TrackKey
    media_time: float  # s
    received: float  # s, monotonic, of its frame
    score: float  # 0..1, detector
    quality: Quality
    pixels: Bytes  # (112, 112, 3) RGB, aligned to the ArcFace template

    def __post_init__(self) -> None:
        _check_shape("pixels", self.pixels, (CROP_SIZE, CROP_SIZE, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What the scheduler did with one face, and why."""

    key: TrackKey
    media_time: float  # s, of the frame with the face; earlier than the observation's if its crop has waited
    decision: SendDecision
    quality: Quality  # without sharpness and brightness where the pixels were not looked at
    expected_gain: float  # what its analysis would change, see schedule.py: 1 is worth sending; 0 for an unusable face


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What one frame (or the end of a source) gave."""

    camera: str
    epoch: int
    media_time: float  # s
    captured_at: datetime | None
    clock_source: ClockSource
    received: float  # s, monotonic
    frame_size: tuple[int, int]  # width, height px
    detections: Detections
    tracks: tuple[Track, ...]
    crops: tuple[FaceCrop, ...] = ()  # those to be analysed, of this frame or shortly before it
    skipped: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)  # track id -> why its face was not sent
    choices: tuple[Choice, ...] = ()  # for each followed face in view, and each crop that has waited and is sent
    ended: tuple[TrackEnd, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ImpostorScores:
    """Cosines of pairs of strangers, as points of their distribution's upper tail, see impostors.py."""

    pairs: int  # that were compared
    people: int  # they were of
    shares: NDArray[np.float64]  # (n,) ascending shares of the pairs, each above MIN_COUNT / pairs
    cosines: NDArray[np.float64]  # (n,) descending: no more than that share of the pairs reaches it
    source: str  # for messages: whose images these are

    def __post_init__(self) -> None:
        n = len(self.shares)
        if n == 0 or self.shares.shape != (n,) or self.cosines.shape != (n,):
            raise ValueError(f"shares {self.shares.shape} and cosines {self.cosines.shape} are no table")
        fine = np.isfinite(self.shares).all() and np.isfinite(self.cosines).all()
        if not fine or (np.diff(self.shares) <= 0).any() or (np.diff(self.cosines) > 0).any():
            raise ValueError("shares must ascend and cosines must not: the more pairs reach it, the lower it is")
        if not self.shares[0] * self.pairs * (1 + 1e-3) >= MIN_COUNT or self.shares[-1] > 1:
            raise ValueError(f"shares must be from {MIN_COUNT} of the {self.pairs} pairs to all of them")


@dataclass(frozen=True, slots=True)
class Model:
    """The weights of workers, and what they were trained to tell. The rest is absent everywhere."""

    id: str
    age: bool
    expression: bool
    attributes: tuple[int, ...]  # places among the 40 of the proto's Attribute, from 0, ascending
    identity: bool
    licence: str = field(default="", compare=False)  # the terms, from the card; empty: nobody said
    impostors: ImpostorScores | None = field(default=None, compare=False)  # from the card; None: nobody measured them


@dataclass(frozen=True, slots=True, eq=False)
class FaceAnalysis:
    """SwinFace's answer to one crop; what the model does not tell is None, and it has no attributes but the model's."""

    model: Model
    age: float | None  # years
    expression: Floats | None  # (7,) softmax, order of the proto's Expression
    attributes: Floats  # (k,) softmax of "present", in the order of model.attributes
    embedding: Floats | None  # (512,) unit length
    embedding_norm: float | None  # length before normalising: it grows with how recognisable the face is

    def __post_init__(self) -> None:
        there = self.age is not None, self.expression is not None, self.embedding is not None
        told = self.model.age, self.model.expression, self.model.identity
        if there != told or (self.embedding is None) != (self.embedding_norm is None):
            raise ValueError(f"an analysis with (age, expression, identity) {there}, its model tells {told}")
        if self.expression is not None:
            _check_shape("expression", self.expression, (7,))
        _check_shape("attributes", self.attributes, (len(self.model.attributes),))
        if self.embedding is not None:
            _check_shape("embedding", self.embedding, (512,))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an estimate rests on."""

    samples: int  # analyses that went in
    best_quality: float  # 0..1, of the best crop among them
    last_inferred: float  # s, media time of the newest of them
    revision: int  # of the track, when the estimate last changed


@dataclass(frozen=True, slots=True)
class AgeEstimate:
    years: float  # mean of the posterior
    low: float  # years, 10 % quantile
    high: float  # years, 90 % quantile
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time in which a face appeared to show one expression."""

    expression: int  # index into the 7 expressions
    start: float  # s, media time
    end: float  # s, media time
    confidence: float  # 0..1, mean belief over its samples


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionEstimate:
    current: int | None  # index into the 7 expressions: what the face appears to show now; None: it is not clear
    current_since: float  # s, media time
    distribution: Floats  # (7,) share of the analysed time, sums to 1
    timeline: tuple[Segment, ...]  # oldest first; the newest may still go on
    evidence: Evidence


class Presence(enum.Enum):
    """Whether a face has an attribute."""

    UNDECIDED = "UNDECIDED"  # there is not enough evidence for either
    PRESENT = "PRESENT"
    ABSENT = "ABSENT"


@dataclass(frozen=True, slots=True, eq=False)
class AttributeEstimate:
    which: tuple[int, ...]  # places among the 40 of the proto's Attribute: those that the model tells
    scores: Floats  # (k,) sigmoid of the mean logit of "present", in the order of `which`, not calibrated
    presence: tuple[Presence, ...]  # (k,)
    evidence: Evidence


@dataclass(frozen=True, slots=True, eq=False)
class IdentityEstimate:
    template: Floats  # (512,) unit length
    consistency: float | None  # -1..1, mean cosine of a crop to all others; None: there is only one
    outliers: int  # crops that were left out because they do not resemble the others
    evidence: Evidence


class IdentityStatus(enum.Enum):
    IDENTIFIED = "IDENTIFIED"
    UNKNOWN = "UNKNOWN"  # nobody of the gallery
    UNDECIDED = "UNDECIDED"  # not enough to say, see the reason


class IdentityReason(enum.Enum):
    """Why nobody is named."""

    TOO_LITTLE_EVIDENCE = "TOO_LITTLE_EVIDENCE"  # too few analyses, or none of a good crop
    BELOW_THRESHOLD = "BELOW_THRESHOLD"
    AMBIGUOUS = "AMBIGUOUS"  # two people of the gallery are about as similar
    NOT_CONFIRMED = "NOT_CONFIRMED"  # the newest search names somebody for the first time, against those before it
    GALLERY_NOT_READY = "GALLERY_NOT_READY"  # its images are not (or not yet) embedded by the weights of this track


@dataclass(frozen=True, slots=True)
class Candidate:
    """How similar a person of the gallery is, whatever was decided."""

    person: str
    similarity: float  # raw cosine, -1..1


@dataclass(frozen=True, slots=True)
class IdentityDecision:
    """Who a face is; it rests on the newest search, and searches become rarer as the evidence grows."""

    status: IdentityStatus
    person: str  # empty unless IDENTIFIED
    reason: IdentityReason | None  # None if IDENTIFIED
    candidates: tuple[Candidate, ...]  # the most similar, best first; empty before the first search
    margin: float | None  # lead of the first candidate over the second, cosine; None without a second
    threshold: float | None  # cosine that names a person; None before the first search
    samples: int  # analyses behind the newest search
    best_quality: float  # 0..1, of these
    revision: int  # from 1; grows when status or person changes


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of a person's presence that was followed without a break."""

    track_id: str  # under which it was first published
    first_seen: float  # s, media time
    last_seen: float  # s, media time


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One detection of a face."""

    time: float  # s, media time
    captured_at: datetime | None  # UTC; None for files
    box: Floats  # (4,) x1 y1 x2 y2 frame pixels, smoothed by the filter
    landmarks: Floats | None  # (5, 2) frame pixels; None: not known
    frame_size: tuple[int, int]  # width, height px
    score: float  # 0..1, of the detector


@dataclass(frozen=True, slots=True, eq=False)
class TrackEstimates:
    """What the analyses of one track add up to; None before the first one, and for what the model does not give."""

    age: AgeEstimate | None = None
    expression: ExpressionEstimate | None = None
    attributes: AttributeEstimate | None = None
    identity: IdentityEstimate | None = None
    samples: int = 0  # analyses that went in
    model_id: str = ""  # empty before the first analysis


@dataclass(frozen=True, slots=True, eq=False)
class TrackSummary:
    """Everything known of one track at one moment."""

    key: TrackKey
    epoch: int
    state: TrackState
    first_seen: float  # s, media time
    first_captured_at: datetime | None  # UTC; None for files
    clock_source: ClockSource
    last: Sighting  # the last detection
    quality: float  # 0..1, best crop so far
    reasons: tuple[Reason, ...]  # why the face has not been analysed (yet); empty once it has
    estimates: TrackEstimates
    revision: int  # grows with each change of state and each analysis; the last one is final
    split_from: str  # id of the track whose other person this one turned out to be; empty: none
    final: bool
    end_reason: EndReason | None
    received: float  # s, monotonic: when the frame behind this summary arrived
    decision: IdentityDecision | None = None  # None: there is no gallery
    intervals: tuple[Interval, ...] = ()  # in order; several if tracks were joined
    merged_into: str = ""  # id of the track that goes on instead, with end_reason MERGED
