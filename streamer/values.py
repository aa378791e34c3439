"""Defines the values that travel between the stages.

There are two clocks, which are never mixed. `media_time` is the source's own clock in seconds since its start; tracking
and aggregation use no other. `received` is `time.monotonic()` in seconds and serves to measure latency only.
Arrays are never written to after a value is made.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

MIN_COUNT = 10  # pairs of strangers that must reach a cosine for their share to be trusted
CROP_SIZE = 112  # px, width and height of an aligned crop
LUMA_SIDE = 160  # px, longer side of the luma of a Preview
LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")  # left and right as seen in the image


_UPRIGHT = np.zeros(0, np.bool_)  # stands for faces whose landmarks are right


def _check_shape(name: str, array: NDArray[np.generic], expected: tuple[int | None, ...]) -> None:
    fits = len(array.shape) == len(expected) and all(
        want is None or have == want for have, want in zip(array.shape, expected, strict=True)
    )
    if not fits:
        wanted = tuple("n" if size is None else size for size in expected)
        raise ValueError(f"{name} has shape {array.shape}, expected {wanted}")


class ClockSource(enum.Enum):
    """The clock that `captured_at` is read from."""

    RTCP_NTP = "RTCP_NTP"  # the camera's own wall clock, from its RTCP sender reports
    ARRIVAL = "ARRIVAL"  # this machine's clock when the frame arrived
    FILE_PTS = "FILE_PTS"  # a file, which has no wall clock, only media time


class TrackState(enum.Enum):
    """The state of a track. A tentative track has too few detections to be published."""

    TENTATIVE = "TENTATIVE"
    CONFIRMED = "CONFIRMED"
    LOST = "LOST"
    ENDED = "ENDED"


class EndReason(enum.Enum):
    """Why a track ended."""

    TIMEOUT = "TIMEOUT"
    LEFT_FRAME = "LEFT_FRAME"
    MERGED = "MERGED"
    SOURCE_REMOVED = "SOURCE_REMOVED"
    SOURCE_LOST = "SOURCE_LOST"
    SHUTDOWN = "SHUTDOWN"
    END_OF_FILE = "END_OF_FILE"
    SPLIT = "SPLIT"  # its crops turned out to show two persons; a new track continues with the second
    INTERRUPTED = "INTERRUPTED"  # the streamer died; the values are the last ones that were stored


class Reason(enum.Enum):
    """Why a face was not analysed, or why its crop is poor."""

    SMALL_BOUNDING_BOX = "SMALL_BOUNDING_BOX"
    LOW_SHARPNESS = "LOW_SHARPNESS"
    LOW_BRIGHTNESS = "LOW_BRIGHTNESS"
    EXTREME_POSE = "EXTREME_POSE"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    BUDGET = "BUDGET"  # it could be analysed, but others come first


class Undescribed(enum.Enum):
    """Why a track has no published age, expression and attributes."""

    CONFLICTING = "CONFLICTING"  # its crops resemble each other so little that they may show several people
    FALSE_FACE = "FALSE_FACE"  # it shows no face
    BORDER = "BORDER"  # the edge of the frame cuts the face
    COVERED = "COVERED"  # something covers mouth and nose, such as a mask
    EXTREME_POSE = "EXTREME_POSE"  # the face is turned away
    LOW_QUALITY = "LOW_QUALITY"  # it is too small, blurred, dark or uncertain
    TOO_FEW_SAMPLES = "TOO_FEW_SAMPLES"  # too few of its crops were analysed for their quality
    NOT_ANALYSED = "NOT_ANALYSED"  # none was analysed (yet)


class SendDecision(enum.Enum):
    """What the scheduler decided for a tracked face in one frame."""

    SENT = "SENT"  # its crop is sent to a worker
    UNUSABLE = "UNUSABLE"  # a Reason gives the cause
    TOO_SOON = "TOO_SOON"  # the track was analysed a moment ago, or its last crop is still at a worker
    NOTHING_TO_GAIN = "NOTHING_TO_GAIN"  # the estimates of the track would hardly change
    BETTER_CROP = "BETTER_CROP"  # a better crop of the same track waits
    BUDGET = "BUDGET"  # it waits: the budget is used up by faces that gain more
    BLENDED = "BLENDED"  # in a cross-fade the frame may show two faces at once


class SourceState(enum.Enum):
    """The state of a camera."""

    CONNECTING = "CONNECTING"
    RUNNING = "RUNNING"
    RECONNECTING = "RECONNECTING"
    PAUSED = "PAUSED"
    ENDED = "ENDED"
    ERROR = "ERROR"


class SourceErrorCode(enum.Enum):
    """Why a camera cannot be read."""

    AUTH_FAILED = "AUTH_FAILED"
    NOT_FOUND = "NOT_FOUND"
    TLS_CERTIFICATE = "TLS_CERTIFICATE"
    TLS_HANDSHAKE = "TLS_HANDSHAKE"
    TIMEOUT = "TIMEOUT"
    CODEC_UNSUPPORTED = "CODEC_UNSUPPORTED"
    CONNECTION_FAILED = "CONNECTION_FAILED"


class LinkQuality(enum.Enum):
    """The quality of the connection to a running camera in the last minute, see source/health.py."""

    GOOD = "GOOD"
    FAIR = "FAIR"
    POOR = "POOR"


class TooManyStreams(Exception):
    """Another stream would exceed the configured limit."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The status of a camera. Each change makes a new one, so any thread may read it."""

    state: SourceState
    error: SourceErrorCode | None = None
    message: str = ""  # human-readable, without credentials
    epoch: int = 0  # number of the present connection; grows at each reconnect
    connects: int = 0  # successful connections since the stream was added
    disconnects: int = 0  # times that it was lost while it ran
    stalls: int = 0  # times that a connected camera stopped delivering
    since: datetime | None = None  # UTC, when the state began
    next_retry: datetime | None = None  # UTC, while it waits to connect again
    codec: str = ""
    clock_source: ClockSource | None = None  # None: before the first frame
    width: int = 0  # px, of the newest frame
    height: int = 0  # px
    last_frame: datetime | None = None  # UTC, arrival of the newest frame
    frames_decoded: int = 0
    frames_missing: int = 0  # that did not arrive, by the gaps between timestamps
    frames_analysed: int = 0
    frames_dropped: Mapping[str, int] = field(default_factory=dict)  # by reason
    frames_unsearched: Mapping[str, int] = field(default_factory=dict)  # by reason: they would show nothing new
    fps_in: float = 0.0  # frames decoded per second, see source/health.py
    fps_analysed: float = 0.0  # frames searched for faces per second
    frame_age: float | None = None  # s, mean time from arrival to detection; None: no frame was analysed
    overloaded: bool = False  # many frames are skipped because newer ones arrive
    link_quality: LinkQuality | None = None  # None: not a running camera
    clock_offset: float | None = None  # s, arrival minus the camera's own clock; None: that is not known
    decoder: str = ""  # codec and device that decode it, such as "h264 on cpu"; empty before the first frame


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded video frame."""

    camera: str
    epoch: int  # grows at each reconnect; media_time is comparable within one epoch only
    media_time: float  # s since the first frame of this epoch
    captured_at: datetime | None  # UTC; None for files
    clock_source: ClockSource
    received: float  # s, time.monotonic()
    pixels: Bytes  # (h, w, 3) BGR
    time_estimated: bool = False  # media_time was estimated from its neighbours, for lack of a usable timestamp

    def __post_init__(self) -> None:
        _check_shape("pixels", self.pixels, (None, None, 3))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """A decoded frame before its conversion to BGR: enough to decide whether it is searched for faces."""

    camera: str
    epoch: int  # as in Frame, like the next fields
    media_time: float  # s
    captured_at: datetime | None
    clock_source: ClockSource
    received: float  # s, monotonic
    size: tuple[int, int]  # width and height of the upright picture, px
    luma: Bytes  # (rows, columns) the upright picture, small and grey: its longer side has LUMA_SIDE px
    convert: Callable[[], Bytes | None]  # returns BGR (h, w, 3), or None, counted, if the frame cannot be converted
    time_estimated: bool = False

    def __post_init__(self) -> None:
        _check_shape("luma", self.luma, (None, None))

    def frame(self) -> Frame | None:
        """Convert the frame; None if that fails."""
        pixels = self.convert()
        if pixels is None:
            return None
        times = self.media_time, self.captured_at, self.clock_source, self.received
        return Frame(self.camera, self.epoch, *times, pixels, self.time_estimated)


@dataclass(frozen=True, slots=True)
class TimeBase:
    """Where the media times of a file come from."""

    source: str = "pts"  # pts: presentation times; dts: decoding times; estimated: some had to be rebuilt
    estimated_frames: int = 0  # frames timed by their neighbours, for lack of a usable timestamp
    restarts: int = 0  # times that the timestamps jumped for good, and media time went on without the jump


@dataclass(frozen=True, slots=True)
class SourceEnd:
    """The end of a camera's epoch, after its last frame: its tracks end with `reason`."""

    camera: str
    epoch: int
    reason: EndReason


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces detected in one frame, one row each."""

    boxes: Floats  # (n, 4) x1 y1 x2 y2, frame pixels
    scores: Floats  # (n,) 0..1
    landmarks: Floats  # (n, 5, 2) x y, frame pixels, in the order of LANDMARK_NAMES
    turned: Flags = field(default_factory=lambda: _UPRIGHT)  # (n,) the face is turned and its landmarks are wrong

    def __post_init__(self) -> None:
        if self.turned is _UPRIGHT:
            object.__setattr__(self, "turned", np.zeros(len(self.boxes), np.bool_))
        _check_shape("boxes", self.boxes, (None, 4))
        _check_shape("scores", self.scores, (len(self.boxes),))
        _check_shape("landmarks", self.landmarks, (len(self.boxes), 5, 2))
        _check_shape("turned", self.turned, (len(self.boxes),))

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> "Detections":
        """Return detections without a face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))

    def rows(self, which: NDArray[np.integer[Any]]) -> "Detections":
        """Return some of the faces, in the order of the indices `which`."""
        return Detections(self.boxes[which], self.scores[which], self.landmarks[which], self.turned[which])

    def joined(self, others: "Detections") -> "Detections":
        """Return these faces, then the others."""
        return Detections(
            np.concatenate([self.boxes, others.boxes]),
            np.concatenate([self.scores, others.scores]),
            np.concatenate([self.landmarks, others.landmarks]),
            np.concatenate([self.turned, others.turned]),
        )

    def by_score(self) -> "Detections":
        """Return the faces, highest score first."""
        return self.rows(np.argsort(-self.scores, kind="stable"))


