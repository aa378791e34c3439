import contextlib
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streamer.config import redact
from streamer.source.rtsp import SourceLost, connect
from streamer.values import SourceErrorCode
from tests.support.rtp import sound_only
from tests.support.rtsp_server import RtspServer
from tests.support.videos import make_video
from tests.support.watching import stream

PASSWORD = "s3cret/:@?#"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "a.mp4", frames=25)


def refused(uri: str, **settings: object) -> SourceLost:
    """The error of connecting; neither it nor what a log would print of it holds the password."""
    with pytest.raises(SourceLost) as caught:
        connect(uri, stream("door", uri, **settings))
    printed = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in printed
    assert caught.value.__context__ is None
    return caught.value


@contextlib.contextmanager
def listener(answer: Callable[[socket.socket], None], clients: int = 1) -> Iterator[str]:
    """A TCP server that treats its first clients with `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            for _ in range(clients):
                with contextlib.suppress(OSError):
                    client, _ = server.accept()
                    with client:
                        answer(client)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_right_password_opens_the_stream(clip: Path, digest: bool, transport: str) -> None:
    with (
        RtspServer({"a": clip}, user="us@r", password=PASSWORD, digest=digest) as server,
        connect(server.url("a"), stream("door", server.url("a"), transport=transport)) as container,
    ):
        assert [s.type for s in container.streams] == ["video"]


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
def test_a_wrong_or_missing_password_is_auth_failed(clip: Path, digest: bool) -> None:
    with RtspServer({"a": clip}, user="admin", password="right", digest=digest) as server:
        wrong = refused(server.url("a", password=PASSWORD))
        missing = refused(f"rtsp://127.0.0.1:{server.port}/a")
    assert wrong.code is missing.code is SourceErrorCode.AUTH_FAILED
    assert str(wrong) == f"rtsp://127.0.0.1:{server.port}/a: user name or password rejected; check the uri"


def test_an_unknown_mount_is_not_found(clip: Path) -> None:
    with RtspServer({"a": clip}, user="admin", password=PASSWORD) as server:
        assert refused(server.url("b")).code is SourceErrorCode.NOT_FOUND


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("rtsp://u:s3cret@127.0.0.1:1/a", "connection refused; check host and port"),
        ("rtsp://u:s3cret@no.such.host.invalid/a", "unknown host"),
        ("rtsps://u:s3cret@no.such.host.invalid/a", "unknown host"),
        ("rtsp://u:s3cret@127.0.0.1:99999/a", "Invalid argument"),
        ("rtsp://u:s3cret@[::1/a", "Invalid argument"),
    ],
)
def test_a_camera_that_cannot_be_reached_is_connection_failed(address: str, message: str) -> None:
    lost = refused(address)
    assert lost.code is SourceErrorCode.CONNECTION_FAILED
    assert message in str(lost)


def test_a_camera_that_accepts_but_never_answers_is_a_timeout() -> None:
    def listen_only(client: socket.socket) -> None:
        while client.recv(1 << 16):
            pass

    with listener(listen_only) as address:
        lost = refused(f"rtsp://u:s3cret@{address}/a", connect_timeout_s=0.3)
    assert lost.code is SourceErrorCode.TIMEOUT


def test_something_that_does_not_talk_rtsp_is_connection_failed() -> None:
    with listener(lambda client: client.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")) as address:
        assert refused(f"rtsp://u:s3cret@{address}/a").code is SourceErrorCode.CONNECTION_FAILED


def test_a_server_without_tls_is_a_failed_tls_handshake_for_rtsps(clip: Path) -> None:
    with RtspServer({"a": clip}, user="admin", password=PASSWORD) as server:
        lost = refused(server.url("a").replace("rtsp://", "rtsps://"))
    assert lost.code is SourceErrorCode.TLS_HANDSHAKE


def test_a_camera_that_asks_for_a_login_says_so(clip: Path) -> None:
    with RtspServer({"a": clip}, user="admin", password=PASSWORD) as server:
        lost = refused(f"rtsp://127.0.0.1:{server.port}/a")
    assert lost.code is SourceErrorCode.AUTH_FAILED
    assert "asks for a user name and a password" in str(lost)


def test_a_camera_that_has_only_sound_says_so(clip: Path) -> None:
    with RtspServer({"a": clip}, user="admin", password=PASSWORD) as server:
        server.clips["sound"] = sound_only()
        lost = refused(server.url("sound"))
    assert lost.code is SourceErrorCode.CODEC_UNSUPPORTED
    assert "contains no video (only audio)" in str(lost)


@contextlib.contextmanager
def web_server() -> Iterator[int]:
    """A web server; its port."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps"])
def test_the_port_of_a_web_server_is_recognised(scheme: str) -> None:
    with web_server() as port:
        lost = refused(f"{scheme}://u:s3cret@127.0.0.1:{port}/a")
    assert f"port {port} is a web server (HTTP), not RTSP" in str(lost)


def test_other_servers_and_silence_are_recognised() -> None:
    with listener(lambda client: client.sendall(b"SSH-2.0-OpenSSH_9.9\r\n"), clients=2) as address:
        assert "is an SSH server" in str(refused(f"rtsp://u:s3cret@{address}/a"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        lost = refused(f"rtsp://u:s3cret@127.0.0.1:{port}/a", connect_timeout_s=0.5)
    assert lost.code is SourceErrorCode.TIMEOUT
    assert f"port {port} is open, but gives no answer" in str(lost)


def test_rtsps_to_a_server_without_tls_says_what_to_write(clip: Path) -> None:
    with RtspServer({"a": clip}) as server:
        lost = refused(server.url("a").replace("rtsp://", "rtsps://u:s3cret@"))
    assert f"port {server.port} answers RTSP without TLS: write rtsp:// in place of rtsps://" in str(lost)


def test_an_unknown_host_may_be_half_of_a_password(clip: Path) -> None:
    lost = refused("rtsp://u:s3cret@invalid./x@127.0.0.1/a")
    assert "if the host follows the last '@', the password contains unescaped '/' and '@'" in str(lost)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://user:pass@host:554/path?token=1", "rtsp://host:554/path"),
        ("rtsp://user:pa/ss@host/path", "rtsp://host/path"),
        ("rtsp://user:p?a#s@s@host/path#fragment", "rtsp://host/path"),
        ("rtsp://user:pass@[::1/path", "rtsp://[::1/path"),
        ("rtsp://host/path", "rtsp://host/path"),
        ("file:///videos/me@home.mp4", "file:///videos/me@home.mp4"),
        ("videos/me@home.mp4", "videos/me@home.mp4"),
        ("rtsp:/user:pa/ss@host/path", "***@host/path"),
        ("rtsp//user:p@ss@host/path", "rtsp//***@host/path"),
        ("user:pass@host/path", "***@host/path"),
        ("file://user:pass@host/path", "file://***@host/path"),
        ("rtsp:/user:pa://ss@host/path", "***@host/path"),
    ],
)
def test_an_address_is_printed_without_what_is_secret(address: str, shown: str) -> None:
    assert redact(address) == shown
