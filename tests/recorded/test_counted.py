"""Recordings in the privacy modes: what is left in the folders of results."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceanalytics.errors import ConfigError
from streamer.cli import main
from streamer.configfile import parse_config
from streamer.privacy import Mode
from streamer.recorded.analysis import Analysis
from tests.support.painted_people import painted_worker, person, write_video
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import WAIT_S

ADA, BEN = person(3), person(4)


async def analysed(folder: Path, mode: Mode, out: Path, made: list[bytes], videos: int = 1, **options: Any) -> None:
    """Analyse copies of one clip with a worker of some lines."""
    write_lite_patch_detector(folder / "patches.onnx")
    clip = folder / "clip.mp4"
    if not clip.exists():
        write_video(clip, {ADA: [(0, 3)], BEN: [(1, 4)]}, 5)
    names = [folder / f"clip{number}.mp4" for number in range(videos)]
    for name in names:
        name.write_bytes(clip.read_bytes())
    data = {
        "detect": {"weights": str(folder / "patches.onnx")},
        "dispatch": {"bind": f"ipc://{folder}/w", "worker_silent_s": WAIT_S},
        "aggregate": {"max_cover": 255},
        "privacy": {"mode": mode, "aggregate_s": 2, "min_tracks": 1},
    }
    config = parse_config(data, "test")
    analysis = Analysis(config, None, **options)
    async with painted_worker(config.dispatch.bind, made=made):
        results = await analysis.run([(name, out / name.stem) for name in names], lambda *_: None)
    assert [one.problem for one in results] == [""] * videos


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def test_aggregate_only_leaves_counts_and_nothing_else_the_same_each_time(tmp_path: Path) -> None:
    made = list[bytes]()
    for name in ("one", "two"):
        await analysed(tmp_path, Mode.AGGREGATE_ONLY, tmp_path / name, made)
    one, two = (tmp_path / name / "clip0" for name in ("one", "two"))
    assert [path.name for path in one.iterdir()] == ["aggregates.json"]
    assert content(one) == content(two)
    counts = json.loads((one / "aggregates.json").read_text())
    assert (counts["type"], counts["complete"], counts["frames"]) == ("aggregates", True, 25)
    assert [part["start_s"] for part in counts["intervals"]] == [0, 2, 4]
    assert sum(part["tracks"] for part in counts["intervals"]) == 2
    assert made
    assert not any(vector[:24] in content(one) for vector in made)
    with pytest.raises(ConfigError, match="is not empty"):
        await analysed_again(tmp_path, made)


async def analysed_again(folder: Path, made: list[bytes]) -> None:
    write_lite_patch_detector(folder / "patches.onnx")
    data = {"detect": {"weights": str(folder / "patches.onnx")}, "privacy": {"mode": "aggregate_only"}}
    data["dispatch"] = {"bind": f"ipc://{folder}/w"}
    analysis = Analysis(parse_config(data, "test"), None)
    async with painted_worker(f"ipc://{folder}/w", made=made):
        (result,) = await analysis.run([(folder / "clip0.mp4", folder / "one" / "clip0")], lambda *_: None)
    if result.problem:
        raise ConfigError(result.problem)


@pytest.mark.parametrize("mode", [Mode.IDENTITY, Mode.PSEUDONYMOUS])
async def test_embeddings_of_several_videos_are_kept_in_the_mode_identity_only(tmp_path: Path, mode: Mode) -> None:
    await analysed(tmp_path, mode, tmp_path / "out", [], videos=2)
    found = [*(tmp_path / "out").rglob("embeddings.npz")]
    assert len(found) == (2 if mode is Mode.IDENTITY else 0)
    for path in found:
        assert any(np.asarray(array).size >= 512 for array in np.load(path, allow_pickle=False).values())
    assert len([*(tmp_path / "out").rglob("tracks.jsonl")]) == 2


@pytest.mark.parametrize(
    ("mode", "options"),
    [("pseudonymous", ["--embeddings"]), ("aggregate_only", ["--explain"]), ("aggregate_only", ["--report"])],
)
def test_files_that_a_mode_does_not_allow_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str, options: list[str]
) -> None:
    (tmp_path / "c.yaml").write_text(f"privacy: {{mode: {mode}}}\n")
    (tmp_path / "clip.mp4").write_bytes(b"")
    arguments = [str(tmp_path / "clip.mp4"), "--out", str(tmp_path / "out"), "--config", str(tmp_path / "c.yaml")]
    assert main(["analyze", *arguments, "--external-workers", *options]) == 2
    assert f"{options[0]}: not in the privacy mode {mode}" in capsys.readouterr().err
