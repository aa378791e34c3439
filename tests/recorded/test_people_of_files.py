"""Real files through the whole of a recorded analysis: people who leave and return, in one file and in several."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from faceanalytics.internal.v1 import faces_pb2
from streamer.cli import main
from streamer.commands_people import write_people
from streamer.config import People
from streamer.configfile import parse_config
from streamer.recorded.analysis import Analysis
from streamer.recorded.writer import VideoResult
from tests.support.painted_people import painted_worker, person, write_video
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import WAIT_S

ADA, BOB, EVE = person(1), person(2), person(7)
TABLE = faces_pb2.ImpostorScores(
    pairs=20_000, people=300, shares=[0.001, 0.01, 1], cosines=[0.9, 0.7, -1], source="card"
)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def analysed(place: Path, out: Path, embeddings: bool = True) -> list[VideoResult]:
    """Monday: ada leaves and returns beside bob. Tuesday: bob, then eve."""
    write_lite_patch_detector(place / "patches.onnx")
    write_video(place / "monday.mp4", {ADA: [(0, 3), (7, 10)], BOB: [(2, 9)]}, 10)
    write_video(place / "tuesday.mp4", {BOB: [(0, 3)], EVE: [(5, 8)]}, 8)
    settings = parse_config(
        {
            "detect": {"weights": str(place / "patches.onnx")},
            "dispatch": {"bind": f"ipc://{place}/w"},
            "relink": {"enabled": False},
            "people": {"min_quality": 0.0, "false_join_rate": 0.2},
            "aggregate": {"max_cover": 255},  # the colours of their parts are no mask
        },
        "test",
    )
    videos = [(place / f"{day}.mp4", out / day) for day in ("monday", "tuesday")]
    async with asyncio.timeout(WAIT_S), painted_worker(settings.dispatch.bind, impostors=TABLE):
        return await Analysis(settings, None, embeddings=embeddings).run(videos, lambda *_: None)


async def test_who_returns_is_one_person_and_the_same_in_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monday, tuesday = await analysed(tmp_path, tmp_path / "out")
    header, ada, bob = lines(monday.folder / "people.jsonl")
    assert header == lines(monday.folder / "tracks.jsonl")[0]
    assert (len(ada["track_ids"]), len(bob["track_ids"])) == (2, 1)
    assert [(round(one["start_s"]), round(one["end_s"])) for one in ada["intervals"]] == [(0, 3), (7, 10)]
    assert ada["best"]["track_id"] in ada["track_ids"]
    assert ada["best"]["frame"] == round(5 * ada["best"]["media_time_s"])
    summary = json.loads((monday.folder / "summary.json").read_text())
    assert (summary["tracks"], summary["people"]) == (3, 2)
    assert len(lines(tuesday.folder / "people.jsonl")) == 3

    config = tmp_path / "people.yaml"
    config.write_text("people: {min_quality: 0.0, false_join_rate: 0.2}")
    command = ["people-across", str(tmp_path / "out"), "--config", str(config), "--out", str(tmp_path / "all.jsonl")]
    assert main(command) == 0
    assert "3 people in 2 recordings" in capsys.readouterr().out
    _, *everybody = lines(tmp_path / "all.jsonl")
    assert [[one["folder"] for one in each["appearances"]] for each in everybody] == [
        ["out/monday"],
        ["out/monday", "out/tuesday"],
        ["out/tuesday"],
    ]
    assert everybody[1]["appearances"][0]["track_ids"] == bob["track_ids"]
    assert main([*command, "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()][1:] == everybody

    (tuesday.folder / "embeddings.npz").unlink()
    assert main(command) == 5
    assert "analyse the video again with --embeddings" in capsys.readouterr().err
    (monday.folder / "embeddings.npz").unlink()
    assert main(command) == 3


async def test_a_run_that_goes_on_compares_also_the_videos_that_were_finished_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = People(min_quality=0.0, false_join_rate=0.2)
    out = tmp_path / "out"
    undisturbed = await analysed(tmp_path, tmp_path / "undisturbed", embeddings=False)
    assert write_people(undisturbed, tmp_path / "undisturbed", settings, quiet=True) == 0
    expected = (tmp_path / "undisturbed" / "people.jsonl").read_bytes()
    assert len(expected.splitlines()) == 4

    await analysed(tmp_path, out, embeddings=False)  # and killed before the people of all videos were compared
    results = await analysed(tmp_path, out, embeddings=False)
    assert all(one.finished_before for one in results)
    assert write_people(results, out, settings, quiet=True) == 0
    assert (out / "people.jsonl").read_bytes() == expected
    assert capsys.readouterr().out == ""

    (out / "monday" / "embeddings.npz").unlink()
    monday, tuesday = await analysed(tmp_path, out, embeddings=False)
    assert (monday.finished_before, tuesday.finished_before) == (False, True)  # for its templates
    assert write_people([monday], out, settings, quiet=True) == 0  # a run of one video leaves the list alone
    (out / "tuesday" / "embeddings.npz").unlink()
    assert write_people([monday, tuesday], out, settings, quiet=True) == 3
    assert "analyse the video again with --embeddings" in capsys.readouterr().err
    assert (out / "people.jsonl").read_bytes() == expected


def test_the_people_of_one_recording_are_not_replaced_by_a_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "people.jsonl").write_text('{"type": "header", "run_id": "1"}\n')
    videos = [str(tmp_path / "one.mp4"), str(tmp_path / "two.mp4")]
    assert main(["analyze", *videos, "--out", str(tmp_path)]) == 2
    assert "is not a list of the people of several recordings" in capsys.readouterr().err
    assert (tmp_path / "people.jsonl").read_text().startswith('{"type": "header", "run_id"')


async def test_the_same_file_has_the_same_people(tmp_path: Path) -> None:
    first, _ = await analysed(tmp_path, tmp_path / "first")
    second, _ = await analysed(tmp_path, tmp_path / "second")
    for name in ("people.jsonl", "embeddings.npz"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
