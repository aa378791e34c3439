"""Which videos the arguments of `streamer analyze` mean, and where their results go."""

from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError, InputError
from streamer.tools.inputs import Input, find_inputs
from tests.support.http_cameras import to_hls
from tests.support.videos import make_video

OUT = Path("out")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    (folder / "b").mkdir()
    (folder / ".hidden").mkdir()
    for name in ("a.mp4", "b/a.mp4", "b/c.mkv", ".hidden/d.mp4", "e[1].mp4"):
        make_video(folder / name, frames=2)
    (folder / "note.txt").write_text("no video")
    (folder / "photo.jpg").write_bytes(b"an image")
    return folder


def pairs(inputs: list[Input], base: Path) -> list[tuple[str, str]]:
    return [(str(Path(one.place).relative_to(base)), str(one.folder)) for one in inputs]


@pytest.mark.parametrize("name", ["a.WMV", "a.flv", "a.3gp", "a.m2ts", "a.MTS", "a.vob", "a.h264", "a.hevc", "a.ogv"])
def test_a_folder_is_searched_for_every_kind_of_video(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    assert [one.place for one in find_inputs([str(tmp_path)], tmp_path / "out")] == [str(tmp_path / name)]


def test_one_file_has_its_results_in_out_and_several_in_folders(videos: Path) -> None:
    assert find_inputs([str(videos / "a.mp4")], OUT) == [
        Input(str(videos / "a.mp4"), str(videos / "a.mp4"), "file", OUT)
    ]
    several = find_inputs([str(videos / "a.mp4"), (videos / "b" / "c.mkv").as_uri()], OUT)
    assert pairs(several, videos) == [("a.mp4", "out/a"), ("b/c.mkv", "out/c")]


def test_a_folder_is_searched_for_videos_at_any_depth(videos: Path, tmp_path: Path) -> None:
    assert pairs(find_inputs([str(videos)], OUT), videos) == [
        ("a.mp4", "out/a"),
        ("b/a.mp4", "out/b/a"),
        ("b/c.mkv", "out/b/c"),
        ("e[1].mp4", "out/e[1]"),
    ]
    with pytest.raises(InputError, match="no video in this folder"):
        find_inputs([str(tmp_path)], OUT)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.mp4", [("a.mp4", "out/a"), ("e[1].mp4", "out/e[1]")]),
        ("**/*.m*", [("a.mp4", "out/a"), ("b/a.mp4", "out/b/a"), ("b/c.mkv", "out/b/c"), ("e[1].mp4", "out/e[1]")]),
        ("[b]", [("b/a.mp4", "out/b/a"), ("b/c.mkv", "out/b/c")]),
        ("b/?.mkv", [("b/c.mkv", "out/c")]),
    ],
)
def test_a_pattern_is_expanded(videos: Path, pattern: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(find_inputs([str(videos / pattern)], OUT), videos) == expected


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(videos: Path) -> None:
    assert pairs(find_inputs([str(videos / "e[1].mp4")], OUT), videos) == [("e[1].mp4", "out")]
    with pytest.raises(InputError, match=r"none\*\.mp4: no file matches"):
        find_inputs([str(videos / "none*.mp4")], OUT)


def test_videos_of_the_same_name_do_not_overwrite_each_other(videos: Path) -> None:
    found = find_inputs([str(videos / "a.mp4"), str(videos / "b" / "a.mp4")], OUT)
    assert [one.folder for one in found] == [OUT / "a", OUT / "b" / "a"]
    with pytest.raises(ConfigError, match=r"the same name, a.mp4, "):
        find_inputs(["https://h/x/a.mp4", "https://h/y/a.mp4"], OUT, allow_url=True)


def test_a_file_named_twice_is_analysed_once(videos: Path) -> None:
    (videos / "link.mp4").symlink_to("a.mp4")
    found = find_inputs([str(videos / "a.mp4"), str(videos / "link.mp4"), str(videos / "b" / "..")], OUT)
    assert [one.name for one in found].count(str(videos / "a.mp4")) == 1
    assert not any("link" in one.name for one in found)


def test_annotated_videos_of_earlier_analyses_are_not_analysed(videos: Path) -> None:
    results = videos / "a"
    results.mkdir()
    (results / "tracks.jsonl").write_text("{}")
    for name in ("annotated.mp4", "other.mp4"):
        (results / name).write_bytes(b"")
    found = {Path(one.place).name for one in find_inputs([str(videos)], OUT)}
    assert "other.mp4" in found
    assert "annotated.mp4" not in found


@pytest.mark.parametrize(
    ("address", "name", "folder"),
    [
        ("https://u:secret@h/x/clip%20one.mp4?token=secret", "https://h/x/clip%20one.mp4", "clip one"),
        ("http://u:sec/ret@h/a.m3u8", "http://h/a.m3u8", "a"),
        ("rtmp://h/app/film", "rtmp://h/app/film", "film"),
        ("http://h", "http://h", "h"),
    ],
)
def test_an_address_needs_permission_and_is_named_without_its_password(address: str, name: str, folder: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is an address; add --allow-url") as caught:
        find_inputs([address], OUT)
    assert "sec" not in str(caught.value)
    assert find_inputs([address], OUT, allow_url=True) == [Input(name, address, "address", OUT)]
    assert find_inputs([address, "b.mp4"], OUT, allow_url=True)[0].folder == OUT / folder


@pytest.mark.parametrize("address", ["rtsp://u:secret@h/x", "RTSPS://u:secret@h/x"])
def test_a_camera_belongs_to_serve(address: str) -> None:
    with pytest.raises(ConfigError, match=r"//h/x is a camera, not a file; .* serve --camera NAME=") as caught:
        find_inputs([address], OUT, allow_url=True)
    assert "secret" not in str(caught.value)


def test_a_mistyped_address_is_not_printed() -> None:
    with pytest.raises(ConfigError, match="mistyped") as caught:
        find_inputs(["rtsp:/u:secret@h/x"], OUT)
    assert "secret" not in str(caught.value)


def test_lists_are_followed_only_when_asked_for(tmp_path: Path) -> None:
    playlist = str(to_hls(make_video(tmp_path / "a.mp4", frames=5), tmp_path / "hls"))
    assert [one.kind for one in find_inputs([playlist], OUT)] == ["file"]
    assert [one.kind for one in find_inputs([playlist], OUT, allow_lists=True)] == ["list"]


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open() as null:
        monkeypatch.setattr("sys.stdin", null)
        assert find_inputs(["-"], OUT) == [Input("standard input", "-", "stdin", OUT)]
        assert find_inputs(["-", "a.mp4"], OUT)[0].folder == OUT / "stdin"
    with pytest.raises(ConfigError, match="once only"):
        find_inputs(["-", "-"], OUT)
