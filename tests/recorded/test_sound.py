"""The annotated video has the sound of the source, at the same moments of the picture."""

import random
from pathlib import Path

import av
import pytest

from faceanalytics.errors import ConfigError, InputError
from streamer.recorded.annotate import annotate
from streamer.recorded.timeline import Timeline
from streamer.source.choice import count_pictures
from tests.recorded.test_annotate import results
from tests.support.disk import small_files
from tests.support.sounding import heard, make_sounding
from tests.support.videos import make_video

NEAR_S = 0.03  # about one packet of sound


def drawn(video: Path) -> Path:
    out = video.with_name(f"drawn-{video.name}.mp4")
    annotate(video, results(video.with_name(f"results-{video.name}"), video), out)
    assert not list(video.parent.glob("*.partial"))
    return out


def codecs(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec_context.codec.canonical_name for stream in container.streams.audio]


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0) if frame.time is not None]


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [
        ("a.mp4", "aac", "aac"),
        ("a.ts", "aac", "aac"),  # ADTS, which an MP4 holds in another form
        ("a.ts", "ac3", "ac3"),
        ("a.mkv", "libopus", "opus"),
        ("a.mkv", "flac", "flac"),
        ("a.mkv", "alac", "alac"),
        ("a.avi", "libmp3lame", "mp3"),
        ("a.avi", "pcm_s16le", "aac"),
        ("a.mov", "pcm_mulaw", "aac"),
    ],
)
def test_sound_is_copied_if_an_mp4_can_hold_it_and_encoded_otherwise(
    tmp_path: Path, name: str, codec: str, kept: str
) -> None:
    video = make_sounding(tmp_path / name, (codec,))
    before, after = heard(video)[0], heard(drawn(video))[0]
    assert codecs(tmp_path / f"drawn-{name}.mp4") == [kept]
    with av.open(str(video)) as container:  # some containers do not begin at 0
        offset = 0.0 if name.endswith(".avi") else next(container.decode(video=0)).time or 0.0
    assert after == pytest.approx([beep - offset for beep in before], abs=NEAR_S)


def test_every_audio_stream_is_kept_and_the_frames_stay_where_they_are(tmp_path: Path) -> None:
    video = make_sounding(tmp_path / "a.mkv", ("aac", "pcm_s16le", "libopus"), layout="5.1")
    out = drawn(video)
    assert codecs(out) == ["aac", "aac", "opus"]
    for place in range(3):
        assert heard(out, place)[0] == pytest.approx([0.5 + 0.2 * place, 1.5 + 0.2 * place], abs=NEAR_S)
    assert times(out) == pytest.approx([number / 25 for number in range(50)], abs=1e-4)
    with av.open(str(out)) as container:
        assert [stream.codec_context.layout.nb_channels for stream in container.streams.audio] == [6, 6, 6]


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_sound_may_be_shorter_or_longer_than_the_video_and_begin_anywhere(
    tmp_path: Path, codec: str, seconds: float
) -> None:
    video = make_sounding(tmp_path / "a.mkv", (codec,), audio_seconds=seconds, start=3.0)
    out = drawn(video)
    beeps, end = heard(out)
    assert beeps == pytest.approx([0.5, 1.5][: 1 if seconds == 1 else 2], abs=NEAR_S)
    assert end == pytest.approx(seconds, abs=NEAR_S)
    assert times(out)[0] == 0


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_a_gap_in_the_sound_does_not_move_what_follows(tmp_path: Path, codec: str) -> None:
    video = make_sounding(tmp_path / "a.mkv", (codec,))
    shorter = tmp_path / "gap.mkv"
    with av.open(str(video)) as source, av.open(str(shorter), "w") as made:
        streams = {stream.index: made.add_stream_from_template(stream) for stream in source.streams}
        packets = [packet for packet in source.demux() if packet.dts is not None]
        made.start_encoding()
        for packet in packets:
            sounds = packet.stream.type == "audio"
            packet.stream = streams[packet.stream.index]
            if not sounds or not 0.7 < float((packet.pts or 0) * packet.time_base) < 1.3:
                made.mux(packet)
    assert heard(drawn(shorter))[0] == pytest.approx([0.5, 1.5], abs=NEAR_S)


@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_sound_follows_timestamps_that_begin_again(tmp_path: Path, codec: str) -> None:
    part = make_sounding(tmp_path / "part.ts", (codec,), seconds=4.0, beeps=(2.0,))
    video = tmp_path / "twice.ts"
    video.write_bytes(part.read_bytes() * 2)
    assert heard(drawn(video))[0] == pytest.approx([2.0, 6.0], abs=NEAR_S)


def test_a_stream_that_appears_at_the_end_does_not_matter(tmp_path: Path) -> None:
    """At some lengths, FFmpeg takes the rest of an FLV for a stream of data."""
    data = make_sounding(tmp_path / "a.flv", ("aac",), beeps=(0.5,)).read_bytes()
    cut = tmp_path / "cut.flv"
    found = 0
    for size in range(len(data) - 2000, len(data), 7):
        cut.write_bytes(data[:size])
        if _ends_in_an_unknown_stream(cut):
            found += 1
            assert heard(drawn(cut))[0] == pytest.approx([0.5], abs=NEAR_S)
            with av.open(str(cut)) as container:
                assert count_pictures(container)[0] > 40
    assert found


