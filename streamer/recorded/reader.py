"""Read the files of a recorded analysis along with its video: what to draw into each frame."""

import colorsys
import contextlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from faceanalytics.errors import InputError
from streamer.recorded.records import SCHEMA_VERSION
from streamer.values import SendDecision, TrackState

Record = dict[str, Any]


class Face(NamedTuple):
    """One face in one frame, in pixels."""

    label: str
    colour: tuple[int, int, int]  # BGR
    start: tuple[int, int]  # of the box, x y
    end: tuple[int, int]
    landmarks: list[tuple[int, int]]
    in_view: bool = True  # False if not confirmed yet, or if this is where a lost face is expected


class _Known(NamedTuple):
    """The text to write beside the face of a track."""

    name: str
    shown: list[tuple[float, float, str]]  # s from, s to, expression
    reasons: list[str]  # why it was not analysed

    def label(self, time: float) -> str:
        """Return the text with the expression at a media time (s)."""
        shown = [appears for start, end, appears in self.shown if start <= time < end]
        return " ".join([self.name, *shown, *self.reasons])


class ResultReader:
    """The results of an analysis; of the files with one line per face, only one frame is held in memory.

    Raises InputError, also from `faces`, if the files are not those that an analysis writes, or not all of one run.
    """

    def __init__(self, folder: Path) -> None:
        with _complaining(folder / "tracks.jsonl") as records:
            header = _header(records)
            self._known = {part["track_id"]: _known(track) for track in records for part in track["intervals"]}
            self.source: str = header["source"]["name"]  # of the video
            self.sha256: str = header["source"]["sha256"]
            self.video_stream: int = header["source"]["video_stream"]
            self.run_id: str = header["run_id"]
            untrained = header["model_id"] == "untrained"
        self.notice = "SwinFace is UNTRAINED: ages and expressions are noise" if untrained else ""  # for every frame
        self._observations = _Moments(folder / "observations.jsonl", self.run_id, self._observation)
        self._explanation: _Moments | None = None
        self._details: dict[str, str] = {}  # by track id, of one frame
        if (folder / "explain.jsonl").exists():  # then each frame shows the state at its time
            self._known.clear()
            self._explanation = _Moments(folder / "explain.jsonl", self.run_id, self._explain)

    def faces(self, time: float) -> list[Face]:
        """Return the faces of the frame at a media time (s). Call it in the order of time. Raises InputError."""
        self._details.clear()
        hidden = self._explanation.faces(time) if self._explanation is not None else []
        return hidden + self._observations.faces(time)

    def _observation(self, record: Record) -> Face | None:
        if record["type"] != "observation":
            return None
        points = [(round(point["x"]), round(point["y"])) for point in record["landmarks"].values()]
        known = self._known.get(record["track_id"])
        nothing = f"#{record['number']}" if self._explanation is not None else ""
        label = nothing if known is None else known.label(record["media_time_s"])
        return _boxed(record, label + self._details.get(record["track_id"], ""), points)

    def _explain(self, record: Record) -> Face | None:
        if record["type"] == "choice" and record["crop_media_time_s"] == record["media_time_s"]:
            decision = SendDecision(record["decision"]).value
            self._details[record["track_id"]] = f" q{record['quality']['value']:.2f} {_words(decision)}"
        elif record["type"] == "answer":
            self._known[record["track_id"]] = _known(record)
        elif record["type"] == "state":
            label = f"#{record['number']} {_words(TrackState(record['state']).value)}"
            return _boxed(record, label, [])._replace(in_view=False)
        return None


class _Moments:
    """The lines of a file in the order of `media_time_s`, one frame at a time."""

    def __init__(self, path: Path, run_id: str, read: Callable[[Record], Face | None]) -> None:
        self._path = path
        self._read = read
        self._records = _lines(path)
        with _complaining(path, self._records):
            if _header(self._records)["run_id"] != run_id:
                raise InputError(
                    f"{path} is of another run than tracks.jsonl beside it; remove it, or analyse the video again"
                )
            self._next = next(self._records, None)

    def faces(self, time: float) -> list[Face]:
        """Return the faces that `read` makes of the lines at this time (s), after reading all earlier lines."""
        faces = []
        with _complaining(self._path, self._records):
            while self._next is not None and self._next["media_time_s"] <= round(time, 6):
                face = self._read(self._next)
                if face is not None and self._next["media_time_s"] == round(time, 6):
                    faces.append(face)
                self._next = next(self._records, None)
        return faces


def _lines(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _header(records: Iterator[Record]) -> Record:
    header = next(records, None)
    if header is None or header["type"] != "header":
        raise ValueError("the header is missing")
    if header["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"it has schema_version {header['schema_version']}, this version reads {SCHEMA_VERSION}; "
            "analyse the video again"
        )
    return header


@contextlib.contextmanager
def _complaining(path: Path, records: Iterator[Record] | None = None) -> Iterator[Iterator[Record]]:
    """Yield the records; errors in them, and in the body of the `with`, become an InputError."""
    try:
        yield _lines(path) if records is None else records
    except KeyError as error:
        raise InputError(f"{path} was not written by `streamer analyze`: {error} is missing") from error
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} was not written by `streamer analyze`: {error}") from error


def _boxed(record: Record, label: str, points: list[tuple[int, int]]) -> Face:
    box = record["box"]
    end = round(box["x"] + box["width"]), round(box["y"] + box["height"])
    return Face(label, _colour(record["number"]), (round(box["x"]), round(box["y"])), end, points)


def _colour(number: int) -> tuple[int, int, int]:
    """Return a bright colour (BGR) per track; the golden ratio of the colour circle keeps neighbours apart."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618 % 1, 0.55, 0.95)
    return round(255 * blue), round(255 * green), round(255 * red)


def _known(record: Record) -> _Known:
    """Build the text from the final record of a track, or from an answer, whose expression holds from then on."""
    parts, age, expression = [f"#{record['number']}"], record["age"], record["expression"]
    if record["decision"]:
        parts.append(record["decision"]["person"] or _words(record["decision"]["status"]))
    if age:
        parts.append(f"{round(age['years'])} y ({round(age['low_years'])}-{round(age['high_years'])})")
    shown = []
    if expression and record["type"] == "track":
        shown = [(float(one["start_s"]), float(one["end_s"]), str(one["appears"])) for one in expression["timeline"]]
    elif expression and expression["appears"]:
        shown = [(-math.inf, math.inf, str(expression["appears"]))]
    return _Known(" ".join(parts), shown, [_words(reason) for reason in record["reasons"]])


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
