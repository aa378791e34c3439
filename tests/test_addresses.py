"""Logins in addresses: what must be escaped, and that no message contains a password."""

import pytest

from faceanalytics.errors import ConfigError
from streamer.addresses import careless, has_login, lacks_password, suspicious, unescaped, with_password


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("rtsp://admin:pa#ss@10.0.0.5/main", "the password contains an unescaped '#': write %23 in its place"),
        ("rtsp://admin:pa/ss@10.0.0.5:554/main", "the password contains an unescaped '/': write %2F in its place"),
        ("rtsp://admin:pa?ss@cam/main", "the password contains an unescaped '?': write %3F in its place"),
        ("rtsps://admin:p@#s@[::1]/a", ""),  # the host "p" is what FFmpeg sees; `suspicious` says it
        (
            "RTSP://admin:#a/b:c%@cam",
            "unescaped '#' and '/' and ':' and '%': write %23 and %2F and %3A and %25 in their",
        ),
        ("rtsp://admin:70000/1@cam/a", "the password contains an unescaped '/'"),
        ("rtsp://admin:pa%23ss@cam/main", ""),
        ("rtsp://admin:p@ss@cam/main", ""),
        ("rtsp://cam:554/live@main", ""),
        ("rtsp://cam/user=a_password=b@c", ""),
        ("rtsp://[::1]:554/x@y", ""),
        ("videos/a#b@c.mp4", ""),
        ("file:///videos/a:b#c@d.mp4", ""),
    ],
)
def test_characters_that_cut_an_address_in_two_are_named(address: str, found: str) -> None:
    assert (found in unescaped(address)) if found else unescaped(address) == ""


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("rtsp://admin:12/34@cam/main", "if the host follows the last '@', the password contains an unescaped '/'"),
        ("rtsp://admin:p@s/s@cam/main", "unescaped '/' and '@': write %2F and %40 in their place"),
        ("rtsp://admin:100%41@cam/main", "if the password itself contains a '%', write %25"),
        ("rtsp://admin:a%23b%40@cam/main", ""),  # escaped on purpose
        ("rtsp://admin:pass@cam/main", ""),
        ("rtsp://cam/live@main", ""),
    ],
)
def test_characters_that_may_have_misled_a_refused_address_are_named(address: str, found: str) -> None:
    assert (found in suspicious(address)) if found else suspicious(address) == ""


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("rtsp://admin:p@ss@cam/main", "the password contains an unescaped '@': write %40 in its place"),
        ("rtsp://admin:p:ss@cam/main", "the password contains an unescaped ':': write %3A in its place"),
        ("rtsp://admin:50%@cam/main", "the password contains an unescaped '%': write %25 in its place"),
        ("rtsp://me@home:pass@cam/main", "the user name contains an unescaped '@': write %40 in its place"),
        ("rtsp://admin:p%40ss@cam/live@main", ""),
    ],
)
def test_characters_that_work_here_but_not_everywhere_are_named(address: str, found: str) -> None:
    assert careless(address).startswith(found)
    assert bool(careless(address)) == bool(found)


def test_no_message_contains_the_password() -> None:
    secret = "s3cret"
    for start in ("", "#", "/", "?", "@", ":", "%", "%41"):
        address = f"rtsp://admin:{start}{secret}@cam/main"
        assert secret not in unescaped(address) + suspicious(address) + careless(address)


def test_a_password_is_put_in_escaped() -> None:
    assert with_password("rtsp://admin@cam:554/a?b@c", "p#a/s@s:%") == "rtsp://admin:p%23a%2Fs%40s%3A%25@cam:554/a?b@c"
    assert unescaped(with_password("rtsp://admin@cam/a", "#/?@:%")) == ""


@pytest.mark.parametrize("address", ["rtsp://cam/a", "rtsp://admin:x@cam/a", "rtsp://admin:@cam/a", "clip@home.mp4"])
def test_a_password_without_a_place_is_refused(address: str) -> None:
    assert not lacks_password(address)
    with pytest.raises(ConfigError, match="rtsp://USER@HOST/PATH"):
        with_password(address, "s3cret")


def test_whether_an_address_has_a_login() -> None:
    assert has_login("rtsp://admin@cam/a")
    assert not has_login("rtsp://cam/a@b")
