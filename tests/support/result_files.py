"""Folders of results as a recorded analysis writes them, made of a few lines about who was seen when."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from streamer.labels import EXPRESSIONS
from streamer.recorded.records import SCHEMA_VERSION

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Track:
    """A track: seen from `start_s` to `end_s`, with one expression after the other in equal parts."""

    number: int
    start_s: float
    end_s: float
    age: float | None = 30.0
    expressions: tuple[str, ...] = ("neutral",)
    box: tuple[float, float, float, float] = (100.0, 80.0, 60.0, 70.0)
    undescribed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()  # in every third frame
    lost: int = 0  # crops without an answer
    quality: float = 0.6
    end_reason: str = "LEFT_FRAME"
    changes: Record = field(default_factory=dict)  # fields of the record that differ

    @property
    def id(self) -> str:
        return f"00000000-{self.number:04d}-8000-8000-00000000cafe"


@dataclass(frozen=True, slots=True)
class Person:
    """A person: the tracks that were joined."""

    tracks: tuple[Track, ...]
    name: str | None = None
    changes: Record = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one video."""

    people: tuple[Person, ...] = ()
    others: tuple[Track, ...] = ()  # tracks of nobody: false faces
    cuts: tuple[float, ...] = ()  # s, where a shot begins; the last is a fade
    length_s: float = 10.0
    fps: float = 10.0
    video: str = "clip.mp4"
    header: Record = field(default_factory=dict)  # fields that differ
    summary: Record = field(default_factory=dict)
    frame: Record = field(default_factory=dict)  # fields of the frames of the second half
    explained: bool = False

    @property
    def tracks(self) -> list[Track]:
        return sorted([*(t for one in self.people for t in one.tracks), *self.others], key=lambda t: t.start_s)

    def write(self, folder: Path) -> Path:
        """Write the files and return the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        header, tracks = self._header(), self.tracks
        lines = {
            "tracks": [_track(one) for one in tracks],
            "people": [_person(one, number) for number, one in enumerate(self.people, 1)],
            "shots": self._shots(),
            "observations": self._observations(tracks),
        }
        if self.explained:
            choice = {"type": "choice", "media_time_s": 0.0, "track_id": "x", "number": 1}
            lines["explain"] = [{**choice, "decision": decision} for decision in ("SENT", "SENT", "TOO_SOON")]
        for name, records in lines.items():
            with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in [header, *records])
        (folder / "summary.json").write_text(json.dumps(self._summary(header)))
        return folder

    def _header(self) -> Record:
        source = {"name": self.video, "sha256": "5" * 64, "width": 640, "height": 480, "video_stream": 0}
        outputs = {"age": True, "expression": True, "attributes": ["male", "eyeglasses"], "identity": True}
        header = {
            "type": "header",
            "schema_version": SCHEMA_VERSION,
            "source": source,
            "time_base": {"zero": "first frame", "source": "pts", "estimated_frames": 0, "restarts": 0},
            "detector": "detector-1",
            "model_id": "model-1",
            "outputs": outputs,
            "licence": "research only",
            "gallery": None,
            "config_hash": "c0ffee",
            "version": "0.1.0",
            "run_id": "ab" * 16,
        }
        return _merged(header, self.header)

    def _summary(self, header: Record) -> Record:
        silent = sum(bool(one.undescribed) for one in self.tracks)
        counts = {
            "run_id": header["run_id"],
            "source_sha256": header["source"]["sha256"],
            "frames": round(self.length_s * self.fps),
            "tracks": len(self.tracks),
            "crops": 4 * len(self.tracks),
            "lost_crops": sum(one.lost for one in self.tracks),
            "dropped": {},
            "people": len(self.people),
            "described_tracks": len(self.tracks) - silent,
            "undescribed_tracks": silent,
            "false_faces": sum("FALSE_FACE" in one.undescribed for one in self.tracks),
            "shots": len(self._shots()),
            "complete": True,
        }
        return {**counts, **self.summary}

    def _shots(self) -> list[Record]:
        starts, last = [0.0, *self.cuts], round(self.length_s * self.fps) - 1
        found = []
        for place, start_s in enumerate(starts):
            end_s = starts[place + 1] - 1 / self.fps if place + 1 < len(starts) else last / self.fps
            kind = "START" if not place else "FADE" if place == len(starts) - 1 else "CUT"
            frames = {"start_frame": round(start_s * self.fps), "end_frame": round(end_s * self.fps)}
            times = {"start_s": round(start_s, 6), "end_s": round(end_s, 6)}
            found.append({"type": "shot", "shot": place + 1, "transition": kind, **frames, **times})
        return found

    def _observations(self, tracks: Sequence[Track]) -> Iterable[Record]:
        waiting, there = list(tracks), []
        frames = round(self.length_s * self.fps)
        for frame in range(frames):
            time = round(frame / self.fps, 6)
            while waiting and waiting[0].start_s <= time:
                there.append(waiting.pop(0))
            there = [one for one in there if one.end_s >= time]
            other = self.frame if frame >= frames / 2 else {}
            yield {"type": "frame", "frame": frame, "media_time_s": time, "shot": 1, "faces": len(there), **other}
            for one in there:
                yield _observation(one, frame, time, {key: other[key] for key in other if key != "time_estimated"})
        for one in tracks:
            for number in range(4):
                quality = round(one.quality - 0.1 * number, 4)
                common = {"type": "analysis", "media_time_s": one.start_s, "frame": 0, "track_id": one.id}
                answer = None if number < one.lost else {"age_years": one.age}
                yield {**common, "number": one.number, "quality": max(0.0, quality), "analysis": answer}


def _observation(one: Track, frame: int, time: float, other: Record) -> Record:
    x, y, width, height = one.box
    record = {
        "type": "observation",
        "media_time_s": time,
        "frame": frame,
        "track_id": one.id,
        "number": one.number,
        "box": {"x": x, "y": y, "width": width, "height": height},
        **other,
        "detection_score": 0.9,
        "quality": round(max(0.0, one.quality - abs(time - (one.start_s + one.end_s) / 2) / 100), 4),
    }
    return {**record, "skipped": list(one.skipped)} if one.skipped and frame % 3 == 0 else record


def _evidence(one: Track) -> Record:
    return {"samples": 4, "best_quality": one.quality, "last_inferred_s": one.end_s, "revision": 3}


def _age(one: Track) -> Record | None:
    if one.age is None or one.undescribed:
        return None
    return {"years": one.age, "low_years": one.age - 6.2, "high_years": one.age + 7.1, **_evidence(one)}


def _shares(tracks: Sequence[Track]) -> dict[str, float]:
    shown = [name for one in tracks if not one.undescribed for name in one.expressions]
    return {name: round(shown.count(name) / len(shown), 4) if shown else 0.0 for name in EXPRESSIONS}


def _expression(one: Track) -> Record | None:
    if not one.expressions or one.undescribed:
        return None
    step = (one.end_s - one.start_s) / len(one.expressions)
    lasted = [
        {
            "appears": name,
            "start_s": round(one.start_s + place * step, 6),
            "end_s": round(one.start_s + (place + 1) * step, 6),
            "confidence": 0.8,
        }
        for place, name in enumerate(one.expressions)
    ]
    now = {"appears": one.expressions[-1], "since_s": lasted[-1]["start_s"]}
    return {**now, "distribution": _shares([one]), "timeline": lasted, **_evidence(one)}


def _attributes(one: Track) -> Record | None:
    if one.undescribed:
        return None
    presence = {"male": "PRESENT", "eyeglasses": "UNDECIDED"}
    return {"scores": {"male": 0.97, "eyeglasses": 0.5}, "presence": presence, **_evidence(one)}


def _track(one: Track) -> Record:
    x, y, width, height = one.box
    record = {
        "type": "track",
        "track_id": one.id,
        "number": one.number,
        "first_seen_s": one.start_s,
        "last_seen_s": one.end_s,
        "end_reason": one.end_reason,
        "box": {"x": x, "y": y, "width": width, "height": height},
        "quality": one.quality,
        "reasons": list(one.skipped),
        "samples": 0 if one.undescribed else 4,
        "model_id": "model-1",
        "described": not one.undescribed,
        "undescribed_reasons": list(one.undescribed),
        "age": _age(one),
        "expression": _expression(one),
        "attributes": _attributes(one),
        "decision": None,
        "intervals": [{"track_id": one.id, "first_seen_s": one.start_s, "last_seen_s": one.end_s}],
        "identity": {"consistency": 0.9, "outliers": 0, "status": "CONSISTENT", **_evidence(one)},
        "split_from": None,
        "revision": 3,
        "final": True,
    }
    return {**record, **one.changes}


def _person(one: Person, number: int) -> Record:
    tracks = one.tracks
    described = [track for track in tracks if not track.undescribed]
    best = max(tracks, key=lambda track: track.quality)
    time = round((best.start_s + best.end_s) / 2, 1)
    shares = _shares(tracks)
    shown = any(shares.values())
    mostly = max(EXPRESSIONS, key=lambda name: shares[name])
    record = {
        "type": "person",
        "person_id": f"person-{number}",
        "number": number,
        "name": one.name,
        "track_ids": [track.id for track in tracks],
        "intervals": [{"track_id": t.id, "start_s": t.start_s, "end_s": t.end_s} for t in tracks],
        "first_seen_s": tracks[0].start_s,
        "last_seen_s": max(track.end_s for track in tracks),
        "seen_s": round(sum(track.end_s - track.start_s for track in tracks), 6),
        "described": bool(described),
        "undescribed_reasons": [] if described else list(tracks[0].undescribed),
        "age": _age(described[0]) if described else None,
        "expression": {"mostly": mostly, "shares": shares} if shown else None,
        "attributes": _attributes(described[0]) if described else None,
        "samples": 4 * len(described),
        "best_quality": best.quality,
        "best": {"track_id": best.id, "media_time_s": time, "frame": round(time * 10)},
    }
    return {**record, **one.changes}


def _merged(one: Record, other: Record) -> Record:
    return {**one, **{key: {**one[key], **value} if isinstance(value, dict) else value for key, value in other.items()}}


ADA = Person(
    (Track(1, 0.0, 4.0, 27.0, ("neutral", "happiness")), Track(4, 6.0, 9.5, 28.0, ("surprise", "happiness"))), "Ada"
)
BOB = Person((Track(2, 1.0, 5.0, 44.0, ("neutral", "anger", "neutral"), box=(300.0, 90.0, 48.0, 60.0)),))
POOR = Person(
    (Track(3, 2.0, 3.0, None, (), (500.0, 300.0, 20.0, 24.0), ("LOW_QUALITY", "BORDER"), ("LOW_SHARPNESS",)),)
)
HAND = Track(5, 7.0, 7.6, None, (), (400.0, 200.0, 40.0, 40.0), ("FALSE_FACE",), quality=0.1)
USUAL = Results((ADA, BOB, POOR), (HAND,), (2.5, 5.0))
LONG_NAME = "Ada King-Noel, Countess of Lovelace and Baroness Wentworth of Nettlestead " * 3


def named(*names: str) -> Results:
    """Results in which each name has a person."""
    tracks = (Track(number, number * 0.5, number * 0.5 + 3) for number in range(1, len(names) + 1))
    return replace(USUAL, people=tuple(Person((track,), name) for track, name in zip(tracks, names, strict=True)))


def crowded(people: int = 300, length_s: float = 7200.0, fps: float = 28.0, shots: int = 400) -> Results:
    """A long recording: every person returns a few times, and the expressions change every few seconds."""
    found = []
    for number in range(people):
        age, stay = 8.0 + number * 37 % 80, 20.0 + number % 7 * 15
        starts = [(number * 113.7 + turn * 1711.3) % (length_s - 200) for turn in range(1 + number % 4)]
        tracks = []
        for turn, start in enumerate(sorted(starts)):
            shown = tuple(EXPRESSIONS[(number + turn + place * place) % 7] for place in range(int(stay / 0.8)))
            box = (50.0 + number * 31 % 500, 40.0 + number * 17 % 350, 20.0 + number % 90, 24.0 + number % 90)
            tracks.append(Track(10 * number + turn, round(start, 2), round(start + stay, 2), age, shown, box))
        found.append(Person(tuple(tracks), f"Somebody {number}" if number % 5 == 0 else None))
    found.sort(key=lambda one: one.tracks[0].start_s)
    cuts = tuple(round(length_s * (place + 1) / shots, 2) for place in range(shots - 1))
    return Results(tuple(found), (), cuts, length_s, fps)
