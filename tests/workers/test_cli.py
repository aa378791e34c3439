"""The `swinface` command line."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from streamer.recorded.columns import columns
from streamer.select.align import align
from streamer.values import LANDMARK_NAMES
from tests.support.models import write_lite
from tests.support.patch_detector import FACE, POINTS, paint, write_patch_detector
from tests.support.patience import WAIT_S
from tests.support.photographs import portrait, read_portrait
from tests.support.swinface_files import hollow_checkpoint, save, save_small
from workers.cli import main
from workers.infer import RAW_NAMES, read_face
from workers.serve.config import load_config
from workers.swinface.checkpoint import load_own, sha256
from workers.swinface.labels import ATTRIBUTES, EXPRESSIONS, OUTPUTS
from workers.swinface.precisions import PRECISIONS

COLUMNS = [
    *("input", "model_id", "age_years", "expression", *EXPRESSIONS, "embedding_norm"),
    *(f"attribute_{task.score}" for task in ATTRIBUTES),
]
PLACE = [
    *("face", "FaceScore", "quality", "reasons", "FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"),
    *(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy"),
]  # with alignment, behind `input`


def image(path: Path, width: int = 112, height: int = 112, seed: int = 0) -> Path:
    """An image of noise, without loss."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), noise)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, one of them deeper down, and two files that are not images."""
    root = tmp_path_factory.mktemp("images")
    (root / "more").mkdir()
    image(root / "b.png", 60, 90, 1)
    image(root / "a.png", seed=2)
    image(root / "more" / "c.bmp", 200, 112, 3)
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (root / "notes.txt").write_text("no image either, and not called one")
    return root


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patch_detector(tmp_path_factory.mktemp("detector") / "patches.onnx")


