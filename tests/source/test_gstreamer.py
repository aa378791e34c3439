"""The same against a server that is not ours: GStreamer's."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from streamer.source.rtsp import SourceLost, connect
from streamer.values import ClockSource, SourceErrorCode, SourceState
from tests.conftest import SYSTEM_PYTHON
from tests.support.patience import WAIT_S
from tests.support.videos import make_video, read_number
from tests.support.watching import stream, watching

pytestmark = [pytest.mark.gstreamer, pytest.mark.shared]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "a.mp4", frames=50)


@contextmanager
def gstreamer(shared: Path, clip: Path, *options: str) -> Iterator[int]:
    """The server as a process; its port."""
    script = shared / "tools" / "gst_rtsp.py"
    command = [SYSTEM_PYTHON, str(script), "--port", "0", "--mount", f"/a={clip}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = next(line for line in process.stdout if line.startswith("ready"))
            yield int(ready.split()[1])
        finally:
            process.kill()


BASIC = ("--user", "u", "--password", "p@:")


@pytest.mark.parametrize(
    ("login", "transport"),
    [((), "tcp"), ((), "udp"), (BASIC, "udp"), ((*BASIC, "--digest"), "tcp")],
    ids=["tcp", "udp", "basic-udp", "digest-tcp"],
)
def test_images_come_in_order_and_carry_the_servers_clock(
    shared: Path, clip: Path, login: tuple[str, ...], transport: str
) -> None:
    with gstreamer(shared, clip, *login) as port:
        uri = f"rtsp://{'u:p%40%3A@' if login else ''}127.0.0.1:{port}/a"
        with watching(stream("gst", uri, transport=transport)) as watched:
            watched.until(lambda: any(f.clock_source is ClockSource.RTCP_NTP for f in watched.frames("gst")))
            frames = watched.frames("gst")
            now = datetime.now(UTC)
    times = [frame.media_time for frame in frames]
    assert times == sorted(set(times))
    for earlier, later in pairwise(frames):
        step = (read_number(later.pixels) - read_number(earlier.pixels)) % 50
        assert later.media_time - earlier.media_time == pytest.approx(step / 25, abs=0.002)
    assert frames[-1].captured_at is not None
    assert 0 <= (now - frames[-1].captured_at).total_seconds() < WAIT_S


def test_each_refusal_has_its_own_error_code(shared: Path, clip: Path) -> None:
    with gstreamer(shared, clip, "--user", "u", "--password", "p", "--digest") as port:
        codes = []
        for uri in (f"rtsp://u:wrong@127.0.0.1:{port}/a", f"rtsp://u:p@127.0.0.1:{port}/b"):
            with pytest.raises(SourceLost) as caught:
                connect(uri, stream("gst", uri))
            codes.append(caught.value.code)
    assert codes == [SourceErrorCode.AUTH_FAILED, SourceErrorCode.NOT_FOUND]


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """Self-signed for 127.0.0.1: the files of the certificate and its key."""
    files = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_certificates_are_checked_against_the_given_file(shared: Path, clip: Path, tmp_path: Path) -> None:
    ours, other = certificate(tmp_path, "ours"), certificate(tmp_path, "other")
    with gstreamer(shared, clip, "--tls", *ours) as port:
        uri = f"rtsps://127.0.0.1:{port}/a"
        for trusted in (None, ours[0]):
            with watching(stream("tls", uri, tls_ca_file=trusted)) as watched:
                watched.until_frames("tls", 1)
        with pytest.raises(SourceLost, match="answers RTSP only with TLS: write rtsps://"):
            connect(uri.replace("rtsps", "rtsp"), stream("tls", uri))
        with watching(stream("tls", uri, tls_ca_file=other[0])) as watched:
            status = watched.until_state("tls", SourceState.RECONNECTING)
    assert status.error is SourceErrorCode.TLS_CERTIFICATE
