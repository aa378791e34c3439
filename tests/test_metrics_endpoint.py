"""Who may read the metrics, over real sockets: tokens, certificates, and clients that take too much."""

import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from faceanalytics import metrics_server
from faceanalytics.errors import ConfigError
from faceanalytics.metrics_server import Door, admits_token_of, serve_registry
from faceanalytics.tls_files import ServerContext, TlsFiles, certificate_facts
from streamer.access.tokens import Scope
from streamer.cli import main
from streamer.config import StreamerConfig
from streamer.metrics_endpoint import serve_metrics, show_files
from tests.support.certificates import Signed, issue
from tests.support.guarded_server import guarded
from tests.support.patience import WAIT_S

TOKEN = "fa_" + "x" * 43


@contextmanager
def served(door: Door = metrics_server.OPEN) -> Iterator[int]:
    """An endpoint with one metric on a free port."""
    registry = CollectorRegistry()
    Gauge("answer", "An answer.", registry=registry).set(42)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    stop = serve_registry("127.0.0.1", port, registry, door)
    try:
        yield port
    finally:
        stop()


def read(port: int, token: str = "", tls: ssl.SSLContext | None = None) -> tuple[int, str]:
    """Status and text of a request."""
    scheme = "http" if tls is None else "https"
    request = urllib.request.Request(f"{scheme}://127.0.0.1:{port}/metrics")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S, context=tls) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def trusting(authority: Signed, client: Signed | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    if client is not None:
        context.load_cert_chain(client.path, client.key_path)
    return context


def files_of(signed: Signed, client_ca: Signed | None = None) -> TlsFiles:
    return TlsFiles(signed.path, signed.key_path, client_ca.path if client_ca is not None else None)


def test_a_token_file_is_read_again_and_only_its_token_is_admitted(tmp_path: Path) -> None:
    file = tmp_path / "metrics.token"
    file.write_text(TOKEN + "\n")
    with served(Door(admits=admits_token_of(file, "metrics_token_file"))) as port:
        assert read(port)[0] == 401
        assert read(port, TOKEN[:-1] + "y")[0] == 401
        assert "answer 42" in read(port, TOKEN)[1]
        file.write_text(TOKEN.replace("x", "z"))
        assert read(port, TOKEN)[0] == 401
        assert read(port, TOKEN.replace("x", "z"))[0] == 200
        file.unlink()
        assert read(port, TOKEN)[0] == 503  # nobody gets in by damage


@pytest.mark.parametrize("content", ["", "short", None])
def test_a_token_file_without_a_token_is_refused_at_the_start(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match="metrics_token_file"):
        admits_token_of(file, "metrics_token_file")


def test_a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not(tmp_path: Path) -> None:
    first, second = issue(tmp_path, "first"), issue(tmp_path, "second")
    server = issue(tmp_path, "server", first)
    with served(Door(ServerContext(files_of(server), "metrics.tls"))) as port:
        assert read(port, tls=trusting(first))[0] == 200
        with pytest.raises(urllib.error.URLError):
            read(port, tls=trusting(second))
        issue(tmp_path, "server", second)
        assert read(port, tls=trusting(second))[0] == 200
        server.key_path.write_text("broken")
        assert read(port, tls=trusting(second))[0] == 200


def test_with_an_authority_of_clients_only_these_may_read(tmp_path: Path) -> None:
    authority, other = issue(tmp_path, "ca"), issue(tmp_path, "other")
    server, client = issue(tmp_path, "server", authority), issue(tmp_path, "client", authority)
    stranger = issue(tmp_path, "stranger", other)
    with served(Door(ServerContext(files_of(server, authority), "metrics.tls"))) as port:
        assert read(port, tls=trusting(authority, client))[0] == 200
        for wrong in (trusting(authority), trusting(authority, stranger)):
            with pytest.raises((urllib.error.URLError, OSError)):
                read(port, tls=wrong)


async def test_metrics_need_a_token_that_may_read_all_cameras(tmp_path: Path) -> None:
    async with guarded(tmp_path, "door") as service:
        ask = service.server.admits
        assert await ask("") == 401  # also before the first token was made
        tokens = {
            200: await service.token(Scope.READ),
            403: await service.token(Scope.OPERATE),
            401: await service.token(Scope.READ, lifetime=timedelta(seconds=-1)),
        }
        for status, secret in tokens.items():
            assert await ask(f"Bearer {secret}") == status
        assert await ask(f"Bearer {await service.token(Scope.READ, cameras=('door',))}") == 403
        assert await ask(f"Bearer {TOKEN}") == 401
        assert await ask("Basic eDp5") == 401
        assert await ask(f"Bearer {await service.token(Scope.ADMIN)}") == 200


WORLD: dict[str, Any] = {"listen": "0.0.0.0:9464"}
TLS = {"certificate": "a.pem", "key": "b.pem"}


@pytest.mark.parametrize(
    ("metrics", "access", "missing"),
    [
        (WORLD, {}, "metrics.tls.*access"),
        (WORLD, {"folder": "a"}, "metrics.tls"),
        ({**WORLD, "tls": TLS}, {}, "access"),
        ({**WORLD, "tls": TLS, "insecure": True}, {"folder": "a"}, "metrics.insecure: remove"),
        ({**WORLD, "tls": TLS}, {"folder": "a"}, None),
        ({**WORLD, "tls": {**TLS, "client_ca": "c.pem"}}, {}, None),
        ({**WORLD, "insecure": True}, {}, None),
        ({"listen": "127.0.0.1:9464"}, {}, None),
        ({"listen": "[::1]:9464"}, {}, None),
        ({}, {}, None),
    ],
)
def test_an_address_that_others_reach_needs_protection(
    metrics: dict[str, Any], access: dict[str, Any], missing: str | None
) -> None:
    config = StreamerConfig.model_validate({"metrics": metrics, "access": access, "store": None})
    if missing is None:
        config.check_safe()
        return
    with pytest.raises(ConfigError, match=missing):
        config.check_safe()
    if "listen" in metrics:
        with pytest.raises(ConfigError, match=missing):
            serve_metrics(config, lambda _: 200)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metrics-listen", "0.0.0.0:9465"], "metrics_certificate and metrics_key and metrics_token_file"),
        (["--metrics-listen", "0.0.0.0:9465", "--metrics-certificate", "a", "--metrics-key", "b"], "token_file"),
        (["--metrics-certificate", "a"], "give both"),
        (["--metrics-insecure", "--metrics-token-file", "a"], "metrics_insecure"),
        (["--metrics-client-ca", "a"], "metrics_client_ca"),
    ],
)
def test_a_worker_refuses_to_show_its_metrics_to_everybody(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from workers.cli import main as swinface

    assert swinface(["worker", *options]) == 2
    assert said in capsys.readouterr().err


def test_a_worker_serves_its_metrics_over_tls_to_those_who_have_its_token(tmp_path: Path) -> None:
    from workers.serve.config import load_config
    from workers.serve.metrics import serve_metrics as serve_worker

    authority, token = issue(tmp_path, "ca"), tmp_path / "token"
    server = issue(tmp_path, "server", authority)
    token.write_text(TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    files = {"metrics_certificate": str(server.path), "metrics_key": str(server.key_path)}
    config = load_config(None, {"metrics_listen": f"127.0.0.1:{port}", "metrics_token_file": str(token), **files})
    stop = serve_worker(config, "untrained")
    try:
        assert read(port, tls=trusting(authority))[0] == 401
        assert 'model_id="untrained"' in read(port, TOKEN, trusting(authority))[1]
    finally:
        stop()


def test_a_client_that_sends_a_byte_now_and_then_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "REQUEST_S", 0.5)
    with served() as port, socket.create_connection(("127.0.0.1", port)) as slow:
        ended = False
        deadline = time.monotonic() + WAIT_S
        while not ended and time.monotonic() < deadline:
            try:
                slow.sendall(b"G")
                slow.settimeout(0.1)
                ended = slow.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended


def test_a_client_that_does_not_shake_hands_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "REQUEST_S", 0.5)
    authority = issue(tmp_path, "ca")
    door = Door(ServerContext(files_of(issue(tmp_path, "server", authority)), "metrics.tls"))
    with served(door) as port, socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as silent:
        assert silent.recv(1) == b""
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as plain:
            plain.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            answer = b""
            with suppress(ConnectionResetError):
                answer = plain.recv(100)
            assert not answer.startswith(b"HTTP")
        assert read(port, tls=trusting(authority))[0] == 200


