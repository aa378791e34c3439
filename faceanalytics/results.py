"""The files of a recorded analysis as values and tables."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from pydantic import TypeAdapter, ValidationError

from faceanalytics.errors import InputError
from faceanalytics.people import Person, Shot
from faceanalytics.plots import plot_timeline
from faceanalytics.settings import explain
from faceanalytics.tables import to_arrow, to_pandas, to_polars
from faceanalytics.tracks import Box, Point, Track
from streamer.recorded.filenames import OBSERVATIONS, PEOPLE, SHOTS, SUMMARY, TRACKS
from streamer.recorded.records import SCHEMA_VERSION
from streamer.values import Floats

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow
    from matplotlib.axes import Axes

AGAIN = "analyse the video again"

TableName: TypeAlias = Literal["frames", "tracks", "people", "analyses"]


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
    start_time: datetime | None  # UTC, when the first frame was taken; None: unknown
    start_time_source: str | None  # option: as the caller said; file: its creation time
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
    shots: int
    people: int  # at least: of those too poor to compare, the most that were in view at once
    tracks: int
    described_tracks: int  # of these, with a published age or expression
    undescribed_tracks: int  # without the false faces
    false_faces: int  # tracks of something that is not a face
    crops: int  # analyses that were asked for
    lost_crops: int  # of these, without an answer
    dropped: Mapping[str, int]  # frames of the video that were not analysed, by reason
    problem: str | None  # why it was not analysed to its end; None: it was
    complete: bool  # False: the video was cut off, the analysis was stopped, or frames were dropped or crops lost


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysedFrame:
    """One frame of the analysis."""

    frame: int  # number, from 0
    media_time_s: float
    shot: int  # number, from 1
    faces: int  # observations in it
    frame_width: int  # pixels; the size of the frames may change in mid-stream
    frame_height: int  # pixels
    time_estimated: bool = False  # the frame's timestamp was missing or wrong: placed by its neighbours
    searched: bool = True  # for faces; False, at a lower effort: those in it are interpolated


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One face in one frame."""

    frame: int  # number, from 0
    media_time_s: float
    track_id: str
    number: int  # of the track
    box: Box
    frame_width: int  # pixels; the size of the frames may change in mid-stream
    frame_height: int  # pixels
    detection_score: float  # 0..1
    landmarks: Mapping[str, Point]  # by name: left_eye, right_eye, nose, mouth_left, mouth_right
    quality: float | None  # 0..1, by its geometry alone if the face was not chosen; None: not assessed
    yaw_deg: float | None  # degrees, positive looks to the right of the image; None: unknown, as the other two
    pitch_deg: float | None  # degrees, positive looks down
    roll_deg: float | None  # degrees, positive is turned clockwise in the image
    time_estimated: bool = False  # the frame's timestamp was missing or wrong: placed by its neighbours
    interpolated: bool = False  # its place is between those of the frames before and after that were searched
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

    frame: int  # number, from 0
    media_time_s: float
    track_id: str
    number: int  # of the track
    quality: float  # 0..1
    analysis: CropAnalysis | None  # None: no worker answered


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Results:
    """What a recorded analysis found in one video."""

    folder: Path | None  # with the files; None: they were temporary
    header: Header
    summary: Summary
    people: tuple[Person, ...]  # by first appearance
    tracks: tuple[Track, ...]  # in the order of their end
    shots: tuple[Shot, ...]  # in the order of time
    frames: tuple[AnalysedFrame, ...]  # each frame, also those without a face
    observations: tuple[Observation, ...]  # each face of each frame, in the order of time
    analyses: tuple[Analysed, ...]  # each crop that was analysed, in the order of time
    embeddings: Mapping[str, Floats]  # (512,) unit length by track_id; empty unless they were asked for

    def plot_timeline(self, ax: "Axes | None" = None) -> "Axes":
        """Draw when each person was in view and what the face appeared to show; needs the extra [analysis].

        A row per person, a colour per expression, a dotted line per cut. `ax`: of Matplotlib; None: a new figure.
        """
        return plot_timeline(self, ax)

    def to_arrow(self, table: TableName = "tracks") -> "pyarrow.Table":
        """One row per track, person, analysed crop, or frame and face; needs the extra [analysis].

        Columns: docs/results.md.
        """
        return to_arrow(self, table)

    def to_polars(self, table: TableName = "tracks") -> "polars.DataFrame":
        """The same table for polars."""
        return to_polars(self.to_arrow(table))

    def to_pandas(self, table: TableName = "tracks") -> "pandas.DataFrame":
        """The same table for pandas."""
        return to_pandas(self.to_arrow(table))


