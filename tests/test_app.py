"""The live streamer in one process, where a stage hangs or breaks."""

import asyncio
import logging
import threading
from pathlib import Path

import grpc
import pytest

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from streamer import app
from streamer.api.server import Server
from streamer.config import StreamerConfig
from streamer.configfile import parse_config
from streamer.detect.detector import Detector
from streamer.observe import Observer
from streamer.values import Bytes, Detections
from tests.support.patch_detector import make_patch_video, write_lite_patch_detector
from tests.support.patience import WAIT_S

DRAIN_S = 2.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_patch_video(tmp_path_factory.mktemp("clip") / "two.mp4", seconds=20, faces=2)


def config(folder: Path, clip: Path) -> StreamerConfig:
    data = {
        "streams": [{"id": "cam", "uri": str(clip)}],
        "detect": {"weights": str(write_lite_patch_detector(folder / "patches.onnx"))},
        "dispatch": {"bind": f"ipc://{folder}/w"},
        "publish": {"listen": "127.0.0.1:0"},
        "drain_s": DRAIN_S,
    }
    return parse_config(data, "test")


async def test_tracks_end_though_the_detector_does_not_come_back(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hangs, hanging, release = threading.Event(), threading.Event(), threading.Event()
    detect = Detector.detect

    def slow(self: Detector, frames: list[Bytes], unscaled: bool = False) -> list[Detections]:
        if hangs.is_set():
            hanging.set()
            assert release.wait(WAIT_S), "the streamer waits for the detector"
        return detect(self, frames, unscaled)

    monkeypatch.setattr(Detector, "detect", slow)
    caplog.set_level(logging.INFO)
    started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    live = app.LiveService(config(tmp_path, clip), started.set_result)
    running = asyncio.create_task(live.run())
    server = await started
    kinds: dict[str, list[int]] = {}
    async with grpc.aio.insecure_channel(server.address) as channel:
        watch = tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks(tracks_pb2.WatchTracksRequest())
        async for event in watch:
            if event.HasField("track"):
                kinds.setdefault(event.track.track_id, []).append(event.type)
            if len(kinds) == 2 and not hangs.is_set():
                hangs.set()
                assert await asyncio.to_thread(hanging.wait, WAIT_S)
                live.stop()
    release.set()
    await running
    assert [kind[-1] for kind in kinds.values()] == [tracks_pb2.EVENT_TYPE_END] * 2
    assert "2 tracks were ended" in caplog.text


async def test_a_bug_in_a_stage_ends_the_streamer_with_that_bug(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Observer, items: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Observer, "observe", broken)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(WAIT_S):
            await app.LiveService(config(tmp_path, clip)).run()
    assert caught.group_contains(ZeroDivisionError, match="a bug")