@dataclass(frozen=True, slots=True, order=True)
class TrackKey:
    """Identifies a track: `id` is unique over cameras and restarts; `number` is small, for overlays and MOT files."""

    id: str  # opaque; sorts by creation
    camera: str
    number: int  # from 1, per camera


class Track(NamedTuple):
    """One tracked face in one frame. It is a tuple because a crowd makes hundreds of them per frame."""

    key: TrackKey
    state: TrackState
    box: Floats  # (4,) x1 y1 x2 y2, frame pixels, smoothed by the filter
    score: float  # 0..1, of the last detection
    detection: int | None  # row in this frame's Detections; None: not detected here, the box is predicted
    first_seen: float  # s, media time
    last_seen: float  # s, media time of the last detection


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """What is expected of the live tracks of one camera at a time, oldest track first."""

    boxes: Floats  # (n, 4) x1 y1 x2 y2, frame pixels, predicted
    drift: Floats  # (n,) standard deviation of the predicted centre, in sizes of the face
    unseen: Floats  # (n,) s since the last detection
    confirmed: Flags  # (n,) confirmed or lost
    lost: Flags  # (n,) missed when it was last looked for

    @classmethod
    def none(cls) -> "Outlook":
        """Return the outlook of a camera without tracks."""
        nothing, flags = np.zeros(0, np.float32), np.zeros(0, np.bool_)
        return cls(np.zeros((0, 4), np.float32), nothing, nothing, flags, flags)


