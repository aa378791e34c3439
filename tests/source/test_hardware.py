"""Devices to decode on: refused at the start if they cannot be used, and never replaced. No GPU is needed."""

from pathlib import Path

import av
import pytest

from faceanalytics.errors import InputError, ModelError
from streamer.config import Sources, Stream
from streamer.handover import LatestPerCamera
from streamer.source import hardware
from streamer.source.cameras import Cameras
from streamer.source.decoder import Decoder
from streamer.source.file import open_file, read_file
from streamer.values import SourceErrorCode, SourceState
from tests.support.rtsp_server import RtspServer
from tests.support.videos import make_video
from tests.support.watching import stream, watching

NOWHERE = "vaapi:/dev/dri/no-such-device"  # on no machine


def test_cpu_is_always_usable() -> None:
    hardware.check_device("cpu")
    assert hardware.acceleration("cpu") is None


@pytest.mark.parametrize("device", [NOWHERE, "cuda:97"])
def test_a_device_that_is_not_there_is_an_error_that_lists_what_is(device: str) -> None:
    with pytest.raises(ModelError, match=f"decode_device: {device} cannot be used: .*; usable on this machine: cpu"):
        hardware.check_device(device)


def test_a_camera_with_such_a_device_is_not_added() -> None:
    cameras = Cameras(LatestPerCamera(lambda frame: None), lambda error: None)
    with pytest.raises(ModelError):
        cameras.add(Stream(id="a", uri="rtsp://h/a", decode_device=NOWHERE))
    assert cameras.list() == []


def test_a_file_whose_codec_no_device_decodes_is_an_input_error(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", frames=3, codec="ffv1")
    assert len(list(read_file(path, "", 0))) == 3
    with pytest.raises(InputError, match=r"a\.mkv: cuda:0 cannot decode its codec"):
        open_file(path, "cuda:0")


def test_a_file_is_not_decoded_on_the_cpu_instead(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=3)
    for device in (NOWHERE, "cuda:97", "qsv"):
        with pytest.raises(InputError):
            next(read_file(path, "", 0, device=device))


def test_a_camera_is_not_decoded_on_the_cpu_instead(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mp4", frames=25)
    with (
        RtspServer({"a": clip}) as server,
        watching(stream("gpu", server.url("a")), sources=Sources(decode_device=NOWHERE)) as watched,
    ):
        status = watched.until_state("gpu", SourceState.RECONNECTING)
    assert status.connects == 0
    assert status.error in (SourceErrorCode.CODEC_UNSUPPORTED, SourceErrorCode.CONNECTION_FAILED)


def test_a_decoder_of_its_own_decodes_what_that_of_the_stream_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "a.mp4", frames=20, b_frames=2)

    def times(own: bool) -> list[float]:
        with open_file(path) as container:
            video = container.streams.video[0]
            decoder = Decoder(video, "")
            if own:  # as on qsv, but on the CPU, because there is no such device here
                context = av.CodecContext.create(video.codec_context.name, "r")
                context.extradata = video.codec_context.extradata
                monkeypatch.setattr(decoder, "_context", context)
            return [frame.media_time for packet in container.demux(video) for frame in decoder.decode(packet)]

    assert times(own=True) == times(own=False)
    assert len(times(own=True)) == 20
