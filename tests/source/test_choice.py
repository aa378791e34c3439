import logging
import struct
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from faceanalytics.errors import InputError
from streamer.source.file import probe_file, read_file
from streamer.values import SourceErrorCode, SourceState
from tests.support.pictures import Track, numbered, write
from tests.support.videos import make_audio, read_number
from tests.support.watching import stream, watching

SMALL, LARGE = (320, 240), (640, 480)
PMT = 0x1000  # packet identifier of the table of program 0
CONTAINERS = ["a.mp4", "a.mov", "a.mkv", "a.ts", "a.avi"]


def chosen(path: Path, number: int | None = None) -> tuple[int, tuple[int, int], list[int]]:
    """The number of the stream that is read, the size of its pictures and their numbers."""
    info = probe_file(path, video_stream=number)
    frames = list(read_file(path, "", 0, video_stream=number))
    assert {frame.size for frame in frames} == {(info.width, info.height)}
    return info.video_stream, frames[0].size, [read_number(frame.pixels) for frame in frames]


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("place", [0, 1])
def test_a_single_picture_is_not_read_beside_a_video(tmp_path: Path, name: str, place: int) -> None:
    tracks = [Track(numbered(30, SMALL))]
    tracks.insert(place, Track(numbered(1, LARGE, first=99), disposition=Disposition.default))
    path = write(tmp_path / name, *tracks)
    assert chosen(path) == (1 - place, SMALL, list(range(30)))


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_few_pictures_are_no_video_either(tmp_path: Path, name: str) -> None:
    few = Track(numbered(3, LARGE, first=90), disposition=Disposition.default)
    assert chosen(write(tmp_path / name, few, Track(numbered(40, SMALL))))[:2] == (1, SMALL)


def test_a_cover_alone_is_no_video_and_the_error_says_so(tmp_path: Path) -> None:
    cover = Track(numbered(1, LARGE), "mjpeg", pix_fmt="yuvj420p", disposition=Disposition.attached_pic)
    with pytest.raises(InputError, match=r"contains no video \(only a cover picture\)"):
        probe_file(write(tmp_path / "a.mp4", cover))


def test_a_picture_shown_for_the_whole_length_is_still_a_picture(tmp_path: Path) -> None:
    # the first and last picture of a dummy track may be stored, so that it is as long as the video
    dummy = Track(numbered(2, LARGE), disposition=Disposition.default, every=59)
    path = write(tmp_path / "a.mkv", dummy, Track(numbered(60, SMALL)))
    assert chosen(path)[:2] == (1, SMALL)


def test_the_pictures_of_a_fragmented_file_are_counted(tmp_path: Path) -> None:
    dummy = Track(numbered(1, LARGE), disposition=Disposition.default)
    path = write(tmp_path / "a.mp4", dummy, Track(numbered(30, SMALL)), movflags="frag_keyframe+empty_moov")
    assert chosen(path)[:2] == (1, SMALL)


def test_a_file_with_one_picture_in_all_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", Track(numbered(1, SMALL)), Track(numbered(1, LARGE)))
    assert chosen(path) == (1, LARGE, [0])


@pytest.mark.parametrize("default", [0, 1])
def test_the_default_stream_is_read_whatever_its_size(tmp_path: Path, default: int) -> None:
    flags = [0, 0]
    flags[default] = Disposition.default
    sizes = [LARGE, SMALL]
    tracks = [Track(numbered(30, size), disposition=flag) for size, flag in zip(sizes, flags, strict=True)]
    assert chosen(write(tmp_path / "a.mkv", *tracks))[:2] == (default, sizes[default])


@pytest.mark.parametrize("sizes", [(SMALL, LARGE), (LARGE, SMALL)])
def test_without_a_default_the_largest_is_read(tmp_path: Path, sizes: Sequence[tuple[int, int]]) -> None:
    path = write(tmp_path / "a.ts", *[Track(numbered(30, size)) for size in sizes])
    assert chosen(path)[:2] == (sizes.index(LARGE), LARGE)


def test_of_equal_streams_the_one_with_the_most_pictures_is_read_and_then_the_first(tmp_path: Path) -> None:
    half, full = Track(numbered(15, SMALL), every=2), Track(numbered(30, SMALL))
    assert chosen(write(tmp_path / "a.avi", half, full))[0] == 1
    assert chosen(write(tmp_path / "b.avi", full, full))[0] == 0


def test_cover_art_is_never_read(tmp_path: Path) -> None:
    cover = Track(numbered(1, LARGE), "mjpeg", pix_fmt="yuvj420p", disposition=Disposition.attached_pic)
    for name in ("a.mp4", "a.mkv"):
        assert chosen(write(tmp_path / name, cover, Track(numbered(30, SMALL))))[1:] == (SMALL, list(range(30)))


