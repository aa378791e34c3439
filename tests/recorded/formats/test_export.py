"""`streamer export --formats` as a user calls it, and what an analysis removes."""

import json
import shutil
from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError, InputError
from streamer import cli_results
from streamer.cli import main
from streamer.recorded.export import result_folders
from streamer.recorded.filenames import DERIVED
from streamer.recorded.formats.files import FORMATS, Formats, write_formats
from streamer.recorded.outputs import refuse_to_remove, run_files
from streamer.recorded.stored import Stored
from streamer.recorded.tables import write_tables
from tests.support.stored_results import Seen, write_results
from tests.support.videos import make_video

TIMES = [frame / 25 for frame in range(50)]
TRACKS = [Seen("a", 1, 1, 0, 19, segments=[("neutral", 0.0, 0.8)]), Seen("c", 2, 1, 30, 49)]
FILES = [
    *("mot/video.txt", "mot/video/seqinfo.ini", "people.vtt", "people.metadata.vtt", "people.eaf"),
    *("faces/person-001.jpg", "contact-sheet.jpg"),
]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return make_video(tmp_path / "video.mp4")


@pytest.fixture
def folder(video: Path, tmp_path: Path) -> Path:
    return write_results(tmp_path / "results", TRACKS, times=TIMES, video=video)


def test_all_formats_are_written_beside_the_results(
    video: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(folder), "--formats", ",".join(FORMATS), "--video", str(video)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(folder / name) for name in FILES]
    assert all((folder / name).stat().st_size for name in FILES)
    assert 'RELATIVE_MEDIA_URL="../video.mp4"' in (folder / "people.eaf").read_text()
    assert not list(folder.rglob("*.partial"))


def test_without_the_video_the_annotations_name_it(folder: Path) -> None:
    assert main(["export", str(folder), "--formats", "eaf,mot", "--mot-ids", "people"]) == 0
    assert 'RELATIVE_MEDIA_URL="./video.mp4"' in (folder / "people.eaf").read_text()
    assert {line.split(",")[1] for line in (folder / "mot" / "video.txt").read_text().splitlines()} == {"1"}


def test_pictures_need_the_video_that_was_analysed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_video(tmp_path / "other.mp4", frames=3)
    assert main(["export", str(folder), "--formats", "faces"]) == 2
    assert "add --video" in capsys.readouterr().err
    assert main(["export", str(folder), "--formats", "faces", "--video", str(other)]) == 3
    assert "the results are those of video.mp4, a different video than" in capsys.readouterr().err
    assert main(["export", str(folder), "--formats", "faces", "--video", "nowhere.mp4"]) == 3
    assert "nowhere.mp4: no such file or folder" in capsys.readouterr().err
    assert not (folder / "faces").exists()
    with pytest.raises(ConfigError, match="contact-sheet and faces: give the video too"):
        write_formats(folder, Formats(("faces", "contact-sheet")), None)


def test_results_of_several_videos_find_theirs_in_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, frames in (("monday", 50), ("tuesday", 40)):  # two files of one name
        video = tmp_path / "videos" / place / "door.mp4"
        video.parent.mkdir(parents=True)
        make_video(video, frames=frames)
        write_results(tmp_path / "results" / place, TRACKS[:1], times=TIMES, video=video)
    arguments = ["export", str(tmp_path / "results"), "--formats", "faces,eaf", "--video", str(tmp_path / "videos")]
    assert main(arguments) == 0
    for place in ("monday", "tuesday"):
        assert (tmp_path / "results" / place / "faces" / "person-001.jpg").exists()
        assert f"../../videos/{place}/door.mp4" in (tmp_path / "results" / place / "people.eaf").read_text()
    shutil.rmtree(tmp_path / "videos" / "monday")
    (tmp_path / "videos" / "tuesday" / "door.mp4").rename(tmp_path / "videos" / "other.mp4")
    assert main(arguments) == 2
    assert "--video: door.mp4, whose results are in" in capsys.readouterr().err


def test_the_results_of_these_tests_are_as_an_analysis_writes_them(folder: Path) -> None:
    assert main(["results", "validate", str(folder)]) == 0