def scene(path: Path, *lefts: int) -> Path:
    """An image with a painted face at each of these places; it scores more where the detector looks, at 4 n + 2."""
    frame = np.full((360, 640, 3), 60, np.uint8)
    for left in lefts:
        paint(frame, left, 120)
    assert cv2.imwrite(str(path), frame)
    return path


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with two faces, with none, and with one."""
    root = tmp_path_factory.mktemp("scenes")
    scene(root / "a.png", 100, 398)
    scene(root / "b.png")
    scene(root / "c.png", 200)
    return root


def infer(*arguments: str | Path) -> int:
    return main(["infer", "--weights", "untrained", "--threads", "1", *map(str, arguments)])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["worker", "--help"], ["infer", "--help"], ["convert", "--help"], ["export", "--help"]]
)
def test_help_loads_the_standard_library_and_little_else(arguments: list[str]) -> None:
    """So it answers at once; the modules are counted because seconds depend on the machine."""
    probe = (
        "import atexit, sys; before = set(sys.modules); "
        "atexit.register(lambda: print(*(set(sys.modules) - before), file=sys.stderr)); "
        f"from workers.cli import main; main({arguments})"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: ")
    loaded = done.stderr.split()
    assert {name.split(".")[0] for name in loaded} - sys.stdlib_module_names == {"workers", "faceanalytics"}
    assert len(loaded) < 300


def test_arrays_hold_the_raw_outputs_of_every_readable_image(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "raw.npz"
    assert infer(folder, "--out", out, "--batch", "2") == 5
    arrays = np.load(out)
    assert [Path(path).name for path in arrays["input"]] == ["a.png", "b.png", "c.bmp"]
    raw = {"age_years_output", "expression_logits", "embedding"}
    raw |= {f"attribute_{task.score}_logits" for task in ATTRIBUTES}
    assert set(arrays.files) == {*COLUMNS, *raw}
    assert {len(arrays[name]) for name in arrays.files} == {3}
    assert (arrays["expression_logits"].shape, arrays["embedding"].shape) == ((3, 7), (3, 512))
    assert [EXPRESSIONS[row.argmax()] for row in arrays["expression_logits"]] == arrays["expression"].tolist()
    male = arrays["attribute_male_logits"]
    np.testing.assert_allclose(1 / (1 + np.exp(male[:, 0] - male[:, 1])), arrays["attribute_male"], atol=1e-5)
    refused = f"1 of 4 images could not be read:\n  {folder / 'broken.jpg'}: the JPEG is cut off"
    assert refused in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [out]


def test_lines_hold_the_scores_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(folder / "a.png") == 0
    (record,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert record["input"] == str(folder / "a.png")
    assert record["model_id"] == "untrained"
    assert list(record) == COLUMNS
    assert sum(record[name] for name in EXPRESSIONS) == pytest.approx(1, abs=1e-5)
    assert record["expression"] == max(EXPRESSIONS, key=record.__getitem__)
    assert all(0 <= record[f"attribute_{task.score}"] <= 1 for task in ATTRIBUTES)


def test_a_table_holds_what_the_lines_hold(folder: Path, tmp_path: Path) -> None:
    inputs = [folder / "a.png", folder / "more"]
    assert infer(*inputs, "--out", tmp_path / "x.jsonl") == 0
    assert infer(*inputs, "--out", tmp_path / "x.csv") == 0
    assert infer(*inputs, "--out", tmp_path / "x.npz") == 0
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [list(line) for line in lines] == [COLUMNS] * len(lines)
    assert [list(row.values()) for row in rows] == [[str(one) for one in line.values()] for line in lines]
    arrays = np.load(tmp_path / "x.npz")
    assert {name: arrays[name].tolist() for name in COLUMNS} == {
        name: [line[name] for line in lines] for name in COLUMNS
    }


def test_the_columns_are_those_of_the_tables_of_results() -> None:
    ours = {name for name in COLUMNS if name != "model_id"}
    assert ours <= {one.name for one in columns("analyses", [task.score for task in ATTRIBUTES])}
    assert set(PLACE) - {"face", "reasons"} <= {one.name for one in columns("frames", ())}


def test_a_name_is_no_formula_in_a_spreadsheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path / "=1.png")
    monkeypatch.chdir(tmp_path)
    assert infer("=1.png", "--out", "x.csv", "--heads", "age") == 0
    assert (tmp_path / "x.csv").read_text().splitlines()[1].startswith("'=1.png,untrained,")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".npz"])
def test_names_of_any_bytes_are_written_printable(suffix: str, tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.png"), "two\nlines.png"]
    for name in names:
        image(tmp_path / "a.png").rename(tmp_path / name)
    out = tmp_path / f"x{suffix}"
    assert infer(*(tmp_path / name for name in names), "--out", out) == 0
    if suffix == ".npz":
        paths = np.load(out)["input"].tolist()
    elif suffix == ".csv":
        with out.open(newline="") as file:
            paths = [row["input"] for row in csv.DictReader(file)]
    else:
        paths = [json.loads(line)["input"] for line in out.read_text().splitlines()]
    assert paths == [rf"{tmp_path}/caf\xe9.png", rf"{tmp_path}/two\x0alines.png"]


def test_outputs_that_are_no_numbers_are_an_error_and_nothing_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of arithmetic that overflows: weights that are finite, but far too large."""
    path = save_small(tmp_path / "large.safetensors", "age", "expression")
    state = load_file(path)
    state["heads.age.weight"].fill_(3e38)
    state["heads.age.bias"].fill_(3e38)
    save_file(state, path)
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "sha256": sha256(path)}))
    for name in ("x.jsonl", "x.csv", "x.npz"):
        arguments = ["infer", "--weights", str(path), "--out", str(tmp_path / name), str(folder / "a.png")]
        assert main(arguments) == 4
        assert f"{folder / 'a.png'}: the network's age is not a number" in capsys.readouterr().err
        assert not (tmp_path / name).exists()


def test_without_a_readable_image_the_exit_code_is_3_and_an_older_result_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.csv"
    out.write_text("older")
    assert infer(folder / "broken.jpg", tmp_path / "none.png", folder / "notes.txt", "--out", out) == 3
    errors = capsys.readouterr().err
    assert "3 of 3 images could not be read" in errors
    assert "none.png: No such file or directory" in errors
    assert out.read_text() == "older"
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_without_images_is_unreadable_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(tmp_path) == 3
    assert f"no images in {tmp_path}" in capsys.readouterr().err


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


