"""Media times of files whose timestamps are wrong or missing: every picture comes, at its time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from streamer.source.file import ReadReport, read_file
from streamer.values import TimeBase
from tests.support.timestamps import WRAP, joined, restamp, restamp_ts
from tests.support.videos import make_video, read_number

FRAMES = 50
TICKS = 90_000  # per s
HOURS = 10 * 3600
START = 126_000  # first timestamp of FFmpeg's MPEG-TS, in ticks

Change = Callable[[int, int], int]


def later(seconds: float) -> Change:
    return lambda n, stamp: stamp + round(seconds * TICKS)


def read(path: Path) -> tuple[list[int], list[float], list[int], TimeBase]:
    """The numbers of the pictures, their times in steps of 1/25 s, those that were estimated, and what is said."""
    report = ReadReport()
    frames = list(read_file(path, "", 0, report=report))
    assert report.dropped == {}
    estimated = [number for number, frame in enumerate(frames) if frame.time_estimated]
    numbers = [read_number(frame.pixels) for frame in frames]
    return numbers, [25 * frame.media_time for frame in frames], estimated, report.time_base


@pytest.fixture(scope="module", params=[0, 2], ids=["plain", "b-frames"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "a.ts", frames=FRAMES, b_frames=request.param)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda n, stamp: stamp, TimeBase()),
        (lambda n, stamp: stamp - START - 2 * TICKS, TimeBase()),
        (lambda n, stamp: stamp + WRAP - START - TICKS, TimeBase()),
        (lambda n, stamp: stamp + HOURS * TICKS * (n in {12, 36}), TimeBase("estimated", 2, 0)),
        (lambda n, stamp: stamp - HOURS * TICKS * (n in {12, 36}), TimeBase("estimated", 2, 0)),
        (lambda n, stamp: stamp + HOURS * TICKS * (n in {12, 13}), TimeBase("estimated", 2, 0)),
        (lambda n, stamp: stamp + HOURS * TICKS * (n == 0), TimeBase("estimated", 1, 0)),
        (lambda n, stamp: stamp - HOURS * TICKS * (n == 0), TimeBase("estimated", 1, 0)),
        (lambda n, stamp: stamp + HOURS * TICKS * (n == FRAMES - 1), TimeBase("estimated", 1, 0)),
        (lambda n, stamp: stamp + HOURS * TICKS * (n >= 25), TimeBase("estimated", 0, 1)),
        (lambda n, stamp: stamp - HOURS * TICKS * (n >= 25), TimeBase("estimated", 0, 1)),
        (lambda n, stamp: 0, TimeBase("estimated", FRAMES - 1, 0)),
    ],
    ids=[
        "true", "wrap-at-once", "wrap", "ahead", "behind", "two-in-a-row", "first-ahead", "first-behind", "last",
        "jump", "jump-back", "zero",
    ],
)  # fmt: skip
def test_every_picture_comes_at_its_time(clip: Path, tmp_path: Path, change: Change, expected: TimeBase) -> None:
    numbers, times, estimated, time_base = read(restamp_ts(clip, tmp_path / "a.ts", change))
    assert numbers == list(range(FRAMES))
    assert times == pytest.approx(range(FRAMES), abs=0.001)
    assert time_base == expected
    if expected.estimated_frames == 2:
        assert len(estimated) == 2


def test_jitter_costs_no_picture(clip: Path, tmp_path: Path) -> None:
    numbers, times, _, time_base = read(
        restamp_ts(clip, tmp_path / "a.ts", lambda n, stamp: stamp - 4000 * (n % 5 == 3))
    )
    assert numbers == list(range(FRAMES))
    assert times == pytest.approx(range(FRAMES), abs=0.6)
    assert time_base == TimeBase("estimated", 10, 0)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize(
    ("lengths", "shift_s", "restarts"),
    [((12, 11, 20, 9), 0.0, 3), ((12, 11, 20, 9), -300.0, 3), ((12, 11, 20), 0.2, 2), ((4, 4, 4, 4, 4), 0.0, 0)],
    ids=["same-start", "earlier", "overlapping", "tiny"],
)
def test_segments_are_put_one_after_the_other(
    tmp_path: Path, lengths: tuple[int, ...], shift_s: float, restarts: int, b_frames: int
) -> None:
    parts = []
    for index, frames in enumerate(lengths):
        part = make_video(tmp_path / f"{index}.ts", frames=frames, b_frames=b_frames)
        parts.append(restamp_ts(part, tmp_path / f"part{index}.ts", later(2000 + shift_s * index)))
    numbers, times, _, time_base = read(joined(parts, tmp_path / "joined.ts"))
    assert numbers == [number for frames in lengths for number in range(frames)]
    assert times == pytest.approx(range(sum(lengths)), abs=0.001)
    assert (time_base.source, time_base.restarts) == ("estimated", restarts)


@pytest.mark.parametrize("container", ["mkv", "mp4", "nut"])
@pytest.mark.parametrize(
    ("times", "even"),
    [
        ([n / 25 + HOURS * (n in {12, 36}) for n in range(FRAMES)], True),
        ([n / 25 + HOURS * (n >= 25) for n in range(FRAMES)], True),
        ([n / 25 + HOURS * (n == FRAMES - 1) for n in range(FRAMES)], True),
        ([n / 25 + 3600 * (n >= 25) for n in range(FRAMES)], True),
        ([60.0 * n for n in range(FRAMES)], False),
        ([n / 25 + 600 * (n // 10) for n in range(FRAMES)], False),
        ([n / 25 + 100 * (n == FRAMES - 1) for n in range(FRAMES)], False),
    ],
    ids=["ahead", "jump", "last", "summer-time", "lapse", "pauses", "held"],
)
def test_pauses_are_kept_and_jumps_are_not(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, container: str, times: list[float], even: bool
) -> None:
    clip = make_video(tmp_path / "a.mp4", frames=FRAMES)
    numbers, found, _, time_base = read(restamp(clip, tmp_path / f"b.{container}", times))
    assert numbers == list(range(FRAMES))
    assert found == pytest.approx(range(FRAMES) if even else [25 * time for time in times], abs=0.03)
    assert (time_base == TimeBase()) is not even


@pytest.mark.parametrize(("name", "codec"), [("a.mjpeg", "mjpeg"), ("a.m4v", "mpeg4")])
def test_times_that_a_raw_stream_lacks_are_called_estimated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, codec: str
) -> None:
    path = make_video(tmp_path / name, frames=30, codec=codec, container_format=name.partition(".")[2])
    numbers, times, estimated, time_base = read(path)
    assert numbers == estimated == list(range(30))
    assert times == pytest.approx(range(30))
    assert time_base == TimeBase("estimated", 30, 0)
    assert f"{name}: has no timestamps; its frames are timed at 25 per s" in caplog.text


@pytest.mark.parametrize(("name", "codec"), [("a.h264", "libx264"), ("a.hevc", "libx265")])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_stream_without_timestamps_has_the_rate_that_its_codec_states(
    tmp_path: Path, name: str, codec: str, b_frames: int
) -> None:
    path = make_video(
        tmp_path / name, frames=30, fps=12, codec=codec, b_frames=b_frames, container_format=name.partition(".")[2]
    )
    numbers, times, _, time_base = read(path)
    assert numbers == list(range(30))
    assert times == pytest.approx([25 / 12 * n for n in range(30)])
    assert time_base == TimeBase("estimated", 30, 0)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_an_avi_has_decoding_times(tmp_path: Path, b_frames: int) -> None:
    numbers, times, _, time_base = read(make_video(tmp_path / "a.avi", frames=30, b_frames=b_frames))
    assert numbers == list(range(30))
    assert times == pytest.approx(range(30))
    assert time_base == TimeBase("dts")


def test_what_was_rebuilt_is_logged(clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def change(n: int, stamp: int) -> int:
        return stamp + HOURS * TICKS * (n >= 25) + HOURS * TICKS * (n == 9)

    read(restamp_ts(clip, tmp_path / "a.ts", change))
    assert "a.ts: frames without a usable timestamp, timed by their neighbours: 1" in caplog.text
    assert "a.ts: jumps of the timestamps, left out of the media time: 1" in caplog.text
