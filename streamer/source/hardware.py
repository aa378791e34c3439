"""Decode on a GPU where FFmpeg offers it: check the device at the start, and never decode anywhere else instead."""

import av
from av.codec.codec import Codec
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from faceanalytics.errors import InputError, ModelError

CPU = "cpu"
QSV = "qsv"  # has decoders of its own (h264_qsv), the other devices work below FFmpeg's usual ones


def check_device(device: str) -> None:
    """Open the decode device once. Raises ModelError, which lists the devices that can be used, if that fails."""
    kind = device.partition(":")[0]
    if kind == CPU:
        return
    problem = _problem(device)
    if problem:
        usable = [CPU, *(each for each in _offered() if not _problem(each))]
        raise ModelError(
            f"decode_device: {device} cannot be used: {problem}; usable on this machine: {', '.join(usable)}"
        )


def acceleration(device: str) -> HWAccel | None:
    """Return what `av.open` needs to decode on this device: None for cpu, and for qsv, which has its own decoders."""
    return None if device.partition(":")[0] in (CPU, QSV) else _acceleration(device)


def own_decoder(stream: av.VideoStream, device: str) -> VideoCodecContext | None:
    """Return the decoder for a stream on qsv; None: decode with that of the stream. Raises InputError without one.

    A decoder of its own does not know the rotation that a file declares, so use it for cameras only.
    """
    if device.partition(":")[0] != QSV:
        return None
    try:
        decoder = CodecContext.create(f"{stream.codec_context.name}_qsv", "r", _acceleration(device))
    except (FFmpegError, ValueError) as error:  # the second is UnknownCodecError
        raise InputError(f"{device} cannot decode {stream.codec_context.name}") from error
    assert isinstance(decoder, VideoCodecContext)
    if not decoder.is_hwaccel:
        raise InputError(f"{device} cannot be used")
    decoder.extradata = stream.codec_context.extradata
    return decoder


def check_decodes(stream: av.VideoStream, device: str) -> None:
    """Raise InputError if the codec of a stream cannot be decoded on this device."""
    if device.partition(":")[0] not in (CPU, QSV) and not stream.codec_context.is_hwaccel:
        raise InputError(f"{device} cannot decode {stream.codec_context.name}")


def _acceleration(device: str) -> HWAccel:
    kind, _, which = device.partition(":")
    return HWAccel(kind, which or None, allow_software_fallback=False)


def _offered() -> list[str]:
    """Return the kinds of devices that the settings can name and this build of FFmpeg can use."""
    return [kind for kind in ("cuda", "vaapi", QSV) if kind in hwdevices_available()]


def _problem(device: str) -> str:
    """Return why a device cannot be opened; empty if it can."""
    kind = device.partition(":")[0]
    if kind not in _offered():
        return f"this build of FFmpeg, which PyAV brings, has no {kind}"
    try:
        _acceleration(device).create(Codec("h264_qsv" if kind == QSV else "h264", "r"))
    except (FFmpegError, NotImplementedError) as error:
        return f"no such device, or no driver for it ({getattr(error, 'strerror', None) or error})"
    return ""
