"""The shots of a recording in its results, and which person the tracks of each shot are."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from faceanalytics.files import JsonLines
from streamer.recorded.shots import ShotLines
from streamer.values import ClockSource, Detections, Observation, Transition
from tests.conftest import shared_folder
from tests.support.composed import Scene, compose

LENGTH_S = 1.2
PERSON = {"bird": 1, "milk": 1, "please": 1, "book": 2, "learn": 2, "school": 2, "again": 0, "brother": 0, "no": 0}


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def observation(time: float, shot: int, transition: Transition) -> Observation:
    return Observation(
        "cam",
        0,
        time,
        None,
        ClockSource.FILE_PTS,
        0.0,
        (64, 48),
        Detections.none(),
        (),
        shot=shot,
        transition=transition,
    )  # fmt: skip


def test_a_shot_is_written_with_both_ends_when_the_next_begins_and_at_the_end(tmp_path: Path) -> None:
    shots = [(1, Transition.START)] * 3 + [(2, Transition.CUT)] + [(3, Transition.FADE)] * 2
    with JsonLines(tmp_path / "shots.jsonl") as lines:
        writing = ShotLines(lines)
        for frame, (shot, transition) in enumerate(shots):
            writing.see(frame, observation(frame / 8, shot, transition))
        assert writing.written == 2
        writing.close()
        writing.close()
    assert writing.written == 3
    assert [tuple(one.values()) for one in records(tmp_path / "shots.jsonl")] == [
        ("shot", 1, "START", 0, 2, 0.0, 0.25),
        ("shot", 2, "CUT", 3, 3, 0.375, 0.375),
        ("shot", 3, "FADE", 4, 5, 0.5, 0.625),
    ]


@pytest.mark.shared
@pytest.mark.parametrize("names", ["again bird book milk no learn", "school please brother"])
def test_no_track_goes_from_one_person_to_another_over_a_cut(tmp_path: Path, names: str) -> None:
    people = [PERSON[name] for name in names.split()]
    clips = shared_folder() / "data" / "clips" / "asl"
    compose(tmp_path / "a.mp4", [Scene(clips / f"{name}.mkv", length_s=LENGTH_S) for name in names.split()])
    command = [sys.executable, "-m", "streamer", "analyze", str(tmp_path / "a.mp4")]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in (tmp_path / "out").rglob("summary.json"))
    _, *shots = records(folder / "shots.jsonl")
    every = round(LENGTH_S * 25)
    assert [(one["start_frame"], one["end_frame"]) for one in shots] == [
        (every * place, every * (place + 1) - 1) for place in range(len(people))
    ]
    assert [one["transition"] for one in shots] == ["START"] + ["CUT"] * (len(people) - 1)
    assert json.loads((folder / "summary.json").read_text())["shots"] == len(people)
    _, *tracks = records(folder / "tracks.jsonl")
    for track in tracks:
        spans = [(one["first_seen_s"], one["last_seen_s"]) for one in track["intervals"]]
        assert all(first // LENGTH_S == last // LENGTH_S for first, last in spans)
        assert len({people[int((first + last) / 2 / LENGTH_S)] for first, last in spans}) == 1
