"""Faces in image and video files."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from faceanalytics.errors import ConfigError, ModelError
from streamer.config import Detect, StreamerConfig
from streamer.evaluate.labels import read_labels
from streamer.tools.detect_files import detect_files
from streamer.values import LANDMARK_NAMES, Bytes
from tests.support.patch_detector import FACE, paint, write_patch_detector
from tests.support.videos import cut_off


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StreamerConfig:
    weights = write_patch_detector(tmp_path_factory.mktemp("weights") / "patches.onnx")
    return StreamerConfig(detect=Detect(weights=str(weights)))


def scene(*lefts: int) -> Bytes:
    """A frame of 640 x 360 with a painted face at each of these places."""
    frame = np.full((360, 640, 3), 60, np.uint8)
    for left in lefts:
        paint(frame, left, 120)
    return frame


def write_image(path: Path, *lefts: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), scene(*lefts))
    return path


def write_video(path: Path, frames: int = 4, codec: str = "libx264") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p" if codec == "libx264" else "rgb8"
        for number in range(frames):
            image = av.VideoFrame.from_ndarray(scene(100 + 40 * number), format="bgr24")
            container.mux(stream.encode(image.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_image_gives_one_line_with_its_faces(config: StreamerConfig, tmp_path: Path) -> None:
    image = write_image(tmp_path / "two.png", 100, 400)
    assert detect_files([image], config, tmp_path / "out.jsonl", None) == 0
    (line,) = lines(tmp_path / "out.jsonl")
    faces = sorted(line.pop("faces"), key=lambda face: face["x"])
    assert line == {"source": str(image), "media_time_s": None, "frame_width": 640, "frame_height": 360}
    assert [face["x"] for face in faces] == pytest.approx([100, 400], abs=3)
    assert set(faces[0]) == {"x", "y", "width", "height", "score", "landmarks", "quality", "reasons"}
    assert (faces[0]["width"], faces[0]["height"]) == pytest.approx((FACE, FACE), abs=3)
    assert tuple(faces[0]["landmarks"]) == LANDMARK_NAMES
    assert faces[0]["landmarks"]["left_eye"] == pytest.approx({"x": 122, "y": 149}, abs=3)
    assert 0 < faces[0]["quality"] < 1
    assert faces[0]["reasons"] == []


def test_a_face_that_would_not_be_analysed_says_why(config: StreamerConfig, tmp_path: Path) -> None:
    strict = config.model_copy(update={"crop": config.crop.model_copy(update={"min_eye_distance_px": 30.0})})
    detect_files([write_image(tmp_path / "one.png", 100)], strict, tmp_path / "out.jsonl", None)
    assert lines(tmp_path / "out.jsonl")[0]["faces"][0]["reasons"] == ["SMALL_BOUNDING_BOX"]


def test_of_a_folder_every_image_and_video_is_taken_in_the_order_of_names(
    config: StreamerConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a/2.png", "a/b/1.JPG", "c.gif", ".cache/0.png", "z.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name == "c.gif":
            write_video(tmp_path / name, frames=1, codec="gif")
        else:
            write_image(tmp_path / name, *([] if name == "z.png" else [100]))
    (tmp_path / "a" / "labels.xml").write_text("no image")
    assert detect_files([tmp_path], config, tmp_path / "out.jsonl", None) == 0
    found = [Path(line["source"]).relative_to(tmp_path).as_posix() for line in lines(tmp_path / "out.jsonl")]
    assert found == ["a/2.png", "a/b/1.JPG", "c.gif", "z.png"]
    assert capsys.readouterr().out == f"{tmp_path}/out.jsonl: 4 images, 3 faces\n"
    assert not list(tmp_path.glob("*.partial"))


def test_a_image_is_turned_as_its_camera_says(config: StreamerConfig, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # its rows run from top to bottom: turn it to the right
    lying = np.rot90(scene(100)[..., ::-1], 1)
    Image.fromarray(np.ascontiguousarray(lying)).save(tmp_path / "phone.jpg", quality=95, exif=exif)
    assert detect_files([tmp_path / "phone.jpg"], config, tmp_path / "out.jsonl", None) == 0
    (line,) = lines(tmp_path / "out.jsonl")
    assert (line["frame_width"], line["frame_height"]) == (640, 360)
    assert (line["faces"][0]["x"], line["faces"][0]["y"]) == pytest.approx((100, 120), abs=4)


@pytest.mark.parametrize(("name", "codec"), [("walk.mp4", "libx264"), ("walk.gif", "gif")])
def test_a_video_gives_one_line_per_frame(config: StreamerConfig, tmp_path: Path, name: str, codec: str) -> None:
    video = write_video(tmp_path / name, codec=codec)
    assert detect_files([video], config, tmp_path / "out.jsonl", None) == 0
    found = lines(tmp_path / "out.jsonl")
    assert [line["media_time_s"] for line in found] == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.011)
    assert [line["faces"][0]["x"] for line in found] == pytest.approx([100, 140, 180, 220], abs=6)


def test_lines_go_to_standard_output_without_a_file(
    config: StreamerConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect_files([write_image(tmp_path / "none.png")], config, None, None) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == []


def test_drawings_show_boxes_and_do_not_replace_each_other(config: StreamerConfig, tmp_path: Path) -> None:
    images = [write_image(tmp_path / folder / "door.png", left) for folder, left in (("a", 100), ("b", 400))]
    files = [*images, write_video(tmp_path / "walk.mp4", frames=2)]
    assert detect_files(files, config, tmp_path / "out.jsonl", tmp_path / "new" / "drawn") == 0
    drawn = sorted((tmp_path / "new" / "drawn").iterdir())
    assert [path.name for path in drawn] == [
        "door-2.jpg",
        "door.jpg",
        "walk-000000.000s.jpg",
        "walk-000000.100s.jpg",
    ]
    for path, left in zip(drawn[:2], (400, 100), strict=True):
        image = np.asarray(cv2.imread(str(path)), int)
        edge = image[115:190, left - 3 : left + 4]  # the left side of the box, green
        assert (edge[..., 1] - edge[..., [0, 2]].max(axis=2)).max() > 80


def test_what_cannot_be_read_is_listed_and_the_rest_is_done(
    config: StreamerConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image follows")
    (tmp_path / "empty").mkdir()
    bad = [tmp_path / "text.mp4", tmp_path / "broken.jpg", tmp_path / "missing.png", tmp_path / "empty"]
    good = write_image(tmp_path / "good.png", 100)
    with caplog.at_level(logging.ERROR):
        assert detect_files([*bad[:2], good, *bad[2:]], config, tmp_path / "out.jsonl", None) == 5
    assert [line["source"] for line in lines(tmp_path / "out.jsonl")] == [str(good)]
    *each, count = caplog.messages
    assert all(str(path) in message for path, message in zip(bad, each, strict=True))
    assert count.startswith("4 of 5 files")


def test_names_of_any_bytes_are_written_printable(config: StreamerConfig, tmp_path: Path) -> None:
    write_image(tmp_path / "plain.jpg", 100)
    names = [os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg", "two\nlines.jpg", "Zoë.jpg", os.fsdecode(b"walk\xe9")]
    for name in names[:4]:
        (tmp_path / name).write_bytes((tmp_path / "plain.jpg").read_bytes())
    write_video(tmp_path / "walk.mkv", frames=1).rename(tmp_path / names[4])
    files = [tmp_path / name for name in names]
    out = tmp_path / os.fsdecode(b"out\xe9.jsonl")
    assert detect_files(files, config, out, tmp_path / "drawn") == 0
    shown = [r"caf\xe9", r"caf\x5cxe9", r"two\x0alines", "Zoë", r"walk\xe9"]
    assert [line["source"] for line in lines(out)] == [f"{tmp_path}/{name}.jpg" for name in shown[:4]] + [
        rf"{tmp_path}/walk\xe9"
    ]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == sorted(
        [f"{name}.jpg" for name in shown[:4]] + [r"walk\xe9-000000.000s.jpg"]
    )
    labels = read_labels(out.rename(tmp_path / "labels.jsonl"), None)
    assert [label.source for label in labels] == files, "the labels lead back to the files"


def test_a_bad_file_is_named_in_a_way_that_can_be_printed(
    config: StreamerConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / os.fsdecode(b"bad\xe9.jpg")).write_bytes(b"no image")
    assert detect_files([tmp_path], config, tmp_path / "out.jsonl", None) == 3
    assert caplog.messages[-1].startswith(rf"{tmp_path}/bad\xe9.jpg: not an image")


def test_nothing_readable_is_another_exit_code(config: StreamerConfig, tmp_path: Path) -> None:
    assert detect_files([tmp_path / "a.png", tmp_path / "b.mp4"], config, tmp_path / "out.jsonl", None) == 3


def test_a_video_that_was_cut_off_gives_the_frames_there_are(config: StreamerConfig, tmp_path: Path) -> None:
    video = cut_off(write_video(tmp_path / "walk.mkv", frames=30), 0.7)
    assert detect_files([video], config, tmp_path / "out.jsonl", None) == 5
    assert 1 <= len(lines(tmp_path / "out.jsonl")) < 30


def test_without_a_detector_nothing_is_written(tmp_path: Path) -> None:
    nowhere = StreamerConfig(detect=Detect(weights=str(tmp_path / "nowhere.onnx")))
    with pytest.raises(ModelError, match=r"nowhere\.onnx"):
        detect_files([write_image(tmp_path / "a.png")], nowhere, tmp_path / "out.jsonl", tmp_path / "drawn")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]


def test_a_place_that_cannot_be_written_is_an_error(config: StreamerConfig, tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="cannot write"):
        detect_files([image], config, tmp_path / "nowhere" / "out.jsonl", None)
    with pytest.raises(ConfigError, match="cannot write"):
        detect_files([image], config, tmp_path / "out.jsonl", image)


@pytest.mark.shared
def test_real_images_and_clips(shared: Path, tmp_path: Path) -> None:
    detect = Detect(weights=str(shared / "data/weights/yolov8-lite-t-face.onnx"), min_score=0.5)
    files = [shared / "data/stills/group-of-6.jpg", shared / "data/clips/head-pose-face-detection-female.gif"]
    assert detect_files(files, StreamerConfig(detect=detect), tmp_path / "out.jsonl", tmp_path / "drawn") == 0
    found = lines(tmp_path / "out.jsonl")
    assert [len(line["faces"]) for line in found] == [6] + [1] * 23
    assert not [face for face in found[0]["faces"] if face["reasons"]]
    assert {reason for line in found for face in line["faces"] for reason in face["reasons"]} == {"EXTREME_POSE"}
    assert len(list((tmp_path / "drawn").iterdir())) == 24
