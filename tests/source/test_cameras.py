import logging
import socket
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from streamer import metrics
from streamer.config import Sources
from streamer.handover import LatestPerCamera
from streamer.source import reader as live
from streamer.source.cameras import Cameras
from streamer.values import EndReason, SourceState, TooManyStreams
from tests.support.patience import FOREVER_S, WAIT_S, until
from tests.support.rtsp_server import RtspServer
from tests.support.videos import make_video
from tests.support.watching import Watched, converted, stream, watching


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "a.mp4", frames=25)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def state_metric(camera: str, state: SourceState) -> float | None:
    return REGISTRY.get_sample_value("faceanalytics_stream_state", {"stream": camera, "state": state.value.lower()})


def test_cameras_are_listed_by_id_and_come_and_go_at_run_time(clip: Path) -> None:
    with watching() as watched:
        assert watched.cameras.list() == []
        watched.cameras.add(stream("b", str(clip), loop=True))
        watched.cameras.add(stream("a", str(clip), loop=True))
        watched.until_frames("a", 2)
        watched.until_frames("b", 2)
        assert [(each.id, status.state) for each, status in watched.cameras.list()] == [
            ("a", SourceState.RUNNING),
            ("b", SourceState.RUNNING),
        ]
        assert state_metric("a", SourceState.RUNNING) == 1
        watched.cameras.remove("a")
        assert [each.id for each, _ in watched.cameras.list()] == ["b"]
        assert state_metric("a", SourceState.RUNNING) is None
        watched.until_frames("b", 3)
        assert watched.ends("a") == [EndReason.SOURCE_REMOVED]


def test_removing_a_camera_that_has_ended_is_handed_over(tmp_path: Path) -> None:
    with watching(stream("ended", str(make_video(tmp_path / "a.mp4", frames=2)))) as watched:
        watched.until_state("ended", SourceState.ENDED)
        watched.cameras.remove("ended")
        watched.items += converted(watched.handover.take(0) or [])
    assert watched.ends("ended") == [EndReason.END_OF_FILE, EndReason.SOURCE_REMOVED]


def series_of(camera: str) -> set[str]:
    """The names of all series with this stream."""
    samples = [sample for family in REGISTRY.collect() for sample in family.samples]
    return {sample.name for sample in samples if sample.labels.get("stream") == camera}


def count_everything(camera: str) -> None:
    """Count for a camera in each metric of streams, as all stages would."""
    for metric in OF_STREAMS:
        series = metric.labels(*[camera if name == "stream" else "X" for name in metric._labelnames])
        if isinstance(series, Histogram):
            series.observe(0.1)
        elif isinstance(series, (Counter, Gauge)):
            series.inc()


OF_STREAMS = [
    each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase) and "stream" in each._labelnames
]


def test_a_removed_camera_has_no_series_even_if_late_threads_count_for_it(clip: Path) -> None:
    with watching(stream("gone", str(clip), loop=True), stream("kept", str(clip), loop=True)) as watched:
        watched.until_frames("gone", 2)
        count_everything("gone")
        late = [metric.labels("gone", *["x"] * (len(metric._labelnames) - 1)) for metric in OF_STREAMS]
        assert len(series_of("gone")) > len(OF_STREAMS) > 10
        watched.cameras.remove("gone")
        count_everything("gone")
        for series in late:
            if isinstance(series, (Counter, Gauge)):
                series.inc()
        assert series_of("gone") == set()
        assert len(series_of("kept")) > 5
        watched.cameras.add(stream("gone", str(clip), loop=True))
        watched.until_frames("gone", 2)
        assert watched.status("gone").frames_decoded < 50  # it begins at 0
    samples = [sample for family in metrics.frames_dropped.collect() for sample in family.samples]
    assert {one.labels["reason"] for one in samples if one.labels["stream"] in ("gone", "kept")} <= {"overload", "x"}


