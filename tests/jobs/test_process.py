"""What the process of a job writes, and what becomes of it."""

import json
from pathlib import Path

import pytest

from streamer.jobs.job import Progress
from streamer.jobs.process import Analysis, Outcome

PLACES = Path("/in/a.mp4"), Path("/jobs/1/results"), Path("/jobs/1/config.json")
PROGRESS = {"event": "progress", "frames": 5, "expected_frames": 20, "media_time_s": 0.2, "frames_per_s": None}


def ended(*lines: str, code: int = 0) -> tuple[Outcome, list[Progress]]:
    analysis, seen = Analysis(*PLACES, []), list[Progress]()
    for line in lines:
        analysis._take_in(line, seen.append)
    return analysis._outcome(code), seen


def video(status: str, *problems: str) -> str:
    return json.dumps({"event": "video", "status": status, "problems": problems})


def test_events_are_progress_and_problems() -> None:
    outcome, seen = ended(json.dumps(PROGRESS), video("incomplete", "/in/a.mp4: cut off"), code=5)
    assert seen == [Progress(0.25, 5, 20, 0.2, 0.0)]
    assert outcome == Outcome(problems=("a.mp4: cut off",))


@pytest.mark.parametrize(
    ("lines", "code", "error"),
    [
        ([video("failed", "/in/a.mp4: not a video")], 3, "a.mp4: not a video"),
        (["streamer: --effort: wrong"], 2, "--effort: wrong"),
        ([], 7, "it ended with code 7"),
        ([video("complete")], -11, "the analysis was killed by SIGSEGV; "),
        (
            [
                video(
                    "failed",
                    "--out: /jobs/1/results holds an unfinished analysis that differs in the face model: repeat "
                    "it as it was to go on with it, choose another folder",
                )
            ],
            2,
            "the results hold an unfinished analysis that differs in the face model",
        ),
    ],
)
def test_an_error_is_said_without_places_of_the_machine(lines: list[str], code: int, error: str) -> None:
    outcome, _ = ended(*lines, code=code)
    assert outcome.error.startswith(error)
    assert "/jobs" not in outcome.error


def test_lines_that_only_look_like_events_do_no_harm() -> None:
    lines = [
        '{"event": ', '{"event": "progress"}', '{"event": "video", "status": 1}', '{"event": {}}', '{"event": []}',
        json.dumps(PROGRESS | {"frames": "x"}), json.dumps(PROGRESS | {"media_time_s": []}),
        json.dumps(PROGRESS | {"frames": 1e400}),
    ]  # fmt: skip
    outcome, seen = ended(*lines, code=1)
    assert seen == []
    assert outcome.error
