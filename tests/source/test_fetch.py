"""Copies of what is no file: standard input, addresses and lists."""

import os
import threading
from pathlib import Path

import av
import pytest

from faceanalytics.errors import InputError
from faceanalytics.files import hash_file, never
from streamer.source.fetch import copy_address, copy_input, copy_list
from streamer.source.file import read_file
from tests.support.http_cameras import to_hls, web_camera
from tests.support.videos import make_video, read_number


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    video = make_video(folder / "a b.mp4", frames=50, b_frames=2)
    to_hls(video, folder / "hls")
    to_hls(video, folder / "live", live=True)
    (folder / "empty.mp4").touch()
    lines = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
    (folder / "local.m3u8").write_text(lines.format((folder / "hls" / "segment000.ts").as_uri()))
    return folder


def numbers(path: Path) -> list[int]:
    return [read_number(frame.pixels) for frame in read_file(path, "", 0)]


def times(path: Path) -> list[float]:
    return [round(frame.media_time, 4) for frame in read_file(path, "", 0)]


@pytest.mark.parametrize("login", ["", "ad%40min:s%2Fcret"])
def test_a_file_on_a_web_server_is_copied_byte_by_byte(site: Path, tmp_path: Path, login: str) -> None:
    with web_camera(site, login="ad@min:s/cret" if login else "") as server:
        copy_address(server.url("a b.mp4?token=1#t=3", login), tmp_path / "copy", never)
    assert (tmp_path / "copy").read_bytes() == (site / "a b.mp4").read_bytes()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing.mp4", r"no such file on the server \(404\)"),
        ("empty.mp4", "the answer is empty"),
        ("camera.mjpg", r"a camera \(MJPEG\), not a recording; .* serve --camera NAME=http://127"),
        ("live/live.m3u8", "a live stream, not a recording; .* serve --camera NAME=http://127"),
        ("local.m3u8", "cannot be read"),
        ("elsewhere?file:///etc/passwd", "the server answers|cannot be"),
    ],
)
def test_what_is_no_recording_is_an_input_error_without_the_password(
    site: Path, tmp_path: Path, path: str, said: str
) -> None:
    with web_camera(site) as server, pytest.raises(InputError, match=said) as caught:
        copy_address(server.url(path, "u:s3cret"), tmp_path / "copy", never)
    assert "s3cret" not in str(caught.value)
    assert str(caught.value).startswith("http://127.0.0.1:")


def test_a_wrong_password_is_named_and_not_printed(site: Path, tmp_path: Path) -> None:
    with web_camera(site, login="u:right") as server, pytest.raises(InputError, match="password rejected") as caught:
        copy_address(server.url("a b.mp4", "u:s3cret"), tmp_path / "copy", never)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["http://u:s3/cret@h/a", "http://u:s3cret@[::1/a", "http://u:s3cret@h:99999/a", "https://u:s3cret@/a"]
)
def test_an_address_that_is_none_is_an_input_error(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError) as caught:
        copy_address(address, tmp_path / "copy", never)
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize("address", ["udp://h:1", "concat://a|b", "data://x", "file-x://y", "subfile://a"])
def test_an_address_of_another_scheme_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match="is not read; use http, https, ftp, rtmp"):
        copy_address(address, tmp_path / "copy", never)


def test_hls_is_copied_frame_by_frame_and_twice_the_same(site: Path, tmp_path: Path) -> None:
    with web_camera(site) as server:
        for name in ("one", "two"):
            copy_address(server.url("hls/live.m3u8"), tmp_path / name, never)
    assert hash_file(tmp_path / "one") == hash_file(tmp_path / "two")
    assert numbers(tmp_path / "one") == list(range(50))
    assert times(tmp_path / "one") == pytest.approx(times(site / "a b.mp4"), abs=0.001)


def test_a_list_of_local_files_is_copied_and_time_goes_on_from_file_to_file(site: Path, tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", frames=10)
    make_video(tmp_path / "b.mp4", frames=15)
    (tmp_path / "list").write_text(f"ffconcat version 1.0\nfile a.mp4\nfile '{tmp_path}/b.mp4'\n")
    copy_list(tmp_path / "list", tmp_path / "copy", never)
    assert numbers(tmp_path / "copy") == [*range(10), *range(15)]
    assert times(tmp_path / "copy") == pytest.approx([number / 25 for number in range(25)], abs=0.001)
    copy_list(site / "hls" / "live.m3u8", tmp_path / "hls", never)
    assert numbers(tmp_path / "hls") == list(range(50))


def test_times_that_step_back_within_a_list_go_on(tmp_path: Path) -> None:
    folder = to_hls(make_video(tmp_path / "a.mp4", frames=50), tmp_path / "hls").parent
    playlist = folder / "live.m3u8"
    playlist.write_text(playlist.read_text().replace("segment001.ts", "segment000.ts"))  # one segment twice
    copy_list(playlist, tmp_path / "copy", never)
    with av.open(str(tmp_path / "copy")) as copy:
        stamps = [packet.dts for packet in copy.demux(video=0) if packet.dts is not None]
    assert stamps == sorted(set(stamps))
    assert numbers(tmp_path / "copy") == [*range(25), *range(25)]


def test_local_lists_read_nothing_from_the_network(site: Path, tmp_path: Path) -> None:
    with web_camera(site) as server:
        for name, content in {
            "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{server.url('hls/segment000.ts')}\n",
            "b": f"ffconcat version 1.0\nfile {server.url('hls/segment000.ts')}\n",
        }.items():
            (tmp_path / name).write_text(content)
            with pytest.raises(InputError):
                copy_list(tmp_path / name, tmp_path / "copy", never)
        assert server.asked == []


def test_standard_input_is_copied_until_its_end(site: Path, tmp_path: Path) -> None:
    data = (site / "a b.mp4").read_bytes() * 20  # more than a pipe holds
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as pipe:
        copy_input(pipe, tmp_path / "copy", never)
    writer.join()
    assert (tmp_path / "copy").read_bytes() == data


def test_standard_input_that_is_empty_or_stopped_is_an_input_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        with pytest.raises(InputError, match="stopped before its end"):
            copy_input(pipe, tmp_path / "copy", lambda: True)
        os.close(writing)
        with pytest.raises(InputError, match="it is empty"):
            copy_input(pipe, tmp_path / "copy", never)
