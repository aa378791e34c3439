"""The times that packets of a live source carry: the camera's wall clock, and that of their arrival."""

import struct
from fractions import Fraction
from typing import TYPE_CHECKING

from streamer.source.clock import CameraClock

if TYPE_CHECKING:
    from av import VideoStream
    from av.packet import Packet

MICROSECONDS = Fraction(1, 1_000_000)  # unit of the times of packets that are stamped on arrival


def stamp_arrival(packet: "Packet[VideoStream]", seconds: float) -> None:
    """Give a packet without a time of its own that of its arrival, in s since the connection."""
    packet.pts = packet.dts = round(seconds / MICROSECONDS)
    packet.time_base = MICROSECONDS


def report_clock(clock: CameraClock, packet: "Packet[VideoStream]", media_time: float | None, host_utc: float) -> None:
    """Pass on the camera's wall clock, which FFmpeg attaches to each packet once a sender report has arrived.

    `media_time` of the packet in s, None if it is not known.
    """
    if media_time is not None and packet.has_sidedata("prft"):
        microseconds = struct.unpack_from("<q", bytes(packet.get_sidedata("prft")))[0]
        clock.report(media_time, microseconds / 1e6, host_utc)