def test_a_thousand_cameras_that_come_and_go_leave_nothing_behind(clip: Path) -> None:
    with watching() as watched:
        stop = threading.Event()

        def count() -> None:
            while not stop.is_set():
                for number in range(4):
                    count_everything(f"churn-{number}")

        counting = threading.Thread(target=count)
        counting.start()
        for number in range(1000):
            watched.cameras.add(stream(f"churn-{number % 4}", str(clip), enabled=number % 50 == 0))
            watched.cameras.remove(f"churn-{number % 4}")
        left = [series_of(f"churn-{number}") for number in range(4)]
        stop.set()
        counting.join()
        assert left == [set()] * 4
        watched.until(lambda: not [name for name in threads() if name.startswith("decode-churn")])
        assert [series_of(f"churn-{number}") for number in range(4)] == [set()] * 4


def test_ids_that_are_unknown_or_taken_are_errors(clip: Path) -> None:
    with watching(stream("a", str(clip), loop=True)) as watched:
        with pytest.raises(ValueError, match="already exists"):
            watched.cameras.add(stream("a", str(clip)))
        with pytest.raises(KeyError):
            watched.cameras.remove("b")
        with pytest.raises(KeyError):
            watched.cameras.replace(stream("b", str(clip)))
        with pytest.raises(KeyError):
            watched.cameras.get("b")


def test_a_replaced_camera_goes_on_with_its_new_settings_in_a_new_epoch(clip: Path) -> None:
    with watching(stream("a", str(clip), loop=True)) as watched:
        before = watched.until_frames("a", 2)[-1]
        watched.cameras.replace(stream("a", str(clip), loop=True, transport="udp"))
        watched.until(lambda: watched.frames("a")[-1].epoch > before.epoch)
        assert watched.ends("a") == [EndReason.SOURCE_REMOVED]
        assert watched.cameras.get("a")[0].transport == "udp"


def test_a_running_camera_takes_over_a_new_rate_without_a_new_connection(clip: Path) -> None:
    with RtspServer({"a": clip}) as server, watching(stream("a", server.url("a"))) as watched:
        epoch = watched.until_frames("a", 2)[-1].epoch
        watched.cameras.replace(stream("a", server.url("a"), max_fps=2))
        watched.until(lambda: gaps(watched)[-2:] == pytest.approx([0.5, 0.5], abs=0.05))
        watched.cameras.replace(stream("a", server.url("a")))
        watched.until(lambda: gaps(watched)[-2:] == pytest.approx([0.04, 0.04], abs=0.01))
        assert {frame.epoch for frame in watched.frames("a")} == {epoch}
        assert watched.ends("a") == []
        assert (watched.status("a").connects, len(server.sessions)) == (1, 1)


def gaps(watched: Watched) -> list[float]:
    """The seconds between the frames of camera "a", also those that were not taken in time."""
    return [later.media_time - earlier.media_time for earlier, later in pairwise(watched.all_frames("a"))]


def test_settings_of_a_camera_that_is_not_connected_take_effect_at_once(clip: Path) -> None:
    with watching(
        stream("a", "rtsp://127.0.0.1:1/a", reconnect={"initial_s": FOREVER_S, "max_s": FOREVER_S})
    ) as watched:
        watched.until_state("a", SourceState.RECONNECTING)
        watched.cameras.replace(stream("a", str(clip), loop=True))
        watched.until_frames("a", 1)


def test_a_camera_that_is_not_enabled_is_paused_and_has_no_thread(clip: Path) -> None:
    with watching(stream("a", str(clip), enabled=False)) as watched:
        assert watched.status("a").state is SourceState.PAUSED
        assert "decode-a" not in threads()
        watched.cameras.replace(stream("a", str(clip), loop=True))
        watched.until_frames("a", 1)
        assert "decode-a" in threads()


