"""Drawing results into a copy of the video, from files as a recorded analysis writes them."""

import json
import signal
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import yaml

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import hash_file
from streamer.cli import main
from streamer.recorded.annotate import annotate
from streamer.recorded.filenames import JOURNAL
from streamer.recorded.reader import ResultReader
from streamer.recorded.records import SCHEMA_VERSION
from streamer.values import Bytes
from tests.end_to_end.programs import Program
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import until
from tests.support.pictures import Track, numbered, write
from tests.support.videos import image, make_video, read_number, write_resized

HEADER = {"type": "header", "schema_version": SCHEMA_VERSION, "run_id": "r", "model_id": "untrained"}
FACE = {
    "type": "observation",
    "media_time_s": 0.0,
    "track_id": "t1",
    "number": 1,
    "box": {"x": 100.0, "y": 80.0, "width": 60.0, "height": 60.0},
    "landmarks": {"nose": {"x": 130.0, "y": 110.0}},
}
AGE = {"years": 30.0, "low_years": 25.4, "high_years": 36.0}
TRACK = {
    "type": "track",
    "track_id": "t1",
    "number": 1,
    "age": AGE,
    "expression": None,
    "reasons": [],
    "decision": None,
    "intervals": [{"track_id": "t1"}],
}


def results(folder: Path, video: Path, **different: Any) -> Path:
    """The files of an analysis of `video`; its `header`, `tracks` and `observations` may be `different`."""
    source = {"name": video.name, "sha256": hash_file(video), "video_stream": 0}
    header = different.get("header", {**HEADER, "source": source})
    folder.mkdir(exist_ok=True)
    for name, record in (("tracks", TRACK), ("observations", FACE)):
        lines = (header, different.get(name, record))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def labels(found: ResultReader, time: float) -> list[str]:
    shown = found.at(time)
    return [face.texts[0] for face in shown.faces] if shown is not None else ["not analysed"]


def images(path: Path) -> list[Bytes]:
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in container.decode(video=0)]