@dataclass(frozen=True, slots=True)
class TrackEnd:
    """The end of a track."""

    key: TrackKey
    reason: EndReason
    time: float  # s, media time
    confirmed: bool  # False: it was never published


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a face can be analysed."""

    value: float  # 0..1
    reasons: tuple[Reason, ...] = ()  # why the face is not good enough; empty: it is
    eye_distance: float = 0.0  # px in the frame
    yaw: float = 0.0  # degrees, relative to the viewing ray
    pitch: float = 0.0  # degrees
    roll: float = 0.0  # degrees, in the image plane
    sharpness: float = 0.0  # variance of the Laplacian over contrast, see select/quality.py
    factors: Mapping[str, float] = field(default_factory=dict)  # each 0..1; `value` is their product

    @property
    def pose_known(self) -> bool:
        """Whether yaw, pitch and roll were measured: the landmarks are at different places and are right."""
        return bool(self.factors) and "turned" not in self.factors


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    """An aligned face, to be analysed."""

    key: TrackKey
    media_time: float  # s
    received: float  # s, monotonic, of its frame
    score: float  # 0..1, of the detection
    quality: Quality
    pixels: Bytes  # (112, 112, 3) RGB, aligned to the ArcFace template
    with_embedding: bool = True  # False: its embedding must not leave the worker

    def __post_init__(self) -> None:
        _check_shape("pixels", self.pixels, (CROP_SIZE, CROP_SIZE, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The scheduler's decision for one face, and its reasons."""

    key: TrackKey
    media_time: float  # s, of the frame with the face; before that of the observation if the crop has waited
    decision: SendDecision
    quality: Quality  # without sharpness and brightness if the pixels were not examined
    expected_gain: float  # expected effect of an analysis, see select/gain.py: at least 1 to be sent; 0: unusable


