"""Encoded files as RTP payloads: what the test server sends."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

CLOCK_RATE = 90_000  # RTP ticks per second
PAYLOAD_BYTES = 1200


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One encoded image."""

    nals: tuple[bytes, ...]
    shown: float  # s since the first image
    due: float  # s since the first image, when it is sent; never before it is shown


@dataclass(frozen=True, slots=True)
class Clip:
    codec: str  # h264 or hevc
    units: tuple[AccessUnit, ...]
    length: float  # s, one round of the loop
    sdp: str = ""  # what DESCRIBE answers; empty: a description of the images


def load_clip(path: Path) -> Clip:
    """Every encoded image of an H.264 or H.265 file, as Annex B NAL units."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context.name
        annex_b = BitStreamFilterContext(f"{codec}_mp4toannexb", stream)
        packets = [out for packet in container.demux(stream) if packet.size for out in annex_b.filter(packet)]
        base = stream.time_base or Fraction(1, CLOCK_RATE)
    shown = [float((packet.pts or 0) * base) for packet in packets]
    order = [float((packet.dts or 0) * base) for packet in packets]
    first, delay = min(shown), max(s - o for s, o in zip(shown, order, strict=True))
    units = tuple(
        AccessUnit(tuple(_nals(bytes(packet))), s - first, o - first + delay)
        for packet, s, o in zip(packets, shown, order, strict=True)
    )
    step = (max(shown) - first) / max(1, len(shown) - 1)
    return Clip(codec, units, max(shown) - first + step)


def start_late(clip: Clip, skipped: int, key_frames: bool = True) -> Clip:
    """The clip without its first images, as a camera that a client joins; `key_frames`: False leaves out all others."""
    description, first = describe(clip), clip.units[skipped]
    units = [
        replace(unit, shown=unit.shown - first.shown, due=unit.due - first.due)
        for unit in clip.units[skipped:]
        if key_frames or not any(nal[0] & 0x1F == 5 for nal in unit.nals)
    ]
    return replace(clip, units=tuple(units), length=clip.length - first.shown, sdp=description)


def sound_only() -> Clip:
    """A second of telephone sound."""
    units = tuple(AccessUnit((b"\xd5" * 160,), number / 50, number / 50) for number in range(50))
    return Clip("h264", units, 1.0, _sdp("m=audio 0 RTP/AVP 96", "a=rtpmap:96 PCMU/8000"))


def unknown_codec(clip: Clip) -> Clip:
    """The clip, announced as a codec that nobody knows."""
    return replace(clip, sdp=_sdp("m=video 0 RTP/AVP 96", f"a=rtpmap:96 UNHEARD/{CLOCK_RATE}"))


def _sdp(*media: str) -> str:
    head = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=test", "c=IN IP4 0.0.0.0", "t=0 0", "a=control:*"]
    return "\r\n".join([*head, *media, "a=control:track1", ""])


def _nals(data: bytes) -> Iterator[bytes]:
    """The NAL units between the start codes."""
    for part in re.split(rb"\x00\x00\x00?\x01", data):
        if part:
            yield part


def packetise(codec: str, nal: bytes) -> list[bytes]:
    """RTP payloads of one NAL unit (RFC 6184 FU-A, RFC 7798 FU)."""
    if len(nal) <= PAYLOAD_BYTES:
        return [nal]
    if codec == "h264":
        prefix, kind, body = bytes([nal[0] & 0xE0 | 28]), nal[0] & 0x1F, nal[1:]
    else:
        prefix, kind, body = bytes([nal[0] & 0x81 | 49 << 1, nal[1]]), nal[0] >> 1 & 0x3F, nal[2:]
    parts = [body[start : start + PAYLOAD_BYTES] for start in range(0, len(body), PAYLOAD_BYTES)]
    marks = [0x80, *[0] * (len(parts) - 2), 0x40]
    return [prefix + bytes([mark | kind]) + part for mark, part in zip(marks, parts, strict=True)]


def describe(clip: Clip) -> str:
    """SDP with the parameter sets of the first image, unless the clip has one of its own."""
    if clip.sdp:
        return clip.sdp
    kinds = {"h264": {7: "sprop-sps", 8: "sprop-pps"}, "hevc": {32: "sprop-vps", 33: "sprop-sps", 34: "sprop-pps"}}
    sets = {}
    for nal in clip.units[0].nals:
        kind = nal[0] & 0x1F if clip.codec == "h264" else nal[0] >> 1 & 0x3F
        if kind in kinds[clip.codec]:
            sets[kinds[clip.codec][kind]] = base64.b64encode(nal).decode()
    if clip.codec == "h264":
        name, format_parameters = "H264", f"packetization-mode=1;sprop-parameter-sets={','.join(sets.values())}"
    else:
        name, format_parameters = "H265", ";".join(f"{key}={value}" for key, value in sets.items())
    return _sdp("m=video 0 RTP/AVP 96", f"a=rtpmap:96 {name}/{CLOCK_RATE}", f"a=fmtp:96 {format_parameters}")
