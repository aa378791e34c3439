"""Look at a source for a few seconds: what it offers, how fast, with which clock, and what is wrong."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError

from streamer.config import Stream, redact
from streamer.kinds import kind_of, lower_scheme
from streamer.source.clock import CameraClock
from streamer.source.decoder import USUAL_STEP_S, demux, frame_rate
from streamer.source.file import open_file, probe_file
from streamer.source.hardware import CPU
from streamer.source.image_folder import IMAGES_CODEC, images_of, show_folder
from streamer.source.network import Connection, connect_source
from streamer.source.packet_times import report_clock, stamp_arrival
from streamer.source.rtsp import SourceLost, codec_name, explain, offered
from streamer.values import ClockSource, SourceErrorCode

if TYPE_CHECKING:
    from av.packet import Packet

ENOUGH_S = 2.0  # of packets, if key-frame interval and clock are known by then
FILE_S = 30.0  # of a file that are looked at


@dataclass(slots=True)
class Survey:
    """What was found. Times are s since the look began; None or 0: not seen."""

    offers: list[str] = field(default_factory=list)  # such as "video h264"; the first one is used
    audio: str | None = None  # its codec; empty: there is none; None: unknown
    codec: str = ""
    profile: str = ""
    width: int = 0  # px
    height: int = 0  # px
    declared_fps: float | None = None  # in the header
    connected_s: float | None = None
    first_packet_s: float | None = None
    first_frame_s: float | None = None
    packets: int = 0
    timed: int = 0  # packets with a timestamp; the first ones may lack it
    corrupt: int = 0  # packets marked as damaged
    key_frames: int = 0
    size_bytes: int = 0  # of all packets
    watched_s: float = 0.0  # from the first to the last packet, by their timestamps
    key_frame_interval_s: float | None = None  # the longest between two key frames
    since_key_frame_s: float = 0.0  # from the last key frame to the last packet
    clock: ClockSource = ClockSource.ARRIVAL
    clock_offset_s: float | None = None  # this machine's clock minus the camera's
    duration_s: float | None = None  # of a file, by its header
    error: SourceErrorCode | None = None  # without one it is usable
    problem: str = ""

    @property
    def fps(self) -> float | None:
        """Return the measured frames per second."""
        return (self.timed - 1) / self.watched_s if self.watched_s > 0 else None

    @property
    def kilobits_per_s(self) -> float | None:
        """Return the measured bit rate."""
        return self.size_bytes * 8e-3 / self.watched_s if self.watched_s > 0 else None


def survey_camera(address: str, stream: Stream, wait_s: float) -> Survey:
    """Connect as the streamer does, and look for at most `wait_s`; it ends earlier once all is known.

    For every kind of source but files and folders of images.
    """
    began, found, address = time.monotonic(), Survey(), lower_scheme(address)
    rtsp = kind_of(address) == "rtsp"
    try:
        source = connect_source(address, stream, CPU)
        with source.container:
            found.connected_s = time.monotonic() - began
            found.duration_s = (source.container.duration or 0) / av.time_base if source.ends else None
            _describe(source.container, source.video, found)
            if not rtsp:
                _add_others({each.type: codec_name(each) for each in source.container.streams}, found)
            _watch(source, address, began, wait_s, found, may_report=rtsp)
    except SourceLost as lost:
        found.error, found.problem = lost.code, str(lost).removeprefix(f"{redact(address)}: ")
    if found.packets and rtsp:  # a second connection, because the streamer asks for video only
        _add_others(offered(address, stream), found)
    return found


def survey_file(path: Path) -> Survey:
    """Look at the beginning of a file. Raises InputError if it is not a video."""
    began, info = time.monotonic(), probe_file(path)
    found = Survey(clock=ClockSource.FILE_PTS, width=info.width, height=info.height, duration_s=info.duration_s)
    with open_file(path) as container:
        video = container.streams.video[info.video_stream]
        _describe(container, video, found)
        _add_others({each.type: codec_name(each) for each in container.streams}, found)
        found.first_frame_s = time.monotonic() - began
        meter = _Meter(found)
        for packet in _readable(container, video):
            meter.add(packet)
            if found.watched_s >= FILE_S:
                break
    return found


def survey_folder(folder: Path) -> Survey:
    """Look at a folder of images. Raises InputError if none can be read."""
    began = time.monotonic()
    first = next(iter(show_folder(folder, "probe", 1.0)))
    return Survey(
        offers=[f"video {IMAGES_CODEC}"],
        audio="",
        codec=IMAGES_CODEC,
        width=first.size[0],
        height=first.size[1],
        first_frame_s=time.monotonic() - began,
        packets=len(images_of(folder)),
        clock=ClockSource.FILE_PTS,
    )


def _add_others(kinds: dict[str, str], found: Survey) -> None:
    """Add what there is besides video. An empty dict: that could not be found out."""
    found.offers += [f"{kind} {codec}" for kind, codec in sorted(kinds.items()) if kind != "video"]
    found.audio = kinds.get("audio", "") if kinds else None


def _readable(container: InputContainer, video: av.VideoStream) -> Iterator["Packet[av.VideoStream]"]:
    """Yield packets up to the first that cannot be read."""
    try:
        yield from (packet for packet in demux(container, video) if packet.size)
    except FFmpegError:
        return


def _describe(container: InputContainer, video: av.VideoStream, found: Survey) -> None:
    others = [each for each in container.streams.video if each.index != video.index]
    found.offers = [f"video {codec_name(each)}" for each in (video, *others)]
    context = video.codec_context
    found.codec, found.profile = context.name, str(context.profile or "")
    found.width, found.height = found.width or context.width, found.height or context.height
    found.declared_fps = frame_rate(video)


def _watch(source: Connection, address: str, began: float, wait_s: float, found: Survey, may_report: bool) -> None:
    """Measure packets until all is known, or `wait_s` after `began`. Raises SourceLost.

    `may_report`: the source may still send a report of its clock, which is waited for.
    """
    meter, clock = _Meter(found), CameraClock()
    for packet in _arriving(source, address, began + wait_s):
        now, host_utc = time.monotonic() - began, time.time()
        if source.untimed:
            stamp_arrival(packet, now)
        found.first_packet_s = now if found.first_packet_s is None else found.first_packet_s
        meter.add(packet)
        report_clock(clock, packet, meter.time, host_utc)
        camera_utc = None if meter.time is None else clock.utc(meter.time)
        if camera_utc is not None:
            found.clock, found.clock_offset_s = ClockSource.RTCP_NTP, host_utc - camera_utc
        if found.first_frame_s is None:
            _decode(packet, now, found)
        timed = camera_utc is not None or not may_report
        known = found.first_frame_s is not None and found.key_frame_interval_s is not None and timed
        if known and found.watched_s >= ENOUGH_S:
            break
    _judge(found, wait_s)


def _arriving(source: Connection, address: str, until: float) -> Iterator["Packet[av.VideoStream]"]:
    """Yield packets until a moment of the monotonic clock, or the end of a recording.

    Raises SourceLost if the connection ends earlier.
    """
    lost: SourceLost | None = None
    while lost is None:
        try:
            for packet in demux(source.container, source.video):
                if packet.size:
                    yield packet
                if time.monotonic() >= until:
                    return
            if source.ends:
                return
            lost = SourceLost(SourceErrorCode.CONNECTION_FAILED, "the camera closed the connection")
        except ExitError:  # no data for the read time-out
            if time.monotonic() >= until:
                return
        except FFmpegError as error:
            lost = explain(error, address) or SourceLost(
                SourceErrorCode.CONNECTION_FAILED, "the connection was lost while packets arrived"
            )
    raise lost  # here, so that the FFmpeg error, whose text contains the address, is not attached


def _decode(packet: "Packet[av.VideoStream]", now: float, found: Survey) -> None:
    try:
        frames = packet.decode()
    except FFmpegError:  # as long as no key frame has come, that is normal
        return
    if frames:
        found.first_frame_s, found.width, found.height = now, frames[0].width, frames[0].height


def _judge(found: Survey, wait_s: float) -> None:
    """Set the problem if there was no picture."""
    if found.first_frame_s is not None:
        return
    found.error = SourceErrorCode.TIMEOUT
    if not found.packets:
        found.problem = f"no picture: connected, and {found.codec} video is announced, but no packet for {wait_s:g} s"
    elif not found.key_frames:
        found.problem = (
            f"packets arrive ({found.packets} so far), but no key frame yet within {wait_s:g} s: wait longer with "
            "--wait, or shorten the camera's key-frame (I-frame) interval"
        )
    else:
        found.error = SourceErrorCode.CODEC_UNSUPPORTED
        found.problem = f"key frames arrive, but none can be decoded as {found.codec} {found.profile}".rstrip()


class _Meter:
    """Counts packets, and measures by their timestamps."""

    def __init__(self, found: Survey) -> None:
        self.time: float | None = None  # s, timestamp of the newest packet
        self._found = found
        self._first: float | None = None
        self._key: float | None = None
        self._since_untimed = 0  # packets since a key frame that has no timestamp; 0: there is none

    def add(self, packet: "Packet[av.VideoStream]") -> None:
        found = self._found
        found.packets += 1
        found.size_bytes += packet.size
        found.corrupt += packet.is_corrupt
        found.key_frames += packet.is_keyframe
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or packet.time_base is None:
            self._since_untimed += packet.is_keyframe or self._since_untimed > 0
            return
        found.timed += 1
        self.time = float(stamp * packet.time_base)
        self._first = self.time if self._first is None else self._first
        found.watched_s = max(found.watched_s, self.time - self._first)
        if self._since_untimed:
            self._key = self.time - self._since_untimed / (found.declared_fps or 1 / USUAL_STEP_S)
            self._since_untimed = 0
        if packet.is_keyframe:
            if self._key is not None:
                found.key_frame_interval_s = max(found.key_frame_interval_s or 0.0, self.time - self._key)
            self._key = self.time
        if self._key is not None:
            found.since_key_frame_s = max(0.0, self.time - self._key)
