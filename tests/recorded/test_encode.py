"""The annotated video has codec family, times and orientation of its source, and the same bytes each time."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import pytest

from streamer.cli import main
from streamer.recorded.annotate import annotate
from streamer.recorded.encode import FAMILIES
from tests.recorded.test_annotate import images, results
from tests.support.videos import make_video, read_number


def drawn(video: Path, name: str = "drawn", quality: str = "medium") -> Path:
    out = video.with_name(f"{name}.mp4")
    annotate(video, results(video.with_name("results"), video), out, quality=quality)
    return out


def codec(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.codec.canonical_name


def spans(path: Path) -> list[int]:
    """The time of each frame, microseconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [round(frame.time * 1e6) for frame in frames if frame.time is not None]


@pytest.mark.parametrize(
    ("name", "encoder", "family"),
    [
        ("a.mp4", "libx264", "h264"),
        ("a.mkv", "libx265", "hevc"),
        ("a.webm", "libvpx-vp9", "vp9"),
        ("a.mkv", "libsvtav1", "av1"),
        ("a.webm", "libvpx", "vp9"),
        ("a.avi", "mjpeg", "h264"),
        ("a.mp4", "mpeg4", "h264"),
        ("a.gif", "gif", "h264"),
    ],
)
def test_the_copy_has_the_codec_family_of_the_source(
    tmp_path: Path, name: str, encoder: str, family: str, capfd: pytest.CaptureFixture[str]
) -> None:
    video = make_video(tmp_path / name, frames=6, codec=encoder)
    capfd.readouterr()
    out = drawn(video)
    assert codec(out) == family
    assert [read_number(image) for image in images(out)] == list(range(6))
    first = drawn(video).read_bytes()
    assert drawn(video, "again").read_bytes() == first
    assert "Svt" not in capfd.readouterr().err


ENCODE = """
import sys
from pathlib import Path
import numpy as np
from streamer.recorded.encode import FAMILIES, video_writer
for family in FAMILIES:
    path = Path(sys.argv[1]) / f"{family}.mp4"
    dice = np.random.default_rng(0)
    with video_writer(path, family, "medium", 25.0, "") as writer:
        for number in range(6):
            blocks = dice.integers(0, 255, (30, 40, 3), np.uint8)
            writer.add(np.ascontiguousarray(blocks.repeat(8, 0).repeat(8, 1)), number / 25, 1 / 25)
"""


def test_the_bytes_do_not_depend_on_what_was_in_the_memory_before(tmp_path: Path) -> None:
    copies: list[dict[str, bytes]] = []
    for fill in ("1", "85", "170"):  # of what the C library hands out
        folder = tmp_path / fill
        folder.mkdir()
        environment = {**os.environ, "MALLOC_PERTURB_": fill}
        subprocess.run([sys.executable, "-c", ENCODE, str(folder)], env=environment, check=True, capture_output=True)
        copies.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert sorted(copies[0]) == sorted(f"{family}.mp4" for family in FAMILIES)
    assert copies[1:] == copies[:1] * 2


def test_a_video_that_is_too_small_for_its_family_becomes_h264(tmp_path: Path) -> None:
    assert codec(drawn(make_video(tmp_path / "a.mkv", frames=3, codec="libx265", size=(160, 48)))) == "h264"


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libvpx-vp9", "libsvtav1"])
def test_varying_frame_times_are_kept_to_the_microsecond(tmp_path: Path, encoder: str) -> None:
    times = [0.0, 0.04, 0.0567, 0.2, 0.21, 1.0, 1.0333, 4.5]
    video = make_video(tmp_path / "a.mp4", times=times, codec=encoder)
    wanted = spans(video)
    assert spans(drawn(video)) == [time - wanted[0] for time in wanted]
    assert len({after - before for before, after in pairwise(wanted)}) > 5


@pytest.mark.parametrize(("rotation", "shape"), [(90, (320, 240, 3)), (180, (240, 320, 3))])
def test_a_turned_video_is_drawn_upright_and_not_turned_again(
    tmp_path: Path, rotation: int, shape: tuple[int, int, int]
) -> None:
    out = drawn(make_video(tmp_path / "a.mp4", frames=3, rotation=rotation))
    assert {image.shape for image in images(out)} == {shape}
    with av.open(str(out)) as container:
        assert all(frame.rotation == 0 for frame in container.decode(video=0))


def test_a_higher_quality_gives_a_larger_file(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames=25)
    folder = results(tmp_path / "results", video)
    sizes = []
    for quality in ("low", "medium", "high"):
        out = tmp_path / f"{quality}.mp4"
        assert main(["annotate", str(video), "--results", str(folder), "--out", str(out), "--quality", quality]) == 0
        sizes.append(out.stat().st_size)
    assert sizes == sorted(set(sizes))


def test_the_copy_says_which_run_it_belongs_to(tmp_path: Path) -> None:
    with av.open(str(drawn(make_video(tmp_path / "a.mp4", frames=3)))) as container:
        assert re.fullmatch(r"faceanalytics run_id=r source_sha256=[0-9a-f]{64}", container.metadata["comment"])
