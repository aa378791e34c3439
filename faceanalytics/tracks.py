"""What is known of a followed face, live or recorded: the names and units of the API and of tracks.jsonl."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from streamer.values import Floats


@dataclass(frozen=True, slots=True)
class Point:
    """A place in a frame, pixels."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in a frame, pixels; x and y are its upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How far an estimate can be trusted."""

    samples: int  # analyses that went in
    best_quality: float  # 0..1, of the best crop among them
    last_inferred_s: float  # media time of the newest of them, s
    revision: int  # of the track, when the estimate last changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Age(Evidence):
    """How old the face appears; between low and high with 80 % probability."""

    years: float
    low_years: float
    high_years: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of time in which the face appeared to show one expression."""

    appears: str
    start_s: float  # media time
    end_s: float  # media time
    confidence: float  # 0..1, not calibrated


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression(Evidence):
    """What the face appears to show, now and over the whole track."""

    appears: str | None  # now, or at the end; None: it is not clear
    since_s: float  # media time since when
    distribution: Mapping[str, float]  # share of the analysed time of each of the seven; they sum to 1
    timeline: tuple[Segment, ...]  # oldest first

    @property
    def mostly(self) -> str:
        """The expression with the largest share."""
        return max(self.distribution, key=self.distribution.__getitem__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes(Evidence):
    """The attributes that the weights were trained for, by name."""

    scores: Mapping[str, float]  # mean score of "present", 0..1, not calibrated
    presence: Mapping[str, str]  # PRESENT, ABSENT or UNDECIDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity(Evidence):
    """How well the crops of a track agree on who it is."""

    consistency: float | None  # -1..1, mean cosine of a crop to the others; None: there is only one
    outliers: int  # crops that were left out because they do not resemble the others
    status: str  # CONSISTENT, or CONFLICTING if the crops may show several people


@dataclass(frozen=True, slots=True)
class Candidate:
    """How similar a person of the gallery is."""

    person: str
    similarity: float  # cosine, -1..1; not a probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who the face is, of the people of the gallery."""

    status: str  # IDENTIFIED, UNKNOWN or UNDECIDED
    person: str | None  # None unless IDENTIFIED
    reason: str | None  # why nobody is named, such as BELOW_THRESHOLD; None if IDENTIFIED
    candidates: tuple[Candidate, ...]  # the most similar people, best first
    margin: float | None  # lead of the first over the second, cosine
    threshold: float | None  # cosine from which on somebody is named
    samples: int  # analyses behind it
    best_quality: float  # 0..1, of these
    required: float | None = None  # cosine that the first candidate needs, if it needs more than the threshold
    beside_track_id: str | None = None  # of the track that has the name, if the reason is SAME_FRAME
    pseudonym: str | None = None  # in place of the person, in the privacy mode pseudonymous


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of a face's presence that was followed without a break."""

    track_id: str  # this track's, or that of one that was joined to it
    first_seen_s: float  # media time
    last_seen_s: float  # media time


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Everything known of one followed face. An estimate is None if it is not described, or the weights lack it."""

    track_id: str  # opaque, sorts by birth; the same file gives the same ids
    number: int  # small, from 1, per stream
    first_seen_s: float  # media time of the first detection
    last_seen_s: float  # media time of the last detection
    end_reason: str | None  # such as LEFT_FRAME; None: it has not ended
    box: Box  # at last_seen_s
    frame_width: int  # pixels, of the frame of the box
    frame_height: int  # pixels
    quality: float  # 0..1, of the best crop
    reasons: tuple[str, ...]  # why it was not analysed, such as SMALL_BOUNDING_BOX; empty: it was
    samples: int  # analyses that went in
    model_id: str  # weights that made them; empty: none yet
    described: bool  # the evidence suffices for age, expression and attributes
    undescribed_reasons: tuple[str, ...]  # why it does not, such as LOW_QUALITY or FALSE_FACE; empty: it does
    age: Age | None
    expression: Expression | None
    attributes: Attributes | None
    decision: Decision | None  # None: there is no gallery, or the track is CONFLICTING or a FALSE_FACE
    intervals: tuple[Interval, ...]  # oldest first; several if the face was away in between
    identity: Identity | None
    split_from: str | None  # id of the track whose second person this is
    revision: int  # grows with each change of state and each analysis
    final: bool  # it cannot change any more

    @property
    def person(self) -> str | None:
        """The name of the gallery's person; None: nobody is named."""
        return self.decision.person if self.decision else None


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitorSighting:
    """Somebody who is not in the gallery, as a track shows them."""

    visitor_id: str  # pseudonym; that of a visitor who was merged finds the one who is left
    seen_before: bool  # there was an earlier visit
    visits: int  # with this one
    first_seen_at: datetime  # UTC, start of the first appearance that is stored


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyStep:
    """Step of a person or visitor from one stream to another."""

    step: int  # number within the journey, from 1
    from_track_id: str  # id of the track before
    from_stream_id: str  # id of the stream before
    gap_s: float  # from the last sight there to the first one here, by the streams' clocks; negative: they overlap
    uncertainty_s: float | None  # how far gap_s may be wrong because of the clocks, to each side; None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTrack(Track):
    """A track as a streamer publishes it."""

    stream_id: str
    stream_epoch: int  # grows at each reconnect of the stream; media times compare within one epoch only
    state: str  # CONFIRMED, LOST or ENDED
    first_captured_at: datetime | None  # UTC; None for files
    last_captured_at: datetime | None  # UTC; None for files
    clock_source: str  # RTCP_NTP, ARRIVAL or FILE_PTS
    landmarks: Mapping[str, Point]  # of the last detection, by name
    detection_score: float  # 0..1, of the last detection
    merged_into: str | None  # id of the track that goes on instead
    embedding: Floats | None  # (512,) unit length; None unless it was asked for
    visitor: VisitorSighting | None  # None: visitors are off, the face is too poor, or it is one of the gallery
    journey: JourneyStep | None  # where the person or visitor was before; None unless the event is a TrackTravelled
