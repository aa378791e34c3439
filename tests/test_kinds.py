from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError
from streamer.kinds import check_allowed, check_from_client, kind_of, refuse_address


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("rtsp://h/a", "rtsp"),
        ("RTSPS://h/a", "rtsp"),
        ("https://h/a.m3u8", "http"),
        ("rtmp://h/a/b", "rtmp"),
        ("srt://h:9000", "srt"),
        ("/dev/video0", "device"),
        ("a.mp4", "file"),
        ("file:///videos/a.mp4", "file"),
        ("a" * 300, "file"),
        ("{folder}", "images"),
    ],
)
def test_the_kind_of_an_address(tmp_path: Path, address: str, kind: str) -> None:
    assert kind_of(address.format(folder=tmp_path)) == kind


@pytest.mark.parametrize("address", ["ftp://h/a", "concat://a", "data://x"])
def test_an_address_of_no_kind_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is not supported"):
        check_allowed(address, ("rtsp", "file", "http"))


def test_what_is_off_says_how_to_switch_it_on_without_the_password() -> None:
    with pytest.raises(ValueError, match=r"^http://h/a is a source of the kind http, which is off; add http to"):
        check_allowed("http://u:secret@h/a?token=secret", ("rtsp", "file"))


def test_paths_of_clients_are_inside_the_folders_with_their_links_resolved(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "in-side"  # the names begin alike
    inside.mkdir()
    outside.mkdir()
    (inside / "out").symlink_to(outside)
    (outside / "in").symlink_to(inside)
    (inside / "loop").symlink_to(inside / "loop")
    allow, folders = ("file",), [str(inside)]
    for path in (inside / "a.mp4", inside / "b" / ".." / "a.mp4", outside / "in" / "a.mp4"):
        check_from_client(str(path), allow, folders)
    for path in (outside / "a.mp4", inside / "out" / "a.mp4", inside / ".." / "a.mp4", inside / "loop"):
        with pytest.raises(ValueError, match=r"not below any folder of sources\.folders"):
            check_from_client(str(path), allow, folders)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rtsp://u:secret@h/a", r"rtsp://h/a is a camera, not a file; .* serve --camera NAME=rtsp://h/a"),
        ("https://u:secret@h/a?key=secret", "https://h/a is an address, not a file; only `streamer analyze --allow"),
        ("rtsp:/u:secret@h/a", "looks like a mistyped address"),
        ("u:secret@h/a", "looks like a mistyped address"),
    ],
)
def test_an_address_in_the_place_of_a_file_is_refused_without_its_password(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        refuse_address(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["a.mp4", "/v/12:30.mp4", "file:///v/a.mp4", "-"])
def test_a_path_is_no_address(text: str) -> None:
    refuse_address(text)