def test_heads_asked_for_are_what_they_are_among_all(folder: Path, tmp_path: Path) -> None:
    images = [folder / "a.png", folder / "more"]
    assert infer(*images, "--out", tmp_path / "all.npz") == 0
    assert infer(*images, "--out", tmp_path / "few.npz", "--heads", "recognition, age,gender") == 0
    every, few = np.load(tmp_path / "all.npz"), np.load(tmp_path / "few.npz")
    scores = {"age_years", "age_years_output", "attribute_male", "attribute_male_logits", "embedding_norm", "embedding"}
    assert set(few.files) == {"input", "model_id", *scores}
    for name in scores:
        np.testing.assert_allclose(few[name], every[name], rtol=1e-6, atol=2e-6)


def test_the_word_attributes_means_all_forty(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(folder / "a.png", "--heads", "attributes") == 0
    record = json.loads(capsys.readouterr().out)
    assert list(record) == ["input", "model_id", *(f"attribute_{task.score}" for task in ATTRIBUTES)]


def test_lines_hold_only_what_was_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(folder / "a.png", "--heads", "expression,recognition") == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record) == {"input", "model_id", "expression", *EXPRESSIONS, "embedding_norm"}


@pytest.mark.parametrize("heads", ["age,beauty", "", "male"])
def test_an_unknown_head_is_refused_with_those_that_there_are(
    heads: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(folder / "a.png", "--heads", heads) == 2
    errors = capsys.readouterr().err
    assert f"there is no output {heads.split(',')[-1]!r}. Known are attributes (all 40), " in errors
    assert "gender" in errors


def test_with_alignment_each_face_is_a_row(scenes: Path, detector: Path, tmp_path: Path) -> None:
    out = tmp_path / "raw.npz"
    assert infer(scenes / "a.png", scenes / "c.png", "--align", "--detector", detector, "--out", out) == 0
    arrays = np.load(out)
    assert set(arrays.files) > {*PLACE, *COLUMNS, "landmarks", "embedding"}
    assert [Path(path).name for path in arrays["input"]] == ["a.png", "a.png", "c.png"]
    assert arrays["face"].tolist() == [0, 1, 0]
    assert (arrays["landmarks"].shape, arrays["age_years"].shape) == ((3, 5, 2), (3,))
    np.testing.assert_allclose(arrays["landmarks"][:, 2, 1], arrays["nose_y"], atol=0.01)
    np.testing.assert_allclose(arrays["FaceRectX"], [398, 100, 200], atol=3)
    sides = np.stack([arrays["FaceRectWidth"], arrays["FaceRectHeight"]], axis=1)
    np.testing.assert_allclose(sides, np.broadcast_to(FACE, (3, 2)), atol=3)
    assert arrays["FaceScore"][0] > arrays["FaceScore"][1] > 0.5


def test_with_alignment_the_aligned_crop_is_analysed(scenes: Path, detector: Path, tmp_path: Path) -> None:
    path = scenes / "c.png"
    assert infer(path, "--align", "--detector", detector, "--out", tmp_path / "aligned.npz") == 0
    aligned = np.load(tmp_path / "aligned.npz")
    np.testing.assert_allclose(aligned["landmarks"][0], POINTS + np.array([200, 120]), atol=3)
    crop = align(np.asarray(cv2.imread(str(path)), np.uint8), aligned["landmarks"][0])
    assert cv2.imwrite(str(tmp_path / "crop.png"), crop[:, :, ::-1])
    assert infer(tmp_path / "crop.png", "--out", tmp_path / "crop.npz") == 0
    np.testing.assert_allclose(aligned["embedding"], np.load(tmp_path / "crop.npz")["embedding"], atol=1e-5)


def test_lines_and_tables_say_where_the_face_is(
    scenes: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str | Path] = [scenes / "a.png", "--align", "--detector", detector, "--heads", "age", "--batch", "1"]
    assert infer(*asked) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert infer(*asked, "--out", tmp_path / "x.csv") == 0
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [line["face"] for line in lines] == [0, 1]
    assert list(lines[0]) == ["input", *PLACE, "model_id", "age_years"]
    for line, row in zip(lines, rows, strict=True):
        assert list(row) == list(line)
        for name in ("FaceRectX", "nose_y", "FaceScore", "age_years"):
            assert float(row[name]) == line[name]


def test_a_face_that_the_streamer_would_not_analyse_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blurred, out = tmp_path / "blurred.png", tmp_path / "x.csv"
    assert cv2.imwrite(str(blurred), cv2.GaussianBlur(read_portrait(), (0, 0), 3))
    asked = ["--align", "--heads", "age"]
    assert infer(portrait(), blurred, *asked) == 0
    output = capsys.readouterr()
    clear, poor = [json.loads(line) for line in output.out.splitlines()]
    assert (clear["reasons"], poor["reasons"]) == ([], ["LOW_SHARPNESS"])
    assert 0 < poor["quality"] < clear["quality"] < 1
    assert (
        "1 faces would not be analysed by the streamer: do not rely on their answers:\n"
        f"  {blurred}: face 0: LOW_SHARPNESS\n"
    ) in output.err
    assert infer(blurred, *asked, "--out", out) == 0
    with out.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["reasons"] == "LOW_SHARPNESS"
    assert float(row["quality"]) == poor["quality"]


def test_a_image_without_a_face_is_named_and_the_result_is_partial(
    scenes: Path, detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(scenes, "--align", "--detector", detector, "--heads", "age") == 5
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 3
    assert f"1 of 3 images show no face that the detector finds:\n  {scenes / 'b.png'}\n" in output.err


def test_without_any_face_the_exit_code_is_3(
    scenes: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.npz"
    assert infer(scenes / "b.png", tmp_path / "none.png", "--align", "--detector", detector, "--out", out) == 3
    errors = capsys.readouterr().err
    assert "1 of 2 images could not be read" in errors
    assert "1 of 2 images show no face" in errors
    assert "no face was found" in errors
    assert list(tmp_path.iterdir()) == []


def test_a_face_that_cannot_be_aligned_is_named(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_lite(tmp_path / "lite.onnx", {(16, 2, 2): (4.0, (1, 1, 1, 1), [0] * 10)})
    asked: list[str | Path] = [scenes / "c.png", "--align", "--detector", weights]
    assert infer(*asked) == 4
    assert "set --detector-size to 64" in capsys.readouterr().err
    assert infer(*asked, "--detector-size", "64") == 3
    errors = capsys.readouterr().err
    assert "1 faces could not be aligned" in errors
    assert f"{scenes / 'c.png'}: face 0" in errors


def test_alignment_without_a_detector_says_how_to_get_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEANALYTICS_DETECTOR", str(tmp_path / "nowhere.onnx"))
    assert infer(folder / "a.png", "--align") == 4
    errors = capsys.readouterr().err
    assert "nowhere.onnx does not exist" in errors
    assert "Name the file in --detector or in the environment variable FACEANALYTICS_DETECTOR" in errors


def test_the_detector_of_the_environment_is_taken(
    scenes: Path, detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEANALYTICS_DETECTOR", str(detector))
    assert infer(scenes / "c.png", "--align", "--heads", "age") == 0
    assert infer(scenes / "c.png", "--align", "--heads", "age", "--min-score", "1") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "x.onnx"], "--detector is for face detection: add --align"),
        (["--align", "--min-score", "2"], "--min-score: Input should be less than or equal to 1"),
        (["--align", "--detector-size", "100"], "--detector-size: Input should be a multiple of 32"),
        (["--align", "--detector-device", "gpu"], "--detector-device: Value error, 'gpu' is neither cpu nor cuda:N"),
    ],
)
def test_settings_of_the_detector_without_sense_are_refused(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(folder / "a.png", *arguments) == 2
    assert message in capsys.readouterr().err


def test_progress_is_drawn_on_terminals_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [folder / "a.png", folder / "b.png"]
    assert infer(*images) == 0
    quiet = capsys.readouterr()
    assert "images/s" not in quiet.err
    assert "\x1b" not in quiet.err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert infer(*images) == 0
    drawn = capsys.readouterr()
    assert "images/s" in drawn.err
    assert drawn.out == quiet.out


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_worker_takes_every_precision_that_is_offered(precision: str) -> None:
    assert load_config(None, {"precision": precision}).precision == precision


@pytest.mark.parametrize("batch", ["0", "-1", "many"])
def test_a_batch_without_sense_is_a_usage_error(batch: str, folder: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        infer(folder, "--batch", batch)


def test_a_image_is_resized_as_published_and_given_in_rgb(tmp_path: Path) -> None:
    path = image(tmp_path / "wide.png", 300, 50)
    expected = cv2.resize(cv2.imread(str(path)), (112, 112))[:, :, ::-1]  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_face(path), expected)


def test_grey_and_transparent_images_are_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((20, 20), 77, np.uint8))
    cv2.imwrite(str(tmp_path / "clear.png"), np.full((20, 20, 4), (77, 77, 77, 0), np.uint8))
    for name, value in (("grey.png", 77), ("clear.png", 127)):  # what is transparent is grey
        np.testing.assert_array_equal(read_face(tmp_path / name), np.full((112, 112, 3), value))


def test_a_published_checkpoint_becomes_our_own_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(hollow_checkpoint(), tmp_path / "checkpoint.pt")
    out = tmp_path / "swinface.safetensors"
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"lfw_accuracy": 0.9987}')
    options = ["--licence", "research only", "--metrics", str(metrics)]
    assert main(["convert", str(source), str(out), *options]) == 0
    assert str(out) in capsys.readouterr().out
    card = json.loads(out.with_suffix(".json").read_text())
    assert (card["source"]["name"], card["licence"]) == ("checkpoint.pt", "research only")
    assert card["metrics"] == {"lfw_accuracy": 0.9987}
    half = tmp_path / "half.safetensors"
    assert main(["convert", str(out), str(half), "--half", "--source", "another name"]) == 0
    card = json.loads(half.with_suffix(".json").read_text())
    assert (card["source"]["name"], card["licence"]) == ("another name", "research only")
    assert half.stat().st_size < 0.52 * out.stat().st_size
    (model, _), (exact, _) = load_own(half), load_own(out)
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    tensors = exact.state_dict()
    assert all(torch.allclose(t, tensors[n], rtol=1e-3, atol=1e-7) for n, t in model.state_dict().items())
    metrics.write_text("0.9987")
    assert main(["convert", str(source), str(out), *options]) == 2
    assert main(["convert", str(source), str(tmp_path / "swinface.pt")]) == 2
    assert main(["convert", str(tmp_path / "none.pt"), str(out)]) == 4


@pytest.mark.slow
@pytest.mark.shared
def test_the_arrays_are_the_published_outputs(shared: Path, parity_checkpoint: Path, tmp_path: Path) -> None:
    expected = np.load(shared / "parity" / "expected_seed0.npz")
    for number, image in enumerate(expected["images_rgb"]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image[:, :, ::-1])
    arguments = [
        "infer",
        str(tmp_path),
        "--weights",
        str(parity_checkpoint),
        "--out",
        str(tmp_path / "raw.npz"),
        "--threads",
        "1",
    ]
    assert main(arguments) == 0
    found = np.load(tmp_path / "raw.npz")
    same = {slug: found[name].reshape(expected[slug].shape) for slug, name in RAW_NAMES.items()}
    differences = {slug: float(np.abs(same[slug] - expected[slug]).max()) for slug in OUTPUTS}
    assert max(differences.values()) <= 1e-4, differences
    assert str(found["model_id"][0]).startswith("swinface-")