class Transition(enum.Enum):
    """How a shot begins."""

    START = "START"  # with the source
    CUT = "CUT"
    FADE = "FADE"  # a cross-fade, with the first frame in which the new picture dominates


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """The results of detection, tracking and selection for one frame, or for the end of a source."""

    camera: str
    epoch: int
    media_time: float  # s
    captured_at: datetime | None
    clock_source: ClockSource
    received: float  # s, monotonic
    frame_size: tuple[int, int]  # width, height px
    detections: Detections
    tracks: tuple[Track, ...]
    crops: tuple[FaceCrop, ...] = ()  # to be analysed; from this frame or shortly before it
    skipped: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)  # track id -> why its face was not sent
    choices: tuple[Choice, ...] = ()  # one for each tracked face in view, and for each crop that has waited and is sent
    ended: tuple[TrackEnd, ...] = ()
    time_estimated: bool = False  # media_time was estimated from its neighbours
    shot: int = 1  # number of the shot in this epoch, from 1
    transition: Transition = Transition.START  # how that shot began
    searched: bool = True  # at least parts of the frame were searched for faces; else all boxes are predicted
    filled: frozenset[str] = frozenset()  # ids of tracks whose detection was interpolated between searched frames


@dataclass(frozen=True, slots=True, eq=False)
class ImpostorScores:
    """Cosines of pairs of strangers, as points of the upper tail of their distribution, see identity/impostors.py."""

    pairs: int  # number of pairs that were compared
    people: int  # number of people in these pairs
    shares: NDArray[np.float64]  # (n,) ascending shares of the pairs, each above MIN_COUNT / pairs
    cosines: NDArray[np.float64]  # (n,) descending; at most that share of the pairs reaches it
    source: str  # where the images are from, for messages

    def __post_init__(self) -> None:
        n = len(self.shares)
        if n == 0 or self.shares.shape != (n,) or self.cosines.shape != (n,):
            raise ValueError(
                f"shares {self.shares.shape} and cosines {self.cosines.shape} must be of one shape (n,), n > 0"
            )
        fine = np.isfinite(self.shares).all() and np.isfinite(self.cosines).all()
        if not fine or (np.diff(self.shares) <= 0).any() or (np.diff(self.cosines) > 0).any():
            raise ValueError("shares must ascend and cosines must not, and all must be finite")
        if not self.shares[0] * self.pairs * (1 + 1e-3) >= MIN_COUNT or self.shares[-1] > 1:
            raise ValueError(f"shares must be between {MIN_COUNT} of the {self.pairs} pairs and 1")


@dataclass(frozen=True, slots=True)
class Model:
    """The weights that a worker has, and the outputs that they give. Other outputs are absent everywhere."""

    id: str
    age: bool
    expression: bool
    attributes: tuple[int, ...]  # indices from 0 into the 40 of the proto's Attribute, ascending
    identity: bool
    licence: str = field(default="", compare=False)  # from the model card; empty: not stated
    impostors: ImpostorScores | None = field(default=None, compare=False)  # from the model card; None: not measured


