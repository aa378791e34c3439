"""`swinface data align`: faces found, cropped as the streamer does it, and gone on with after any end."""

import argparse
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from faceanalytics.errors import ConfigError, InputError, UserError
from faceanalytics.files import exclusive
from streamer.select.align import align
from tests.conftest import ROOT
from tests.support.patch_detector import FACE, POINTS, paint, write_lite_patch_detector
from tests.support.patience import WAIT_S, until
from workers.align import DetectorOptions, FaceFinder, Found
from workers.research.data.align_log import Log
from workers.research.data.align_one import choose, crop_name, find
from workers.research.data.cli import add_data, data
from workers.research.data.images import decode, read
from workers.research.data.parallel import parallel

PROGRAM = (
    "import sys; from tests.workers.research.data.test_align import align_data; sys.exit(align_data(*sys.argv[1:]))"
)


def align_data(*arguments: str | Path) -> int:
    """What `swinface data align` does with these arguments; its exit code."""
    parser = argparse.ArgumentParser(prog="swinface")
    add_data(parser.add_subparsers(dest="command"))
    try:
        return data(parser.parse_args(["data", "align", *map(str, arguments)]))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def scene(path: Path, *lefts: int, top: int = 120) -> Path:
    """An image with a painted face at each of these places; the detector sees it as large as it is."""
    frame = np.random.default_rng(len(path.name)).integers(0, 60, (360, 640, 3), np.uint8)
    for left in lefts:
        paint(frame, left, top)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), frame)
    return path


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lite_patch_detector(tmp_path_factory.mktemp("detector") / "patches.onnx")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with one face, with two, with none, and one that is damaged; some deeper down."""
    root = tmp_path_factory.mktemp("scenes") / "images"
    scene(root / "one.png", 200)
    scene(root / "people" / "two.bmp", 40, 304)
    scene(root / "people" / "none.png")
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (root / "notes.txt").write_text("no image")
    return root


def many(folder: Path, count: int) -> Path:
    """Paint `count` images with a face, each at another place, and one without."""
    for number in range(count):
        scene(folder / f"{number:03d}.png", 8 * number)
    scene(folder / "empty.png")
    return folder


def lines_of(out: Path) -> dict[str, dict[str, Any]]:
    """The log's lines by name of the image; each is there once."""
    lines = [json.loads(text) for text in (out / "aligned.jsonl").read_text().splitlines()]
    assert "options" in lines[0]
    assert len({line["name"] for line in lines[1:]}) == len(lines) - 1
    return {line["name"]: line for line in lines[1:]}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the log."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for_lines(out: Path, count: int) -> None:
    log = out / "aligned.jsonl"
    until(lambda: log.exists() and log.read_bytes().count(b"\n") >= count, f"{count} lines in {log}", every_s=0.01)


