"""Results of a recording written by hand, as `streamer analyze` writes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceanalytics.files import hash_file
from streamer.labels import EXPRESSIONS
from streamer.recorded.records import SCHEMA_VERSION
from streamer.values import LANDMARK_NAMES

Record = dict[str, Any]
Box = tuple[float, float, float, float]  # x y width height, px
RUN = "0123456789abcdef" * 2
EVIDENCE = {"samples": 3, "best_quality": 0.5, "last_inferred_s": 0.0, "revision": 1}
AGE = {"years": 34.2, "low_years": 28.4, "high_years": 41.0, **EVIDENCE}
SHARES = {**dict.fromkeys(EXPRESSIONS, 0.0), "happiness": 0.62, "neutral": 0.38}
HEADER = {
    "type": "header",
    "schema_version": SCHEMA_VERSION,
    "version": "0.1.0",
    "run_id": RUN,
    "time_base": {"zero": "first frame", "source": "pts", "estimated_frames": 0, "restarts": 0},
    "start_time": None,
    "start_time_source": None,
    "part": {"start_s": 0.0, "end_s": None, "sample_fps": None, "region": None, "min_face_px": 0.0},
    "detector": "yolo-face-nano",
    "outputs": {"age": True, "expression": True, "attributes": [], "identity": True},
    "licence": "research",
    "gallery": None,
    "config_hash": "abc",
    "options": {"embeddings": False, "explain": False},
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One track, and whose face it is."""

    track_id: str
    number: int  # of the track
    person: int | None  # number of the person; None: it is no face
    first: int  # index of the first frame that shows it
    last: int  # index of the last one
    box: Box = (100.0, 80.0, 60.0, 60.0)
    step: float = 0.0  # px to the right, per frame
    qualities: Mapping[int, float] = field(default_factory=dict)  # by frame; 0.5 in others
    segments: Sequence[tuple[str, float, float]] = ()  # expression, from s, to s
    joined: tuple[str, ...] = ()  # ids of tracks that were joined to it

    def place(self, frame: int) -> Box:
        x, y, width, height = self.box
        return x + self.step * (frame - self.first), y, width, height


