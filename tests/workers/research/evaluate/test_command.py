"""`swinface evaluate` from its arguments to its table, its file and its exit code, with a small network."""

import argparse
import json
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from faceanalytics.errors import ConfigError, InputError, ModelError
from tests.support.patience import WAIT_S
from tests.support.swinface_files import save_small
from tests.workers.research.evaluate.test_protocols import ijb_folder
from workers.research.evaluate.cli import add_evaluate, evaluate
from workers.swinface.checkpoint import sha256


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_evaluate(parser.add_subparsers(dest="command"))
    return evaluate(parser.parse_args(["evaluate", *map(str, arguments)]))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that says age, gender and who it is, and nothing else."""
    return save_small(tmp_path_factory.mktemp("weights") / "small.safetensors", "age", "gender", "recognition")


def encoded(seed: int) -> bytes:
    """An image with a pattern of its own, about 112x112."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (7, 7, 3), np.uint8)
    return bytes(cv2.imencode(".png", cv2.resize(coarse, (112, 112 + seed % 3)))[1])


@pytest.fixture(scope="module")
def lfw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 pairs; those of one person are twice the same image."""
    bins = [encoded(seed) for pair in range(20) for seed in (pair, pair if pair % 2 else 100 + pair)]
    path = tmp_path_factory.mktemp("bin") / "lfw.bin"
    path.write_bytes(pickle.dumps((bins, [bool(pair % 2) for pair in range(20)])))
    return path


def test_help_names_every_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["lfw", "--help"], ["ijbb", "--help"], ["fg-net", "--help"], ["faces", "--help"]):
        with pytest.raises(SystemExit) as ended:
            run(*arguments)
        assert ended.value.code == 0
    said = capsys.readouterr().out
    for name in ("cfp_fp", "agedb_30", "calfw", "cplfw", "raf-db", "celeba", "clap2015", "ijbb_1N_gallery_S1.csv"):
        assert name in said


def test_nothing_heavy_is_imported_for_the_arguments() -> None:
    heavy = ("torch", "cv2", "numpy", "pyarrow", "scipy", "PIL", "pydantic", "streamer", "sklearn")
    probe = f"import sys, workers.research.evaluate.cli; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=WAIT_S, check=True)
    assert done.stdout.split() == []


def test_formulas_need_neither_torch_nor_files() -> None:
    names = ("metrics", "verification", "identification", "draw_pairs", "score")
    imported = ", ".join(f"workers.research.evaluate.{name}" for name in names)
    probe = f"import sys, {imported}; print(*[name for name in ('torch', 'cv2', 'rich') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=WAIT_S, check=True)
    assert done.stdout.split() == []


def test_a_bin_file_is_measured_and_the_file_says_with_what(
    weights: Path, lfw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = [tmp_path / "a.json", tmp_path / "b.json"]
    for out in outs:
        assert run("lfw", "--weights", weights, "--bin", lfw, "--threads", "1", "--batch", "8", "--out", out) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == outs
    said = json.loads(outs[0].read_text())
    assert said["weights"] == {"sha256": sha256(weights), "model_id": f"swinface-{sha256(weights)[:12]}"}
    assert said["data"] == {"sha256": sha256(lfw), "hashed": "the .bin file"}
    assert (said["schema"], said["protocol"], said["protocol_version"]) == (1, "lfw", 1)
    assert (said["device"], said["precision"]) == ("cpu", "fp32")
    assert said["metrics"]["val_at_far_1e-03_percent"] == 100  # an image is at no distance from itself
    assert said["metrics"]["accuracy_percent"] > 75
    assert said["paper"] == {"accuracy_percent": 99.87}
    assert said["counts"] == {"faces": 40, "pairs": 20, "pairs_of_one_person": 10, "unreadable": 0}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("lfw: 40 faces, 20 pairs, 10 pairs of one person; swinface-")
    accuracy = f"{said['metrics']['accuracy_percent']:.2f}"
    assert ["accuracy", accuracy, "99.87", "%"] in [line.split() for line in lines]
    assert ["val", "at", "far", "1e-03", "100.00", "-", "%"] in [line.split() for line in lines]


def test_a_list_of_pairs_gives_what_the_bin_file_gives(weights: Path, lfw: Path, tmp_path: Path) -> None:
    bins, same = pickle.loads(lfw.read_bytes())  # our own
    for number, data in enumerate(bins):
        (tmp_path / f"{number}.png").write_bytes(data)
    lines = [f"{2 * pair}.png {2 * pair + 1}.png {int(same[pair])}" for pair in range(20)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    options: list[str | Path] = ["--weights", weights, "--threads", "1"]
    where: list[str | Path] = ["--pairs", tmp_path / "pairs.txt", "--images", tmp_path]
    assert run("cfp_fp", *options, *where, "--out", tmp_path / "a.json") == 0
    assert run("cfp_fp", *options, "--bin", lfw, "--out", tmp_path / "b.json") == 0
    listed, binned = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert (listed["metrics"], listed["details"]) == (binned["metrics"], binned["details"])
    assert listed["data"]["hashed"] != binned["data"]["hashed"]


def test_unreadable_images_are_an_error_or_a_partial_result(
    weights: Path, lfw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bins, same = pickle.loads(lfw.read_bytes())
    bins[5] = b"no image"
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps((bins, same)))
    arguments: list[str | Path] = [
        "lfw",
        "--weights",
        weights,
        "--bin",
        tmp_path / "lfw.bin",
        "--out",
        tmp_path / "a.json",
    ]
    with pytest.raises(InputError, match=r"1 of 40 images .*\n  \S*lfw\.bin: image 5 \(of pair 2\)"):
        run(*arguments)
    assert not (tmp_path / "a.json").exists()
    assert run(*arguments, "--skip-unreadable") == 5
    said = json.loads((tmp_path / "a.json").read_text())
    assert (said["counts"]["unreadable"], said["counts"]["pairs_left_out"]) == (1, 1)
    assert "image 5 (of pair 2)" in capsys.readouterr().err


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration of one set: 40 faces of 20 people with age and gender."""
    folder = tmp_path_factory.mktemp("sets")
    columns = {
        "image": [encoded(number) for number in range(40)],
        "person": [f"p{number // 2:02d}" for number in range(40)],
        "years": [20.0 + number for number in range(40)],
        "sex": ["female", "male"] * 20,
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "faces.parquet")
    config = {
        "format": "parquet",
        "path": str(folder / "faces.parquet"),
        "columns": {"image": "image", "identity": "person", "age": "years", "gender": "sex"},
    }
    (folder / "sets.yaml").write_text(json.dumps({"sets": {"drawn": config}}))
    return folder / "sets.yaml"


