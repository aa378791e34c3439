"""The `swinface` command line."""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.swinface_files import hollow_checkpoint, save
from workers.cli import main
from workers.infer import read_face
from workers.swinface.labels import ATTRIBUTES, EXPRESSIONS, OUTPUTS


def picture(path: Path, width: int = 112, height: int = 112, seed: int = 0) -> Path:
    """A picture of noise, without loss."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), noise)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, one of them deeper down, and two files that are none."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "more").mkdir()
    picture(root / "b.png", 60, 90, 1)
    picture(root / "a.png", seed=2)
    picture(root / "more" / "c.bmp", 200, 112, 3)
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (root / "notes.txt").write_text("no picture either, and not called one")
    return root


def infer(*arguments: str | Path) -> int:
    return main(["infer", "--weights", "untrained", "--threads", "1", *map(str, arguments)])


@pytest.mark.parametrize("arguments", [["--help"], ["worker", "--help"], ["infer", "--help"], ["convert", "--help"]])
def test_help_answers_within_a_second(arguments: list[str]) -> None:
    command = [sys.executable, "-c", f"from workers.cli import main; main({arguments})"]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert time.monotonic() - started < 1
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")


def test_arrays_hold_the_raw_outputs_of_every_readable_picture(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "raw.npz"
    assert infer(folder, "--out", out, "--batch", "2") == 5
    arrays = np.load(out)
    assert [Path(path).name for path in arrays["path"]] == ["a.png", "b.png", "c.bmp"]
    assert set(arrays.files) == {"path", "model_id", *OUTPUTS}
    assert {arrays[slug].shape[0] for slug in OUTPUTS} == {3}
    assert (arrays["expression"].shape, arrays["recognition"].shape) == ((3, 7), (3, 512))
    assert f"1 of 4 pictures could not be read:\n  {folder / 'broken.jpg'}: not a picture" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [out]


def test_lines_hold_the_scores_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(folder / "a.png") == 0
    (record,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert record["path"] == str(folder / "a.png")
    assert record["model_id"] == "untrained"
    assert tuple(record["expression"]) == EXPRESSIONS
    assert sum(record["expression"].values()) == pytest.approx(1, abs=1e-5)
    assert record["appears"] == max(record["expression"], key=record["expression"].get)
    assert list(record["attributes"]) == [task.score for task in ATTRIBUTES]
    assert all(0 <= score <= 1 for score in record["attributes"].values())


def test_a_table_holds_what_the_lines_hold(folder: Path, tmp_path: Path) -> None:
    inputs = [folder / "a.png", folder / "more"]
    assert infer(*inputs, "--out", tmp_path / "x.jsonl") == 0
    assert infer(*inputs, "--out", tmp_path / "x.csv") == 0
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [line["path"] for line in lines]
    assert [float(row["age_years"]) for row in rows] == [line["age_years"] for line in lines]
    assert [float(row["expression_fear"]) for row in rows] == [line["expression"]["fear"] for line in lines]
    assert [float(row["male"]) for row in rows] == [line["attributes"]["male"] for line in lines]
    assert len(rows[0]) == 5 + 7 + 40


def test_without_a_readable_picture_the_exit_code_is_3_and_an_older_result_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.csv"
    out.write_text("older")
    assert infer(folder / "broken.jpg", tmp_path / "none.png", folder / "notes.txt", "--out", out) == 3
    errors = capsys.readouterr().err
    assert "3 of 3 pictures could not be read" in errors
    assert "none.png: No such file or directory" in errors
    assert out.read_text() == "older"
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_without_pictures_is_unreadable_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(tmp_path) == 3
    assert f"no pictures in {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--out", "x.xlsx"], 2, "must end in .npz, .jsonl, .csv"),
        (["--out", "no/such/folder/x.csv"], 2, "there is no folder"),
        (["--weights", "none.pt"], 4, "there is no such file"),
        (["--device", "cuda:99"], 4, "cannot be used"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_exit_code(
    arguments: list[str], code: int, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(folder / "a.png", *arguments) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("batch", ["0", "-1", "many"])
def test_a_batch_without_sense_is_a_usage_error(batch: str, folder: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        infer(folder, "--batch", batch)


def test_a_picture_is_resized_as_published_and_given_in_rgb(tmp_path: Path) -> None:
    path = picture(tmp_path / "wide.png", 300, 50)
    expected = cv2.resize(cv2.imread(str(path)), (112, 112))[:, :, ::-1]  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_face(path), expected)


def test_grey_and_transparent_pictures_are_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((20, 20), 77, np.uint8))
    cv2.imwrite(str(tmp_path / "clear.png"), np.full((20, 20, 4), 77, np.uint8))
    for name in ("grey.png", "clear.png"):
        np.testing.assert_array_equal(read_face(tmp_path / name), np.full((112, 112, 3), 77))


def test_a_published_checkpoint_becomes_our_own_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(hollow_checkpoint(), tmp_path / "checkpoint.pt")
    out = tmp_path / "swinface.safetensors"
    assert main(["convert", str(source), str(out), "--licence", "research only"]) == 0
    assert str(out) in capsys.readouterr().out
    card = json.loads(out.with_suffix(".json").read_text())
    assert (card["source"]["name"], card["licence"]) == ("checkpoint.pt", "research only")
    assert main(["convert", str(source), str(tmp_path / "swinface.pt")]) == 2
    assert main(["convert", str(tmp_path / "none.pt"), str(out)]) == 4


@pytest.mark.shared
def test_the_arrays_are_the_published_outputs(shared: Path, tmp_path: Path) -> None:
    parity = shared / "parity"
    weights = tmp_path / "seed0.pt"
    subprocess.run([sys.executable, str(parity / "make_checkpoint.py"), str(weights)], check=True, capture_output=True)
    expected = np.load(parity / "expected_seed0.npz")
    for number, image in enumerate(expected["images_rgb"]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image[:, :, ::-1])
    arguments = [
        "infer",
        str(tmp_path),
        "--weights",
        str(weights),
        "--out",
        str(tmp_path / "raw.npz"),
        "--threads",
        "1",
    ]
    assert main(arguments) == 0
    weights.unlink()
    found = np.load(tmp_path / "raw.npz")
    differences = {slug: float(np.abs(found[slug] - expected[slug]).max()) for slug in OUTPUTS}
    assert max(differences.values()) <= 1e-4, differences
    assert str(found["model_id"]).startswith("swinface-")
