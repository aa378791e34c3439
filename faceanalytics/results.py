"""The files of a recorded analysis as values and tables."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from pydantic import TypeAdapter, ValidationError

from faceanalytics.errors import InputError
from faceanalytics.settings import explain
from faceanalytics.tables import arrow_table, to_pandas, to_polars
from faceanalytics.tracks import Box, Point, Track
from streamer.recorded.records import SCHEMA_VERSION
from streamer.values import Floats

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

AGAIN = "analyse the video again"

TableName: TypeAlias = Literal["tracks", "observations", "analyses"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How the stored pictures were made upright with square pixels."""

    stored_width: int  # pixels, as decoded
    stored_height: int  # pixels
    sample_aspect_ratio: str  # width:height of a stored pixel
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]  # takes published x, y, 1 to stored x, y


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The video that was analysed."""

    name: str
    sha256: str  # of its content
    width: int  # pixels, of the first frame, upright and square
    height: int  # pixels
    video_stream: int  # which one of the file's video streams, from 0
    geometry: Geometry  # of the first frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What the weights were trained for."""

    age: bool
    expression: bool
    attributes: tuple[str, ...]
    identity: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBase:
    """Where media times come from."""

    zero: str  # what they count from
    source: str  # pts: presentation times; dts: decoding times; estimated: some timestamps were missing or wrong
    estimated_frames: int  # frames timed by their neighbours, for lack of a usable timestamp
    restarts: int  # times that the timestamps jumped for good; media time goes on without the jump


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of a video that was analysed."""

    start_s: float
    end_s: float | None  # None: up to its end
    sample_fps: float | None  # most frames per second; None: all
    region: str | None  # x,y,width,height of the picture, in pixels or percent; None: all of it
    min_face_px: float  # narrower faces were left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What was analysed, and with what. Equal headers have equal results."""

    schema_version: int
    version: str  # of faceanalytics
    run_id: str  # hash of what decides the files of a run; in each of them
    source: Source
    time_base: TimeBase
    detector: str  # model id
    model_id: str  # of SwinFace's weights; "untrained": ages, expressions and identities mean nothing
    outputs: Outputs
    licence: str  # terms of the weights
    gallery: Mapping[str, Any] | None  # what names were decided with; None: nobody could be named
    config_hash: str  # of the settings that decide results
    part: Part  # of the video that was analysed
    options: Mapping[str, bool]  # that choose files: embeddings, explain


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How much there was, and whether it is complete."""

    run_id: str  # that of the header
    frames: int
    tracks: int
    crops: int  # analyses that were asked for
    lost_crops: int  # of these, without an answer
    dropped: Mapping[str, int]  # frames of the video that were not analysed, by reason
    problem: str | None  # why it was not analysed to its end; None: it was
    complete: bool  # False: the video was cut off, the analysis was stopped, or frames were dropped or crops lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One face in one frame."""

    media_time_s: float
    track_id: str
    number: int  # of the track
    box: Box
    frame_width: int  # pixels; the size of the frames may change in mid-stream
    frame_height: int  # pixels
    detection_score: float  # 0..1
    landmarks: Mapping[str, Point]  # by name: left_eye, right_eye, nose, mouth_left, mouth_right
    time_estimated: bool = False  # the frame's timestamp was missing or wrong: placed by its neighbours
    skipped: tuple[str, ...] = ()  # why it could not be analysed


@dataclass(frozen=True, slots=True, kw_only=True)
class CropAnalysis:
    """What SwinFace says of one crop. What the weights were not trained for is None."""

    age_years: float | None
    expression: Mapping[str, float] | None  # probabilities of the seven
    attributes: Mapping[str, float] | None  # scores of "present", 0..1
    embedding_norm: float | None  # grows with how recognisable the face is


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysed:
    """One crop that was analysed."""

    media_time_s: float
    track_id: str
    number: int  # of the track
    quality: float  # 0..1
    analysis: CropAnalysis | None  # None: no worker answered