def test_the_faces_are_drawn_where_they_were_found(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4", frames=3)
    out = tmp_path / "drawn.mp4"
    assert annotate(video, results(tmp_path / "out", video), out) == 3
    before, after = images(video), images(out)
    assert [read_number(image) for image in after] == [0, 1, 2]
    edge = slice(85, 135), 100  # left side of the box
    assert np.abs(after[0][edge].astype(int) - before[0][edge]).mean() > 30
    assert np.abs(after[1][edge].astype(int) - before[1][edge]).mean() < 10
    assert not list(tmp_path.glob("*.partial"))


def test_the_stream_that_was_analysed_is_drawn_into(tmp_path: Path) -> None:
    video = write(tmp_path / "video.mkv", Track(numbered(3)), Track(numbered(3, (640, 480), first=10)))
    for number, first, width in ((0, 0, 320), (1, 10, 640)):
        source = {"name": video.name, "sha256": hash_file(video), "video_stream": number}
        header = {**HEADER, "source": source}
        out = tmp_path / "drawn.mp4"
        annotate(video, results(tmp_path / "out", video, header=header), out)
        drawn = images(out)
        assert [read_number(image) for image in drawn] == [first, first + 1, first + 2]
        assert drawn[0].shape[1] == width


def test_with_reasons_each_image_shows_what_was_known_at_its_time(tmp_path: Path) -> None:
    folder = results(tmp_path / "out", make_video(tmp_path / "video.mp4", frames=3))
    common = {"track_id": "t1", "number": 1}
    quality = {"value": 0.721}
    header = (folder / "observations.jsonl").read_text().splitlines()[0]
    seen = [json.dumps({**FACE, "media_time_s": time}) for time in (0.0, 0.04)]
    (folder / "observations.jsonl").write_text("\n".join([header, *seen]))
    explained = [
        {"type": "choice", "media_time_s": 0.0, "crop_media_time_s": 0.0, "decision": "SENT", "quality": quality},
        {**TRACK, "type": "answer", "media_time_s": 0.0, "expression": {"appears": "fear"}},
        {"type": "choice", "media_time_s": 0.04, "crop_media_time_s": 0.04, "decision": "TOO_SOON", "quality": quality},
        {"type": "state", "media_time_s": 0.08, "state": "LOST", "box": FACE["box"]},
        {"type": "track", "media_time_s": 0.08},
    ]
    lines = [header, *(json.dumps(common | line) for line in explained)]
    (folder / "explain.jsonl").write_text("\n".join(lines))
    found = ResultReader(folder, explain=True)
    shown = [labels(found, time) for time in (0.0, 0.04, 0.08, 0.12)]
    assert shown == [["#1 30 afraid q0.72 sent"], ["#1 30 afraid q0.72 too soon"], ["#1 lost"], []]


def test_a_face_is_labelled_with_what_it_appeared_to_show_at_the_time(tmp_path: Path) -> None:
    lasted = [{"appears": name, "start_s": at, "end_s": at + 1} for name, at in (("fear", 1.0), ("anger", 3.0))]
    video = make_video(tmp_path / "video.mp4", frames=3)
    folder = results(tmp_path / "out", video, tracks={**TRACK, "expression": {"timeline": lasted}})
    header = (folder / "observations.jsonl").read_text().splitlines()[0]
    times = (0.5, 1.0, 2.0, 3.5)
    seen = [json.dumps({**FACE, "media_time_s": time}) for time in times]
    (folder / "observations.jsonl").write_text("\n".join([header, *seen]))
    found = ResultReader(folder)
    shown = [label for time in times for label in labels(found, time)]
    assert shown == ["#1 30", "#1 30 afraid", "#1 30", "#1 30 angry"]


@pytest.mark.parametrize("same", ["video.mp4", "out/../video.mp4", "symbolic.mp4", "hard.mp4", "video"])
def test_the_video_itself_is_never_overwritten(tmp_path: Path, same: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = "video.partial" if same == "video" else "video.mp4"  # drawn as `video`, it would be written under that name
    video = make_video(tmp_path / name, frames=3, container_format="mp4")
    (tmp_path / "symbolic.mp4").symlink_to(video)
    (tmp_path / "hard.mp4").hardlink_to(video)
    content = video.read_bytes()
    folder = results(tmp_path / "out", video)
    assert main(["annotate", str(video), "--results", str(folder), "--out", str(tmp_path / same)]) == 2
    assert "would overwrite the video" in capsys.readouterr().err
    assert video.read_bytes() == content


@pytest.mark.parametrize("out", ["missing/drawn.mp4", ".", "full.mp4"])
def test_where_nothing_can_be_written_is_said(tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    video = make_video(tmp_path / "video.mp4", frames=3)
    folder = results(tmp_path / "out", video)
    (tmp_path / "full.mp4.partial").symlink_to("/dev/full")
    assert main(["annotate", str(video), "--results", str(folder), "--out", str(tmp_path / out)]) == 2
    assert f"cannot write {tmp_path / out}: " in capsys.readouterr().err
    assert not list(tmp_path.glob("*.partial")) or out != "full.mp4"
    assert not (tmp_path / "full.mp4").exists()


def test_the_current_folder_is_no_file_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = make_video(tmp_path / "video.mp4", frames=3)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="cannot write"):
        annotate(video, results(tmp_path / "out", video), Path())
    assert not (tmp_path / ".partial").exists()


@pytest.mark.parametrize("missing", ["type", "model_id", "source", "schema_version", "run_id"])
def test_a_header_that_lacks_something_is_no_result(tmp_path: Path, missing: str) -> None:
    video = make_video(tmp_path / "video.mp4", frames=3)
    header = {**HEADER, "source": {"name": "video.mp4", "sha256": hash_file(video), "video_stream": 0}}
    del header[missing]
    folder = results(tmp_path / "out", video, header=header)
    with pytest.raises(InputError, match=r"tracks\.jsonl was not written by `streamer analyze`"):
        annotate(video, folder, tmp_path / "drawn.mp4")


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("tracks", {key: value for key, value in TRACK.items() if key != "reasons"}),
        ("tracks", {**TRACK, "age": {"low_years": 1.0}}),
        ("tracks", {**TRACK, "age": 30}),
        ("tracks", []),
        ("observations", {key: value for key, value in FACE.items() if key != "media_time_s"}),
        ("observations", {key: value for key, value in FACE.items() if key != "landmarks"}),
        ("observations", {**FACE, "landmarks": [1, 2]}),
        ("observations", {**FACE, "box": {"x": float("inf"), "y": 0, "width": 1, "height": 1}}),
        ("observations", "text"),
    ],
)
def test_records_that_lack_something_are_no_result(tmp_path: Path, name: str, record: object) -> None:
    video = make_video(tmp_path / "video.mp4", frames=3)
    folder = results(tmp_path / "out", video, **{name: record})
    with pytest.raises(InputError, match=rf"{name}\.jsonl was not written by `streamer analyze`"):
        annotate(video, folder, tmp_path / "drawn.mp4")
    assert not list(tmp_path.glob("drawn*"))


