"""Read the files of a recorded analysis along with its video: what to draw into each frame."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from faceanalytics.errors import InputError
from streamer.recorded.captions import Caption, caption, colour, words
from streamer.recorded.painting import Face, Shown
from streamer.recorded.placing import Rect
from streamer.recorded.records import SCHEMA_VERSION, Record
from streamer.values import SendDecision, TrackState

UNTRAINED = "SwinFace is UNTRAINED: ages and expressions are noise"


class _Known(NamedTuple):
    """What to write beside the face of a track."""

    caption: Caption
    number: int  # of the person or track, for the colour
    shown: list[tuple[float, float, str]]  # s from, s to, expression
    reasons: str  # why it was not analysed, or not described

    def texts(self, time: float, details: str, explained: bool) -> tuple[str, str, str]:
        """Return the texts for a media time (s)."""
        appears = next((appears for start, end, appears in self.shown if start <= time < end), None)
        return self.caption.texts(appears, (self.reasons + details) if explained else "")


class ResultReader:
    """The results of an analysis; of the files with one line per face, only one frame is held in memory.

    Raises InputError, also from `at`, if the files are not those that an analysis writes, or not all of one run.
    """

    def __init__(self, folder: Path, explain: bool = False) -> None:
        """`explain`: also show what explain.jsonl says, with the state of each track at the moment."""
        with _complaining(folder / "tracks.jsonl") as records:
            header = _header(records)
            self.source: str = header["source"]["name"]  # of the video
            self.sha256: str = header["source"]["sha256"]
            self.video_stream: int = header["source"]["video_stream"]
            self.run_id: str = header["run_id"]
            people = _people(folder / "people.jsonl", self.run_id)
            self._known: dict[str, _Known] = {}
            for track in records:
                known = _known(track, people.get(track["track_id"]))
                self._known.update({part["track_id"]: known for part in track["intervals"]})
            untrained = header["model_id"] == "untrained"
        self.notice = UNTRAINED if untrained else ""  # for every frame
        self._observations = _Moments(folder / "observations.jsonl", self.run_id, self._observation)
        self._explanation: _Moments | None = None
        self._details: dict[str, str] = {}  # by track id, of one frame
        if explain:
            if not (path := folder / "explain.jsonl").exists():
                raise InputError(f"{folder} has no explain.jsonl: analyse the video with --explain")
            self._known.clear()
            self._explanation = _Moments(path, self.run_id, self._explain)

    def at(self, time: float) -> Shown | None:
        """Return what to draw at a media time (s); None: that frame was not analysed.

        Call it in the order of time. Raises InputError.
        """
        self._details.clear()
        hidden = self._explanation.faces(time) if self._explanation is not None else []
        faces = self._observations.faces(time)
        return Shown((*hidden, *faces)) if self._observations.analysed else None

    @property
    def ended(self) -> bool:
        """Whether all frames that were analysed have been asked for."""
        return self._observations.ended

    def _observation(self, record: Record) -> Face | None:
        if record["type"] != "observation":
            return None
        points = [(point["x"], point["y"]) for point in (record["landmarks"] or {}).values()]
        known = self._known.get(record["track_id"]) or _Known(Caption(f"#{record['number']}"), record["number"], [], "")
        details = self._details.get(record["track_id"], "")
        texts = known.texts(record["media_time_s"], details, self._explanation is not None)
        return _boxed(record, texts, known.number, points)

    def _explain(self, record: Record) -> Face | None:
        if record["type"] == "choice" and record["crop_media_time_s"] == record["media_time_s"]:
            decision = SendDecision(record["decision"]).value
            self._details[record["track_id"]] = f" q{record['quality']['value']:.2f} {words(decision)}"
        elif record["type"] == "answer":
            self._known[record["track_id"]] = _known(record)
        elif record["type"] == "state":
            name = f"#{record['number']}"
            text = f"{name} {words(TrackState(record['state']).value)}"
            return _boxed(record, (text, text, name), record["number"], [], in_view=False)
        return None


class _Moments:
    """The lines of a file in the order of `media_time_s`, one frame at a time."""

    def __init__(self, path: Path, run_id: str, read: Callable[[Record], Face | None]) -> None:
        self._path = path
        self._read = read
        self._records = _lines(path)
        self.analysed = True  # whether the last frame that was asked for was analysed
        with _complaining(path, self._records):
            if _header(self._records)["run_id"] != run_id:
                raise InputError(
                    f"{path} is of another run than tracks.jsonl beside it; remove it, or analyse the video again"
                )
            self._next = next(self._records, None)
            self._every = self._next is not None and self._next["type"] == "frame"  # each analysed frame has a line

    @property
    def ended(self) -> bool:
        """Whether no further frame was analysed."""
        return self._every and self._next is None

    def faces(self, time: float) -> list[Face]:
        """Return the faces that `read` makes of the lines at this time (s), after reading all earlier lines."""
        faces = []
        self.analysed = not self._every
        with _complaining(self._path, self._records):
            while self._next is not None and self._next["media_time_s"] <= round(time, 6):
                now = self._next["media_time_s"] == round(time, 6)
                self.analysed |= now and self._next["type"] == "frame"
                face = self._read(self._next)
                if face is not None and now:
                    faces.append(face)
                self._next = next(self._records, None)
        return faces


def _people(path: Path, run_id: str) -> dict[str, Record]:
    """Return the people by the ids of their tracks; nobody if the recording has no such file."""
    if not path.exists():
        return {}
    with _complaining(path) as records:
        if _header(records)["run_id"] != run_id:
            raise InputError(f"{path} is of another run than tracks.jsonl beside it; analyse the video again")
        return {track_id: person for person in records for track_id in person["track_ids"]}


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


def _boxed(
    record: Record,
    texts: tuple[str, str, str],
    number: int,
    points: list[tuple[float, float]],
    in_view: bool = True,
) -> Face:
    box = record["box"]
    sides = [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]
    if not all(math.isfinite(side) for side in (*sides, *(value for point in points for value in point))):
        raise ValueError("a position is not finite")
    return Face(record["track_id"], texts, colour(number), Rect(*sides), points, in_view)


def _known(record: Record, person: Record | None = None) -> _Known:
    """Read the final record of a track, or an answer, whose expression holds from then on.

    The age is that of the person, if there is one.
    """
    expression, reasons = record["expression"], [*record["reasons"], *record.get("undescribed_reasons", [])]
    shown = []
    if expression and record["type"] == "track":
        shown = [(float(one["start_s"]), float(one["end_s"]), str(one["appears"])) for one in expression["timeline"]]
    elif expression and expression["appears"]:
        shown = [(-math.inf, math.inf, str(expression["appears"]))]
    described = caption(record) if person is None else caption(person, person["name"] or f"P{person['number']}")
    number = (person or record)["number"]
    return _Known(described, number, shown, "".join(f" {words(reason)}" for reason in dict.fromkeys(reasons)))
