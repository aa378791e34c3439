"""The files of a recorded analysis, read along with its video: what to draw into each image."""

import colorsys
import contextlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from faceanalytics.errors import InputError
from streamer.values import SendDecision, TrackState

Record = dict[str, Any]


class Face(NamedTuple):
    """One face in one image, in pixels."""

    label: str
    colour: tuple[int, int, int]  # BGR
    start: tuple[int, int]  # of the box, x y
    end: tuple[int, int]
    landmarks: list[tuple[int, int]]
    in_view: bool = True  # False: not confirmed yet, or where a lost face is expected


class _Known(NamedTuple):
    """What is known of a track, as it is written beside its face."""

    name: str
    shown: list[tuple[float, float, str]]  # s from, s to, what it appeared to show
    reasons: list[str]  # why it was not analysed

    def label(self, time: float) -> str:
        """With what it appeared to show at a media time (s)."""
        shown = [appears for start, end, appears in self.shown if start <= time < end]
        return " ".join([self.name, *shown, *self.reasons])


class ResultReader:
    """What an analysis found; of the files with a line per face no more is held than one image's.

    Raises InputError, also where faces are asked for, if the files are not what an analysis writes.
    """

    def __init__(self, folder: Path) -> None:
        with _complaining(folder / "tracks.jsonl") as records:
            header = _header(records)
            self._known = {part["track_id"]: _known(track) for track in records for part in track["intervals"]}
            self.source: str = header["source"]["name"]  # of the video
            self.sha256: str = header["source"]["sha256"]
            untrained = header["model_id"] == "untrained"
        self.notice = "SwinFace is UNTRAINED: ages and expressions are noise" if untrained else ""  # for every image
        self._observations = _Moments(folder / "observations.jsonl", self._observation)
        self._explanation: _Moments | None = None
        self._details: dict[str, str] = {}  # by track id, of one image
        if (folder / "explain.jsonl").exists():  # then each image shows what was known at its time
            self._known.clear()
            self._explanation = _Moments(folder / "explain.jsonl", self._explain)

    def faces(self, time: float) -> list[Face]:
        """Those of the image at a media time (s); to be asked for in the order of time."""
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
    """Lines in the order of `media_time_s`, an image's at a time."""

    def __init__(self, path: Path, read: Callable[[Record], Face | None]) -> None:
        self._path = path
        self._read = read
        self._records = _lines(path)
        with _complaining(path, self._records):
            _header(self._records)
            self._next = next(self._records, None)

    def faces(self, time: float) -> list[Face]:
        """What `read` makes of the lines of this time (s), and of those that no image asked for before."""
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
        raise ValueError("it has no header")
    return header


@contextlib.contextmanager
def _complaining(path: Path, records: Iterator[Record] | None = None) -> Iterator[Iterator[Record]]:
    """The records; what is wrong with them, also in the body, becomes an InputError."""
    try:
        yield _lines(path) if records is None else records
    except KeyError as error:
        raise InputError(f"{path} is no result of `streamer analyze`: {error} is missing") from error
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is no result of `streamer analyze`: {error}") from error


def _boxed(record: Record, label: str, points: list[tuple[int, int]]) -> Face:
    box = record["box"]
    end = round(box["x"] + box["width"]), round(box["y"] + box["height"])
    return Face(label, _colour(record["number"]), (round(box["x"]), round(box["y"])), end, points)


def _colour(number: int) -> tuple[int, int, int]:
    """A bright colour (BGR) per track; neighbours differ most, by the golden ratio of the colour circle."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618 % 1, 0.55, 0.95)
    return round(255 * blue), round(255 * green), round(255 * red)


def _known(record: Record) -> _Known:
    """From the final record of a track; or from an answer, which says what it appears to show from then on."""
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
