"""Files of a recorded analysis as `streamer analyze` writes them, made without one: every kind of record, known values.

Ten frames of 40 ms in two shots. `ann` (track 1) is seen in frames 1 to 3 and, back as track 3, in 8 and 9; what is
seen as track 2 in frames 2 and 3 is not described. Frames 0 and 4 to 7 have no face.
"""

import json
from pathlib import Path
from typing import Any

from streamer.labels import EXPRESSIONS
from streamer.values import LANDMARK_NAMES

RUN_ID = "0123456789abcdef" * 2
SIZE = {"width": 640, "height": 480}
FRAMES = 10
STEP_S = 0.04
FACES = {1: ("t1",), 2: ("t1", "t2"), 3: ("t1", "t2"), 8: ("t3",), 9: ("t3",)}  # tracks by frame
ANALYSED = (("t1", 1), ("t1", 3), ("t3", 8))
EVIDENCE = {"samples": 2, "best_quality": 0.75, "last_inferred_s": 0.12, "revision": 3}
AGE = {"years": 31.25, "low_years": 25.0, "high_years": 38.5, **EVIDENCE}

Record = dict[str, Any]


def header(**changes: Any) -> Record:
    return {
        "type": "header",
        "schema_version": 5,
        "source": {
            "name": "clip.mp4",
            "sha256": "ab" * 32,
            **SIZE,
            "video_stream": 0,
            "geometry": {
                "stored_width": 640,
                "stored_height": 480,
                "sample_aspect_ratio": "1:1",
                "matrix": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            },
        },
        "time_base": {"zero": "first frame", "source": "pts", "estimated_frames": 0, "restarts": 0},
        "start_time": "2026-11-30T12:00:00.000000Z",
        "start_time_source": "option",
        "part": {"start_s": 0.0, "end_s": None, "sample_fps": None, "region": None, "min_face_px": 0.0},
        "detector": "detector",
        "model_id": "weights",
        "outputs": {"age": True, "expression": True, "attributes": ["male"], "identity": True},
        "licence": "",
        "gallery": None,
        "config_hash": "0" * 12,
        "options": {"embeddings": False, "explain": False},
        "version": "0.1.0",
        "run_id": RUN_ID,
        **changes,
    }


def scores(highest: str) -> dict[str, float]:
    """Scores of the expressions that sum to 1."""
    return {name: 0.7 if name == highest else 0.05 for name in EXPRESSIONS}


def time(frame: int) -> float:
    return round(frame * STEP_S, 6)


def face(frame: int, track_id: str) -> Record:
    place = {"x": 10.0 * frame, "y": 20.0}
    return {
        "type": "observation",
        "frame": frame,
        "media_time_s": time(frame),
        "track_id": track_id,
        "number": int(track_id[1:]),
        "box": {**place, "width": 30.0, "height": 40.5},
        "detection_score": 0.9,
        "landmarks": dict.fromkeys(LANDMARK_NAMES, place),
        "quality": 0.5,
        "yaw_deg": -12.5,
        "pitch_deg": 3.0,
        "roll_deg": None if track_id == "t2" else 0.5,
        **({"skipped": ["LOW_SHARPNESS"]} if track_id == "t2" else {}),
    }


def analysis(frame: int, track_id: str, outputs: Record) -> Record:
    return {
        "type": "analysis",
        "frame": frame,
        "media_time_s": time(frame),
        "track_id": track_id,
        "number": int(track_id[1:]),
        "quality": 0.75,
        "analysis": {
            "age_years": 30.5 if outputs["age"] else None,
            "expression": scores("happiness") if outputs["expression"] else None,
            "attributes": {"male": 0.25} if outputs["attributes"] else None,
            "embedding_norm": 20.5 if outputs["identity"] else None,
        },
    }


def observations(outputs: Record) -> list[Record]:
    lines: list[Record] = []
    for frame in range(FRAMES):
        seen = FACES.get(frame, ())
        shot = 1 if frame < 5 else 2
        lines.append({"type": "frame", "frame": frame, "media_time_s": time(frame), "shot": shot, "faces": len(seen)})
        lines += [face(frame, track_id) for track_id in seen]
        # the crop of frame 3 has waited until frame 5
        crops = [("t1", 3)] if frame == 5 else [one for one in ANALYSED if one[1] == frame and frame != 3]
        lines += [analysis(number, track_id, outputs) for track_id, number in crops]
    return lines


def track(track_id: str, first: int, last: int, **changes: Any) -> Record:
    expression = {
        "appears": "happiness",
        "since_s": time(first),
        "distribution": scores("happiness"),
        "timeline": [{"appears": "happiness", "start_s": time(first), "end_s": time(last), "confidence": 0.8}],
        **EVIDENCE,
    }
    interval = {"track_id": track_id, "first_seen_s": time(first), "last_seen_s": time(last)}
    return {
        "type": "track",
        "track_id": track_id,
        "number": int(track_id[1:]),
        "first_seen_s": time(first),
        "last_seen_s": time(last),
        "end_reason": "TIMEOUT",
        "box": {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.5},
        "quality": 0.75,
        "reasons": [],
        "samples": 2,
        "model_id": "weights",
        "described": True,
        "undescribed_reasons": [],
        "age": AGE,
        "expression": expression,
        "attributes": {"scores": {"male": 0.25}, "presence": {"male": "ABSENT"}, **EVIDENCE},
        "decision": None,
        "intervals": [interval],
        "identity": {"consistency": 0.8, "outliers": 0, "status": "CONSISTENT", **EVIDENCE},
        "split_from": None,
        "revision": 4,
        "final": True,
        **changes,
    }


