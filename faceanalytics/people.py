"""People and shots of a recorded video: the names and units of people.jsonl and shots.jsonl."""

from collections.abc import Mapping
from dataclasses import dataclass

from faceanalytics.tracks import Age, Attributes, Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """A stretch of a person's presence without a break."""

    track_id: str
    start_s: float  # media time
    end_s: float  # media time


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What a person appears to show over their whole time in the video."""

    mostly: str  # the expression with the largest share
    shares: Mapping[str, float]  # share of the analysed time of each of the seven


@dataclass(frozen=True, slots=True, kw_only=True)
class BestCrop:
    """Where the crop with the highest quality of a person is."""

    track_id: str
    media_time_s: float
    frame: int  # from 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person of a video with all their tracks. A track that could be compared with nobody is a person of its own.

    An estimate is None if the person is not described, or the weights lack it.
    """

    person_id: str  # opaque, unique over all recordings
    number: int  # from 1, by first appearance
    name: str | None  # of the gallery; None: nobody is named
    track_ids: tuple[str, ...]
    tracks: tuple[Track, ...]  # of these ids
    intervals: tuple[Appearance, ...]  # oldest first
    first_seen_s: float  # media time of the first detection
    last_seen_s: float  # media time of the last detection
    seen_s: float  # seconds in view
    described: bool
    undescribed_reasons: tuple[str, ...]  # such as LOW_QUALITY; empty: it is described
    age: Age | None
    expression: Shares | None
    attributes: Attributes | None
    samples: int  # analyses that went in
    best_quality: float  # 0..1, of the best crop
    best: BestCrop | None  # None: nothing was analysed
    uncertain: bool = False  # the crops are too poor to compare this person with others


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A stretch of a video without a cut."""

    shot: int  # number, from 1
    transition: str  # how it begins: START, CUT or FADE
    start_frame: int  # from 0
    end_frame: int  # the last frame in it
    start_s: float  # media time of the first frame
    end_s: float  # media time of the last frame
