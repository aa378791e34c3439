"""Put the sound of the source into the annotated video, at the media times of its frames.

Streams that an MP4 can hold are copied, others are encoded as AAC. What cannot be read is left out and logged: sound
never keeps a video from being written.
"""

import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.video.stream import VideoStream

from faceanalytics.errors import InputError
from streamer.recorded.timeline import Timeline
from streamer.source.decoder import demux
from streamer.source.file import open_file

if TYPE_CHECKING:
    from av.packet import Packet

    Packets: TypeAlias = list["Packet[Any]"]

COPIED = {"aac", "ac3", "alac", "dca", "eac3", "flac", "mp2", "mp3", "opus"}  # of those that an MP4 can hold
AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
AAC_LAYOUTS = {1: "mono", 6: "5.1", 8: "7.1"}  # by the number of channels; other sound becomes stereo
DISORDER_S = 2.0  # between packets of different streams
DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EROFS}  # trouble with the output, not with the sound

log = logging.getLogger(__name__)


class _NotCopied(Exception):
    """An MP4 cannot hold the stream as it is."""


class _Track:
    """One audio stream on its way into the annotated video."""

    def __init__(self, stream: AudioStream, made: OutputContainer, copy: bool) -> None:
        """Raises FFmpegError if neither is possible."""
        self.stream = stream
        self.index = stream.index
        self.left_out = 0  # packets that are damaged or have a wrong time
        self._end = 0.0  # s, media time up to which there is sound
        self._last = -1.0  # s, of the last packet
        self._held: tuple[Packet[Any], float] | None = None  # until the next one shows that its time is right
        self._graph: Graph | None = None
        self._form: tuple[int, str, str] | None = None  # of the frames that the graph takes, or the first one copied
        self._samples = 0  # encoded so far, at the rate of the output
        codec = stream.codec_context
        self._copies = copy and codec.codec.canonical_name in COPIED
        if self._copies:
            self._out: AudioStream = made.add_stream_from_template(stream)
        else:
            rate = codec.sample_rate if codec.sample_rate in AAC_RATES else 48_000
            layout = AAC_LAYOUTS.get(codec.layout.nb_channels, "stereo")
            self._out = made.add_stream("aac", rate=rate, layout=layout)
        self._out.metadata.update(
            {key: value for key, value in stream.metadata.items() if key in ("language", "title")}
        )
        self._out.disposition = stream.disposition

    def take(self, packet: "Packet[Any]", timeline: Timeline, frame: int) -> "Packets":
        """Return what to write once this packet, near a frame (index) in the file, is known."""
        stamp = packet.dts if packet.pts is None else packet.pts
        time = self._end if stamp is None else timeline.media_time(float(stamp * packet.time_base), frame)
        if packet.is_corrupt or not timeline.fits(time, frame, self._end):
            self.left_out += 1
            return []
        held, self._held = self._held, (packet, time)
        if held is None:
            return []
        if time <= held[1]:  # its time was wrong, or this one's; both are heard later than the sound before
            if time <= self._last:
                self._held, held = held, None
            self.left_out += 1
            return []
        return self._write(*held)

    def finish(self) -> "Packets":
        """Return the rest."""
        packets = self._write(*self._held) if self._held is not None else []
        if self._graph is not None:
            packets += [*self._filtered(self._graph, None), *self._out.encode(None)]
        return packets

    def _write(self, packet: "Packet[Any]", time: float) -> "Packets":
        self._last = time
        self._end = time + float((packet.duration or 0) * packet.time_base)
        try:
            frames = packet.decode()
        except FFmpegError:
            self.left_out += 1
            return []
        sound = [cast("AudioFrame", frame) for frame in frames]
        if not self._copies:
            return [each for frame in sound for each in self._encode(frame, packet, time)]
        if sound:
            self._form = self._form or _form(sound[0])
            if sound[0].sample_rate != self._form[0]:
                raise _NotCopied(f"the sample rate changes from {self._form[0]} to {sound[0].sample_rate} Hz")
        if time < 0:
            return []  # before the first frame
        rate = self._out.codec_context.sample_rate
        seconds = self._end - time or sum(frame.samples for frame in sound) / rate
        packet.stream = self._out
        packet.time_base = Fraction(1, rate)
        packet.pts = packet.dts = round(time * rate)
        packet.duration = round(seconds * rate)  # without it players drop the last packet
        return [packet]

    def _encode(self, frame: AudioFrame, packet: "Packet[Any]", time: float) -> "Packets":
        if frame.time is not None and packet.pts is not None:
            time += frame.time - float(packet.pts * packet.time_base)
        packets: Packets = []
        form = _form(frame)
        if self._graph is None or form != self._form:
            if self._graph is not None:
                packets += self._filtered(self._graph, None)
            self._graph, self._form = self._fill_gaps(*form), form
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = round(time * frame.sample_rate)
        return [*packets, *self._filtered(self._graph, frame)]

    def _fill_gaps(self, rate: int, form: str, layout: str) -> Graph:
        """Make the filter that brings frames to the output's format, with silence where nothing is."""
        graph, codec = Graph(), self._out.codec_context
        source = graph.add_abuffer(sample_rate=rate, format=form, layout=layout, time_base=Fraction(1, rate))
        begin = round(self._samples * rate / codec.sample_rate)  # in samples of the input
        fill = graph.add("aresample", f"async=1:first_pts={begin}:osr={codec.sample_rate}")
        wanted = f"sample_fmts=fltp:sample_rates={codec.sample_rate}:channel_layouts={codec.layout.name}"
        graph.link_nodes(source, fill, graph.add("aformat", wanted), graph.add("abuffersink")).configure()
        return graph

    def _filtered(self, graph: Graph, frame: AudioFrame | None) -> "Packets":
        """Encode what a filter makes of a frame; None: of its end."""
        graph.push(frame)
        packets: Packets = []
        while True:
            try:
                made = graph.pull()
            except (BlockingIOError, EOFError):
                return packets
            assert isinstance(made, AudioFrame)
            made.pts, made.time_base = self._samples, Fraction(1, made.sample_rate)  # nothing is missing before it
            self._samples += made.samples
            packets += self._out.encode(made)


