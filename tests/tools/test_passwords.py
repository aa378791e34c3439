"""Passwords that are not written on the command line."""

import io
from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError
from streamer.tools.passwords import complete

CAMERAS = [("door", "rtsp://admin@10.0.0.5/a"), ("yard", "rtsp://10.0.0.6/b"), ("hall", "rtsp://u:x@10.0.0.7/c")]


def test_a_password_file_is_for_each_address_with_a_user_name_only(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p#w@d/1\n")
    whole = complete(CAMERAS, ask=False, file=tmp_path / "secret")
    assert whole == [("door", "rtsp://admin:p%23w%40d%2F1@10.0.0.5/a"), *CAMERAS[1:]]


def test_without_a_terminal_the_password_is_a_line_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    whole = complete([CAMERAS[0], ("back", "rtsp://me@10.0.0.8/d")], ask=True, file=None)
    assert whole == [("door", "rtsp://admin:one@10.0.0.5/a"), ("back", "rtsp://me:two@10.0.0.8/d")]


def test_variables_of_the_environment_are_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "p%23")
    assert complete([("a", "rtsp://u:${CAMERA_PASSWORD}@h/a")], False, None) == [("a", "rtsp://u:p%23@h/a")]
    with pytest.raises(ConfigError, match="CAMERA_NAME is not set"):
        complete([("a", "rtsp://${CAMERA_NAME}@h/a")], False, None)


def test_a_password_that_is_missing_or_has_no_place_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(ConfigError, match="no password was given"):
        complete(CAMERAS, ask=True, file=None)
    with pytest.raises(ConfigError, match="rtsp://USER@HOST/PATH"):
        complete(CAMERAS[1:], ask=True, file=None)
    with pytest.raises(ConfigError, match="cannot read"):
        complete(CAMERAS, ask=False, file=tmp_path / "none")
    for content in ("", "\n", "s3cret\nmore\n"):
        (tmp_path / "secret").write_text(content)
        with pytest.raises(ConfigError, match="must contain one line") as caught:
            complete(CAMERAS, ask=False, file=tmp_path / "secret")
        assert "s3cret" not in str(caught.value)