def test_images_with_names_of_any_bytes_are_aligned_once(
    detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    scene(tmp_path / "images" / "a.jpg", 200).rename(tmp_path / "images" / name)
    (tmp_path / "images" / os.fsdecode(b"bad\xe9.jpg")).write_bytes(b"no image")
    for _ in range(2):
        assert align_data(tmp_path / "images", tmp_path / "out", "--detector", detector, "--workers", "1") == 5
        assert r"  bad\xe9.jpg: unreadable" in capsys.readouterr().err
    assert (tmp_path / "out" / name).exists(), "a crop has the name of its image"
    lines = [json.loads(line) for line in (tmp_path / "out" / "aligned.jsonl").read_text().splitlines()[1:]]
    assert sorted((line["name"], line["result"]) for line in lines) == [
        (r"bad\xe9.jpg", "unreadable"),
        (r"caf\xe9.jpg", "aligned"),
    ]


def test_every_crop_is_the_streamers_and_has_the_name_of_its_image(
    scenes: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "aligned"
    assert align_data(scenes, out, "--detector", detector, "--workers", "1") == 5
    assert sorted(contents(out)) == ["one.png", "people/two.bmp"]
    lines = lines_of(out)
    assert (lines["one.png"]["faces"], lines["one.png"]["border"], lines["one.png"]["crop"]) == (1, 0, "one.png")
    np.testing.assert_allclose(lines["one.png"]["landmarks"], POINTS + np.array([200, 120]), atol=4)
    for name in contents(out):
        image = np.asarray(cv2.imread(str(scenes / name)), np.uint8)
        expected = align(image, np.array(lines[name]["landmarks"], np.float32))[:, :, ::-1]
        crop = np.asarray(cv2.imread(str(out / name)), np.int64)
        assert crop.shape == (112, 112, 3)
        assert np.abs(crop - expected).mean() < 0.5  # the log's landmarks are rounded
    errors = capsys.readouterr().err
    assert "2 of 4 images are not aligned" in errors
    assert "  broken.jpg: unreadable: " in errors
    assert "  people/none.png: no face\n" in errors
    assert lines["broken.jpg"]["result"] == "unreadable"


def test_of_several_faces_the_one_in_the_middle_is_taken(scenes: Path, detector: Path, tmp_path: Path) -> None:
    out = tmp_path / "aligned"
    align_data(scenes / "people", out, "--detector", detector, "--workers", "1")
    line = lines_of(out)["two.bmp"]
    assert line["faces"] == 2
    np.testing.assert_allclose(line["box"][0], 304, atol=4)


@pytest.mark.parametrize(("choice", "expected"), [("strongest", 0), ("largest", 1), ("centre", 2)])
def test_the_subject_is_chosen_among_the_faces(choice: Any, expected: int) -> None:
    boxes = [(0, 0, 20, 20), (0, 0, 60, 60), (50, 40, 70, 60)]  # in 120x100: off the middle by 3.2, 0.6 and 0 sizes
    faces = [Found(np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.5) for box in boxes]
    assert choose(faces, (120, 100), choice) == expected


def test_distance_from_the_middle_counts_in_sizes_of_the_face() -> None:
    boxes = [(45, 40, 55, 50), (0, 0, 80, 80)]  # in 100x100: 5 px are half a size of the first, 14 px a fifth
    faces = [Found(np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.5) for box in boxes]
    assert choose(faces, (100, 100), "centre") == 1


def test_a_border_does_not_move_the_face_nor_change_its_crop(detector: Path) -> None:
    finder = FaceFinder(DetectorOptions(weights=str(detector)))
    image = np.full((180, 320, 3), 60, np.uint8)
    paint(image, 248, 8)  # near the corner, so that the crop goes beyond the image
    (face, crop), *others = find(finder, image, 0.5)
    assert not others
    np.testing.assert_allclose(face.box, [248, 8, 248 + FACE, 8 + FACE], atol=4)
    np.testing.assert_allclose(face.landmarks, POINTS + np.array([248, 8]), atol=4)
    difference = np.abs(np.asarray(crop, np.int64) - align(image, face.landmarks))
    assert difference.max() <= 1  # of rounding


@pytest.mark.parametrize(
    ("name", "crop"), [("a/b.JPG", "a/b.JPG"), ("12", "12.jpg"), ("a/00.5", "a/00.5.jpg"), ("x.gif", "x.gif.jpg")]
)
def test_a_name_without_a_suffix_that_can_be_written_gets_one(name: str, crop: str) -> None:
    assert crop_name(name) == crop


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "a/../../b.png", ""])
def test_no_crop_is_written_outside_its_folder(name: str) -> None:
    with pytest.raises(ConfigError, match="its crop would be outside OUT"):
        crop_name(name)


def test_without_any_face_the_exit_code_is_3(detector: Path, tmp_path: Path) -> None:
    scene(tmp_path / "in" / "none.png")
    assert align_data(tmp_path / "in", tmp_path / "out", "--detector", detector, "--workers", "1") == 3
    assert lines_of(tmp_path / "out")["none.png"]["result"] == "no face"


def test_the_second_run_does_only_what_is_missing(scenes: Path, detector: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    asked: list[str | Path] = [source, out, "--detector", detector, "--workers", "1"]
    for name in ("a.png", "b.png"):
        scene(source / name, 200)
    (source / "c.png").write_bytes(b"")
    assert align_data(*asked) == 5
    before, kept = contents(out), (out / "a.png").stat().st_mtime_ns
    (out / "b.png").unlink()
    scene(source / "c.png", 104)  # mended
    scene(source / "d.png", 304)
    assert align_data(*asked) == 0
    assert list(lines_of(out)) == ["a.png", "b.png", "c.png", "d.png"]
    assert (out / "a.png").stat().st_mtime_ns == kept
    assert contents(out) == {**before, "c.png": contents(out)["c.png"], "d.png": contents(out)["d.png"]}


def test_other_options_than_before_are_refused(
    scenes: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    Log(out_with(out), {"source": "a", "min_score": None}).add({"name": "a", "result": "no face"})
    with pytest.raises(ConfigError, match=r"jsonl:1: .*other options:\n  min_score: was None, is 0.7\nUse the same"):
        Log(out, {"source": "a", "min_score": 0.7})
    assert align_data(scenes, out, "--detector", detector, "--choose", "largest") == 2
    assert "  choose: was None, is 'largest'\n" in capsys.readouterr().err


def out_with(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("cut", [1, 20, 10_000])
def test_a_log_that_was_cut_off_is_repaired(cut: int, tmp_path: Path) -> None:
    log = Log(tmp_path, {"source": "a"})
    for name in ("a", "b"):
        log.add({"name": name, "result": "no face"})
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-cut])
    again = Log(tmp_path, {"source": "a"})
    assert list(again.done) == ([] if cut > len(whole) else ["a"])
    for name in ("a", "b")[len(again.done) :]:
        again.add({"name": name, "result": "no face"})
    assert again.path.read_bytes() == whole


def test_a_file_that_is_no_log_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "aligned.jsonl").write_text('{"name": "mine"}\n')
    with pytest.raises(InputError, match=r"aligned.jsonl:1: not a line of an alignment log: no options"):
        Log(tmp_path, {})


