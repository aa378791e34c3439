"""Connect to RTSP cameras and explain their errors, without passwords in any message."""

import errno
import socket
import ssl
import time
from urllib.parse import urlsplit

import av
from av import error as av_errors
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Stream as AnyStream

from streamer.addresses import has_login
from streamer.config import Stream, redact
from streamer.source.diagnosis import PORTS, advice, tls_context
from streamer.source.hardware import CPU, acceleration
from streamer.values import SourceErrorCode

ANALYSE_US = "100000"  # FFmpeg's default of seconds delays opening, then delivers old frames all at once
ALL_MEDIA = "video+audio+data"
WITH_TLS = ("https://", "rtmps://", "rtsps://")

CAUSES: tuple[tuple[type[FFmpegError], SourceErrorCode, str], ...] = (
    (av_errors.HTTPUnauthorizedError, SourceErrorCode.AUTH_FAILED, "user name or password rejected; check the uri"),
    (av_errors.HTTPForbiddenError, SourceErrorCode.AUTH_FAILED, "access forbidden"),
    (
        av_errors.HTTPNotFoundError,
        SourceErrorCode.NOT_FOUND,
        "no such stream on the server; check the uri",
    ),
    (av_errors.ExitError, SourceErrorCode.TIMEOUT, "no answer in time"),
    (av_errors.TimeoutError, SourceErrorCode.TIMEOUT, "no answer in time"),
    (av_errors.ConnectionRefusedError, SourceErrorCode.CONNECTION_FAILED, "connection refused; check host and port"),
    (av_errors.InvalidDataError, SourceErrorCode.CONNECTION_FAILED, "the answer is not a video stream"),
    (av_errors.EOFError, SourceErrorCode.CONNECTION_FAILED, "the connection was closed"),
    (av_errors.DecoderNotFoundError, SourceErrorCode.CODEC_UNSUPPORTED, "its codec is not supported"),
)


class SourceLost(Exception):
    """The camera cannot be reached or no longer delivers frames."""

    def __init__(self, code: SourceErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def connect(address: str, stream: Stream, device: str = CPU, media: str = "video") -> InputContainer:
    """Open an rtsp:// or rtsps:// address with the timeouts of `stream`, decoding on `device`, and ask for `media`.

    Raises SourceLost.
    """
    began = time.monotonic()
    try:
        return _open(address, stream, device, media)
    except FFmpegError as error:
        refused_without_video = isinstance(error, av_errors.HTTPOtherClientError) and media != ALL_MEDIA
        late = time.monotonic() - began >= stream.connect_timeout_s
        if late and not isinstance(error, av_errors.HTTPError):  # FFmpeg reports a timeout as an invalid answer
            lost = SourceLost(SourceErrorCode.TIMEOUT, f"{redact(address)}: no answer in time")
        else:
            lost = explain(error, address) or explain_io(address, stream)
    except RuntimeError:  # of PyAV: no stream can be decoded on the device
        refused_without_video = False
        lost = SourceLost(SourceErrorCode.CODEC_UNSUPPORTED, f"{redact(address)}: {device} cannot decode its codec")
    if refused_without_video and (kinds := offered(address, stream)) and "video" not in kinds:
        text = f"contains no video (only {', '.join(sorted(kinds))}); choose an address of the camera that has video"
        raise SourceLost(SourceErrorCode.CODEC_UNSUPPORTED, f"{redact(address)}: {text}")
    hint = advice(lost.code, address, stream.connect_timeout_s)
    raise SourceLost(lost.code, f"{lost}; {hint}") if hint else lost  # not from the error: it contains the password


def _open(address: str, stream: Stream, device: str, media: str) -> InputContainer:
    """Open an address. Raises RuntimeError if no stream can be decoded on the device, and FFmpegError, whose text
    contains the password.
    """
    options = {"rtsp_transport": stream.transport, "allowed_media_types": media, "analyzeduration": ANALYSE_US}
    if stream.tls_ca_file is not None:
        options |= {"tls_verify": "1", "ca_file": stream.tls_ca_file}
    timeouts = stream.connect_timeout_s, min(stream.first_frame_timeout_s, stream.stall_timeout_s)
    return av.open(
        address, "r", options=options, timeout=timeouts, metadata_errors="replace", hwaccel=acceleration(device)
    )


def offered(address: str, stream: Stream) -> dict[str, str]:
    """Return the kinds of media at an address, each with its codec, such as audio: aac. Empty if that fails."""
    try:
        with _open(address, stream, CPU, ALL_MEDIA) as container:
            return {each.type: codec_name(each) for each in container.streams}
    except FFmpegError:
        return {}


def codec_name(stream: AnyStream) -> str:
    """Return the name of a stream's codec, such as h264; `unknown` if FFmpeg has no decoder for it."""
    context = getattr(stream, "codec_context", None)  # None without a decoder; data streams have none
    return context.name if context is not None else "unknown"


def explain(error: FFmpegError, address: str) -> SourceLost | None:
    """Translate an error of FFmpeg, or return None if it does not reveal the cause."""
    if error.errno == errno.EIO or (isinstance(error, av_errors.EOFError) and address.startswith(WITH_TLS)):
        return None  # all that FFmpeg reports about names and certificates
    for kind, code, text in CAUSES:
        if isinstance(error, kind):
            if code is SourceErrorCode.AUTH_FAILED and not has_login(address):
                scheme = address.partition("://")[0]
                text = f"the camera asks for a user name and a password; write {scheme}://USER:PASSWORD@HOST/PATH"
            return SourceLost(code, f"{redact(address)}: {text}")
    return SourceLost(SourceErrorCode.CONNECTION_FAILED, f"{redact(address)}: {error.strerror}")


def explain_io(address: str, stream: Stream) -> SourceLost:
    """Find the cause of FFmpeg's "Input/output error": the host name, the certificate or the connection."""
    where = redact(address)
    try:
        parts = urlsplit(address)
        with socket.create_connection(
            (parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)), stream.connect_timeout_s
        ) as raw:
            if address.startswith(WITH_TLS):
                tls_context(stream.tls_ca_file).wrap_socket(raw, server_hostname=parts.hostname).close()
    except socket.gaierror as error:
        return SourceLost(SourceErrorCode.CONNECTION_FAILED, f"{where}: unknown host ({error.strerror}); check the uri")
    except ssl.SSLCertVerificationError as error:
        return SourceLost(SourceErrorCode.TLS_CERTIFICATE, f"{where}: certificate rejected: {error.verify_message}")
    except ssl.SSLError as error:
        return SourceLost(SourceErrorCode.TLS_HANDSHAKE, f"{where}: TLS handshake failed: {error.reason}")
    except OSError as error:
        return SourceLost(SourceErrorCode.CONNECTION_FAILED, f"{where}: {error.strerror or error}")
    except ValueError:
        return SourceLost(SourceErrorCode.CONNECTION_FAILED, f"{where}: not an address")
    return SourceLost(SourceErrorCode.CONNECTION_FAILED, f"{where}: the connection was lost")
