"""Connect to cameras and streams of every kind that FFmpeg opens: RTSP, HTTP (MJPEG, HLS, files), RTMP, SRT, V4L2."""

import errno
import time
from dataclasses import dataclass

import av
from av import error as av_errors
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard

from faceanalytics.errors import InputError
from streamer.addresses import suspicious
from streamer.config import Stream, redact
from streamer.kinds import SourceKind, kind_of, local_path, lower_scheme
from streamer.source.choice import Choice, choose_stream
from streamer.source.hardware import acceleration, check_decodes
from streamer.source.lists import HLS, allowed_formats
from streamer.source.rtsp import ANALYSE_US, SourceLost, connect, explain, explain_io
from streamer.values import SourceErrorCode

WITHOUT_TIMES = 0x80  # AVFMT_NOTIMESTAMPS: the format stores no times, as MJPEG over HTTP


class SourceUnusable(SourceLost):
    """The source will not work with these settings, so it is not tried again."""


@dataclass(frozen=True, slots=True)
class Access:
    """How FFmpeg opens one kind of source. `protocols`: what the source, or a list in it, may make FFmpeg use."""

    protocols: str
    playlists: bool = False
    format: str | None = None


WEB = "http,https,tcp,tls,httpproxy,crypto"  # never file: a playlist from the network must not read local files
ACCESS: dict[SourceKind, Access] = {
    "http": Access(WEB, playlists=True),
    "rtmp": Access("rtmp,rtmps,rtmpt,rtmpts,ffrtmphttp,http,https,tcp,tls"),
    "srt": Access("srt,udp"),
    "device": Access("", format="video4linux2"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """An open source and its video stream."""

    container: InputContainer
    choice: Choice
    untimed: bool  # its packets have no times of their own: use those of their arrival
    paced: bool  # it delivers faster than it is shown, such as a segment at a time: wait until frames are due
    ends: bool  # it has a declared length, after which it has ended

    @property
    def video(self) -> av.VideoStream:
        """Return the video stream to decode."""
        return self.choice.stream


def connect_source(address: str, stream: Stream, device: str) -> Connection:
    """Open a source of any kind but files, decoding on `device`. Raises SourceLost, also for one without video."""
    kind, address = kind_of(address), lower_scheme(address)
    container = connect(address, stream, device) if kind == "rtsp" else _connect(kind, address, stream, device)
    if container.format.name in HLS and stream.tls_ca_file is not None:
        container.close()
        text = "FFmpeg checks the certificate of an HLS playlist, but not of its segments; leave out tls_ca_file"
        raise SourceUnusable(SourceErrorCode.TLS_CERTIFICATE, f"{redact(address)}: {text}")
    try:
        choice = choose_stream(container, redact(address), stream.video_stream)
        check_decodes(choice.stream, device)
    except InputError as error:
        container.close()
        raise SourceLost(SourceErrorCode.CODEC_UNSUPPORTED, str(error)) from error
    for other in container.streams:
        if other is not choice.stream:
            other.discard = Discard.all  # HLS then fetches one variant only
    untimed = bool(int(container.format.flags) & WITHOUT_TIMES)
    paced = kind == "http" and not untimed
    return Connection(container, choice, untimed, paced, ends=paced and container.duration is not None)


def _connect(kind: SourceKind, address: str, stream: Stream, device: str) -> InputContainer:
    access, path = ACCESS[kind], local_path(address)
    options = {"analyzeduration": ANALYSE_US, "live_start_index": "-1"}  # HLS: start with the newest segment
    if access.format is None:
        options["protocol_whitelist"] = access.protocols
        options["format_whitelist"] = allowed_formats(HLS if access.playlists else frozenset())
    if stream.tls_ca_file is not None:
        options |= {"tls_verify": "1", "ca_file": stream.tls_ca_file}
    read_timeout = min(stream.first_frame_timeout_s, stream.stall_timeout_s)
    began = time.monotonic()
    try:
        return av.open(
            address if path is None else str(path),
            "r",
            format=access.format,
            options=options,
            timeout=(stream.connect_timeout_s, read_timeout),
            metadata_errors="replace",
            hwaccel=acceleration(device),
        )
    except FFmpegError as error:
        if kind == "device":
            lost = _explain_device(error, address)
        else:
            late = time.monotonic() - began >= stream.connect_timeout_s
            lost = _explain(error, address, stream, late)
            hint = suspicious(address) if lost.code is SourceErrorCode.AUTH_FAILED else ""
            lost = SourceLost(lost.code, f"{lost}; {hint}") if hint else lost
    except RuntimeError:  # of PyAV: no stream can be decoded on the device
        lost = SourceLost(SourceErrorCode.CODEC_UNSUPPORTED, f"{redact(address)}: {device} cannot decode its codec")
    raise lost  # not from the error: its text contains the password


def _explain(error: FFmpegError, address: str, stream: Stream, late: bool) -> SourceLost:
    if late and not isinstance(error, av_errors.HTTPError):
        return SourceLost(SourceErrorCode.TIMEOUT, f"{redact(address)}: no answer in time")
    if isinstance(error, av_errors.ProtocolNotFoundError):
        scheme = address.partition(":")[0].lower()
        text = f"{redact(address)}: this build of FFmpeg, which PyAV brings, cannot read {scheme}://"
        return SourceUnusable(SourceErrorCode.CONNECTION_FAILED, text)
    if isinstance(error, av_errors.ArgumentError):  # a demuxer or protocol outside the whitelists
        return SourceLost(SourceErrorCode.CONNECTION_FAILED, f"{redact(address)}: the answer is not a video stream")
    return explain(error, address) or explain_io(address, stream)


def _explain_device(error: FFmpegError, address: str) -> SourceLost:
    codes = {
        errno.EBUSY: (SourceErrorCode.CONNECTION_FAILED, "the device is in use by another program"),
        errno.ENODEV: (SourceErrorCode.NOT_FOUND, "the device is not connected"),
        errno.ENOTTY: (SourceErrorCode.CODEC_UNSUPPORTED, "not a V4L2 camera"),
        errno.EINVAL: (SourceErrorCode.CODEC_UNSUPPORTED, "not a V4L2 camera that captures video"),
    }
    if isinstance(error, av_errors.FileNotFoundError):
        code, text = SourceErrorCode.NOT_FOUND, "no such device"
    elif isinstance(error, av_errors.PermissionError):
        code, text = SourceErrorCode.AUTH_FAILED, "access denied; add the user of this program to the group `video`"
    else:
        code, text = codes.get(
            error.errno or 0, (SourceErrorCode.CONNECTION_FAILED, error.strerror or "cannot be opened")
        )
    return SourceLost(code, f"{address}: {text}")
