"""Whether a video file is complete, as opposed to cut off."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import InputContainer

from streamer.source.extent import is_cut_off, is_joined

if TYPE_CHECKING:
    from av.packet import Packet

MISSING_S, MISSING_SHARE = 1.0, 0.05  # a video that ends before its declared end by more than both was cut off


@dataclass(slots=True)
class PacketTally:
    """Totals over the packets of a video stream."""

    packets: int = 0
    last_damaged: bool = False
    end: float = 0.0  # s, stream time at which the last one ends
    shortest: float = 0.0  # s, the shortest one of known length
    error: str = ""  # why the rest cannot be read

    def add(self, packet: "Packet[av.VideoStream]") -> None:
        """Count a packet, unless it is empty: a picture that repeats the one before, or the end."""
        if not packet.size:
            return
        self.packets += 1
        self.last_damaged = packet.is_corrupt
        stamp = packet.dts if packet.pts is None else packet.pts
        length = float((packet.duration or 0) * packet.time_base)
        self.shortest = min(length, self.shortest or length) if length else self.shortest
        if stamp is not None:
            self.end = max(self.end, float(stamp * packet.time_base) + length)


def what_is_missing(
    container: InputContainer, stream: av.VideoStream, path: Path, tally: PacketTally, shown: float
) -> str:
    """Return why a file that was read to its end is incomplete, or an empty string.

    `shown`: media time at which its last frame ends, in s.
    """
    if tally.error:
        return tally.error
    if tally.last_damaged:
        return "its last frame is incomplete"
    stated = _stated_frames(container, stream)
    if stated > tally.packets and container.format.name != "avi":
        return f"{stated - tally.packets} frames of its index are missing"
    # some containers count from 0, others from the first frame
    lacks = declared_duration(stream) - max(tally.end, shown)
    with contextlib.suppress(OSError):  # the file has been removed
        if is_joined(path):
            return "another video follows in the same file and is not read; join videos with FFmpeg, not byte by byte"
        cut_off = is_cut_off(path)
        if cut_off is not None:  # a declared length, in contrast, may include sound or a long last frame
            ends = "DURATION" in stream.metadata and lacks <= tally.shortest / 2
            counted = stream.frames > 0 and tally.packets >= stated > 0  # not known of a fragmented MP4
            all_there = ends or counted  # only sound or an index is missing
            return "the file is shorter than its container states" if cut_off and not all_there else ""
    if lacks > max(MISSING_S, MISSING_SHARE * declared_duration(stream)):
        return f"its declared length is {declared_duration(stream):.2f} s"
    return ""


def _stated_frames(container: InputContainer, stream: av.VideoStream) -> int:
    """Return the frames in the index of an MP4 (of a fragmented one, so far) or by the header of an AVI, or 0."""
    if container.format.name == "avi":
        return stream.frames
    if "mp4" not in container.format.name.split(","):
        return 0
    return sum(entry.size > 0 for entry in stream.index_entries)  # an empty one repeats the frame before


def declared_duration(stream: av.VideoStream) -> float:
    """Return the length of the video stream in s by its header, or 0 if the header does not state it."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    with contextlib.suppress(ValueError):  # Matroska keeps it as text: 00:01:02.500000000
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return 0.0
