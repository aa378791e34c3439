"""Read one camera, reconnecting until it is closed, or play a file as if it were a camera."""

import logging
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from av.error import ExitError, FFmpegError

from faceanalytics.errors import ConfigError, InputError
from streamer import metrics
from streamer.config import Sources, Stream, redact
from streamer.handover import LatestPerCamera
from streamer.kinds import check_allowed, kind_of, local_path
from streamer.source.clock import CameraClock, Pace, Thinning
from streamer.source.decoder import USUAL_STEP_S, Decoder, demux
from streamer.source.file import NoSuchFile, TruncatedVideo, decode_file
from streamer.source.hardware import CPU
from streamer.source.health import Gaps
from streamer.source.image_folder import FolderFrame, follow_folder, show_folder
from streamer.source.network import Connection, SourceUnusable, connect_source
from streamer.source.picture import DecodedFrame
from streamer.source.rtsp import SourceLost, explain
from streamer.source.waiting import Waiting
from streamer.values import ClockSource, EndReason, Frame, SourceEnd, SourceErrorCode, SourceState, SourceStatus

if TYPE_CHECKING:
    from av import VideoStream
    from av.packet import Packet

# settings that a running camera takes over without a new connection
IN_PLACE = frozenset(
    ("max_fps", "loop", "reconnect", "connect_timeout_s", "first_frame_timeout_s", "key_frame_timeout_s")
)
MICROSECONDS = Fraction(1, 1_000_000)  # unit of the times of packets that are stamped on arrival
REFUSED_KEY_FRAMES = 2  # a device that fails at this many before its first frame cannot decode the stream
GOOD_WHILE_S = 10.0  # a camera that ran this long before it was lost is retried with the shortest delay

log = logging.getLogger(__name__)


class Outlet:
    """Passes a camera's frames to the hand-over; closing it ends the camera at once, even if its thread hangs."""

    def __init__(self, camera: str, handover: LatestPerCamera) -> None:
        self._camera = camera
        self._handover = handover
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.last_frame_at = 0.0  # s, Unix time of the newest frame's arrival; 0: none; written by the reader alone
        self._epoch = 0  # of the last frame
        self._open = False  # frames have arrived since the last end

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    def put(self, frame: Frame) -> None:
        """Hand over a frame without waiting. Once closed, frames are discarded."""
        with self._lock:
            if self.closed:
                return
            self._epoch, self._open = frame.epoch, True
            if not self._handover.put(frame):
                self._closing.set()

    def end(self, reason: EndReason) -> None:
        """Hand over the end of the current epoch, if it had frames."""
        with self._lock:
            self._end(reason, always=False)

    def close(self, reason: EndReason) -> None:
        """End with `reason`, discard later frames, and end the reader's waits.

        SOURCE_REMOVED is handed over even if the last epoch has ended, so that other stages release the camera's state.
        """
        with self._lock:
            first = not self.closed
            self._closing.set()
            self._end(reason, always=first and reason is EndReason.SOURCE_REMOVED)

    def wait(self, seconds: float) -> bool:
        """Wait for `seconds`. Returns True at once when closed."""
        return self._closing.wait(max(0.0, seconds))

    def _end(self, reason: EndReason, always: bool) -> None:
        if self._open or always:
            self._handover.put(SourceEnd(self._camera, self._epoch, reason))
            self._open = False


def run_camera(
    settings: Callable[[], Stream],
    outlet: Outlet,
    report: Callable[[SourceStatus], None],
    next_epoch: Callable[[], int],
    sources: Sources,
) -> None:
    """Run one camera until its outlet is closed or its file has ended. `report` receives every change of status.

    `settings` returns the present settings; those of IN_PLACE may change while the camera runs.
    """
    _Reader(settings, outlet, report, next_epoch, sources).run()