def test_a_set_is_measured_by_all_that_its_labels_and_the_weights_allow(
    weights: Path, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.json"
    assert run("faces", "--weights", weights, "--config", sets, "--set", "drawn", "--threads", "1", "--out", out) == 0
    said = json.loads(out.read_text())
    assert said["counts"]["faces"] == 40
    assert {"mae_years", "gender_accuracy_percent", "rank1_percent", "verification_accuracy_percent"} <= set(
        said["metrics"]
    )
    assert "expression: the set has no such labels" in said["absent"]
    assert "not measured: expression: the set has no such labels" in capsys.readouterr().out


def test_fg_net_leaves_persons_out_if_that_is_asked_for(weights: Path, sets: Path, tmp_path: Path) -> None:
    options: list[str | Path] = ["--weights", weights, "--config", sets, "--set", "drawn"]
    assert run("fg-net", *options, "--leave-one-out", "--out", tmp_path / "a.json") == 0
    said = json.loads((tmp_path / "a.json").read_text())
    assert said["metrics"]["left_out_mae_years"] < said["metrics"]["mae_years"]
    assert said["counts"]["persons_with_age"] == 20


def test_apparent_age_stands_beside_the_papers_number_for_its_part(
    weights: Path, sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("clap2015", "--weights", weights, "--config", sets, "--set", "drawn", "--part", "val") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("clap2015 (val): 40 faces")
    assert next(line.split() for line in lines if line.startswith("  mae "))[2:] == ["2.50", "years"]


def test_ijb_is_measured_from_its_folder(weights: Path, tmp_path: Path) -> None:
    ijb_folder(tmp_path / "IJBC")
    out = tmp_path / "a.json"
    assert run("ijbc", "--weights", weights, "--data", tmp_path / "IJBC", "--task", "1:1", "--out", out) == 0
    said = json.loads(out.read_text())
    assert set(said["paper"]) <= set(said["metrics"])
    assert said["absent"] == ["task 1:N: not requested"]
    assert "meta/" in said["data"]["hashed"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["lfw"], "give either --bin FILE, or --pairs FILE --images DIR"),
        (["lfw", "--pairs", "a"], "--pairs and --images go together"),
        (["lfw", "--bin", "a", "--pairs", "b", "--images", "c"], "give either --bin"),
        (["lfw", "--bin", "a", "--out", "a.txt"], r"--out a\.txt: the name must end in \.json"),
        (["lfw", "--bin", "a", "--out", "nowhere/a.json"], "there is no folder nowhere"),
    ],
)
def test_options_that_do_not_fit_are_errors_before_any_work(arguments: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        run(*arguments, "--weights", "untrained")


def test_a_set_that_is_not_configured_is_an_error(sets: Path) -> None:
    with pytest.raises(ConfigError, match=r"--set other: .* has no such set\. It has drawn"):
        run("faces", "--weights", "untrained", "--config", sets, "--set", "other")


def test_a_protocol_whose_head_the_weights_lack_is_an_error(tmp_path: Path, sets: Path, lfw: Path) -> None:
    path = save_small(tmp_path / "gender.safetensors", "gender")
    with pytest.raises(ModelError, match="clap2015 cannot be measured with these weights: age: the weights have no"):
        run("clap2015", "--weights", path, "--config", sets, "--set", "drawn")
    with pytest.raises(ModelError, match="recognition"):
        run("lfw", "--weights", path, "--bin", lfw)
