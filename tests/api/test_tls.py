"""TLS over real sockets: right and wrong certificates, renewal without losing a watch, clients with certificates."""

import asyncio
import logging
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from faceanalytics.errors import ConfigError
from faceanalytics.v1 import system_pb2, system_pb2_grpc, tracks_pb2, tracks_pb2_grpc
from streamer.access.authority import make_certificate
from streamer.access.tokens import Scope
from tests.api.test_guard import closed_by_server
from tests.api.test_server import summary
from tests.support.certificates import Signed, issue
from tests.support.guarded_server import Guarded, bearer, guarded
from tests.support.patience import FOREVER_S, WAIT_S


def tls(server: Signed, client_ca: Signed | None = None) -> dict[str, Any]:
    files = {"certificate": str(server.path), "key": str(server.key_path)}
    return {"tls": files | ({"client_ca": str(client_ca.path)} if client_ca else {}), "heartbeat_s": FOREVER_S}


def secure(at: Guarded, ca: Signed | None, client: Signed | None = None) -> aio.Channel:
    credentials = grpc.ssl_channel_credentials(
        root_certificates=ca.path.read_bytes() if ca else None,
        private_key=client.key_path.read_bytes() if client else None,
        certificate_chain=client.path.read_bytes() if client else None,
    )
    return aio.secure_channel(at.server.address, credentials)


async def ask(channel: aio.Channel, secret: str = "") -> grpc.StatusCode:
    stub = system_pb2_grpc.SystemServiceStub(channel)
    call = stub.ListModels(system_pb2.ListModelsRequest(), metadata=bearer(secret) if secret else ())
    async with asyncio.timeout(WAIT_S):
        return await call.code()


@pytest.fixture
def ca(tmp_path: Path) -> Signed:
    return issue(tmp_path, "ca")


async def test_a_client_gets_in_with_the_right_authority_only(tmp_path: Path, ca: Signed) -> None:
    other = issue(tmp_path, "other-ca")
    async with guarded(tmp_path, **tls(issue(tmp_path, "server", ca))) as at:
        for known, code in ((ca, "OK"), (other, "UNAVAILABLE"), (None, "UNAVAILABLE")):
            async with secure(at, known) as channel:
                assert (await ask(channel)).name == code
        async with at.channel() as channel:  # not encrypted
            assert (await ask(channel)).name == "UNAVAILABLE"


@pytest.mark.parametrize(
    "wrong",
    [{"days": (-3, -1)}, {"days": (1, 3)}, {"host": "elsewhere.example.org"}],
    ids=["expired", "future", "host"],
)
async def test_a_client_does_not_accept_a_wrong_certificate(tmp_path: Path, ca: Signed, wrong: dict[str, Any]) -> None:
    async with guarded(tmp_path, **tls(issue(tmp_path, "server", ca, **wrong))) as at, secure(at, ca) as channel:
        assert (await ask(channel)).name == "UNAVAILABLE"


async def test_old_versions_of_tls_are_refused(tmp_path: Path, ca: Signed) -> None:
    async with guarded(tmp_path, **tls(issue(tmp_path, "server", ca))) as at:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

        def connect() -> None:
            host, _, port = at.server.address.rpartition(":")
            with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain):
                pass

        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.to_thread(connect)


async def test_a_handshake_that_does_not_go_on_is_ended(tmp_path: Path, ca: Signed) -> None:
    settings = tls(issue(tmp_path, "server", ca)) | {"limits": {"request_within_s": 0.5}}
    async with guarded(tmp_path, **settings) as at:
        host, _, port = at.server.address.rpartition(":")
        for beginning in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n"):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(beginning)
                await closed_by_server(connection)
        async with secure(at, ca) as channel:
            assert (await ask(channel)).name == "OK"


async def test_a_new_certificate_is_used_and_watches_go_on(
    tmp_path: Path, ca: Signed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = issue(tmp_path, "server", ca)
    async with guarded(tmp_path, **tls(server)) as at, secure(at, ca) as channel:
        watch: Any = tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks(tracks_pb2.WatchTracksRequest())
        await watch.initial_metadata()
        new_ca = issue(tmp_path, "new-ca")
        new = issue(tmp_path, "new", new_ca)
        server.path.write_bytes(b"half of it")  # while it is written
        async with secure(at, ca) as later:
            assert (await ask(later)).name == "OK"  # the old one stays in use
        for source, target in ((new.path, server.path), (new.key_path, server.key_path)):
            source.replace(target)
        async with secure(at, new_ca) as later:
            assert (await ask(later)).name == "OK"
        async with secure(at, ca) as later:
            assert (await ask(later)).name == "UNAVAILABLE"
        at.hub.offer(summary("t1"), time.monotonic())
        async with asyncio.timeout(WAIT_S):
            assert (await watch.read()).track.track_id == "t1"
        said = [record.getMessage() for record in caplog.records if "certificate" in record.name]
        assert [line.partition(":")[0] for line in said] == [
            "the certificate read before stays in use",
            "new certificate of the server",
        ]


async def test_mutual_tls_asks_for_a_certificate_and_still_for_a_token(tmp_path: Path, ca: Signed) -> None:
    client_ca = issue(tmp_path, "client-ca")
    good, foreign = issue(tmp_path, "client", client_ca), issue(tmp_path, "foreign", ca)
    async with guarded(tmp_path, **tls(issue(tmp_path, "server", ca), client_ca)) as at:
        secret = await at.token(Scope.READ)
        for client, code in ((None, "UNAVAILABLE"), (foreign, "UNAVAILABLE"), (good, "UNAUTHENTICATED")):
            async with secure(at, ca, client) as channel:
                assert (await ask(channel)).name == code
        async with secure(at, ca, good) as channel:
            assert (await ask(channel, secret)).name == "OK"


async def test_files_that_do_not_belong_together_are_an_error_at_the_start(tmp_path: Path, ca: Signed) -> None:
    server, other = issue(tmp_path, "server", ca), issue(tmp_path, "other", ca)
    for settings, text in (
        ({"certificate": str(server.path), "key": str(other.key_path)}, "are no certificate and its key"),
        ({"certificate": str(server.path), "key": str(tmp_path / "none.pem")}, "publish.tls.key: cannot read"),
        ({"certificate": str(server.path), "key": str(server.key_path), "client_ca": str(ca.key_path)}, "client_ca"),
    ):
        with pytest.raises(ConfigError, match=text):
            async with guarded(tmp_path, tls=settings):
                pass


async def test_the_certificate_that_we_make_is_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    make_certificate(folder, ["localhost", "127.0.0.1"], 1)
    files = {"certificate": str(folder / "server.pem"), "key": str(folder / "server-key.pem")}
    root = (folder / "ca.pem").read_bytes()
    async with guarded(tmp_path, tls=files) as at:
        for _ in range(2):
            for host in ("127.0.0.1", "localhost"):
                address = at.server.address.replace("127.0.0.1", host)
                async with aio.secure_channel(address, grpc.ssl_channel_credentials(root)) as channel:
                    assert (await ask(channel)).name == "OK"
            make_certificate(folder, ["localhost", "127.0.0.1"], 2)  # renewed, by the same authority
    assert (folder / "ca.pem").read_bytes() == root
    assert oct((folder / "ca-key.pem").stat().st_mode & 0o777) == "0o600"
    assert oct((folder / "server-key.pem").stat().st_mode & 0o777) == "0o600"