def test_the_command_line_knows_the_formats() -> None:
    assert cli_results.FORMATS == FORMATS


def test_unknown_formats_and_no_wish_are_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", str(folder), "--formats", "webvtt,srt"])
    assert "'srt': choose from mot, webvtt, eaf, faces, contact-sheet" in capsys.readouterr().err
    assert main(["export", str(folder)]) == 2
    assert "nothing to make" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("summary.json", None, r"summary\.json does not exist: the analysis has not finished"),
        ("tracks.jsonl", None, r"tracks\.jsonl does not exist"),
        ("shots.jsonl", '{"type": "header", "schema_version": 5, "run_id": "r2"}\n', "is of another run"),
        ("tracks.jsonl", '{"type": "header", "schema_version": 3}\n', "it has schema_version 3"),
        ("tracks.jsonl", "", "was not written by `streamer analyze`"),
        ("people.jsonl", "[]\n", "was not written by `streamer analyze`"),
    ],
)
def test_results_that_are_not_whole_are_refused(file: str, content: str | None, message: str, folder: Path) -> None:
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises(InputError, match=message):
        write_formats(folder, Formats(("webvtt",)), None)


def test_people_of_tracks_that_are_not_there_are_refused(folder: Path) -> None:
    lines = (folder / "tracks.jsonl").read_text().splitlines()
    (folder / "tracks.jsonl").write_text("\n".join(lines[:2]) + "\n")
    with pytest.raises(InputError, match=r"people\.jsonl names tracks that tracks\.jsonl lacks: c"):
        Stored(folder)


def test_a_new_analysis_removes_what_was_made_of_the_old_results(video: Path, folder: Path) -> None:
    write_formats(folder, Formats(FORMATS), video)
    (folder / "mot" / "video" / "gt").mkdir()
    (folder / "mot" / "video" / "gt" / "gt.txt").write_text("1,1,1,1,1,1,1,1,1\n")  # the user's
    header = json.loads((folder / "tracks.jsonl").read_text().splitlines()[0])
    with run_files(folder, header, explain=False) as files:
        assert not [name for name in FILES if (folder / name).exists()]
        files.finish({}, None)
    assert (folder / "mot" / "video" / "gt" / "gt.txt").exists()


def test_every_file_of_a_format_is_known_to_be_derived(folder: Path) -> None:
    known = {path for pattern in DERIVED for path in folder.glob(pattern)}
    before = set(folder.rglob("*"))
    write_formats(folder, Formats(FORMATS), folder.parent / "video.mp4")
    known = {path for pattern in DERIVED for path in folder.glob(pattern)}
    assert {path for path in set(folder.rglob("*")) - before if path.is_file()} == known


def test_a_video_that_looks_like_a_picture_of_ours_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    video = make_video(tmp_path / "faces" / "person-1.mp4")
    video.rename(tmp_path / "faces" / "person-1.jpg")
    with pytest.raises(ConfigError, match="would be removed as an earlier result"):
        refuse_to_remove([(tmp_path / "faces" / "person-1.jpg", tmp_path)])


def test_folders_are_searched_for_results_at_any_depth_and_tables_are_none(tmp_path: Path) -> None:
    for name in ("b/two", "a", "b/one"):
        write_results(tmp_path / name, [], times=[])
    write_tables(tmp_path / "a", ("jsonl",))
    found = result_folders([tmp_path / "b", tmp_path])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["b/one", "b/two", "a"]
    for name in ("empty", "nowhere"):
        with pytest.raises(InputError, match=f"{name}: no results of `streamer analyze` are there"):
            result_folders([tmp_path / name])


def test_a_folder_that_cannot_be_read_does_not_keep_the_others_from_an_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two", "three"):
        write_results(tmp_path / name, TRACKS, times=TIMES)
    (tmp_path / "two" / "people.jsonl").write_text("{")
    assert main(["export", str(tmp_path), "--formats", "webvtt"]) == 5
    assert "two/people.jsonl was not written by `streamer analyze`" in capsys.readouterr().err
    assert [(tmp_path / name / "people.vtt").exists() for name in ("one", "two", "three")] == [True, False, True]