_HEADER, _SUMMARY = TypeAdapter(Header), TypeAdapter(Summary)
_KINDS: Mapping[str, TypeAdapter[Any]] = {
    "track": TypeAdapter(Track),
    "person": TypeAdapter(Person),
    "shot": TypeAdapter(Shot),
    "frame": TypeAdapter(AnalysedFrame),
    "observation": TypeAdapter(Observation),
    "analysis": TypeAdapter(Analysed),
}


def read_results(folder: Path | str) -> Results:
    """Read the files that `streamer analyze` or `analyze` wrote into a folder.

    Raises InputError if they are missing, not finished, damaged, of different runs, or of another schema_version.
    """
    folder = Path(folder)
    with _complaining(folder / SUMMARY):  # first: an analysis that has not finished lacks it
        counts = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    header = _read_header(folder / TRACKS)
    for name in (OBSERVATIONS, PEOPLE, SHOTS):
        if (folder / name).exists() and _read_header(folder / name) != header:
            raise InputError(f"{folder}: {TRACKS} and {name} are of different runs; {AGAIN}")
    with _complaining(folder / SUMMARY):
        summary = _SUMMARY.validate_python(counts)
    if summary.run_id != header.run_id:
        raise InputError(f"{folder}: {TRACKS} and {SUMMARY} are of different runs; {AGAIN}")
    size = {"frame_width": header.source.width, "frame_height": header.source.height}  # unless a record has another
    found = {kind: list[Any]() for kind in _KINDS}
    for name in (TRACKS, OBSERVATIONS, SHOTS):
        _read_lines(folder / name, size, found)
    by_id = {track.track_id: track for track in found["track"]}
    _read_lines(folder / PEOPLE, {}, found, by_id)
    return Results(
        folder=folder,
        header=header,
        summary=summary,
        people=tuple(found["person"]),
        tracks=tuple(found["track"]),
        shots=tuple(found["shot"]),
        frames=tuple(found["frame"]),
        observations=tuple(found["observation"]),
        analyses=tuple(found["analysis"]),
        embeddings=_read_embeddings(folder / "embeddings.npz", header.run_id),
    )


def _read_header(path: Path) -> Header:
    """Return the first record of a file, checked."""
    with _complaining(path), path.open(encoding="utf-8") as file:
        first = json.loads(file.readline() or "null")
        if not isinstance(first, dict) or first.get("type") != "header":
            raise ValueError("it has no header")
        version = first.get("schema_version")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{path} has schema_version {version}, this version of faceanalytics reads {SCHEMA_VERSION}: "
                f"{AGAIN}, or read it with the version that wrote it"
            )
        return _HEADER.validate_python(first)


def _read_lines(
    path: Path, size: dict[str, int], found: dict[str, list[Any]], tracks: Mapping[str, Track] | None = None
) -> None:
    """Add the records of a file to `found` by their type; `size` completes those that lack the size of the frame.

    `tracks`: those that people consist of, by id.
    """
    with _complaining(path), path.open(encoding="utf-8") as file:
        file.readline()
        for line in file:
            record = json.loads(line)
            if not isinstance(record, dict) or record.get("type") not in _KINDS:
                raise ValueError(f"it has a line of an unknown type: {line[:60]!r}")
            if tracks is not None:
                record["tracks"] = [tracks[track_id] for track_id in record["track_ids"]]
            found[record["type"]].append(_KINDS[record["type"]].validate_python(size | record))


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
