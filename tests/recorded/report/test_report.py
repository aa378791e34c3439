"""`streamer report`: which results, which video, which pictures, and where they go."""

import base64
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceanalytics.files import hash_file
from streamer.cli import main
from streamer.values import Bytes
from tests.recorded.report.html import Node, read
from tests.support.result_files import USUAL, Results
from tests.support.videos import make_video, read_number


def results(folder: Path, video: Path, usual: Results = USUAL) -> Path:
    source = {"name": video.name, "sha256": hash_file(video)}
    return replace(usual, header={"source": source}).write(folder)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    return make_video(tmp_path / "videos" / "a #1 & 50%.mp4", frames=100, fps=10, size=(640, 480))


def page(path: Path) -> Node:
    return read(path.read_text(encoding="utf-8"))


def pictures(root: Node) -> dict[str, Bytes]:
    """The pictures of a page by their description, (h, w, 3) BGR."""
    found: dict[str, Bytes] = {}
    for one in root.all("img"):
        source = one.attributes.get("src")
        if source:
            data = np.frombuffer(base64.b64decode(source.removeprefix("data:image/jpeg;base64,")), np.uint8)
            pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
            found[one.attributes["alt"] or f"picture {len(found)}"] = pixels
    return found


def links(root: Node) -> set[str]:
    found = {one.attributes.get("href") or "" for one in root.all("a")} - {""}
    return {link.partition("#t=")[0] for link in found if not link.startswith("#")}