def _ends_in_an_unknown_stream(video: Path) -> bool:
    with av.open(str(video)) as container:
        try:
            list(container.demux(*container.streams.video, *container.streams.audio))
        except IndexError:
            return True
    return False


def test_sound_whose_sample_rate_changes_is_encoded(tmp_path: Path) -> None:
    parts = [
        make_sounding(tmp_path / f"{rate}.ts", ("mp2",), seconds=4.0, beeps=(2.0,), rate=rate)
        for rate in (48_000, 44_100)
    ]
    video = tmp_path / "both.ts"
    video.write_bytes(b"".join(part.read_bytes() for part in [*parts, parts[0]]))
    out = drawn(video)
    assert codecs(out) == ["aac"]
    assert heard(out)[0] == pytest.approx([2.0, 6.0, 10.0], abs=2 * NEAR_S)


def test_a_packet_with_a_wrong_time_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = make_sounding(tmp_path / "a.ts", ("mp2",))
    data = bytearray(video.read_bytes())
    begins = [at for at in range(0, len(data), 188) if data[at + 1 : at + 3] == b"\x41\x01"]  # of audio, its start
    at = data.index(b"\x00\x00\x01\xc0", begins[len(begins) // 3]) + 9  # the PTS
    data[at + 1] ^= 0x10  # about 25 minutes
    video.write_bytes(data)
    beeps, end = heard(drawn(video))
    assert beeps[-1] == pytest.approx(1.5, abs=NEAR_S)
    assert end == pytest.approx(2.0, abs=NEAR_S)
    assert "damaged or misplaced packets are left out" in caplog.text


def test_damaged_sound_is_said_and_never_keeps_a_video_from_being_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    video = make_sounding(tmp_path / "a.mkv", ("flac",))
    data, noise = bytearray(video.read_bytes()), random.Random(1)
    with av.open(str(video)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size > 50]
    for packet in packets[len(packets) // 2 :]:
        place = data.index(packet)
        data[place : place + len(packet)] = noise.randbytes(len(packet))
    video.write_bytes(data)
    out = drawn(video)
    assert heard(out)[0][0] == pytest.approx(0.5, abs=NEAR_S)
    assert len(times(out)) == 50
    assert "audio stream 1: " in caplog.text
    assert "damaged or misplaced packets are left out" in caplog.text


def test_a_stream_that_cannot_be_read_is_left_out_and_the_others_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    video = make_sounding(tmp_path / "a.mkv", ("aac", "ac3"))
    video.write_bytes(video.read_bytes().replace(b"A_AC3", b"A_XYZ"))
    out = drawn(video)
    assert codecs(out) == ["aac"]
    assert heard(out)[0] == pytest.approx([0.5, 1.5], abs=NEAR_S)
    assert "audio stream 2 cannot be read and is left out" in caplog.text


def test_a_video_without_sound_gets_none(tmp_path: Path) -> None:
    assert codecs(drawn(make_video(tmp_path / "a.mp4", frames=5))) == []


def test_it_stops_while_the_sound_is_added(tmp_path: Path) -> None:
    video = make_sounding(tmp_path / "a.mp4")
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(len(asked) >= 60)  # of 50 frames
        return asked[-1]

    with pytest.raises(InputError, match="stopped"):
        annotate(video, results(tmp_path / "results", video), tmp_path / "out.mp4", stopped)
    assert not list(tmp_path.glob("out.mp4*"))


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    video = make_sounding(tmp_path / "a.mkv", ("pcm_s16le",), audio_seconds=60.0)
    with av.open(str(video)) as container:
        assert container.streams.audio
    silent = drawn(make_video(tmp_path / "b.mp4", frames=50)).stat().st_size
    folder = results(tmp_path / "results", video)
    with pytest.raises(ConfigError, match=r"cannot write .*out\.mp4: File too large"), small_files(2 * silent):
        annotate(video, folder, tmp_path / "out.mp4")
    assert not list(tmp_path.glob("out.mp4*"))


def test_the_annotated_video_says_of_which_run_it_is(tmp_path: Path) -> None:
    for video in (make_video(tmp_path / "a.mp4", frames=3), make_sounding(tmp_path / "b.mp4")):
        with av.open(str(drawn(video))) as container:
            assert container.metadata["comment"].startswith("faceanalytics run_id=r source_sha256=")


def test_a_time_goes_to_the_piece_of_frames_that_it_is_among() -> None:
    frames: list[tuple[float | None, float]] = [(100 + index / 10, index / 10) for index in range(50)]
    frames[20] = (37_600.0, 2.0)  # placed by its neighbours
    frames += [(index / 10, 5 + index / 10) for index in range(50)]  # the clock begins again
    timeline = Timeline(frames)
    assert timeline.media_time(102.05, 20) == pytest.approx(2.05)
    assert timeline.media_time(4.0, 88) == pytest.approx(9.0)
    assert timeline.media_time(99.5, 0) == pytest.approx(-0.5)
    assert timeline.fits(2.0, 20, after=0.0)
    assert not timeline.fits(400.0, 20, after=0.0)
    assert timeline.fits(20.0, 100, after=15.0)  # behind the last frame


def test_a_clock_that_stands_still_moves_no_sound() -> None:
    timeline = Timeline([(0.0, index / 12) for index in range(50)])
    assert timeline.media_time(3.0, 36) == pytest.approx(3.0)