def write_results(
    folder: Path,
    tracks: Sequence[Seen],
    *,
    times: Sequence[float],
    names: Mapping[int, str] | None = None,
    undescribed: Mapping[int, Sequence[str]] | None = None,
    cuts: Sequence[int] = (),
    best: Mapping[int, tuple[str, int]] | None = None,
    video: Path | None = None,
    name: str = "clip.mp4",
    size: tuple[int, int] = (320, 240),
    model_id: str = "swinface-small",
) -> Path:
    """Write a folder of results of frames at `times` (s) and return it; `cuts`: first frames of shots but the first.

    `names`, `undescribed` (with reasons) and `best` (track id and frame) are by number of the person.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = hash_file(video) if video is not None else "0" * 64
    source = {"name": video.name if video else name, "sha256": sha256, "video_stream": 0}
    source |= {"width": size[0], "height": size[1], "geometry": _geometry(size)}
    header = {**HEADER, "source": source, "model_id": model_id}
    files = {
        "observations": _observations(tracks, times, cuts),
        "tracks": [_track(one, times, undescribed or {}) for one in tracks],
        "people": _people(tracks, times, names or {}, undescribed or {}, best or {}),
        "shots": _shots(times, cuts),
    }
    for file, records in files.items():
        lines = [json.dumps(record) + "\n" for record in (header, *records)]
        (folder / f"{file}.jsonl").write_text("".join(lines))
    counts = {"frames": len(times), "tracks": len(tracks), "people": len(files["people"])}
    counts |= {"crops": 0, "lost_crops": 0, "shots": len(files["shots"])}
    counts["described_tracks"] = sum(track["described"] for track in files["tracks"])
    counts["false_faces"] = sum("FALSE_FACE" in track["undescribed_reasons"] for track in files["tracks"])
    counts["undescribed_tracks"] = len(tracks) - counts["described_tracks"] - counts["false_faces"]
    summary: Record = {
        "run_id": RUN,
        "source_sha256": sha256,
        **counts,
        "dropped": {},
        "complete": True,
        "problem": None,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def _geometry(size: tuple[int, int]) -> Record:
    stored = {"stored_width": size[0], "stored_height": size[1], "sample_aspect_ratio": "1:1"}
    return {**stored, "matrix": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]}


def _observations(tracks: Sequence[Seen], times: Sequence[float], cuts: Sequence[int]) -> list[Record]:
    records: list[Record] = []
    for frame, time in enumerate(times):
        there = [one for one in tracks if one.first <= frame <= one.last]
        shot = 1 + sum(cut <= frame for cut in cuts)
        records.append({"type": "frame", "frame": frame, "media_time_s": time, "shot": shot, "faces": len(there)})
        records += [_observation(one, frame, time) for one in there]
    return records


def _observation(one: Seen, frame: int, time: float) -> Record:
    x, y, _, _ = one.place(frame)
    return {
        "type": "observation",
        "frame": frame,
        "media_time_s": time,
        "track_id": one.track_id,
        "number": one.number,
        "box": _box(one.place(frame)),
        "detection_score": 0.9,
        "quality": one.qualities.get(frame, 0.5),
        "yaw_deg": None,
        "pitch_deg": None,
        "roll_deg": None,
        "landmarks": {name: {"x": x, "y": y} for name in LANDMARK_NAMES},
    }


def _box(place: Box) -> Record:
    return dict(zip(("x", "y", "width", "height"), place, strict=True))


def _track(one: Seen, times: Sequence[float], undescribed: Mapping[int, Sequence[str]]) -> Record:
    described = one.person is not None and one.person not in undescribed
    span = {"first_seen_s": times[one.first], "last_seen_s": times[one.last]}
    timeline = [
        {"appears": appears, "start_s": start, "end_s": end, "confidence": 0.8} for appears, start, end in one.segments
    ]
    expression = {"appears": None, "since_s": 0.0, "distribution": SHARES, "timeline": timeline}
    return {
        "type": "track",
        "track_id": one.track_id,
        "number": one.number,
        **span,
        "end_reason": "END_OF_FILE",
        "box": _box(one.place(one.last)),
        "quality": 0.5,
        "reasons": [],
        "samples": 3,
        "model_id": "swinface-small",
        "described": described,
        "undescribed_reasons": list((undescribed or {}).get(one.person or 0, () if one.person else ("FALSE_FACE",))),
        "age": AGE if described else None,
        "expression": {**expression, **EVIDENCE} if described else None,
        "attributes": None,
        "decision": None,
        "intervals": [{"track_id": track_id, **span} for track_id in (*one.joined, one.track_id)],
        "identity": None,
        "split_from": None,
        "revision": 1,
        "final": True,
    }


def _people(
    tracks: Sequence[Seen],
    times: Sequence[float],
    names: Mapping[int, str],
    undescribed: Mapping[int, Sequence[str]],
    best: Mapping[int, tuple[str, int]],
) -> list[Record]:
    records: list[Record] = []
    for number in sorted({one.person for one in tracks if one.person is not None}):
        own = [one for one in tracks if one.person == number]
        spans = [(one.track_id, times[one.first], times[one.last]) for one in own]
        described = number not in undescribed
        expression = {"mostly": "happiness", "shares": SHARES}
        records.append(
            {
                "type": "person",
                "person_id": f"p{number}",
                "number": number,
                "name": names.get(number),
                "track_ids": [one.track_id for one in own],
                "intervals": [{"track_id": name, "start_s": start, "end_s": end} for name, start, end in spans],
                "first_seen_s": min(start for _, start, _ in spans),
                "last_seen_s": max(end for _, _, end in spans),
                "seen_s": sum(end - start for _, start, end in spans),
                "described": described,
                "undescribed_reasons": list(undescribed.get(number, ())),
                "age": AGE if described else None,
                "expression": expression if described else None,
                "attributes": None,
                "samples": 3,
                "best_quality": 0.5,
                "best": _best(best[number], times) if number in best else None,
            }
        )
    return records


def _best(best: tuple[str, int], times: Sequence[float]) -> Record:
    return {"track_id": best[0], "media_time_s": times[best[1]], "frame": best[1]}


def _shots(times: Sequence[float], cuts: Sequence[int]) -> list[Record]:
    starts = [0, *cuts]
    return [
        {
            "type": "shot",
            "shot": number,
            "transition": "START" if number == 1 else "CUT",
            "start_frame": start,
            "end_frame": end - 1,
            "start_s": times[start],
            "end_s": times[end - 1],
        }
        for number, (start, end) in enumerate(zip(starts, [*cuts, len(times)], strict=True), 1)
        if times
    ]