@pytest.mark.slow
def test_a_killed_run_is_gone_on_with_to_the_same_result(detector: Path, tmp_path: Path) -> None:
    source, out, whole = many(tmp_path / "in", 50), tmp_path / "out", tmp_path / "whole"
    process = start(source, out, "--detector", detector, "--workers", "2")
    wait_for_lines(out, 6)
    process.kill()
    process.communicate(timeout=WAIT_S)  # until the last that has its standard error open has ended: its processes too
    assert process.returncode == -signal.SIGKILL
    done = (out / "aligned.jsonl").read_bytes()
    assert done.count(b"\n") < 52
    (out / "aligned.jsonl").write_bytes(done[:-9])
    assert align_data(source, out, "--detector", detector, "--workers", "2") == 5
    assert align_data(source, whole, "--detector", detector, "--workers", "1") == 5
    assert lines_of(out) == lines_of(whole)
    assert contents(out) == contents(whole)
    assert len(contents(out)) == 50


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_what_is_under_way_finish(
    number: signal.Signals, code: int, detector: Path, tmp_path: Path
) -> None:
    source, out = many(tmp_path / "in", 60), tmp_path / "out"
    process = start(source, out, "--detector", detector, "--workers", "1")
    wait_for_lines(out, 3)
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=WAIT_S)
    assert (process.returncode, "Traceback" in errors) == (code, False), errors
    lines = lines_of(out)
    assert 2 <= len(lines) < 61
    assert sorted(contents(out)) == sorted(name for name, line in lines.items() if line["result"] == "aligned")


def test_two_runs_do_not_write_to_one_folder(
    scenes: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with exclusive(tmp_path, "held by the test"):
        assert align_data(scenes, tmp_path, "--detector", detector) == 2
    assert "another run is writing there" in capsys.readouterr().err


@pytest.mark.parametrize("inside", [".", "aligned", ".."])
def test_crops_are_not_written_among_the_images(
    inside: str, scenes: Path, detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert align_data(scenes, scenes / inside, "--detector", detector) == 2
    assert "must not overlap" in capsys.readouterr().err


def test_a_configured_set_is_read_again_from_its_crops(detector: Path, tmp_path: Path) -> None:
    for person, left in (("ann", 104), ("ben", 304)):
        scene(tmp_path / "in" / person / "1.png", left)
    config = tmp_path / "sets.yaml"
    config.write_text(f"sets:\n  people: {{format: folders, path: {tmp_path / 'in'}}}\n")
    out = tmp_path / "out"
    assert align_data("--config", config, "--set", "people", out, "--detector", detector, "--workers", "1") == 0
    assert sorted(contents(out)) == ["ann/1.png", "ben/1.png"]
    from workers.research.data.sets import load_sets, open_set

    faces = open_set("people", load_sets(config)["people"].model_copy(update={"images": out}))
    assert faces.images.read(0).shape == (112, 112, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["in"], 2, "give SOURCE and OUT, not 1 folder"),
        (["in", "out", "more"], 2, "give SOURCE and OUT, not 3 folder(s)"),
        (["in", "out", "--set", "a"], 2, "--config and --set go together"),
        (["in", "out", "--detector", "none.onnx"], 4, "none.onnx does not exist"),
        (["in", "out", "--detector", "{detector}", "--min-score", "7"], 2, "--min-score: Input should be less"),
        (["nowhere", "out", "--detector", "{detector}"], 3, "nowhere: No such file"),
        (["empty", "out", "--detector", "{detector}"], 3, "no images in empty"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_exit_code(
    arguments: list[str],
    code: int,
    message: str,
    detector: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    scene(tmp_path / "in" / "a.png", 200)
    assert align_data(*(argument.format(detector=detector) for argument in arguments)) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "aligned.jsonl").exists()


def test_trouble_of_a_process_is_raised_where_it_was_started() -> None:
    fails: Any = partial(read, Path("no/such/image"))
    with pytest.raises(InputError, match="no/such/image: No such file"):
        list(parallel(fails, range(3), 2, 1))


def test_a_process_that_dies_is_not_waited_for() -> None:
    dies: Any = partial(os._exit, 7)
    with pytest.raises(RuntimeError, match="died during its work with exit code 7"):
        list(parallel(dies, range(3), 1, 1))


@pytest.mark.shared
def test_faces_that_fill_their_image_are_found(shared: Path, tmp_path: Path) -> None:
    from pyarrow.parquet import ParquetFile

    table = ParquetFile(shared / "data/train/loose_faces_200px.parquet").read(columns=["image"]).column(0)
    for row in range(8):
        data_of_row = table[row].as_py()
        encoded = data_of_row["bytes"] if isinstance(data_of_row, dict) else data_of_row
        image = decode(encoded, str(row))[30:-30, 30:-30, ::-1]
        path = tmp_path / "in" / f"{row}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(image, (800, 800), interpolation=cv2.INTER_CUBIC))
    weights = shared / "data/weights/yolov8-lite-t-face.onnx"
    align_data(tmp_path / "in", tmp_path / "out", "--detector", weights)
    lines = lines_of(tmp_path / "out").values()
    assert sum(line["result"] == "aligned" for line in lines) >= 7
