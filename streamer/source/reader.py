"""Read one camera, reconnecting until it is closed, or play a file as if it were a camera."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from av.error import ExitError, FFmpegError

from faceanalytics.errors import ConfigError, InputError
from streamer import metrics
from streamer.config import Sources, Stream, redact
from streamer.kinds import check_allowed, kind_of, local_path
from streamer.source.clock import CameraClock, Pace, Thinning
from streamer.source.decoder import USUAL_STEP_S, Decoder, demux
from streamer.source.file import NoSuchFile, TruncatedVideo, decode_file
from streamer.source.hardware import CPU
from streamer.source.image_folder import FolderFrame, follow_folder, show_folder
from streamer.source.network import Connection, SourceUnusable, connect_source
from streamer.source.outlet import Outlet
from streamer.source.packet_times import MICROSECONDS, report_clock, stamp_arrival
from streamer.source.picture import DecodedFrame, preview_of
from streamer.source.reporting import Reporter
from streamer.source.rtsp import SourceLost, explain
from streamer.source.waiting import Waiting
from streamer.values import ClockSource, EndReason, SourceErrorCode, SourceState, SourceStatus

if TYPE_CHECKING:
    from av import VideoStream
    from av.packet import Packet

# settings that a running camera takes over without a new connection
IN_PLACE = frozenset(
    ("max_fps", "loop", "reconnect", "connect_timeout_s", "first_frame_timeout_s", "key_frame_timeout_s")
)
REFUSED_KEY_FRAMES = 2  # a device that fails at this many before its first frame cannot decode the stream
CALM_FPS = 5.0  # frames per second that suffice to notice motion in a camera in which nothing has happened
GOOD_WHILE_S = 10.0  # a camera that ran this long before it was lost is retried with the shortest delay

log = logging.getLogger(__name__)


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
        self._status = Reporter(settings().id, outlet, report, next_epoch)

    @property
    def _stream(self) -> Stream:
        return self._settings()

    @property
    def _device(self) -> str:
        return self._stream.decode_device or self._sources.decode_device

    def run(self) -> None:
        failures = 0
        while not self._outlet.closed:
            try:
                self._read()
                return
            except SourceUnusable as unusable:
                self._status.fail(unusable.code, str(unusable))
                return
            except SourceLost as lost:
                self._outlet.end(EndReason.SOURCE_LOST)
                if self._status.running:
                    metrics.stream_disconnects.labels(self._stream.id).inc()
                    if time.monotonic() - self._status.running_since > GOOD_WHILE_S:
                        failures = 0
                delay = self._delay(failures)
                self._status.change(SourceState.RECONNECTING, lost.code, str(lost), retry_in_s=delay)
            self._outlet.wait(delay)
            failures += 1

    def _delay(self, failures: int) -> float:
        """Return the delay in s after a failure that follows this many others in a row."""
        pause = self._stream.reconnect
        doubled = min(pause.initial_s * 2.0 ** min(failures, 30), pause.max_s)
        return doubled * (1 + random.uniform(-pause.jitter, pause.jitter))  # noqa: S311

    def _read(self) -> None:
        """Return when the outlet is closed or reconnecting makes no sense. Raises SourceLost."""
        self._status.running = False
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
                self._status.change(SourceState.ENDED)
                return
            self._status.running = False

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
                    stamp_arrival(packet, received - began)
                report_clock(clock, packet, decoder.clock.line_time(packet.pts), host_utc)
                decoder.skim(self._outlet.calm)
                for decoded in decoder.decode(packet, received):
                    if pace is not None:
                        if self._outlet.wait(pace.delay(decoded.media_time, time.monotonic())):
                            return False
                        received, host_utc = time.monotonic(), time.time()
                    waiting.frame(time.monotonic())
                    self._status.arrived(decoded, source.untimed or decoder.skims)
                    if self._takes(thinning, decoded.media_time):
                        self._put(decoded, received, *self._captured(clock, decoded, host_utc))
                refused += packet.is_keyframe and decoder.damage.dropped > decoder.decoded == 0
                if refused >= REFUSED_KEY_FRAMES and self._device != CPU:
                    text = f"{redact(address)}: {self._device} cannot decode this stream"
                    raise SourceLost(SourceErrorCode.CODEC_UNSUPPORTED, text)
        if self._outlet.closed:
            return False
        if not self._status.running:
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
            self._status.change(SourceState.CONNECTING, message=notice)

    def _play(self, path: Path, images: bool) -> None:
        """Play a file, or the images of a folder, at the pace of its timestamps."""
        try:
            self._play_once(path, first=True, images=images)
            while self._stream.loop and not self._outlet.closed:
                self._play_once(path, first=False, images=images)
        except InputError as error:
            missing = isinstance(error, NoSuchFile)
            self._outlet.end(EndReason.END_OF_FILE)
            self._status.fail(SourceErrorCode.NOT_FOUND if missing else SourceErrorCode.CODEC_UNSUPPORTED, str(error))
            return
        self._status.change(SourceState.ENDED)

    def _play_once(self, path: Path, first: bool, images: bool) -> None:
        thinning, start, end = Thinning(self._stream.max_fps), time.monotonic(), 0.0
        live = images and self._stream.follow
        self._status.running = False
        try:
            for decoded in self._recorded(path, first, images):
                if not self._status.running:
                    start = time.monotonic() - decoded.media_time
                end = decoded.media_time
                if self._outlet.wait(start + end - time.monotonic()):
                    return
                self._status.arrived(decoded, untimed=images)  # images that cannot be read are counted as damaged
                if self._takes(thinning, end):
                    arrived = datetime.now(UTC) if live else None
                    clock = ClockSource.ARRIVAL if live else ClockSource.FILE_PTS
                    self._put(decoded, time.monotonic(), arrived, clock)
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

    def _put(
        self,
        decoded: DecodedFrame | FolderFrame,
        received: float,
        captured_at: datetime | None,
        clock_source: ClockSource,
    ) -> None:
        self._status.clocked(clock_source)
        epoch = self._status.epoch
        self._outlet.put(preview_of(decoded, self._stream.id, epoch, received, captured_at, clock_source))

    def _takes(self, thinning: Thinning, media_time: float) -> bool:
        """Return whether to pass on the frame of this media time (s), and count it if not."""
        fastest = self._stream.max_fps
        calm = self._outlet.calm and (fastest is None or fastest > CALM_FPS)
        thinning.limit(CALM_FPS if calm else fastest)
        if thinning.takes(media_time):
            return True
        if calm:
            metrics.frames_unsearched.labels(self._stream.id, "quiet").inc()
        else:
            metrics.frames_dropped.labels(self._stream.id, "max_fps").inc()
        return False

    def _captured(self, clock: CameraClock, decoded: DecodedFrame, host_utc: float) -> tuple[datetime, ClockSource]:
        utc = clock.utc(decoded.media_time)
        if utc is None:
            return datetime.fromtimestamp(host_utc, UTC), ClockSource.ARRIVAL
        metrics.clock_offset_seconds.labels(self._stream.id).set(host_utc - utc)
        return datetime.fromtimestamp(utc, UTC), ClockSource.RTCP_NTP
