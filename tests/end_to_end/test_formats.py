"""`streamer analyze --formats`: other files of the results, from a file and from standard input."""

import subprocess
import sys
from pathlib import Path

from tests.support.patience import WAIT_S
from tests.support.photographs import make_face_clip

NAMES = ("contact-sheet.jpg", "mot", "people.eaf", "people.metadata.vtt", "people.vtt")


def analyze(*arguments: object, **options: object) -> str:
    """What the command said, after it did its work."""
    command = [sys.executable, "-m", "streamer", "analyze", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * WAIT_S, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stderr)


def test_a_file_and_standard_input_give_the_same_files_and_no_way_into_a_temporary_folder(tmp_path: Path) -> None:
    clip = make_face_clip(tmp_path / "clip.mp4", seconds=1.0)
    formats = ("--formats", "mot,webvtt,eaf,contact-sheet")
    analyze(clip, "--out", tmp_path / "one" / "file", *formats)
    with clip.open("rb") as stdin:
        analyze("-", "--out", tmp_path / "one" / "stdin", *formats, stdin=stdin)
    for name in NAMES:
        assert (tmp_path / "one" / "file" / name).exists(), name
        assert (tmp_path / "one" / "stdin" / name).exists(), name
    assert 'RELATIVE_MEDIA_URL="../../clip.mp4"' in (tmp_path / "one" / "file" / "people.eaf").read_text()
    assert 'RELATIVE_MEDIA_URL="./stdin"' in (tmp_path / "one" / "stdin" / "people.eaf").read_text()
    assert not list(tmp_path.rglob("faces"))
    assert not list(tmp_path.rglob("*.partial"))
