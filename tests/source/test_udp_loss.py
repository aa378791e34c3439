"""A camera over UDP whose packets are lost, repeated and swapped on the way."""

from itertools import pairwise
from pathlib import Path

import pytest

from streamer.values import SourceState
from tests.support.lossy_proxy import LossyProxy
from tests.support.rtsp_server import RtspServer
from tests.support.videos import make_video, read_number
from tests.support.watching import stream, watching


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "a.mp4", frames=200, gop=10)


def test_frames_of_a_lossy_network_are_whole_in_order_and_the_damaged_ones_are_counted(clip: Path) -> None:
    with (
        RtspServer({"a": clip}) as server,
        LossyProxy(server.port, loss=0.05, repeated=0.05, swapped=0.05) as proxy,
        watching(stream("a", proxy.url("a"), transport="udp")) as watched,
    ):
        watched.until(lambda: len(watched.frames("a")) >= 100 and proxy.lost >= 5)
        frames, status = watched.frames("a"), watched.status("a")
    assert status.state is SourceState.RUNNING
    assert status.connects == 1
    times = [frame.media_time for frame in frames]
    assert times == sorted(set(times))
    numbers = [read_number(frame.pixels) for frame in frames]
    fresh = sum(later != earlier for earlier, later in pairwise(numbers))
    print(status, proxy.relayed, proxy.lost, len(frames), fresh)


def test_a_network_that_loses_everything_for_a_while_is_survived(clip: Path) -> None:
    with (
        RtspServer({"a": clip}) as server,
        LossyProxy(server.port) as proxy,
        watching(stream("a", proxy.url("a"), transport="udp", stall_timeout_s=1.0)) as watched,
    ):
        watched.until_frames("a", 10)
        proxy.loss = 1.0
        watched.until_state("a", SourceState.RECONNECTING)
        proxy.loss = 0.0
        watched.until_state("a", SourceState.RUNNING)
        watched.until_frames("a", 10)