@dataclass(frozen=True, slots=True)
class Person:
    """One person of a video: somebody of the gallery with all their tracks, or one track that nobody is named in.

    Tracks without a name are not compared with each other: a stranger who comes back is another person here.
    """

    name: str | None  # of the gallery; None: nobody is named
    tracks: tuple[Track, ...]  # in the order of their beginning

    @property
    def first_seen_s(self) -> float:
        """Media time of the first detection."""
        return min(track.first_seen_s for track in self.tracks)

    @property
    def last_seen_s(self) -> float:
        """Media time of the last detection."""
        return max(track.last_seen_s for track in self.tracks)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Results:
    """What a recorded analysis found in one video."""

    folder: Path | None  # with the files; None: they were temporary
    header: Header
    summary: Summary
    tracks: tuple[Track, ...]  # in the order of their end
    observations: tuple[Observation, ...]  # each face of each frame, in the order of time
    analyses: tuple[Analysed, ...]  # each crop that was analysed, in the order of time
    embeddings: Mapping[str, Floats]  # (512,) unit length by track_id; empty unless they were asked for

    @property
    def people(self) -> tuple[Person, ...]:
        """Those that the gallery names, each with all their tracks, and every other track alone, by first sight."""
        named: dict[str, list[Track]] = {}
        for track in self.tracks:
            named.setdefault(track.person or f"\0{track.track_id}", []).append(track)
        people = [
            Person(tracks[0].person, tuple(sorted(tracks, key=lambda track: track.first_seen_s)))
            for tracks in named.values()
        ]
        return tuple(sorted(people, key=lambda person: (person.first_seen_s, person.tracks[0].track_id)))

    def to_arrow(self, table: TableName = "tracks") -> "pyarrow.Table":
        """One row per track, per observation, or per analysis; needs the extra [analysis]. Columns: docs/python.md."""
        return arrow_table(self, table)

    def to_polars(self, table: TableName = "tracks") -> "polars.DataFrame":
        """The same table for polars."""
        return to_polars(self.to_arrow(table))

    def to_pandas(self, table: TableName = "tracks") -> "pandas.DataFrame":
        """The same table for pandas."""
        return to_pandas(self.to_arrow(table))


_HEADER, _SUMMARY, _TRACK, _OBSERVATION, _ANALYSED = (
    TypeAdapter(Header),
    TypeAdapter(Summary),
    TypeAdapter(Track),
    TypeAdapter(Observation),
    TypeAdapter(Analysed),
)


def read_results(folder: Path | str) -> Results:
    """Read the files that `streamer analyze` or `analyze` wrote into a folder.

    Raises InputError if they are missing, not finished, damaged, of different runs, or of another schema_version.
    """
    folder = Path(folder)
    with _complaining(folder / "summary.json"):  # first: an analysis that has not finished lacks it
        counts = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    header, records = _read_lines(folder / "tracks.jsonl")
    other, seen = _read_lines(folder / "observations.jsonl")
    if other != header:
        raise InputError(f"{folder}: tracks.jsonl and observations.jsonl are of different runs; {AGAIN}")
    with _complaining(folder / "summary.json"):
        summary = _SUMMARY.validate_python(counts)
    if summary.run_id != header.run_id:
        raise InputError(f"{folder}: tracks.jsonl and summary.json are of different runs; {AGAIN}")
    size = {"frame_width": header.source.width, "frame_height": header.source.height}  # unless a record has another
    with _complaining(folder / "tracks.jsonl"):
        tracks = tuple(_TRACK.validate_python(size | record) for record in records)
    with _complaining(folder / "observations.jsonl"):
        observations = [_OBSERVATION.validate_python(size | one) for one in seen if one.get("type") == "observation"]
        analyses = [_ANALYSED.validate_python(one) for one in seen if one.get("type") == "analysis"]
    return Results(
        folder=folder,
        header=header,
        summary=summary,
        tracks=tracks,
        observations=tuple(observations),
        analyses=tuple(analyses),
        embeddings=_read_embeddings(folder / "embeddings.npz", header.run_id),
    )


def _read_lines(path: Path) -> tuple[Header, list[dict[str, Any]]]:
    """The header, checked, and the other records as they are."""
    with _complaining(path):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not records or any(not isinstance(record, dict) for record in records):
            raise ValueError("it has no header, or lines that are not objects")
        first, *others = records
        if first.get("type") != "header":
            raise ValueError("it has no header")
        version = first.get("schema_version")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{path} has schema_version {version}, this version of faceanalytics reads {SCHEMA_VERSION}: "
                f"{AGAIN}, or read it with the version that wrote it"
            )
        return _HEADER.validate_python(first), others


def _read_embeddings(path: Path, run_id: str) -> dict[str, Floats]:
    if not path.exists():
        return {}
    with _complaining(path), np.load(path) as arrays:
        if arrays["run_id"] != run_id:
            raise InputError(f"{path} is of another run than tracks.jsonl beside it; remove it, or {AGAIN}")
        return {str(name): row for name, row in zip(arrays["track_id"], arrays["embedding"], strict=True)}


@contextmanager
def _complaining(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file into an InputError."""
    try:
        yield
    except FileNotFoundError as error:
        beside = [path.with_name(name) for name in (f"{path.name}.partial", "tracks.jsonl.partial", "tracks.jsonl")]
        began = any(one.exists() for one in beside if one != path)
        why = "the analysis has not finished" if began else "this is not a folder that `streamer analyze` wrote"
        raise InputError(f"{path} does not exist: {why}") from error
    except ValidationError as error:
        lines = "\n".join(explain(error))
        raise InputError(f"{path} is not a result of `streamer analyze`:\n{lines}") from error
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a result of `streamer analyze`: {error}") from error
