"""`streamer evaluate-detector`: labels from files, images and videos, numbers, sheets, what is refused."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from faceanalytics.errors import ConfigError, InputError
from streamer.config import Detect
from streamer.evaluate.detector import Request, evaluate
from streamer.evaluate.labels import read_labels
from streamer.values import LANDMARK_NAMES
from tests.support.patch_detector import FACE, POINTS, make_patch_video, paint, write_lite_patch_detector

EYES = float(POINTS[1, 0] - POINTS[0, 0])  # px


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Detect:
    return Detect(weights=str(write_lite_patch_detector(tmp_path_factory.mktemp("weights") / "patches.onnx")))


def write_image(path: Path, *places: tuple[int, int]) -> Path:
    frame = np.full((360, 640, 3), 60, np.uint8)
    for left, top in places:
        paint(frame, left, top)
    assert cv2.imwrite(str(path), frame)
    return path


def face(left: float, top: float, shift: float = 0.0, **more: object) -> dict[str, object]:
    """A labelled face as it is painted, its nose `shift` pixels further right."""
    points = POINTS + np.array([(left + (shift if name == "nose" else 0), top) for name in LANDMARK_NAMES])
    landmarks = {name: {"x": x, "y": y} for name, (x, y) in zip(LANDMARK_NAMES, points.tolist(), strict=True)}
    return {"x": left, "y": top, "width": FACE, "height": FACE, "landmarks": landmarks, **more}


def write_labels(path: Path, *lines: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def request(labels: Path, folder: Path | None = None, **changes: Any) -> Request:
    settings = {"out": None, "sheets": None, "min_score": 0.5, "min_width": 12.0, "precision": 0.97}
    return Request(labels=labels, images=folder, **{**settings, **changes})


def test_labelled_images_give_numbers_a_table_and_sheets(
    config: Detect, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png", (100, 120), (404, 120))  # places at which the detector is exact
    write_image(tmp_path / "b.png", (204, 200))
    labels = write_labels(
        tmp_path / "labels.jsonl",
        {"source": "a.png", "frame_width": 640, "frame_height": 360, "faces": [face(100, 120, shift=0.5 * EYES)]},
        {"source": "b.png", "faces": [face(204, 200), face(480, 30), face(0, 0, ignore=True)]},
    )
    wanted = request(labels, tmp_path, out=tmp_path / "report.json", sheets=tmp_path / "sheets")
    assert evaluate(wanted, config) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["all"] == {
        "faces": 3, "hits": 2, "false_hits": 1, "recall": pytest.approx(2 / 3), "precision": pytest.approx(2 / 3),
    }  # fmt: skip
    assert (report["images"], report["ignored"]) == (2, 1)
    assert report["by_width"]["48-96 px"]["hits"] == 2
    assert report["landmark_error"]["each"]["nose"] == pytest.approx(0.25, abs=0.02)  # one of two is half off
    assert report["landmark_error"]["each"]["left_eye"] < 0.05
    printed = capsys.readouterr().out
    assert "66.7 %" in printed
    assert "landmark error of 2 found faces" in printed
    sheets = {path.name: np.asarray(cv2.imread(str(path)), int) for path in (tmp_path / "sheets").iterdir()}
    assert set(sheets) == {"hits.png", "missed.png", "false.png"}
    magenta = {name: bool((np.abs(sheet - (255, 0, 255)).max(axis=2) < 9).any()) for name, sheet in sheets.items()}
    assert magenta == {"hits.png": True, "false.png": True, "missed.png": False}  # nothing is painted at the miss


def test_frames_of_a_video_are_found_by_their_time(config: Detect, tmp_path: Path) -> None:
    video = make_patch_video(tmp_path / "walk.mp4", seconds=0.12)
    labels = write_labels(tmp_path / "labels.jsonl", {"source": str(video), "media_time_s": 0.04, "faces": []})
    assert evaluate(request(labels, out=tmp_path / "report.json"), config) == 0
    assert json.loads((tmp_path / "report.json").read_text())["images"] == 1
    write_labels(labels, {"source": str(video), "media_time_s": 0.05, "faces": []})
    with pytest.raises(InputError, match="none of its 1"):
        evaluate(request(labels), config)


def test_what_cannot_be_read_is_named_and_the_rest_is_judged(
    config: Detect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_image(tmp_path / "a.png")
    labels = write_labels(
        tmp_path / "labels.jsonl",
        {"source": "a.png", "faces": []},
        {"source": "gone.png", "faces": []},
        {"source": "b.png", "frame_width": 360, "frame_height": 640, "faces": []},
    )
    write_image(tmp_path / "b.png")
    assert evaluate(request(labels, tmp_path), config) == 5
    assert "gone.png" in caplog.messages[0]
    assert "b.png: has 640x360 pixels, its labels are for 360x640" in caplog.messages[1]
    assert caplog.messages[2].startswith("2 of 3 files")


XML = """<?xml version='1.0'?><dataset><images><image file='a.jpg'>
<box top='20' left='10' width='30' height='40'>{parts}</box><box top='1' left='2' width='3' height='4' ignore='1'/>
</image><image file='b.jpg'/></images></dataset>"""


def test_68_landmarks_become_five(tmp_path: Path) -> None:
    parts = "".join(f"<part name='{number:02}' x='{number}' y='{2 * number}'/>" for number in range(68))
    (tmp_path / "faces.xml").write_text(XML.format(parts=parts))
    first, second = read_labels(tmp_path / "faces.xml", None)
    assert (first.source, second.source) == (tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert first.truth.boxes.tolist() == [[10, 20, 40, 60], [2, 1, 5, 5]]
    assert first.truth.ignored.tolist() == [False, True]
    assert first.truth.landmarks[0].tolist() == [[38.5, 77], [44.5, 89], [30, 60], [48, 96], [54, 108]]
    assert np.isnan(first.truth.landmarks[1]).all()
    assert len(second.truth.boxes) == 0
    (tmp_path / "faces.xml").write_text(XML.format(parts="<part name='00' x='1' y='1'/>"))
    with pytest.raises(InputError, match=r"a\.jpg: a box or part is not usable: 1 landmarks"):
        read_labels(tmp_path / "faces.xml", None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"source": "a.png", "faces": [', "labels.jsonl:2: not JSON"),
        ('{"source": "a.png", "faces": [{"x": 1, "y": 1, "width": 0, "height": 9}]}', "faces.0.width"),
        (
            '{"source": "a.png", "faces": [{"x": 1, "y": 1, "width": 9, "height": 9, "hidden": true}]}',
            "hidden: Extra",
        ),
        ('{"faces": []}', "source: Field required"),
        ('{"source": "b.png", "faces": []}', "b.png is labelled twice"),
        (json.dumps({"source": "a.png", "faces": [face(0, 0) | {"landmarks": {}}]}), "left_eye"),
    ],
)
def test_labels_with_a_mistake_are_refused_with_their_line(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text('{"source": "b.png", "faces": []}\n' + text + "\n")
    with pytest.raises(InputError, match=r"labels\.jsonl") as caught:
        read_labels(tmp_path / "labels.jsonl", None)
    assert complaint in str(caught.value)


def test_labels_of_wider_face_are_read(config: Detect, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(tmp_path / "a.png", (100, 120), (404, 120))
    write_image(tmp_path / "b.png")
    good, invalid, empty = (f"{box} 0 0 0 {flag} 0 0" for box, flag in (
        (f"100 120 {FACE} {FACE}", 0), (f"404 120 {FACE} {FACE}", 1), ("7 7 0 9", 0)
    ))  # fmt: skip
    labels = tmp_path / "val.txt"
    labels.write_text(f"a.png\n3\n{good}\n{invalid}\n{empty}\nb.png\n0\n0 0 0 0 0 0 0 0 0 0 \n")
    found = read_labels(labels, None)
    assert [(one.source.name, one.truth.ignored.tolist()) for one in found] == [("a.png", [False, True]), ("b.png", [])]
    assert found[0].truth.boxes[0].tolist() == [100, 120, 100 + FACE, 120 + FACE]
    assert evaluate(request(labels, out=tmp_path / "report.json"), config) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["wider_protocol"]["easy"] == {"least_height": 50, "faces": 1, "average_precision": 1.0}
    assert "easy 100.0 % (1 from 50 px on)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a.png\n", "val.txt:1: the name of an image, but the next line is no number"),
        ("a.png\n2\n1 1 9 9 0 0 0 0 0 0\n", "val.txt:4: expected the 10 numbers of a face"),
        ("a.png\n1\n1 1 9 9\n", "val.txt:3: expected the 10 numbers"),
        ("\n", "no labelled images"),
    ],
)
def test_mistakes_in_labels_of_wider_face_are_named_with_their_line(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text(text)
    with pytest.raises(InputError) as caught:
        read_labels(tmp_path / "val.txt", None)
    assert complaint in str(caught.value)


def test_files_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown kind of labels"):
        read_labels(tmp_path / "labels.csv", None)
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "labels.jsonl", None)
    (tmp_path / "faces.xml").write_text("<dataset>")
    with pytest.raises(InputError, match="not XML"):
        read_labels(tmp_path / "faces.xml", None)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="no labelled images"):
        read_labels(tmp_path / "empty.jsonl", None)
