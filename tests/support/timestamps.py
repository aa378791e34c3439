"""Files whose timestamps are wrong in the ways that cameras and recorders get them wrong."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av

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
        for place in range(data[payload + 7] >> 6 & 1 + 1):
            field = slice(payload + 9 + 5 * place, payload + 14 + 5 * place)
            data[field] = _packed(change(number, _stamp(data[field])) % WRAP, data[field][0] >> 4)
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


def joined(parts: Sequence[Path], path: Path) -> Path:
    """The bytes of several files, one after the other, as recorders join the segments of an MPEG-TS."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path