UNKNOWN: Record = {"age": None, "expression": None, "attributes": None}


def tracks(outputs: Record) -> list[Record]:
    lost = {**UNKNOWN, "described": False, "undescribed_reasons": ["LOW_QUALITY", "BORDER"], "identity": None}
    lacking = {} if outputs["age"] else UNKNOWN
    return [
        track("t2", 2, 3, **lost, samples=0, quality=0.0, reasons=["LOW_SHARPNESS"], model_id=""),
        track("t1", 1, 3, **lacking),
        track("t3", 8, 9, **lacking),
    ]


def person(number: int, name: str | None, *tracks: tuple[str, int, int], **changes: Any) -> Record:
    intervals = [{"track_id": one, "start_s": time(first), "end_s": time(last)} for one, first, last in tracks]
    return {
        "type": "person",
        "person_id": f"p{number}",
        "number": number,
        "name": name,
        "track_ids": [one for one, _, _ in tracks],
        "intervals": intervals,
        "first_seen_s": time(tracks[0][1]),
        "last_seen_s": time(tracks[-1][2]),
        "seen_s": 0.12,
        "described": True,
        "undescribed_reasons": [],
        "age": AGE,
        "expression": {"mostly": "happiness", "shares": scores("happiness")},
        "attributes": {"scores": {"male": 0.25}, "presence": {"male": "ABSENT"}, **EVIDENCE},
        "samples": 3,
        "best_quality": 0.75,
        "best": {"track_id": tracks[0][0], "media_time_s": 0.04, "frame": 1},
        **changes,
    }


def people(name: str | None, outputs: Record) -> list[Record]:
    lost = {**UNKNOWN, "described": False, "undescribed_reasons": ["LOW_QUALITY"], "samples": 0, "best": None}
    lacking = {} if outputs["age"] else UNKNOWN
    return [
        person(1, name, ("t1", 1, 3), ("t3", 8, 9), **lacking),
        person(2, None, ("t2", 2, 3), **lost, best_quality=0.0, uncertain=True),
    ]


def shots() -> list[Record]:
    return [
        {"type": "shot", "shot": 1, "transition": "START", "start_frame": 0, "end_frame": 4, "start_s": 0.0,
         "end_s": 0.16},
        {"type": "shot", "shot": 2, "transition": "CUT", "start_frame": 5, "end_frame": 9, "start_s": 0.2,
         "end_s": 0.36},
    ]  # fmt: skip


def write_lines(path: Path, records: list[Record]) -> None:
    path.write_bytes(b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in records))


def write_results(folder: Path, name: str | None = "ann", **changes: Any) -> Path:
    """Write the files of a whole analysis into a folder and return it. `name`: of the first person; `changes`: of the
    header."""
    folder.mkdir(parents=True, exist_ok=True)
    first = header(**changes)
    outputs = first["outputs"]
    write_lines(folder / "tracks.jsonl", [first, *tracks(outputs)])
    write_lines(folder / "observations.jsonl", [first, *observations(outputs)])
    write_lines(folder / "people.jsonl", [first, *people(name, outputs)])
    write_lines(folder / "shots.jsonl", [first, *shots()])
    counts = {
        "frames": FRAMES, "tracks": 3, "crops": len(ANALYSED), "lost_crops": 0, "dropped": {}, "complete": True,
        "problem": None,
        "people": 2, "described_tracks": 2, "undescribed_tracks": 1, "false_faces": 0, "shots": 2,
    }  # fmt: skip
    run = {"run_id": first["run_id"], "source_sha256": first["source"]["sha256"]}
    (folder / "summary.json").write_text(json.dumps({**run, **counts}, indent=1) + "\n")
    return folder


def write_nothing(folder: Path) -> Path:
    """Write the files of a video of two frames in which nobody is seen."""
    write_results(folder)
    first = header()
    frames = [{"type": "frame", "frame": one, "media_time_s": time(one), "shot": 1, "faces": 0} for one in range(2)]
    write_lines(folder / "observations.jsonl", [first, *frames])
    for name in ("tracks.jsonl", "people.jsonl"):
        write_lines(folder / name, [first])
    write_lines(folder / "shots.jsonl", [first, {**shots()[0], "end_frame": 1, "end_s": 0.04}])
    counts = json.loads((folder / "summary.json").read_text())
    none = dict.fromkeys(("tracks", "crops", "people", "described_tracks", "undescribed_tracks"), 0)
    (folder / "summary.json").write_text(json.dumps({**counts, **none, "frames": 2, "shots": 1}))
    return folder
