"""Checks of addresses: free, or taken by a streamer that answers there."""

import errno
import fcntl
import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc

from faceanalytics.errors import ConfigError
from streamer.config import StreamerConfig, split_address
from streamer.doctor.finding import Finding, Patient, fail, fine
from streamer.safety import Tls
from streamer.tools.connection import plain
from streamer.tools.stream_status import service_states

ANSWER_S = 3.0
IPC_BYTES = 107  # longest path of a Unix socket


def answers(config: StreamerConfig) -> bool:
    """Return whether a streamer answers at publish.listen: by its health, or with TLS by its certificate."""
    host, port = split_address(config.publish.listen)
    if port == 0:
        return False
    if config.publish.tls is not None:
        return _shows_certificate(_reachable(host), port, config.publish.tls)
    with plain(f"{_quoted(_reachable(host))}:{port}") as channel:
        try:
            return "TrackService" in service_states(channel, ANSWER_S)
        except grpc.RpcError:
            return False


def check_addresses(patient: Patient) -> Iterator[Finding]:
    """Check that each address can be listened on, or is used by the streamer that runs."""
    config = patient.config
    yield _check_tcp("publish.listen", config.publish.listen, patient.running)
    if config.dispatch.bind.startswith("tcp://"):
        address = config.dispatch.bind.removeprefix("tcp://").replace(":*", ":0")
        yield _check_tcp("dispatch.bind", address, patient.running)
    else:
        yield _check_ipc(Path(config.dispatch.bind.removeprefix("ipc://")), patient.running)
    if config.metrics.listen is not None:
        ours = patient.running or _shows_metrics(config.metrics.listen, config.metrics.tls)
        yield _check_tcp("metrics.listen", config.metrics.listen, ours)
    if config.web.listen is not None:
        yield _check_tcp("web.listen", config.web.listen, patient.running)


def _check_tcp(setting: str, address: str, ours: bool) -> Finding:
    host, port = split_address(address)
    if port == 0:
        return fine("ports", f"{setting}: any free port")
    try:
        found = socket.getaddrinfo("0.0.0.0" if host == "*" else host, port, type=socket.SOCK_STREAM)  # noqa: S104
        family, kind, protocol, _, place = found[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(place)
            trial.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and ours:
            return fine("ports", f"{setting}: {address} is used by the streamer that runs")
        reasons = {
            errno.EADDRINUSE: ("is used by another program", "stop it, or choose another port"),
            errno.EADDRNOTAVAIL: ("is no address of this machine", "choose one of its addresses"),
            errno.EACCES: ("needs rights that this user lacks", "choose a port from 1024 on"),
        }
        text, advice = reasons.get(error.errno or 0, (f"cannot be used: {error.strerror}", "choose another address"))
        return fail("ports", f"{setting}: {address} {text}", advice)
    return fine("ports", f"{setting}: {address} is free")


def _check_ipc(path: Path, ours: bool) -> Finding:
    if len(os.fsencode(path)) > IPC_BYTES:
        advice = f"choose a path of at most {IPC_BYTES} bytes"
        return fail("ports", f"dispatch.bind: the path {path} is too long for a socket", advice)
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        advice = "make the folder, or give it this user"
        return fail("ports", f"dispatch.bind: cannot make a socket in {folder}", advice)
    lock = Path(f"{path}.lock")
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        pass
    except BlockingIOError:
        if ours:
            return fine("ports", f"dispatch.bind: {path} is used by the streamer that runs")
        advice = "stop it, or give this streamer another dispatch.bind"
        return fail("ports", f"dispatch.bind: another streamer uses {path}", advice)
    except OSError as error:
        advice = "remove it, or choose another path"
        return fail("ports", f"dispatch.bind: {lock} belongs to another user: {error.strerror}", advice)
    return fine("ports", f"dispatch.bind: {path} is free")


def _shows_certificate(host: str, port: int, tls: Tls) -> bool:
    """Return whether a server shows the certificate of the configuration."""
    try:
        ours = ssl.PEM_cert_to_DER_cert(_first_certificate(Path(tls.certificate).read_text(encoding="ascii")))
        context = _unchecked()
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((host, port), timeout=ANSWER_S) as connection,
            context.wrap_socket(connection) as encrypted,
        ):
            return encrypted.getpeercert(binary_form=True) == ours
    except (OSError, ValueError):  # UnicodeDecodeError is a ValueError
        return False


def _shows_metrics(address: str, tls: Tls | None) -> bool:
    """Return whether an endpoint with our metrics answers; one that wants a token counts."""
    host, port = split_address(address)
    if port == 0:
        return False
    host = _reachable(host)
    connection = (
        http.client.HTTPConnection(host, port, timeout=ANSWER_S)
        if tls is None
        else http.client.HTTPSConnection(host, port, timeout=ANSWER_S, context=_unchecked())
    )
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        wants = response.status == 401 and response.getheader("WWW-Authenticate") == "Bearer"
        return wants or b"faceanalytics_build_info" in response.read()
    except (OSError, http.client.HTTPException, ConfigError):
        return False
    finally:
        connection.close()


def _first_certificate(pem: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    if begin not in pem or end not in pem:
        raise ValueError("no certificate")
    return pem[pem.index(begin) : pem.index(end) + len(end)]


def _unchecked() -> ssl.SSLContext:
    """Return settings that accept any server: nothing secret is sent to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _quoted(host: str) -> str:
    return f"[{host}]" if ":" in host else host