def test_the_stream_can_be_chosen_and_a_wrong_number_lists_what_there_is(tmp_path: Path) -> None:
    flagged = Track(numbered(30, LARGE), disposition=Disposition.default)
    path = write(tmp_path / "a.mkv", Track(numbered(30, SMALL)), flagged)
    assert chosen(path, 0) == (0, SMALL, list(range(30)))
    assert chosen(path, 1) == (1, LARGE, list(range(30)))
    listed = r"a.mkv: has no video stream {}; its video streams are 0: h264 320x240; 1: h264 640x480, default"
    for number in (2, -1):
        for use in (
            lambda path, number: probe_file(path, video_stream=number),
            lambda path, number: list(read_file(path, "", 0, video_stream=number)),
        ):
            with pytest.raises(InputError, match=listed.format(number)):
                use(path, number)
    with pytest.raises(InputError, match="has no video stream 0; it has no video stream"):
        probe_file(make_audio(tmp_path / "sound.mp4"), video_stream=0)


def test_the_choice_is_logged_if_there_was_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    list(read_file(write(tmp_path / "one.mkv", Track(numbered(3, SMALL))), "", 0))
    assert caplog.text == ""
    path = write(tmp_path / "two.mkv", Track(numbered(3, SMALL)), Track(numbered(3, LARGE)))
    list(read_file(path, "", 0))
    assert "two.mkv: reading video stream 1 of 2 (h264 640x480)" in caplog.text


def test_a_stream_that_cannot_be_decoded_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Track(numbered(3, LARGE), "libx265"), Track(numbered(3, SMALL)))
    data = path.read_bytes()
    assert data.count(b"hev1") == 1
    path.write_bytes(data.replace(b"hev1", b"zzzz"))
    assert chosen(path)[:2] == (1, SMALL)
    with pytest.raises(InputError, match="its video codec is not supported"):
        probe_file(path, video_stream=0)


def test_a_file_played_as_a_camera_reads_the_configured_stream(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", Track(numbered(5, SMALL)), Track(numbered(5, LARGE)))
    for number, size in ((None, LARGE), (0, SMALL), (1, LARGE)):
        with watching(stream("door", str(path), video_stream=number)) as watched:
            status = watched.until_state("door", SourceState.ENDED)
            assert (status.width, status.height) == size
    with watching(stream("door", str(path), video_stream=2)) as watched:
        status = watched.until_state("door", SourceState.ERROR)
    assert status.error is SourceErrorCode.CODEC_UNSUPPORTED
    assert "has no video stream 2" in status.message


def test_of_two_programs_in_a_transport_stream_the_larger_picture_is_read(tmp_path: Path) -> None:
    path = two_programs(tmp_path / "a.ts")
    with av.open(str(path)) as container:
        assert [(one.width, one.height) for one in container.streams.video] == [SMALL, LARGE]
    assert chosen(path)[1] == LARGE


def two_programs(path: Path) -> Path:
    """A transport stream with a small and a large program, interleaved packet by packet."""
    programs = []
    for number, size in ((1, SMALL), (2, LARGE)):
        pids = {"mpegts_service_id": f"{number}", "mpegts_pmt_start_pid": f"{PMT + number}"}
        part = write(
            path.with_name(f"{number}.ts"), Track(numbered(30, size)), mpegts_start_pid=f"{256 + number}", **pids
        )
        packets = [part.read_bytes()[at : at + 188] for at in range(0, part.stat().st_size, 188)]
        programs.append([packet for packet in packets if packet[1] & 0x1F or packet[2]])  # without its own table
    mixed = [packet for pair in zip_longest(*programs, fillvalue=b"") for packet in pair]
    path.write_bytes(program_table(1, 2) + b"".join(mixed))
    return path


def program_table(*numbers: int) -> bytes:
    """The packet that lists the programs (ISO/IEC 13818-1, 2.4.4.3)."""
    listed = b"".join(struct.pack(">HH", number, 0xE000 | PMT + number) for number in numbers)
    section = struct.pack(">BHHBBB", 0, 0xB000 | 5 + len(listed) + 4, 1, 0xC1, 0, 0) + listed
    remainder = 0xFFFFFFFF
    for byte in section:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x04C11DB7 if remainder >> 31 else 0)) & 0xFFFFFFFF
    return (b"\x47\x40\x00\x10\x00" + section + struct.pack(">I", remainder)).ljust(188, b"\xff")
