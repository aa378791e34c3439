"""Whether a file is said to be cut off, for whole files of unusual kinds and for files that were cut off."""

from pathlib import Path

import pytest

from streamer.source.extent import is_cut_off
from streamer.source.file import ReadReport, TruncatedVideo, decode_file
from tests.support.timestamps import empty_sample, with_ending
from tests.support.videos import cut_off, make_video

CONTAINERS = ("mp4", "mov", "mkv", "flv", "ts")
FRAGMENTED, INDEX_FIRST = "frag_keyframe+empty_moov", "faststart"


def count(path: Path) -> int:
    """The frames of a file that counts as complete."""
    report = ReadReport()
    frames = len(list(decode_file(path, "", report=report)))
    assert report.dropped == {}
    return frames


def problem(path: Path) -> str:
    """Why a file that was cut off is incomplete: the error, or the damage to its last frame."""
    report = ReadReport()
    try:
        list(decode_file(path, "", report=report))
    except TruncatedVideo as error:
        return str(error)
    return str(report.dropped or "")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Clips to copy into other containers; an AVI has its H.264 in another form."""
    folder = tmp_path_factory.mktemp("clips")
    names = {"plain": ("a.mp4", 0), "b-frames": ("b.mp4", 2), "avi": ("a.avi", 0)}
    return {
        name: make_video(folder / file, frames=60, b_frames=b_frames, index_first=True)
        for name, (file, b_frames) in names.items()
    }


@pytest.fixture
def clip(clips: dict[str, Path]) -> Path:
    return clips["plain"]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("clip", ["plain", "b-frames"])
def test_a_long_last_picture_is_no_missing_end(
    clips: dict[str, Path], tmp_path: Path, clip: str, container: str
) -> None:
    assert count(with_ending(clips[clip], tmp_path / f"a.{container}", last_s=4.0)) == 60
    assert count(with_ending(clips[clip], tmp_path / "fragmented.mp4", last_s=4.0, movflags=FRAGMENTED)) == 60


@pytest.mark.parametrize("container", [*CONTAINERS, "avi"])
def test_sound_that_goes_on_longer_is_no_missing_end(clips: dict[str, Path], tmp_path: Path, container: str) -> None:
    clip = clips["avi" if container == "avi" else "plain"]
    assert count(with_ending(clip, tmp_path / f"a.{container}", audio_s=9.0)) == 60


def test_sound_that_goes_on_longer_is_no_missing_end_in_a_fragmented_file(clip: Path, tmp_path: Path) -> None:
    assert count(with_ending(clip, tmp_path / "a.mp4", audio_s=9.0, movflags=FRAGMENTED)) == 60


def test_sound_that_goes_on_longer_is_no_missing_end_in_a_wmv(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.wmv", frames=60, codec="wmv2")
    assert count(with_ending(clip, tmp_path / "sound.wmv", audio_s=9.0)) == 60


def test_the_last_delay_of_a_gif_is_no_missing_end(tmp_path: Path) -> None:
    with_delay = bytearray(make_video(tmp_path / "a.gif", frames=20, codec="gif", fps=10).read_bytes())
    delay = with_delay.rindex(b"\x21\xf9\x04") + 4
    with_delay[delay : delay + 2] = (500).to_bytes(2, "little")
    (tmp_path / "long.gif").write_bytes(with_delay)
    assert count(tmp_path / "long.gif") == 20


@pytest.mark.parametrize("container", [*CONTAINERS, "webm"])
def test_a_time_lapse_is_complete(tmp_path: Path, container: str) -> None:
    codec = "libvpx" if container == "webm" else "libx264"
    path = make_video(tmp_path / f"a.{container}", times=[60.0 * n for n in range(12)], codec=codec)
    assert count(path) == 12


@pytest.mark.parametrize("number", [20, 59])
def test_a_sample_without_bytes_repeats_a_picture(clip: Path, tmp_path: Path, number: int) -> None:
    assert count(empty_sample(clip, tmp_path / "a.mp4", number)) == 59


@pytest.mark.parametrize("share", [0.5, 0.77, 0.9])
@pytest.mark.parametrize("container", [*CONTAINERS, "avi", "gif", "wmv", "webm"])
def test_a_file_that_was_cut_off_is_found_out(clip: Path, tmp_path: Path, container: str, share: float) -> None:
    codec = {"avi": "libx264", "gif": "gif", "wmv": "wmv2", "webm": "libvpx"}.get(container)
    path = tmp_path / f"a.{container}"
    if codec is not None:
        make_video(path, frames=60, codec=codec)
    else:
        with_ending(clip, path, last_s=0.04, movflags=INDEX_FIRST if container in {"mp4", "mov"} else "")
    assert count(path) == 60
    assert problem(cut_off(path, share))


@pytest.mark.parametrize("share", [0.5, 0.77, 0.9])
def test_a_fragmented_file_that_was_cut_off_is_found_out(clip: Path, tmp_path: Path, share: float) -> None:
    assert "cut off" in problem(cut_off(with_ending(clip, tmp_path / "a.mp4", last_s=0.04, movflags=FRAGMENTED), share))


def test_streams_that_appear_at_the_end_do_not_matter(clip: Path, tmp_path: Path) -> None:
    """At some lengths, FFmpeg takes the rest of an FLV for a stream of data."""
    data = with_ending(clip, tmp_path / "a.flv", audio_s=9.0).read_bytes()
    for size in range(len(data) - 3000, len(data), 30):
        (tmp_path / "cut.flv").write_bytes(data[:size])
        assert "cut off" in problem(tmp_path / "cut.flv")


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi"])
def test_a_cut_through_the_sound_alone_leaves_the_video_complete(
    clips: dict[str, Path], tmp_path: Path, container: str
) -> None:
    clip = clips["avi" if container == "avi" else "plain"]
    movflags = INDEX_FIRST if container == "mp4" else ""
    path = with_ending(clip, tmp_path / f"a.{container}", audio_s=60.0, movflags=movflags)
    assert count(cut_off(path, 0.95)) == 60


def test_the_reason_is_reported_after_the_last_frame(clip: Path, tmp_path: Path) -> None:
    path = cut_off(with_ending(clip, tmp_path / "a.mkv"), 0.7)
    with pytest.raises(
        TruncatedVideo, match=r"cut off after \d\.\d\d s: the file is shorter than its container states"
    ):
        list(decode_file(path, ""))


@pytest.mark.parametrize("data", [b"", b"no video", b"RIFF", b"\x1a\x45\xdf\xa3", b"GIF89a", b"\0\0\0\x08ftyp" * 2])
def test_any_bytes_can_be_asked_for_their_length(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert is_cut_off(tmp_path / "a") in {True, False, None}
    (tmp_path / "a").write_bytes(data + bytes(range(256)) * 9)
    assert is_cut_off(tmp_path / "a") in {True, False, None}


@pytest.mark.parametrize("name", ["a.mp4", "a.wmv"])
def test_a_video_appended_to_another_is_not_passed_over_in_silence(tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / name, frames=20, codec="wmv2" if name == "a.wmv" else "libx264")
    assert count(path) == 20
    path.write_bytes(path.read_bytes() * 2)
    assert "another video follows in the same file" in problem(path)


def test_fragments_that_are_lost_behind_a_second_header_are_not_passed_over_in_silence(
    clip: Path, tmp_path: Path
) -> None:
    path = with_ending(clip, tmp_path / "a.mp4", movflags=FRAGMENTED)
    path.write_bytes(path.read_bytes() * 2)
    assert "another video follows in the same file" in problem(path)


def test_bytes_after_the_end_do_not_matter(tmp_path: Path) -> None:
    for container in ("mp4", "mkv", "avi", "gif"):
        path = tmp_path / f"a.{container}"
        make_video(path, frames=5, codec="gif" if container == "gif" else "libx264")
        path.write_bytes(path.read_bytes() + bytes(5000))
        assert is_cut_off(path) is False
