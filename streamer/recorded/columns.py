"""Defines the columns of the tables of results: their names, types, units and meanings, each in one place.

The Arrow schema, the JSON Schema, the rows and docs/results.md are made of these, or tested against them. Where the
meaning is that of a column of OpenFace or py-feat, the name is theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamer.labels import EXPRESSIONS
from streamer.values import LANDMARK_NAMES

TABLES = ("frames", "tracks", "people", "analyses")
TYPES = ("text", "texts", "number", "whole", "truth", "time")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    type: str  # one of TYPES; texts: a list; time: UTC, with microseconds
    description: str
    unit: str = ""
    null: str = ""  # when a row has no value; empty: each has one
    theirs: str = ""  # the column of OpenFace or py-feat that has this name and meaning


_INPUT = Column("input", "text", "name of the video", theirs="py-feat")
_FRAME = Column("frame", "whole", "number of the analysed frame, from 0", theirs="py-feat")
_TIMESTAMP = Column("timestamp", "number", "time since the first frame", "s", theirs="OpenFace")
_TIMECODE = Column("timecode", "text", "time since the first frame as HH:MM:SS.mmm")
_WALL_CLOCK = Column("wall_clock", "time", "time of day of the frame", "UTC", "it is unknown when the recording began")
_TRACK = "track_id", "text", "id of the track, unique over all recordings"
_FACE = "face_id", "whole", "number of the track, from 1"
_PERSON = Column("person", "whole", "number of the person, from 1", null="the track is that of no person")
_PERSON_NAME = Column("person_name", "text", "name of the person in the gallery", null="nobody is named")
_BOX = tuple(
    Column(f"FaceRect{name}", "number", f"box of the face: {meaning}", "px", theirs="py-feat")
    for name, meaning in (("X", "left"), ("Y", "top"), ("Width", "width"), ("Height", "height"))
)
_SIZE = (
    Column("frame_width", "whole", "width of the frame", "px"),
    Column("frame_height", "whole", "height of the frame", "px"),
)
_POINTS = tuple(
    Column(f"{name}_{axis}", "number", f"{axis} of the landmark {name}, left and right as seen in the image", "px")
    for name in LANDMARK_NAMES
    for axis in "xy"
)
_POSE = tuple(
    Column(name, "number", meaning, "degrees", "it is unknown")
    for name, meaning in (
        ("yaw_deg", "head pose: positive looks to the right of the image"),
        ("pitch_deg", "head pose: positive looks down"),
        ("roll_deg", "head pose: positive is turned clockwise in the image"),
    )
)
_SCORES = tuple(
    Column(name, "number", f"score of the expression {name} in this crop", "0..1", theirs="py-feat")
    for name in EXPRESSIONS
)
_AGE = Column("age_years", "number", "age that the face appears to have in this crop", "years")
_NO_FACE = "there is no face"
_NOT_ANALYSED = "this face was not analysed in this frame, its track is not described, or the weights lack it"
_NOT_DESCRIBED = "it is not described, or the weights lack it"
_LACKING = "no worker answered, or the weights lack it"
_REASONS = Column("undescribed_reasons", "texts", "why it has no age and no expression; empty: it is described")
_ESTIMATES = (
    Column("age_years", "number", "age that the face appears to have", "years", _NOT_DESCRIBED),
    Column("age_low_years", "number", "10 % quantile of the age", "years", _NOT_DESCRIBED),
    Column("age_high_years", "number", "90 % quantile of the age", "years", _NOT_DESCRIBED),
    Column("expression", "text", "expression with the largest share of the time", null=_NOT_DESCRIBED),
    *(
        Column(f"expression_{name}", "number", f"share of the time with the expression {name}", "0..1", _NOT_DESCRIBED)
        for name in EXPRESSIONS
    ),
)


def _with_null(columns: Sequence[Column], null: str) -> tuple[Column, ...]:
    return tuple(replace(column, null=null) for column in columns)


_FRAMES = (
    _INPUT,
    _FRAME,
    _TIMESTAMP,
    _TIMECODE,
    _WALL_CLOCK,
    Column("shot", "whole", "number of the shot, from 1"),
    *_SIZE,
    Column("time_estimated", "truth", "the file had no usable time for the frame, so its neighbours gave it"),
    Column(
        "success",
        "truth",
        "there is a face; without one, the frame has one row and no further value",
        "",
        "",
        "OpenFace",
    ),
    Column(*_FACE, null=_NO_FACE, theirs="OpenFace"),
    Column(*_TRACK, null=_NO_FACE),
    _PERSON,
    _PERSON_NAME,
    *_with_null(_BOX, _NO_FACE),
    Column("FaceScore", "number", "score of the detection", "0..1", _NO_FACE, "py-feat"),
    *_with_null(_POINTS, _NO_FACE),
    *_POSE,
    Column(
        "quality",
        "number",
        "how well the face can be analysed, judged by its geometry alone if it was not chosen",
        "0..1",
        _NO_FACE,
    ),
    Column("interpolated", "truth", "the face was not looked for in this frame; its place is between those around it"),
    Column("skipped", "texts", "why the face could not be analysed; empty: it could"),
    Column("analysed", "truth", "a crop of this face in this frame was analysed"),
    Column("described", "truth", "the track is described: there is a published age or expression", null=_NO_FACE),
    Column(
        "expression",
        "text",
        "expression that the track appears to show at this time",
        null="it is not clear, or not described",
    ),
    *_with_null((*_SCORES, _AGE), _NOT_ANALYSED),
    Column("track_age_years", "number", "age that the track appears to have", "years", _NOT_DESCRIBED),
)

_TRACKS = (
    _INPUT,
    Column(*_FACE, theirs="OpenFace"),
    Column(*_TRACK),
    _PERSON,
    _PERSON_NAME,
    Column(
        "identity_status",
        "text",
        "IDENTIFIED, UNKNOWN or UNDECIDED among the people of the gallery",
        null="there is no gallery, or the crops conflict or show no face",
    ),
    Column("first_seen_s", "number", "time of the first detection since the first frame", "s"),
    Column("last_seen_s", "number", "time of the last detection", "s"),
    Column("seen_s", "number", "time in view, without the gaps in between", "s"),
    Column("first_seen_at", "time", "time of day of the first detection", "UTC", _WALL_CLOCK.null),
    Column("last_seen_at", "time", "time of day of the last detection", "UTC", _WALL_CLOCK.null),
    Column("end_reason", "text", "why the track ended", null="the analysis was stopped before"),
    Column("quality", "number", "quality of the best crop", "0..1"),
    Column("samples", "whole", "analyses that went in"),
    Column("reasons", "texts", "why the face was not analysed; empty: it was"),
    Column("described", "truth", "there is a published age or expression"),
    _REASONS,
    *_ESTIMATES,
    Column(
        "consistency",
        "number",
        "mean cosine of a crop to the others of the track",
        "-1..1",
        "there are fewer than two, or the weights lack it",
    ),
    Column(
        "outliers",
        "whole",
        "crops left out because they do not resemble the others",
        null="the weights lack embeddings, or nothing was analysed",
    ),
    *_BOX,
    *_SIZE,
    Column("model_id", "text", "weights that made the estimates; empty: nothing was analysed"),
    Column("split_from", "text", "id of the track whose second person this is", null="it was not split off"),
    Column("final", "truth", "the track cannot change any more"),
)

_PEOPLE = (
    _INPUT,
    replace(_PERSON, null=""),
    Column("person_id", "text", "id of the person, unique over all recordings"),
    _PERSON_NAME,
    Column("track_ids", "texts", "the tracks of the person, in the order of their beginning"),
    Column("first_seen_s", "number", "time of the first detection since the first frame", "s"),
    Column("last_seen_s", "number", "time of the last detection", "s"),
    Column("seen_s", "number", "time in view, without the gaps in between", "s"),
    Column("first_seen_at", "time", "time of day of the first detection", "UTC", _WALL_CLOCK.null),
    Column("last_seen_at", "time", "time of day of the last detection", "UTC", _WALL_CLOCK.null),
    Column("appearances", "whole", "number of uninterrupted intervals in view"),
    Column("uncertain", "truth", "the crops are too poor to compare this track with other people"),
    Column("described", "truth", "there is a published age or expression"),
    _REASONS,
    *_ESTIMATES,
    Column("samples", "whole", "analyses that went in"),
    Column("best_quality", "number", "quality of the best crop", "0..1"),
    Column("best_frame", "whole", "frame of the best crop", null="nothing was analysed"),
    Column("best_timestamp", "number", "time of the best crop since the first frame", "s", "nothing was analysed"),
    Column("best_track_id", "text", "track of the best crop", null="nothing was analysed"),
)

_ANALYSES = (
    _INPUT,
    _FRAME,
    _TIMESTAMP,
    _TIMECODE,
    _WALL_CLOCK,
    Column(*_FACE, theirs="OpenFace"),
    Column(*_TRACK),
    _PERSON,
    _PERSON_NAME,
    Column("quality", "number", "quality of the crop", "0..1"),
    Column("answered", "truth", "a worker answered"),
    Column("described", "truth", "the track is described: its estimates are published"),
    replace(_AGE, null=_LACKING),
    Column("expression", "text", "expression with the highest score in this crop", null=_LACKING),
    *_with_null(_SCORES, _LACKING),
    Column(
        "embedding_norm",
        "number",
        "length of the embedding; it grows with the recognisability of the face",
        null=_LACKING,
    ),
)

_COLUMNS = {"frames": _FRAMES, "tracks": _TRACKS, "people": _PEOPLE, "analyses": _ANALYSES}


def columns(table: str, attributes: Sequence[str]) -> tuple[Column, ...]:
    """Return the columns of a table in order; `attributes` are those that the weights were trained for.

    Raises ValueError for an unknown table.
    """
    if table not in _COLUMNS:
        raise ValueError(f"there is no table {table!r}: there are frames, tracks, people and analyses")
    return *_COLUMNS[table], *(column for name in attributes for column in _attribute(table, name))


def _attribute(table: str, name: str) -> tuple[Column, ...]:
    """Return the columns about one attribute."""
    if table == "frames":
        return ()
    score = f"attribute_{name}", "number"
    if table == "analyses":
        return (Column(*score, f"score of {name} in this crop, not calibrated", "0..1", _LACKING),)
    return (
        Column(*score, f"mean score of {name}, not calibrated", "0..1", _NOT_DESCRIBED),
        Column(f"presence_{name}", "text", f"whether {name}: PRESENT, ABSENT or UNDECIDED", null=_NOT_DESCRIBED),
    )