def test_a_large_request_ends_and_many_connections_leave_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "CONNECTIONS", 5)
    with served() as port:
        with (
            suppress(OSError),  # reset, or a broken pipe
            socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as large,
        ):
            large.sendall(b"GET /metrics HTTP/1.0\r\n" + 50 * (b"X-Filler: " + b"a" * 1000 + b"\r\n"))
            answer = large.recv(65_536)
            assert answer[:4] in (b"HTTP", b"")
            while large.recv(65_536):
                pass
        waiting = [socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) for _ in range(20)]
        assert read(port)[0] == 200
        gone = [one.recv(1) for one in waiting[:10]]
        assert gone == [b""] * 10
        for one in waiting:
            one.close()


def test_what_a_certificate_says_is_read_also_when_it_has_expired(tmp_path: Path) -> None:
    authority = issue(tmp_path, "ca")
    expired = issue(tmp_path, "old", authority, days=(-10, -3), host="streamer.example.org")
    facts = certificate_facts(expired.path, expired.key_path)
    assert facts.hosts == ("streamer.example.org",)
    assert facts.ends == expired.certificate.not_valid_after_utc
    assert facts.begins == expired.certificate.not_valid_before_utc
    with pytest.raises(ConfigError, match="no certificate and its key"):
        certificate_facts(expired.path, authority.key_path)


def test_the_end_of_certificates_and_free_space_are_metrics(tmp_path: Path) -> None:
    server = issue(tmp_path, "server", issue(tmp_path, "ca"))
    tls = {"certificate": str(server.path), "key": str(server.key_path)}
    config = StreamerConfig.model_validate({"publish": {"tls": tls}})
    hide = show_files(config, tmp_path)
    try:
        name, labels = "faceanalytics_certificate_expiry_timestamp_seconds", {"server": "publish"}
        ends = server.certificate.not_valid_after_utc.timestamp()
        assert REGISTRY.get_sample_value(name, labels) == ends
        assert (REGISTRY.get_sample_value("faceanalytics_disk_free_bytes", {"place": "store"}) or 0) > 0
        server.path.write_text("broken")
        assert REGISTRY.get_sample_value(name, labels) is None
    finally:
        hide()


def test_config_check_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"metrics": WORLD}))
    assert main(["config", "check", str(path)]) == 2
    assert "metrics.insecure: true" in capsys.readouterr().err
