"""People of a streamer's gallery, and what calls about them answer, with the names of the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from faceanalytics.tracks import Box, Candidate, Decision, LiveTrack

Judgement: TypeAlias = Literal["off", "standard", "strict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPerson:
    """A person of a streamer's gallery."""

    person_id: str
    display_name: str
    labels: tuple[str, ...]
    metadata: Mapping[str, str]
    version: int  # grows with each change; 0: a person of gallery.folder
    created_at: datetime | None  # UTC
    updated_at: datetime | None  # UTC
    reference_count: int
    used_count: int  # references with which tracks are compared now
    read_only: bool  # a person of gallery.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonReference:
    """A face of a person, with which tracks are compared."""

    reference_id: str
    source: str  # IMAGE or TRACK
    file_name: str  # empty for a track
    track_id: str  # empty for an image
    quality: float  # 0..1
    model_id: str  # weights that embedded it
    set_aside: bool  # it is kept but not compared with
    used: bool
    created_at: datetime  # UTC
    face_jpeg: bytes  # empty unless it was asked for and is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFace:
    """A face that explains why an image or a video was refused."""

    box: Box  # pixels of the image, or of the frame
    score: float  # 0..1, of the detector
    quality: float  # 0..1
    track: int  # number of the person in a video, from 1; 0: it is of an image, and the rest is not known
    frame: int  # of the video with this box, from 0
    at: timedelta | None  # of that frame
    first_seen: timedelta | None
    last_seen: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceResult:
    """What became of an image, or of one picture of a video."""

    file_name: str
    reference_id: str | None  # of the new reference; None: it gave none
    quality: float  # 0..1
    reason: str | None  # why it gave none
    faces: tuple[ReferenceFace, ...]  # that explain the reason
    duplicate_of: str | None  # reference that is the same image
    resembles: tuple[Candidate, ...]  # other people who are as similar as one person
    at: timedelta | None  # of the picture in a video


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """What became of images and videos."""

    person: KnownPerson | None  # None: nothing could be sent
    results: tuple[ReferenceResult, ...]  # in the order of the files; those that could not be read are last

    @property
    def added(self) -> int:
        """The number of new references."""
        return sum(one.reference_id is not None for one in self.results)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChange:
    """What a correction would change: the identity of a track."""

    track_id: str
    stream_id: str
    before: Decision | None
    after: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What a correction did, or in a dry run would do."""

    entry_id: int  # of the ledger, for `undo`; 0 in a dry run
    person: KnownPerson | None  # whom it is about, where the answer says so
    other: KnownPerson | None  # who got references by a split
    reference_id: str | None  # of what was learnt from a track
    changes: tuple[IdentityChange, ...]  # of a dry run only, at most 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What was done to a person, by whom and when."""

    entry_id: int
    at: datetime  # UTC
    actor: str
    action: str  # such as ENROL
    person_id: str
    display_name: str  # of the person today; empty if they were erased
    track_id: str
    reference_ids: tuple[str, ...]
    other_person_id: str
    undoes: int
    undone_by: int  # 0: it counts


@dataclass(frozen=True, slots=True)
class TrackMatch:
    """A past track that resembles a face."""

    track: LiveTrack
    similarity: float  # cosine, -1..1


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Who and what resembles a face, most similar first."""

    people: tuple[Candidate, ...]
    tracks: tuple[TrackMatch, ...]
    threshold: float  # cosine from which a person is named


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """What an erasure removed, and what is not in reach."""

    person_id: str
    merged_ids: tuple[str, ...]
    erased_at: datetime  # UTC
    removed_rows: Mapping[str, int]  # by table
    searched_files: tuple[str, ...]
    found: tuple[str, ...]  # what should be gone; empty: everything is
    remaining: tuple[str, ...]
    signature: str
    exports: tuple[Mapping[str, Any], ...]  # files made of the gallery that hold the person: at, actor, file_name