@dataclass(frozen=True, slots=True, eq=False)
class FaceAnalysis:
    """The analysis of one crop. Outputs that the model does not have are None; `attributes` are those of the model."""

    model: Model
    age: float | None  # years
    expression: Floats | None  # (7,) softmax, order of the proto's Expression
    attributes: Floats  # (k,) softmax of "present", in the order of model.attributes
    embedding: Floats | None  # (512,) unit length
    embedding_norm: float | None  # length before normalising; it grows with the recognisability of the face

    def __post_init__(self) -> None:
        present = self.age is not None, self.expression is not None, self.embedding is not None
        expected = self.model.age, self.model.expression, self.model.identity
        if present != expected or (self.embedding is None) != (self.embedding_norm is None):
            raise ValueError(f"the analysis has (age, expression, identity) {present}, its model has {expected}")
        if self.expression is not None:
            _check_shape("expression", self.expression, (7,))
        _check_shape("attributes", self.attributes, (len(self.model.attributes),))
        if self.embedding is not None:
            _check_shape("embedding", self.embedding, (512,))


@dataclass(frozen=True, slots=True)
class Evidence:
    """The data behind an estimate."""

    samples: int  # number of analyses used
    best_quality: float  # 0..1, of the best crop among them
    last_inferred: float  # s, media time of the newest of them
    revision: int  # of the track, when the estimate last changed


@dataclass(frozen=True, slots=True)
class AgeEstimate:
    """The age that a face appears to have."""

    years: float  # mean of the posterior
    low: float  # years, 10 % quantile
    high: float  # years, 90 % quantile
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Segment:
    """An interval of time in which a face appeared to show one expression."""

    expression: int  # index into the 7 expressions
    start: float  # s, media time
    end: float  # s, media time
    confidence: float  # 0..1, mean posterior probability over its samples


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionEstimate:
    """The expressions that a face appears to show, now and over time."""

    current: int | None  # index into the 7 expressions; None: the face shows none clearly now
    current_since: float  # s, media time of the change to `current`
    distribution: Floats  # (7,) share of the analysed time, sums to 1
    timeline: tuple[Segment, ...]  # oldest first; the newest may still continue
    evidence: Evidence


class Presence(enum.Enum):
    """Whether a face has an attribute."""

    UNDECIDED = "UNDECIDED"  # the evidence is not sufficient for either
    PRESENT = "PRESENT"
    ABSENT = "ABSENT"


@dataclass(frozen=True, slots=True, eq=False)
class AttributeEstimate:
    """The attributes of a face."""

    which: tuple[int, ...]  # indices into the 40 of the proto's Attribute: those of the model
    scores: Floats  # (k,) sigmoid of the mean logit of "present", in the order of `which`, not calibrated
    presence: tuple[Presence, ...]  # (k,)
    evidence: Evidence


class Agreement(enum.Enum):
    """Whether the crops of a track agree on who it is."""

    CONSISTENT = "CONSISTENT"
    CONFLICTING = "CONFLICTING"  # they may show several people


@dataclass(frozen=True, slots=True, eq=False)
class IdentityEstimate:
    """The face of a track as one vector."""

    template: Floats  # (512,) unit length
    consistency: float | None  # -1..1, mean cosine of a crop to all others; None: only one crop
    outliers: int  # crops left out because they do not resemble the others
    evidence: Evidence
    status: Agreement = Agreement.CONSISTENT


class IdentityStatus(enum.Enum):
    """Whether a face is identified as a person of the gallery."""

    IDENTIFIED = "IDENTIFIED"
    UNKNOWN = "UNKNOWN"  # no person of the gallery
    UNDECIDED = "UNDECIDED"  # see the reason