def test_faces_and_shots_are_cut_from_the_video(
    tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results(tmp_path / "out", video)
    assert main(["report", str(folder), "--video", str(video)]) == 0
    assert f"{folder}/report.html: 1 recording" in capsys.readouterr().out
    root = page(folder / "report.html")
    shown = pictures(root)
    assert {"Ada, track 1", "Ada, track 4", "Person 2, track 2", "Person 3, track 3"} <= set(shown)
    assert all(pixels.shape[0] == pixels.shape[1] <= 112 for name, pixels in shown.items() if "track" in name)
    assert len(shown) == 4 + 1 + 3  # people, the false face, shots
    shots = next(root.all("ol", "tiles"))
    frames = list(pictures(shots).values())
    assert [pixels.shape for pixels in frames] == [(144, 192, 3)] * 3
    big = [cv2.resize(pixels, (640, 480), interpolation=cv2.INTER_NEAREST) for pixels in frames]
    assert [read_number(np.asarray(one, np.uint8)) for one in big] == [12, 37, 75]  # the middles of the shots
    rows = {one.attributes["data-of"] for one in root.all("img") if "data-of" in one.attributes}
    assert rows <= {one.attributes.get("id") for one in root.all("img")}


def test_moments_are_links_into_the_annotated_video_else_into_the_video(tmp_path: Path, video: Path) -> None:
    folder = results(tmp_path / "videos" / "out", video)
    assert main(["report", str(folder)]) == 0  # the video is one folder up
    root = page(folder / "report.html")
    assert links(root) == {"../a%20%231%20%26%2050%25.mp4"}
    (player,) = root.all("video")
    assert player.attributes["src"] == "../a%20%231%20%26%2050%25.mp4"
    (folder / "annotated.mp4").write_bytes(b"")
    assert main(["report", str(folder), "--out", str(tmp_path / "page.html")]) == 0
    root = page(tmp_path / "page.html")
    assert links(root) == {"videos/out/annotated.mp4"}
    assert root.texts("span", "kind") == ["Annotated video"]
    first = next(one for one in root.all("a", "span"))
    assert re.fullmatch(r"videos/out/annotated\.mp4#t=0", first.attributes["href"] or "")


def test_without_the_video_the_page_has_no_pictures_and_says_why(tmp_path: Path, video: Path) -> None:
    folder = results(tmp_path / "out", video)
    assert main(["report", str(folder)]) == 0
    root = page(folder / "report.html")
    assert not pictures(root)
    assert not links(root)
    assert "Without pictures: the video is not beside the results." in root.text
    assert [one.attributes["type"] for one in root.all("input")].count("file") == 1  # it can be opened in the page
    assert {one.attributes["data-t"] for one in root.all("button", "jump")} >= {"0.00", "1.00"}


def test_pictures_can_be_left_out(tmp_path: Path, video: Path) -> None:
    folder = results(tmp_path / "out", video)
    assert main(["report", str(folder), "--video", str(video), "--no-pictures"]) == 0
    root = page(folder / "report.html")
    assert not pictures(root)
    assert "Without pictures: it was made without them." in root.text
    assert links(root) == {"../videos/a%20%231%20%26%2050%25.mp4"}


def test_another_video_of_the_same_name_is_not_taken(
    tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results(tmp_path / "videos" / "out", video)
    make_video(folder / video.name, frames=10)  # beside the results
    assert main(["report", str(folder)]) == 0
    assert links(page(folder / "report.html")) == {"../a%20%231%20%26%2050%25.mp4"}
    other = make_video(tmp_path / "other.mp4", frames=10)
    assert main(["report", str(folder), "--video", str(other)]) == 3
    assert f"{other} is not the video of the results in {folder}" in capsys.readouterr().err


def test_a_report_of_several_recordings_has_a_section_for_each(tmp_path: Path, video: Path) -> None:
    second = make_video(tmp_path / "videos" / "b.mp4", frames=90, fps=10, size=(640, 480))
    results(tmp_path / "out" / "one", video)
    results(tmp_path / "out" / "deep" / "two", second, replace(USUAL, summary={"complete": False}))
    results(tmp_path / "more", second)
    assert main(["report", str(tmp_path / "out"), str(tmp_path / "more"), "--video", str(tmp_path / "videos")]) == 0
    root = page(tmp_path / "out" / "report.html")
    chapters = list(root.all("details", "chapter"))
    assert [next(one.all("h2")).text for one in chapters] == ["b.mp4", "a #1 & 50%.mp4", "b.mp4"]
    table = next(root.all("table", "overview"))
    lines = [row.texts("td") for row in next(table.all("tbody")).all("tr")]
    assert lines[0] == ["b.mp4", "", "0:09.9", "3", "2", "1", "1", "3", "no"]
    assert [line[-1] for line in lines] == ["no", "yes", "yes"]
    assert [one.attributes["href"] for one in table.all("a")] == ["#f1", "#f2", "#f3"]
    assert [one.attributes["id"] for one in chapters] == ["f1", "f2", "f3"]
    assert links(chapters[1]) == {"../videos/a%20%231%20%26%2050%25.mp4"}
    ids = [one.attributes["id"] for one in root.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))


def test_people_of_several_recordings_are_listed_once(tmp_path: Path, video: Path) -> None:
    second = make_video(tmp_path / "videos" / "b.mp4", frames=90, fps=10, size=(640, 480))
    one, two = results(tmp_path / "out" / "a", video), results(tmp_path / "out" / "b", second)
    header = json.loads((one / "tracks.jsonl").read_text().splitlines()[0])

    def appears(path: Path, number: int) -> dict[str, object]:
        times = {"first_seen_s": 1.0, "last_seen_s": 4.0, "seen_s": 3.0}
        return {"source": path.name, "sha256": hash_file(path), "person_number": number, **times}

    people = [
        {"type": "person", "number": 1, "name": "Ada", "appearances": [appears(video, 1), appears(second, 1)]},
        {"type": "person", "number": 2, "name": None, "appearances": [appears(second, 2)]},
    ]
    lines = [{**header, "recordings": []}, *people]
    (tmp_path / "out" / "people.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["report", str(tmp_path / "out"), "--out", str(tmp_path / "all.html")]) == 0
    root = page(tmp_path / "all.html")
    shared = next(one for one in root.all("section") if one.texts("h3") == ["People across recordings"])
    assert "1 person in more than one recording, 1 in one only." in shared.text
    assert next(shared.all("tbody")).texts("td")[1:] == [
        "Ada",
        "6.0 s",
        "2",
        "a #1 & 50%.mp4 0:01.0\N{EN DASH}0:04.0, b.mp4 0:01.0\N{EN DASH}0:04.0",
    ]
    assert [link.attributes["href"] for link in shared.all("a")] == ["#f1p1", "#f2p1"]
    (tmp_path / "out" / "people.jsonl").write_text("{}\n")
    assert main(["report", str(tmp_path / "out")]) == 3
    assert two.exists()


def test_a_report_that_exists_is_replaced_and_is_no_result_itself(tmp_path: Path, video: Path) -> None:
    folder = results(tmp_path / "out", video)
    for _ in range(2):
        assert main(["report", str(tmp_path / "out")]) == 0
    first = (folder / "report.html").read_bytes()
    shutil.move(str(folder), str(tmp_path / "moved"))
    assert main(["report", str(tmp_path / "moved")]) == 0
    assert (tmp_path / "moved" / "report.html").read_bytes() == first


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            lambda folder: (folder / "summary.json").unlink(),
            3,
            "summary.json does not exist: the analysis has not finished",
        ),
        (lambda folder: shutil.rmtree(folder), 3, "no results of `streamer analyze` are there"),
        (lambda folder: (folder / "people.jsonl").write_text("{"), 3, "people.jsonl was not written by"),
        (lambda folder: (folder / "report.html").mkdir(), 2, "cannot write"),
    ],
)
def test_what_cannot_be_reported_is_said(
    tmp_path: Path,
    video: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], None],
    code: int,
    message: str,
) -> None:
    folder = results(tmp_path / "out", video)
    change(folder)
    assert main(["report", str(folder)]) == code
    assert message in capsys.readouterr().err
    assert not list(folder.glob("*.partial"))


def test_names_of_files_are_those_of_the_results(tmp_path: Path, video: Path) -> None:
    folder = results(tmp_path / "out", video)
    header = json.loads((folder / "tracks.jsonl").read_text().splitlines()[0])
    assert header["source"]["name"] == video.name
    assert main(["report", str(folder)]) == 0
    assert page(folder / "report.html").texts("title") == ["Faces in a #1 & 50%.mp4"]


def test_a_folder_that_cannot_be_read_does_not_keep_the_others_from_a_report(
    tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results(tmp_path / "out" / "one", video)
    (results(tmp_path / "out" / "two", video) / "shots.jsonl").unlink()
    assert main(["report", str(tmp_path / "out")]) == 5
    shown = capsys.readouterr()
    assert "two/shots.jsonl does not exist" in shown.err
    assert shown.out == f"{tmp_path / 'out' / 'report.html'}: 1 recording\n"
    assert (tmp_path / "out" / "report.html").exists()