def _form(frame: AudioFrame) -> tuple[int, str, str]:
    """Return sample rate, format and layout of a frame."""
    return frame.sample_rate, frame.format.name, frame.layout.name


def has_sound(video: Path) -> bool:
    """Return whether a file has audio streams. Raises InputError."""
    with open_file(video) as container:
        return bool(container.streams.audio)


def add_sound(
    drawn: Path,
    video: Path,
    video_stream: int,
    times: Sequence[tuple[float | None, float]],
    out: Path,
    stopped: Callable[[], bool],
    end: float | None = None,
) -> bool:
    """Write the video `drawn` (MP4) with the sound of `video` to `out`; False if that is not possible, which is logged.

    `video_stream`: which one was drawn, from 0; `times`: stream time and media time of each of its frames; `end`: media
    time (s) at which the sound ends, None: at its own end. Raises FFmpegError if `out` cannot be written, and
    InputError soon after `stopped` becomes true.
    """
    timeline = Timeline(times)
    for copy in (True, False):  # a stream that cannot be copied may still be decoded and encoded
        try:
            return _mux(drawn, video, video_stream, timeline, out, copy, stopped, end)
        except _NotCopied as error:
            problem = str(error)
        except FFmpegError as error:
            if error.errno in DISK:
                raise
            problem = error.strerror or "it cannot be written"
    log.warning("%s: its sound is left out of %s: %s", video, out.name.removesuffix(".partial"), problem)
    return False


def _mux(
    drawn: Path,
    video: Path,
    video_stream: int,
    timeline: Timeline,
    out: Path,
    copy: bool,
    stopped: Callable[[], bool],
    end: float | None,
) -> bool:
    with (
        open_file(video) as source,
        av.open(f"file:{drawn}") as silent,
        av.open(f"file:{out}", "w", format="mp4") as made,
    ):
        pictures = silent.streams.video[0]
        picture_out = made.add_stream_from_template(pictures)
        made.metadata.update(silent.metadata)
        tracks = _tracks(source, made, video, copy)
        if not tracks:
            return False
        sound = _up_to(end, _sound(source, video, source.streams.video[video_stream], tracks, timeline))
        ahead = next(sound, None)
        for packet in silent.demux(pictures):
            if stopped():
                raise InputError(f"{video}: stopped before the annotated video was complete")
            if packet.dts is None or packet.time_base is None:
                continue
            while ahead is not None and ahead[0] <= float(packet.dts * packet.time_base):
                made.mux(ahead[1])
                ahead = next(sound, None)
            packet.stream = picture_out
            made.mux(packet)
        while ahead is not None:
            made.mux(ahead[1])
            ahead = next(sound, None)
    for track in tracks.values():
        if track.left_out:
            counts = video, track.index, track.left_out
            log.warning("%s: audio stream %d: %d damaged or misplaced packets are left out", *counts)
    return True


def _tracks(source: InputContainer, made: OutputContainer, video: Path, copy: bool) -> dict[int, _Track]:
    """Return the tracks of the audio streams that can be read, by the index of the stream."""
    tracks = {}
    for stream in source.streams.audio:
        codec = stream.codec_context
        if codec is None or not codec.sample_rate or not codec.layout.nb_channels:
            log.warning("%s: audio stream %d cannot be read and is left out", video, stream.index)
            continue
        tracks[stream.index] = _Track(stream, made, copy)
    return tracks


def _sound(
    source: InputContainer, video: Path, pictures: VideoStream, tracks: dict[int, _Track], timeline: Timeline
) -> Iterator[tuple[float, "Packet[Any]"]]:
    """Yield the packets to write with their media time, s, about in the order of time."""
    frame = 0
    demuxer = demux(source, pictures, *(track.stream for track in tracks.values()))
    while True:
        try:
            packet = next(demuxer)
        except StopIteration:
            break
        except FFmpegError as error:
            log.warning("%s: its sound breaks off: %s", video, error.strerror)
            break
        if packet.stream.index == pictures.index:
            frame += bool(packet.size)
        elif packet.size:
            yield from _timed(tracks[packet.stream.index].take(packet, timeline, frame))
    for track in tracks.values():
        yield from _timed(track.finish())


def _up_to(end: float | None, packets: Iterator[tuple[float, "Packet[Any]"]]) -> Iterator[tuple[float, "Packet[Any]"]]:
    """Yield the packets before a media time (s); those of different streams are not strictly in order."""
    for time, packet in packets:
        if end is None or time < end:
            yield time, packet
        elif time > end + DISORDER_S:
            return


def _timed(packets: "Packets") -> Iterator[tuple[float, "Packet[Any]"]]:
    for packet in packets:
        stamp = packet.dts if packet.dts is not None else 0
        yield float(stamp * packet.time_base) if packet.time_base else 0.0, packet