class IdentityReason(enum.Enum):
    """Why no person is named."""

    TOO_LITTLE_EVIDENCE = "TOO_LITTLE_EVIDENCE"  # too few analyses, or no good crop
    BELOW_THRESHOLD = "BELOW_THRESHOLD"
    AMBIGUOUS = "AMBIGUOUS"  # two people of the gallery are about equally similar
    NOT_CONFIRMED = "NOT_CONFIRMED"  # the newest search names a person, but not enough searches in a row have done so
    GALLERY_NOT_READY = "GALLERY_NOT_READY"  # its images are not (yet) embedded by the model of this track
    REJECTED = "REJECTED"  # somebody said that it is not the person who is most similar
    ERASED = "ERASED"  # it was a person who has been erased
    SAME_FRAME = "SAME_FRAME"  # another face, seen in the same frame, is more surely that person
    LOOK_ALIKE = "LOOK_ALIKE"  # somebody alike is enrolled, or is the visitor, and the face is not similar enough


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person of the gallery and their similarity to a face, independent of the decision."""

    person: str
    similarity: float  # cosine, -1..1, corrected for the number of the person's images
    person_id: str = ""  # empty: the gallery has no ids


@dataclass(frozen=True, slots=True)
class IdentityDecision:
    """The identity of a face, decided by the newest search of the gallery; searches become rarer as evidence grows."""

    status: IdentityStatus
    person: str  # empty unless IDENTIFIED
    reason: IdentityReason | None  # None if IDENTIFIED
    candidates: tuple[Candidate, ...]  # the most similar, best first; empty before the first search
    margin: float | None  # lead of the first candidate over the second, cosine; None without a second
    threshold: float | None  # cosine from which a person is named; None before the first search
    samples: int  # analyses behind the newest search
    best_quality: float  # 0..1, of their best crop
    revision: int  # from 1; grows when status or person changes
    person_id: str = ""  # empty unless IDENTIFIED, and if the gallery has no ids
    confirmed: bool = False  # somebody said so
    beside_track_id: str = ""  # of the track that is the person instead, if the reason is SAME_FRAME
    required: float | None = None  # cosine that the first candidate needs, if it needs more than `threshold`
    pseudonym: str = ""  # in place of person and person_id in the privacy mode `pseudonymous`


@dataclass(frozen=True, slots=True)
class VisitorSighting:
    """Somebody who is not in the gallery, as a track shows them."""

    visitor_id: str  # pseudonym
    seen_before: bool  # in an earlier visit
    visits: int  # with this one
    first_seen: datetime  # UTC, start of the first appearance that is stored


@dataclass(frozen=True, slots=True)
class JourneyStep:
    """Step of a person or visitor from one camera to another."""

    number: int  # from 1
    from_track_id: str
    from_camera: str
    gap_s: float  # from the last sight there to the first one here, by the clocks of the cameras
    uncertainty_s: float | None  # of `gap_s`, to each side; None: not known


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval of time in which a person was tracked without a break."""

    track_id: str  # id under which it was first published
    first_seen: float  # s, media time
    last_seen: float  # s, media time


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One detection of a face."""

    time: float  # s, media time
    captured_at: datetime | None  # UTC; None for files
    box: Floats  # (4,) x1 y1 x2 y2 frame pixels, smoothed by the filter
    landmarks: Floats | None  # (5, 2) frame pixels; None: unknown
    frame_size: tuple[int, int]  # width, height px
    score: float  # 0..1, of the detector


@dataclass(frozen=True, slots=True, eq=False)
class TrackEstimates:
    """The estimates from all analyses of one track; None before the first analysis and for outputs the model lacks."""

    age: AgeEstimate | None = None
    expression: ExpressionEstimate | None = None
    attributes: AttributeEstimate | None = None
    identity: IdentityEstimate | None = None
    samples: int = 0  # number of analyses used
    model_id: str = ""  # empty before the first analysis


@dataclass(frozen=True, slots=True, eq=False)
class TrackSummary:
    """Everything known about one track at one moment."""

    key: TrackKey
    epoch: int
    state: TrackState
    first_seen: float  # s, media time
    first_captured_at: datetime | None  # UTC; None for files
    clock_source: ClockSource
    last: Sighting  # the last detection
    quality: float  # 0..1, of the best crop so far
    reasons: tuple[Reason, ...]  # why the face has not been analysed (yet); empty once it has
    estimates: TrackEstimates
    revision: int  # grows with each change of state and each analysis; the last one is final
    split_from: str  # id of the track that this one was split off; empty: it was not split off
    final: bool
    end_reason: EndReason | None
    received: float  # s, monotonic, arrival of the frame behind this summary
    decision: IdentityDecision | None = None  # None: no gallery is used
    intervals: tuple[Interval, ...] = ()  # in order; several if tracks were joined
    merged_into: str = ""  # id of the track that continues this one; end_reason is MERGED
    undescribed: tuple[Undescribed, ...] = ()  # why age, expression and attributes are None; empty: it is described
    visitor: VisitorSighting | None = None  # None: a person of the gallery, or too poor, or visitors are off

    @property
    def described(self) -> bool:
        """Whether the evidence suffices to publish age, expression and attributes."""
        return not self.undescribed
