"""Names of files in every output: printable, different where they differ, and found again."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceanalytics.names import original, printable

LATIN = os.fsdecode(b"caf\xe9.jpg")
# what Linux allows: any bytes but zero and the slash, as Python shows them
ANY_NAME = st.binary(min_size=1, max_size=12).filter(lambda name: not {0, 47} & set(name)).map(os.fsdecode)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("Zoë/日本/می‌خواهم.png", "Zoë/日本/می‌خواهم.png"),
        (LATIN, r"caf\xe9.jpg"),
        ("two\nlines\t.jpg", r"two\x0alines\x09.jpg"),
        ("\x85\u2028.jpg", r"\u0085\u2028.jpg"),
        ("gpj.\u202elasrever", r"gpj.\u202elasrever"),
        (r"caf\xe9.jpg", r"caf\x5cxe9.jpg"),
        (r"a\b", r"a\b"),
    ],
)
def test_what_cannot_be_printed_is_escaped_and_the_rest_stays(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert original(shown) == name


@given(ANY_NAME, ANY_NAME)
def test_different_names_stay_different_and_every_encoder_takes_them(one: str, other: str) -> None:
    assert original(printable(one)) == one
    assert (printable(one) == printable(other)) == (one == other)
    assert json.loads(json.dumps(printable(one), ensure_ascii=False).encode("utf-8")) == printable(one)


def test_a_program_prints_any_name_on_any_terminal() -> None:
    probe = (
        "import os, sys; from faceanalytics.names import print_any_name; print_any_name();"
        "print(os.fsdecode(b'caf\\xe9'), '\\u65e5\\U0001f600'); print(os.fsdecode(b'caf\\xe9'), file=sys.stderr)"
    )
    for encoding, east in (("utf-8", "日😀"), ("ascii", r"\u65e5\U0001f600")):
        done = subprocess.run(
            [sys.executable, "-c", probe],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        )
        assert done.stdout.decode("utf-8") == f"caf\\xe9 {east}\n"
        assert done.stderr == b"caf\\xe9\n"
