"""Counts what the observations and explanations of a recording say, one line at a time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamer.recorded.records import Record

WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384)  # px, borders between the classes of face widths
GRADES = 10  # classes of quality
STEP_S = 0.25  # of the count of faces over time


class Sighting(NamedTuple):
    """One face in one frame."""

    rank: float  # quality 0..1
    media_time_s: float
    box: tuple[float, float, float, float]  # x y width height, px


@dataclass(slots=True)
class TrackFaces:
    """What was seen of one track."""

    faces: int = 0
    best: Sighting | None = None
    wanted_s: float | None = None  # the time of the best crop
    at_best: Sighting | None = None  # the sighting nearest to it
    lost: int = 0  # crops without an answer
    skipped: Counter[str] = field(default_factory=Counter)  # frames in which it could not be analysed, by reason


class Seen:
    """The counts of one recording."""

    def __init__(self, tracks: Sequence[Record], best: Sequence[Record]) -> None:
        """`best`: the best crops of the people, by `track_id` and `media_time_s`."""
        self.last_s = 0.0
        self.frames = 0  # lines about a frame
        self.faces = 0
        self.estimated = 0  # frames whose time is estimated
        self.sizes: Counter[str] = Counter()  # faces in frames of another size than the header's
        self.density: Counter[int] = Counter()  # faces, by time in steps of STEP_S
        self.widths: Counter[int] = Counter()  # faces by class of WIDTHS
        self.qualities: Counter[int] = Counter()  # crops by class of quality
        self.skipped: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()  # of explain.jsonl
        self.tracks: dict[str, TrackFaces] = {track["track_id"]: TrackFaces() for track in tracks}
        self._owner = {one["track_id"]: track["track_id"] for track in tracks for one in (*track["intervals"], track)}
        for crop in best:
            if (track := self._of(crop)) is not None:
                track.wanted_s = crop["media_time_s"]

    def add(self, record: Record) -> None:
        """Count a line of observations.jsonl."""
        kind = record["type"]
        if kind == "header":
            return
        self.last_s = max(self.last_s, record["media_time_s"])
        if kind == "frame":
            self.frames += 1
            self.estimated += bool(record.get("time_estimated"))
        elif kind == "observation":
            self._observation(record)
        elif kind == "analysis":
            self._analysis(record)

    def explain(self, record: Record) -> None:
        """Count a line of explain.jsonl."""
        if record["type"] == "choice":
            self.decisions[record["decision"]] += 1

    def _of(self, record: Record) -> TrackFaces | None:
        part: str = record["track_id"]
        return self.tracks.get(self._owner.get(part, part))

    def _observation(self, record: Record) -> None:
        self.faces += 1
        box, time = record["box"], record["media_time_s"]
        self.density[int(time / STEP_S)] += 1
        self.widths[sum(box["width"] >= border for border in WIDTHS)] += 1
        self.skipped.update(record.get("skipped", ()))
        if "frame_width" in record:
            self.sizes[f"{record['frame_width']}\N{MULTIPLICATION SIGN}{record['frame_height']}"] += 1
        track = self._of(record)
        if track is None:
            return
        track.faces += 1
        track.skipped.update(record.get("skipped", ()))
        rank = record.get("quality")
        sighting = Sighting(
            record["detection_score"] - 1 if rank is None else rank,
            time,
            (box["x"], box["y"], box["width"], box["height"]),
        )
        if track.best is None or sighting.rank > track.best.rank:
            track.best = sighting
        if track.wanted_s is not None and (
            track.at_best is None or abs(time - track.wanted_s) < abs(track.at_best.media_time_s - track.wanted_s)
        ):
            track.at_best = sighting

    def _analysis(self, record: Record) -> None:
        self.qualities[min(int(record["quality"] * GRADES), GRADES - 1)] += 1
        track = self._of(record)
        if track is not None:
            track.lost += record["analysis"] is None
