"""Find out why an RTSP connection fails, by looking at what answers on the port. No login is sent."""

import contextlib
import socket
import ssl
from urllib.parse import urlsplit

from streamer.addresses import suspicious
from streamer.values import SourceErrorCode

LOOK_S = 1.5  # longest wait for a connection, and for an answer
PORTS = {"http": 80, "https": 443, "rtmp": 1935, "rtmps": 443, "rtsp": 554, "rtsps": 322}


def advice(code: SourceErrorCode, address: str, timeout_s: float) -> str:
    """Say what may be wrong with an address that failed with `code`, and what to write instead. Empty if nothing.

    It may take four times `timeout_s`, at most four times LOOK_S, because it looks at the port of the address.
    """
    if code is SourceErrorCode.AUTH_FAILED:
        return suspicious(address)
    if code is SourceErrorCode.TLS_CERTIFICATE:
        return "the file in tls_ca_file must contain the authority that signed the camera's certificate"
    if code in (SourceErrorCode.CONNECTION_FAILED, SourceErrorCode.TIMEOUT, SourceErrorCode.TLS_HANDSHAKE):
        return suspicious(address) or _look(address, min(timeout_s, LOOK_S))
    return ""


def _look(address: str, timeout_s: float) -> str:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        host, port = "", 0
    if not host:
        return "write rtsp://HOST:PORT/PATH, with a port up to 65535"
    if parts.scheme not in ("rtsp", "rtsps"):
        return ""
    try:
        plain = _answer(host, port, timeout_s, tls=False)
    except TimeoutError:
        return "nothing answers there: check the address, the camera's power and the network"
    except OSError:  # unknown host or refused: the error says it already
        return ""
    encrypted = b""
    if not plain.startswith(b"RTSP/"):
        with contextlib.suppress(OSError):
            encrypted = _answer(host, port, timeout_s, tls=True)
    wanted, other = ("rtsps", "rtsp") if parts.scheme == "rtsps" else ("rtsp", "rtsps")
    answers = {"rtsp": plain, "rtsps": encrypted}
    if answers[wanted].startswith(b"RTSP/"):
        return ""
    if answers[other].startswith(b"RTSP/"):
        with_or_without = "without" if other == "rtsp" else "only with"
        return f"port {port} answers RTSP {with_or_without} TLS: write {other}:// in place of {wanted}://"
    answer = plain or encrypted
    if not answer:
        return (
            f"port {port} is open, but gives no answer: check the port, usually {PORTS[wanted]}, or restart the camera"
        )
    return f"port {port} {_kind(answer)}: write the camera's RTSP port, usually {PORTS[wanted]}"


def _kind(answer: bytes) -> str:
    """Say in words what gives this answer."""
    if answer.startswith(b"HTTP/") or b"<html" in answer.lower() or b"<!doctype" in answer.lower():
        return "is a web server (HTTP), not RTSP"
    if answer.startswith(b"SSH-"):
        return "is an SSH server, not RTSP"
    return "answers something else than RTSP"


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that checks certificates by the authorities in `ca_file`; None: it accepts any."""
    if ca_file is not None:
        return ssl.create_default_context(cafile=ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _answer(host: str, port: int, timeout_s: float, tls: bool) -> bytes:
    """Return the first bytes that a port answers to an RTSP request; empty without an answer. Raises OSError."""
    with contextlib.ExitStack() as opened:
        connection = opened.enter_context(socket.create_connection((host, port), timeout_s))
        if tls:
            connection = opened.enter_context(tls_context(None).wrap_socket(connection, server_hostname=host))
        try:
            connection.sendall(f"OPTIONS rtsp://{host}:{port}/ RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
            return connection.recv(1024)
        except OSError:
            return b""