def test_epochs_never_repeat_over_all_cameras(clip: Path, tmp_path: Path) -> None:
    short = make_video(tmp_path / "short.mp4", frames=3)
    with watching(stream("a", str(short), loop=True), stream("b", str(short), loop=True)) as watched:
        watched.until(lambda: len(watched.ends("a")) >= 3 and len(watched.ends("b")) >= 3)
    epochs = {name: {frame.epoch for frame in watched.frames(name)} for name in "ab"}
    assert epochs["a"].isdisjoint(epochs["b"])
    assert min(len(each) for each in epochs.values()) >= 3


def test_stopping_says_shutdown_for_every_running_camera_and_nothing_comes_after_it(clip: Path) -> None:
    with RtspServer({"a": clip}) as server:
        running = [stream("file", str(clip), loop=True), stream("rtsp", server.url("a"))]
        with watching(*running) as watched:
            watched.until_frames("file", 2)
            watched.until_frames("rtsp", 2)
            watched.cameras.stop_all(5.0)
            watched.items += converted(watched.handover.take(0) or [])
            for name in ("file", "rtsp"):
                assert watched.ends(name)[-1] is EndReason.SHUTDOWN
            assert watched.handover.take(0.2) == []
    until(lambda: not [name for name in threads() if name.startswith("decode-")], "the end of the threads")


def test_a_camera_that_hangs_in_the_network_delays_neither_the_others_nor_the_stop(clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/a"
        with watching(
            stream("hangs", uri, connect_timeout_s=FOREVER_S), stream("runs", str(clip), loop=True)
        ) as watched:
            watched.until_frames("runs", 5)
            assert watched.status("hangs").state is SourceState.CONNECTING
            first, _ = silent.accept()
            watched.cameras.remove("hangs")
            assert threads().count("decode-hangs") == 1  # which nobody waited for
            watched.cameras.add(stream("hangs", uri, connect_timeout_s=FOREVER_S))
            second, _ = silent.accept()
            watched.cameras.stop_all(FOREVER_S)
            assert threads().count("decode-hangs") == 2
            assert watched.ends("runs")[-1:] in ([], [EndReason.END_OF_FILE])  # its end waits to be taken
            watched.until(lambda: watched.ends("runs")[-1:] == [EndReason.SHUTDOWN])
        for connection in (first, second):
            connection.close()


def test_a_bug_in_a_camera_thread_is_reported(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bug, bugs, reported = RuntimeError("bug"), [], threading.Event()

    def broken(*_: object) -> None:
        raise bug

    def failed(error: BaseException) -> None:
        bugs.append(error)
        reported.set()

    monkeypatch.setattr(live._Reader, "_read", broken)
    cameras = Cameras(LatestPerCamera(lambda frame: None), failed)
    cameras.add(stream("a", str(clip)))
    assert reported.wait(WAIT_S)
    assert bugs == [bug]
    cameras.stop_all(1.0)


def test_each_change_of_state_is_one_line_without_credentials(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with RtspServer({"a": clip}, user="admin", password="s3cret") as server:
        cameras = stream("good", server.url("a")), stream("bad", server.url("a", password="wr0ng"))
        with watching(*cameras) as watched:
            watched.until_frames("good", 20)
            watched.until_state("bad", SourceState.RECONNECTING)
            watched.until_frames("good", 20)
    lines = [record.getMessage() for record in caplog.records if record.name == "streamer.source.reporting"]
    assert len([line for line in lines if "good RUNNING" in line]) == 1
    assert [line for line in lines if "bad" in line] == [
        f"camera bad RECONNECTING: rtsp://127.0.0.1:{server.port}/a: user name or password rejected; check the uri"
    ]
    assert "s3cret" not in caplog.text
    assert "wr0ng" not in caplog.text


def test_more_cameras_than_the_limit_are_refused_until_one_is_removed(clip: Path) -> None:
    with watching(stream("a", str(clip)), sources=Sources(max_streams=1)) as watched:
        with pytest.raises(TooManyStreams, match="there are 1 streams, which is the limit"):
            watched.cameras.add(stream("b", str(clip)))
        watched.cameras.remove("a")
        watched.cameras.add(stream("b", str(clip)))
        assert [each.id for each, _ in watched.cameras.list()] == ["b"]