class _Reader:
    def __init__(
        self,
        settings: Callable[[], Stream],
        outlet: Outlet,
        report: Callable[[SourceStatus], None],
        next_epoch: Callable[[], int],
        sources: Sources,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._outlet = outlet
        self._report = report
        self._next_epoch = next_epoch
        self._status = SourceStatus(SourceState.CONNECTING, since=datetime.now(UTC))
        self._gaps = Gaps()
        self._running = False  # a frame has arrived since the connection
        self._running_since = 0.0  # s, monotonic

    @property
    def _stream(self) -> Stream:
        return self._settings()

    @property
    def _device(self) -> str:
        return self._stream.decode_device or self._sources.decode_device

    def run(self) -> None:
        self._report(self._status)
        failures = 0
        while not self._outlet.closed:
            try:
                self._read()
                return
            except SourceUnusable as unusable:
                self._fail(unusable.code, str(unusable))
                return
            except SourceLost as lost:
                self._outlet.end(EndReason.SOURCE_LOST)
                if self._running:
                    metrics.stream_disconnects.labels(self._stream.id).inc()
                    if time.monotonic() - self._running_since > GOOD_WHILE_S:
                        failures = 0
                delay = self._delay(failures)
                self._change(SourceState.RECONNECTING, lost.code, str(lost), retry_in_s=delay)
            self._outlet.wait(delay)
            failures += 1

    def _delay(self, failures: int) -> float:
        """Return the delay in s after a failure that follows this many others in a row."""
        pause = self._stream.reconnect
        doubled = min(pause.initial_s * 2.0 ** min(failures, 30), pause.max_s)
        return doubled * (1 + random.uniform(-pause.jitter, pause.jitter))  # noqa: S311

    def _read(self) -> None:
        """Return when the outlet is closed or reconnecting makes no sense. Raises SourceLost."""
        self._running = False
        try:
            address = self._stream.address()  # read each time: the password may have changed
        except ConfigError as error:
            raise SourceLost(SourceErrorCode.CONNECTION_FAILED, str(error)) from error
        try:
            check_allowed(address, self._sources.allow)
            kind, path = kind_of(address), local_path(address)
        except ValueError as error:
            raise SourceUnusable(SourceErrorCode.CONNECTION_FAILED, str(error)) from error
        if path is not None and kind in ("file", "images"):
            self._play(path, images=kind == "images")
            return
        while self._watch(connect_source(address, self._stream, self._device), address):
            self._outlet.end(EndReason.END_OF_FILE)
            if not self._stream.loop:
                self._change(SourceState.ENDED)
                return
            self._running = False

    def _watch(self, source: Connection, address: str) -> bool:
        """Pass on the frames of a connection and close it. Returns True at the end of a recording, False when closed.

        Raises SourceLost, also for a recording without a frame.
        """
        thinning, clock, began = Thinning(self._stream.max_fps), CameraClock(), time.monotonic()
        pace, waiting = Pace() if source.paced else None, Waiting(began)
        if source.choice.count > 1:
            log.info("camera %s: reading %s", self._stream.id, source.choice.description)
        with source.container:
            decoder, refused = self._decoder(source, address), 0
            for packet in self._packets(source, address, waiting):
                received, host_utc = time.monotonic(), time.time()
                if source.untimed:
                    _stamp(packet, received - began)
                report_clock(clock, packet, decoder.clock.line_time(packet.pts), host_utc)
                for decoded in decoder.decode(packet, received):
                    if pace is not None:
                        if self._outlet.wait(pace.delay(decoded.media_time, time.monotonic())):
                            return False
                        received, host_utc = time.monotonic(), time.time()
                    waiting.frame(time.monotonic())
                    self._arrived(decoded)
                    thinning.limit(self._stream.max_fps)
                    if thinning.takes(decoded.media_time):
                        self._put(decoded, received, *self._captured(clock, decoded, host_utc))
                    else:
                        self._drop()
                refused += packet.is_keyframe and decoder.damage.dropped > decoder.decoded == 0
                if refused >= REFUSED_KEY_FRAMES and self._device != CPU:
                    text = f"{redact(address)}: {self._device} cannot decode this stream"
                    raise SourceLost(SourceErrorCode.CODEC_UNSUPPORTED, text)
        if self._outlet.closed:
            return False
        if not self._running:
            text = f"{redact(address)}: none of its frames can be decoded"
            raise SourceLost(SourceErrorCode.CODEC_UNSUPPORTED, text)
        return True

    def _decoder(self, source: Connection, address: str) -> Decoder:
        time_base = MICROSECONDS if source.untimed else None
        note = partial(log.warning, "camera %s: %s", self._stream.id)
        try:
            return Decoder(
                source.video, self._stream.id, live=True, note=note, time_base=time_base, device=self._device
            )
        except InputError as error:
            raise SourceLost(SourceErrorCode.CODEC_UNSUPPORTED, f"{redact(address)}: {error}") from error

    def _packets(self, source: Connection, address: str, waiting: Waiting) -> Iterator["Packet[VideoStream]"]:
        """Yield packets until the outlet is closed or a recording ends.

        Raises SourceLost if no frame arrives in time, and at the end of a camera.
        """
        lost: SourceLost | None = None
        while lost is None:
            try:
                for packet in demux(source.container, source.video):
                    self._check_stall(address, waiting)
                    if self._outlet.closed:
                        return
                    if packet.size:
                        waiting.packet(time.monotonic(), packet.is_keyframe)
                    yield packet
                if source.ends:
                    return
                lost = SourceLost(
                    SourceErrorCode.CONNECTION_FAILED, f"{redact(address)}: the camera closed the connection"
                )
            except ExitError:  # no data for the read timeout, which is the shorter of the two waits
                self._check_stall(address, waiting)
                if self._outlet.closed:
                    return
            except FFmpegError as error:
                lost = explain(error, address) or SourceLost(
                    SourceErrorCode.CONNECTION_FAILED, f"{redact(address)}: the connection was lost"
                )
        raise lost  # here, so that the FFmpeg error, whose text contains the address, is not attached

    def _check_stall(self, address: str, waiting: Waiting) -> None:
        now = time.monotonic()
        overdue = waiting.overdue(now, self._stream)
        if overdue and not self._outlet.closed:
            metrics.stream_stalls.labels(self._stream.id).inc()
            raise SourceLost(SourceErrorCode.TIMEOUT, f"{redact(address)}: {overdue}")
        notice = waiting.notice(now, self._stream)
        if notice:
            self._change(SourceState.CONNECTING, message=notice)

    def _play(self, path: Path, images: bool) -> None:
        """Play a file, or the images of a folder, at the pace of its timestamps."""
        try:
            self._play_once(path, first=True, images=images)
            while self._stream.loop and not self._outlet.closed:
                self._play_once(path, first=False, images=images)
        except InputError as error:
            missing = isinstance(error, NoSuchFile)
            self._outlet.end(EndReason.END_OF_FILE)
            self._fail(SourceErrorCode.NOT_FOUND if missing else SourceErrorCode.CODEC_UNSUPPORTED, str(error))
            return
        self._change(SourceState.ENDED)

    def _play_once(self, path: Path, first: bool, images: bool) -> None:
        thinning, start, end = Thinning(self._stream.max_fps), time.monotonic(), 0.0
        live = images and self._stream.follow
        self._running = False
        try:
            for decoded in self._recorded(path, first, images):
                if not self._running:
                    start = time.monotonic() - decoded.media_time
                end = decoded.media_time
                if self._outlet.wait(start + end - time.monotonic()):
                    return
                self._arrived(decoded)
                thinning.limit(self._stream.max_fps)
                if thinning.takes(end):
                    arrived = datetime.now(UTC) if live else None
                    clock = ClockSource.ARRIVAL if live else ClockSource.FILE_PTS
                    self._put(decoded, time.monotonic(), arrived, clock)
                else:
                    self._drop()
        except TruncatedVideo as error:
            if first:
                log.warning("camera %s: %s", self._stream.id, error)
        self._outlet.wait(start + end + USUAL_STEP_S - time.monotonic())  # the last frame has a duration too
        self._outlet.end(EndReason.END_OF_FILE)

    def _recorded(self, path: Path, first: bool, images: bool) -> Iterator[DecodedFrame | FolderFrame]:
        stream = self._stream
        if not images:
            return decode_file(path, stream.id, warn=first, device=self._device, video_stream=stream.video_stream)
        if stream.follow:
            return follow_folder(path, stream.id, self._outlet.wait)
        return show_folder(path, stream.id, stream.image_interval_s)

    def _arrived(self, decoded: DecodedFrame | FolderFrame) -> None:
        """Note a frame; the first one after connecting begins an epoch."""
        self._outlet.last_frame_at = time.time()
        width, height = decoded.size
        described = decoded.codec, width, height
        if not self._running:
            self._running, self._running_since, self._gaps = True, time.monotonic(), Gaps()
            metrics.stream_connects.labels(self._stream.id).inc()
            connects = self._status.connects + 1
            self._status = replace(
                self._status,
                epoch=self._next_epoch(),
                connects=connects,
                clock_source=None,
                decoder=decoded.decoder,
            )
            self._describe(*described)
            self._change(SourceState.RUNNING, message=f"{width}x{height} {decoded.codec}")
        elif described != (self._status.codec, self._status.width, self._status.height):
            before = f"{self._status.width}x{self._status.height} {self._status.codec}"
            log.info("camera %s changes from %s to %dx%d %s", self._stream.id, before, width, height, decoded.codec)
            self._describe(*described)
            self._show()
        missing = self._gaps.missing(decoded.media_time)
        if missing:
            metrics.frames_missing.labels(self._stream.id).inc(missing)

    def _describe(self, codec: str, width: int, height: int) -> None:
        self._status = replace(self._status, codec=codec, width=width, height=height)

    def _show(self) -> None:
        if not self._outlet.closed:
            self._report(self._status)

    def _put(
        self,
        decoded: DecodedFrame | FolderFrame,
        received: float,
        captured_at: datetime | None,
        clock_source: ClockSource,
    ) -> None:
        if clock_source is not self._status.clock_source:
            self._status = replace(self._status, clock_source=clock_source)
            self._show()
        pixels, epoch = decoded.pixels(), self._status.epoch
        if pixels is None:
            return
        self._outlet.put(
            Frame(
                self._stream.id,
                epoch,
                decoded.media_time,
                captured_at,
                clock_source,
                received,
                pixels,
                decoded.time_estimated,
            )
        )

    def _drop(self) -> None:
        metrics.frames_dropped.labels(self._stream.id, "max_fps").inc()

    def _captured(self, clock: CameraClock, decoded: DecodedFrame, host_utc: float) -> tuple[datetime, ClockSource]:
        utc = clock.utc(decoded.media_time)
        if utc is None:
            return datetime.fromtimestamp(host_utc, UTC), ClockSource.ARRIVAL
        metrics.clock_offset_seconds.labels(self._stream.id).set(host_utc - utc)
        return datetime.fromtimestamp(utc, UTC), ClockSource.RTCP_NTP

    def _fail(self, code: SourceErrorCode, message: str) -> None:
        """Report an error that trying again does not mend."""
        self._change(SourceState.ERROR, code, message)

    def _change(
        self,
        state: SourceState,
        error: SourceErrorCode | None = None,
        message: str = "",
        retry_in_s: float | None = None,
    ) -> None:
        if self._outlet.closed:
            return
        kept = message if error or state is SourceState.CONNECTING else ""  # what a connection waits for is shown too
        if error is not None:
            metrics.stream_errors.labels(self._stream.id, error.value).inc()
        if (state, error) != (self._status.state, self._status.error) or (kept != self._status.message and not error):
            level = logging.INFO if error is None else logging.WARNING
            log.log(level, "camera %s %s%s", self._stream.id, state.value, f": {message}" if message else "")
        now = datetime.now(UTC)
        self._status = replace(
            self._status,
            state=state,
            error=error,
            message=kept,
            since=self._status.since if state is self._status.state else now,
            next_retry=None if retry_in_s is None else now + timedelta(seconds=retry_in_s),
        )
        self._report(self._status)


def _stamp(packet: "Packet[VideoStream]", seconds: float) -> None:
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