@pytest.mark.parametrize("name", ["explain", "observations"])
def test_files_of_another_run_are_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As an older explain.jsonl beside the results of a new run."""
    video = make_video(tmp_path / "video.mp4", frames=3)
    folder = results(tmp_path / "out", video)
    first, *others = (folder / "observations.jsonl").read_text().splitlines()
    header = json.dumps({**json.loads(first), "run_id": "older"})
    (folder / f"{name}.jsonl").write_text("\n".join([header, *others]))
    command = ["annotate", str(video), "--results", str(folder), "--out", str(tmp_path / "drawn.mp4")]
    assert main([*command, *(["--explain"] if name == "explain" else [])]) == 3
    assert f"{name}.jsonl is of another run than tracks.jsonl beside it" in capsys.readouterr().err
    assert not list(tmp_path.glob("drawn*"))


def test_results_of_an_older_version_are_to_be_made_again(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4", frames=3)
    source = {"name": "video.mp4", "sha256": hash_file(video), "video_stream": 0}
    folder = results(tmp_path / "out", video, header={**HEADER, "schema_version": 3, "source": source})
    with pytest.raises(InputError, match="has schema_version 3, this version reads 5; analyse the video again"):
        annotate(video, folder, tmp_path / "drawn.mp4")


@pytest.mark.parametrize("size", [(1, 64), (64, 1), (1, 1), (321, 241)])
def test_odd_sides_are_made_even_by_a_pixel_more(tmp_path: Path, size: tuple[int, int]) -> None:
    video = tmp_path / "odd.mov"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb24"
        pixels = np.full((size[1], size[0], 3), (40, 160, 240), np.uint8)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode(None))
    out = tmp_path / "drawn.mp4"
    assert annotate(video, results(tmp_path / "out", video), out) == 3
    assert {image.shape for image in images(out)} == {(size[1] + size[1] % 2, size[0] + size[0] % 2, 3)}


@pytest.mark.parametrize("sizes", [((320, 240), (640, 480)), ((640, 480), (320, 240))])
def test_frames_of_another_size_are_scaled_to_that_of_the_first(
    tmp_path: Path, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    frames = [image(number, sizes[number // 5]) for number in range(10)]
    video = write_resized(tmp_path / "resized.ts", frames)
    seen = [{**FACE, "media_time_s": time} for time in (0.0, 0.36)]  # the box is in pixels of its own frame
    folder = results(tmp_path / "out", video)
    lines = (folder / "observations.jsonl").read_text().splitlines()[:1]
    (folder / "observations.jsonl").write_text("\n".join([*lines, *map(json.dumps, seen)]))
    assert annotate(video, folder, tmp_path / "drawn.mp4") == 10
    drawn = images(tmp_path / "drawn.mp4")
    width, height = sizes[0]
    assert {each.shape for each in drawn} == {(height, width, 3)}
    scale = width / sizes[1][0]
    for number in range(5, 9):
        wanted = cv2.resize(frames[number], (width, height), interpolation=cv2.INTER_AREA)
        assert np.abs(wanted.astype(int) - drawn[number])[: height * 4 // 5].mean() < 8  # the notice is below
    edge = round(110 * scale), slice(round(97 * scale), round(104 * scale))  # left side of the box in the last frame
    assert np.abs(drawn[9][edge].astype(int) - drawn[8][edge]).max() > 30


def test_frames_of_another_aspect_keep_it_between_black_bars(tmp_path: Path) -> None:
    frames = [image(number, (320, 240) if number < 5 else (480, 240)) for number in range(10)]
    video = write_resized(tmp_path / "resized.ts", frames)
    assert annotate(video, results(tmp_path / "out", video), tmp_path / "drawn.mp4") == 10
    drawn = images(tmp_path / "drawn.mp4")
    assert {each.shape for each in drawn} == {(240, 320, 3)}
    for number in range(5, 10):
        wanted = cv2.resize(frames[number], (320, 160), interpolation=cv2.INTER_AREA)
        assert np.abs(wanted.astype(int) - drawn[number][40:200])[:130].mean() < 8  # the notice is below
        assert drawn[number][:36].mean() < 8
        assert drawn[number][204:222].mean() < 8


def test_it_stops_between_two_frames_and_leaves_nothing(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4", frames=10)
    folder = results(tmp_path / "out", video)
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(len(asked) >= 5)
        return asked[-1]

    with pytest.raises(InputError, match="stopped"):
        annotate(video, folder, tmp_path / "drawn.mp4", stopped)
    assert len(asked) == 6
    assert not list(tmp_path.glob("drawn*"))


def test_a_signal_ends_the_command_and_leaves_nothing(tmp_path: Path) -> None:
    video = make_video(tmp_path / "long.mp4", frames=300, size=(1920, 1080))
    folder = results(tmp_path / "out", video)
    with Program("streamer", "annotate", video, "--results", folder, "--out", tmp_path / "drawn.mp4") as program:
        until((tmp_path / "drawn.mp4.partial").exists, "the drawing")
        program.signal(signal.SIGTERM)
        assert program.wait() == 128 + signal.SIGTERM, program.text
    assert "Traceback" not in program.text
    assert not list(tmp_path.glob("drawn*"))


@pytest.mark.slow
def test_after_a_signal_the_annotated_video_has_the_frames_so_far(tmp_path: Path, small_file: Path) -> None:
    video = make_video(tmp_path / "large.mp4", frames=60, size=(1920, 1080))
    settings = {"detect": {"weights": str(write_lite_patch_detector(tmp_path / "detector.onnx"))}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    options = ("--config", tmp_path / "config.yaml", "--weights", small_file, "--annotate")
    with Program("streamer", "analyze", video, "--out", tmp_path / "out", *options) as program:
        drawing = tmp_path / "out" / "annotated.mp4.partial"
        until(lambda: drawing.exists() or program.process.poll() is not None, "the drawing")
        program.signal(signal.SIGTERM)
        assert program.wait() == 128 + signal.SIGTERM, program.text
    frames = json.loads((tmp_path / "out" / "summary.json").read_text())["frames"]
    assert f"{video}: {frames} frames" in program.text
    assert "Traceback" not in program.text
    assert [read_number(image) for image in images(tmp_path / "out" / "annotated.mp4")] == list(range(frames))
    assert [path.name for path in (tmp_path / "out").glob("*.partial")] == [JOURNAL]  # the analysis can go on


@pytest.mark.slow
def test_a_drawing_that_fails_loses_no_other_report(tmp_path: Path, small_file: Path) -> None:
    """And the exit code says that a part of it failed."""
    videos = [make_video(tmp_path / f"{name}.mp4", frames=3) for name in ("one", "two")]
    (tmp_path / "out" / "one" / "annotated.mp4").mkdir(parents=True)
    settings = {"detect": {"weights": str(write_lite_patch_detector(tmp_path / "detector.onnx"))}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    options = ("--config", tmp_path / "config.yaml", "--weights", small_file, "--annotate")
    with Program("streamer", "analyze", *videos, "--out", tmp_path / "out", *options) as program:
        assert program.wait() == 5, program.text
    assert "cannot write" in program.text
    assert all(f"{video}: 3 frames" in program.text for video in videos)
    assert (tmp_path / "out" / "two" / "annotated.mp4").is_file()


def test_only_the_frames_that_were_analysed_are_drawn(tmp_path: Path) -> None:
    """As of an analysis that was stopped, or of a part of the video."""
    video = make_video(tmp_path / "video.mp4", frames=10)
    folder = results(tmp_path / "out", video)
    header, face = (folder / "observations.jsonl").read_text().splitlines()
    lines = [header]
    for number in (2, 3, 5):
        lines.append(json.dumps({"type": "frame", "frame": number, "media_time_s": number * 0.04, "faces": 1}))
        lines.append(json.dumps({**json.loads(face), "media_time_s": number * 0.04}))
    (folder / "observations.jsonl").write_text("\n".join(lines))
    assert annotate(video, folder, tmp_path / "drawn.mp4") == 3
    # the first one stands still until its time, so the times are those of the video
    assert [read_number(image) for image in images(tmp_path / "drawn.mp4")] == [2, 2, 3, 5]
    with av.open(str(tmp_path / "drawn.mp4")) as drawn:
        assert [frame.time for frame in drawn.decode(video=0)] == pytest.approx([0, 0.08, 0.12, 0.2])


@pytest.mark.parametrize(("name", "shown"), [(None, "P2 41 afraid"), ("Ann", "Ann 41 afraid")])
def test_with_people_their_names_or_numbers_and_ages_are_drawn(tmp_path: Path, name: str | None, shown: str) -> None:
    video = make_video(tmp_path / "video.mp4", frames=3)
    lasted = [{"appears": "fear", "start_s": 0.0, "end_s": 1.0}]
    folder = results(tmp_path / "out", video, tracks={**TRACK, "expression": {"timeline": lasted}})
    header = (folder / "tracks.jsonl").read_text().splitlines()[0]
    person = {"type": "person", "number": 2, "name": name, "track_ids": ["t1"], "age": {"years": 41.2}}
    (folder / "people.jsonl").write_text("\n".join([header, json.dumps(person)]))
    assert labels(ResultReader(folder), 0.0) == [shown]
    (folder / "people.jsonl").write_text(json.dumps({**json.loads(header), "run_id": "older"}))
    with pytest.raises(InputError, match=r"people\.jsonl is of another run"):
        ResultReader(folder)


def test_a_face_that_is_not_described_has_neither_age_nor_expression(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4", frames=3)
    plain = {**TRACK, "age": None, "described": False, "undescribed_reasons": ["FALSE_FACE"]}
    folder = results(tmp_path / "out", video, tracks=plain)
    assert labels(ResultReader(folder), 0.0) == ["#1 ?"]


def test_reasons_are_drawn_when_asked_for_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = make_video(tmp_path / "video.mp4", frames=3)
    folder = results(tmp_path / "out", video)
    command = ["annotate", str(video), "--results", str(folder), "--out", str(tmp_path / "drawn.mp4")]
    assert main([*command, "--explain"]) == 3
    assert "has no explain.jsonl: analyse the video with --explain" in capsys.readouterr().err
    header = (folder / "tracks.jsonl").read_text().splitlines()[0]
    lost = {"type": "state", "media_time_s": 0.0, "track_id": "t2", "number": 2, "state": "LOST", "box": FACE["box"]}
    (folder / "explain.jsonl").write_text("\n".join([header, json.dumps(lost)]))
    assert labels(ResultReader(folder), 0.0) == ["#1 30"]
    assert labels(ResultReader(folder, explain=True), 0.0) == ["#2 lost", "#1"]
