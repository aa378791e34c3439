"""Files whose timestamps are wrong in the ways that cameras and recorders get them wrong."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet

TS_PACKET, TS_SYNC = 188, 0x47
WRAP = 1 << 33  # where the timestamps of MPEG-TS begin again, in 1/90,000 s


def restamp_ts(video: Path, path: Path, change: Callable[[int, int], int]) -> Path:
    """A copy of an MPEG-TS, in which `change` gives the timestamps of picture n (in the order of storage): n and a
    timestamp in 1/90,000 s go in, the new one comes out.
    """
    data, number = bytearray(video.read_bytes()), 0
    for start in range(0, len(data), TS_PACKET):
        assert data[start] == TS_SYNC
        payload = start + 4 + (1 + data[start + 4] if data[start + 3] & 0x20 else 0)
        begins = data[start + 1] & 0x40 and data[payload : payload + 3] == b"\0\0\1"
        if not begins or data[payload + 3] & 0xF0 != 0xE0:  # not a picture
            continue
        for place in range(1 + (data[payload + 7] >> 6 & 1)):  # of presentation, perhaps of decoding
            field = slice(payload + 9 + 5 * place, payload + 14 + 5 * place)
            data[field] = _packed(change(number, _stamp(bytes(data[field]))) % WRAP, data[field][0] >> 4)
        number += 1
    path.write_bytes(data)
    return path


def _stamp(field: bytes) -> int:
    """Timestamps have 33 bits, in three groups that each end with a 1."""
    number = int.from_bytes(field, "big")
    return (number >> 33 & 7) << 30 | (number >> 17 & 0x7FFF) << 15 | number >> 1 & 0x7FFF


def _packed(stamp: int, prefix: int) -> bytes:
    groups = prefix << 36 | (stamp >> 30) << 33 | 1 << 32 | (stamp >> 15 & 0x7FFF) << 17 | 1 << 16
    return (groups | (stamp & 0x7FFF) << 1 | 1).to_bytes(5, "big")


def restamp(video: Path, path: Path, times: Sequence[float], container_format: str | None = None) -> Path:
    """A copy in any container, without encoding, whose pictures (in the order of storage) are shown at `times` in s.

    Muxers insist on growing decoding times, so these lie a thousandth apart, long before.
    """
    tick = Fraction(1, 1000)
    with av.open(str(video)) as source, av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        first = min(0.0, *times) - len(packets) * float(tick)
        for number, (packet, time) in enumerate(zip(packets, times, strict=True)):
            packet.time_base, packet.stream = tick, stream
            packet.pts, packet.dts, packet.duration = round(time / tick), round(first / tick) + number, 0
            container.mux(packet)
    return path


def with_ending(video: Path, path: Path, *, last_s: float = 0.0, audio_s: float = 0.0, movflags: str = "") -> Path:
    """A copy in any container, without encoding, whose last picture is held for `last_s`, or with `audio_s` of silence.

    `movflags` are those of FFmpeg's muxer for MP4.
    """
    options = {"movflags": movflags} if movflags else {}
    codec = {".avi": "mp2", ".wmv": "wmav2"}.get(path.suffix, "aac")
    with av.open(str(video)) as source, av.open(str(path), "w", options=options) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        sound = container.add_stream(codec, rate=32_000, layout="mono") if audio_s else None
        assert sound is None or isinstance(sound, av.AudioStream)
        packets: list[Packet[Any]] = [packet for packet in source.demux(video=0) if packet.size]
        last = max(packets, key=lambda packet: packet.pts or 0)
        for packet in packets:
            packet.stream = stream
            if packet is last and last_s:
                packet.duration = round(last_s / packet.time_base)
        packets += [] if sound is None else _silence(sound, audio_s)
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            container.mux(packet)
    return path


def _silence(stream: av.AudioStream, seconds: float) -> "list[Packet[Any]]":
    stream.codec_context.bit_rate = 48_000
    stream.codec_context.open()
    size, kind = stream.codec_context.frame_size, stream.codec_context.format.name
    data = np.zeros((1, size), np.float32 if kind.startswith("flt") else np.int16)
    packets: list[Packet[Any]] = []
    for start in range(0, round(seconds * 32_000), size):
        frame = av.AudioFrame.from_ndarray(data, format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 32_000, start, Fraction(1, 32_000)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def empty_sample(video: Path, path: Path, number: int) -> Path:
    """A copy of an MP4 with its index first, whose picture `number` is a sample of no bytes, as some cameras write."""
    data = bytearray(video.read_bytes())
    table, chunk, media = data.index(b"stsz") + 16, data.index(b"stco") + 12, data.index(b"mdat") - 4
    sizes = [int.from_bytes(data[table + 4 * n : table + 4 * n + 4], "big") for n in range(number + 1)]
    begins = int.from_bytes(data[chunk : chunk + 4], "big") + sum(sizes[:-1])
    length = int.from_bytes(data[media : media + 4], "big") - sizes[-1]
    data[media : media + 4] = length.to_bytes(4, "big")
    data[table + 4 * number : table + 4 * number + 4] = bytes(4)
    del data[begins : begins + sizes[-1]]
    path.write_bytes(data)
    return path


def joined(parts: Sequence[Path], path: Path) -> Path:
    """The bytes of several files, one after the other, as recorders join the segments of an MPEG-TS."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path
