"""Cameras in which nothing happens: the frames to which no other frame refers are not decoded."""

from pathlib import Path

import av
import pytest

from streamer.series import forget_stream, know_stream
from streamer.source.decoder import Decoder, demux
from streamer.source.reader import CALM_FPS
from tests.source.test_reader import counter
from tests.support.rtsp_server import RtspServer
from tests.support.videos import make_video, read_number
from tests.support.watching import Watched, stream, watching

FRAMES = 100


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "b.mp4", frames=FRAMES, b_frames=2)


def test_frames_that_are_skipped_leave_the_others_whole_and_at_their_times(clip: Path) -> None:
    decoded = []
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        decoder = Decoder(video, "", live=True)
        for number, packet in enumerate(demux(container, video)):
            decoder.skim(20 <= number < 80)
            decoded += list(decoder.decode(packet))
    pixels = [(frame.pixels(), frame.media_time) for frame in decoded]
    numbers = [(read_number(picture), time) for picture, time in pixels if picture is not None]
    assert [time for _, time in numbers] == pytest.approx([number / 25 for number, _ in numbers], abs=1e-6)
    shown = [number for number, _ in numbers]
    assert shown == sorted(set(shown))
    assert set(range(18)) | set(range(84, FRAMES)) <= set(shown)  # decoding is a few frames behind the packets
    assert len([number for number in shown if 24 <= number < 76]) < 40


def test_a_calm_camera_is_skimmed_until_something_happens_and_nothing_counts_as_missing(clip: Path) -> None:
    know_stream("yard")

    def rate(watched: Watched) -> float:
        """Frames per second that were decoded, taken or not, from now on."""
        begin = watched.until_frames("yard", 1)[-1].media_time
        watched.until(lambda: watched.frames("yard")[-1].media_time >= begin + 1.2)
        times = [frame.media_time for frame in watched.all_frames("yard") if begin <= frame.media_time <= begin + 1.2]
        return (len(times) - 1) / (times[-1] - times[0])

    with RtspServer({"a": clip}) as server, watching(stream("yard", server.url("a"))) as watched:
        assert rate(watched) > 22
        watched.handover.relax(frozenset({"yard"}))
        watched.until_frames("yard", 5)
        assert rate(watched) == pytest.approx(CALM_FPS, abs=1.5)
        watched.handover.relax(frozenset({"elsewhere"}))
        watched.until_frames("yard", 10)
        assert rate(watched) > 22
        assert counter("frames_missing", "yard") == 0
    forget_stream("yard")
