"""Manage the cameras of this process: each has its own thread, and can be added or removed while the others run."""

import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from streamer import metrics
from streamer.config import Sources, Stream
from streamer.handover import LatestPerCamera
from streamer.privacy import Modes, Privacy
from streamer.series import forget_stream, know_stream
from streamer.source.hardware import CPU, check_device
from streamer.source.health import Flow, Health
from streamer.source.outlet import Outlet
from streamer.source.reader import IN_PLACE, run_camera
from streamer.values import EndReason, SourceState, SourceStatus, TooManyStreams

LINGER_S = 1.0  # longest wait for threads that hang in the network, once their ends have been handed over

OVERLOADED = (
    "camera %s overloaded: of %.1f frames/s to analyse only %.1f are analysed, %.0f %% are skipped; "
    "lower max_fps or the number of cameras, or use a faster device for detection"
)

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Camera:
    stream: Stream
    outlet: Outlet
    status: SourceStatus
    thread: threading.Thread | None = None
    health: Health = field(default_factory=Health)
    flow: Flow = field(default_factory=Flow)  # what `sample` found last


class Cameras:
    """The cameras by id. Safe to call from any thread; only `stop_all` waits for a camera."""

    def __init__(
        self,
        handover: LatestPerCamera,
        failed: Callable[[BaseException], None],
        sources: Sources | None = None,
        modes: Modes | None = None,
    ) -> None:
        """`failed` is called with an unexpected exception of a camera's thread, from that thread.

        `modes` learns the privacy mode of each camera before its first frame.
        """
        self.sources = sources or Sources()
        self.modes = modes or Modes(Privacy())
        self._handover = handover
        self._failed = failed
        self._cameras: dict[str, _Camera] = {}
        self._lock = threading.Lock()
        self._epochs = itertools.count(1)

    def add(self, stream: Stream) -> None:
        """Add a camera, and start it if it is enabled.

        Raises ValueError if the id is taken, TooManyStreams if there are `sources.max_streams` already, and ModelError
        if its decode device cannot be used.
        """
        check_device(stream.decode_device or CPU)
        with self._lock:
            if stream.id in self._cameras:
                raise ValueError(f"stream {stream.id} already exists")
            if len(self._cameras) >= self.sources.max_streams:
                raise TooManyStreams(
                    f"there are {len(self._cameras)} streams, which is the limit (sources.max_streams)"
                )
            know_stream(stream.id)
            self.modes.learn(stream.id, stream.privacy)
            self._cameras[stream.id] = self._start(stream)

    def replace(self, stream: Stream) -> None:
        """Give a camera new settings: in place if it runs and its connection can stay, else by a restart.

        Raises KeyError if the id is unknown, ModelError as `add`.
        """
        check_device(stream.decode_device or CPU)
        with self._lock:
            entry = self._cameras[stream.id]
            self.modes.learn(stream.id, stream.privacy)
            if entry.status.state is SourceState.RUNNING and _same_connection(entry.stream, stream):
                changed = [name for name in IN_PLACE if getattr(entry.stream, name) != getattr(stream, name)]
                entry.stream = stream
                log.info("camera %s: %s changed", stream.id, ", ".join(sorted(changed)) or "nothing")
                return
            entry.outlet.close(EndReason.SOURCE_REMOVED)
            self._cameras[stream.id] = self._start(stream)

    def remove(self, camera: str) -> None:
        """Stop a camera and hand over its SourceEnd before returning. Raises KeyError if the id is unknown."""
        with self._lock:
            self._cameras.pop(camera).outlet.close(EndReason.SOURCE_REMOVED)
            forget_stream(camera)
            self.modes.leave(camera)
        log.info("camera %s removed", camera)

    def list(self) -> list[tuple[Stream, SourceStatus]]:
        """Return the settings and status of every camera, sorted by id."""
        totals = metrics.stream_totals()
        with self._lock:
            return [(entry.stream, _status(entry, totals.get(name))) for name, entry in sorted(self._cameras.items())]

    def get(self, camera: str) -> tuple[Stream, SourceStatus]:
        """Return the settings and status of a camera. Raises KeyError if the id is unknown."""
        totals = metrics.stream_totals()
        with self._lock:
            return self._cameras[camera].stream, _status(self._cameras[camera], totals.get(camera))

    def sample(self, now: float) -> None:
        """Measure what arrives and what becomes of it, and log overload. To be called every second; `now`: s."""
        totals = metrics.stream_totals()
        with self._lock:
            entries = list(self._cameras.values())
        for entry in entries:
            before, camera = entry.flow, entry.stream.id
            entry.flow = flow = entry.health.sample(now, entry.status, totals.get(camera, metrics.StreamTotals()))
            if flow.overloaded and not before.overloaded:
                log.warning(OVERLOADED, camera, flow.fps_wanted, flow.fps_analysed, 100 * flow.skipped)
            elif before.overloaded and not flow.overloaded:
                log.info("camera %s no longer overloaded: %.1f frames/s analysed", camera, flow.fps_analysed)

    def stop_all(self, timeout_s: float) -> None:
        """Stop every camera with SHUTDOWN, then wait for their threads, at most `timeout_s` and LINGER_S."""
        with self._lock:
            entries = list(self._cameras.values())
        for entry in entries:
            entry.outlet.close(EndReason.SHUTDOWN)
        deadline = time.monotonic() + min(timeout_s, LINGER_S)
        for entry in entries:
            if entry.thread is not None:
                entry.thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self, stream: Stream) -> _Camera:
        state = SourceState.CONNECTING if stream.enabled else SourceState.PAUSED
        status = SourceStatus(state, since=datetime.now(UTC))
        entry = _Camera(stream, Outlet(stream.id, self._handover), status)
        if stream.enabled:
            entry.thread = threading.Thread(target=self._run, args=(entry,), name=f"decode-{stream.id}", daemon=True)
            entry.thread.start()
        return entry

    def _run(self, entry: _Camera) -> None:
        def report(status: SourceStatus) -> None:
            entry.status = status

        try:
            run_camera(lambda: entry.stream, entry.outlet, report, lambda: next(self._epochs), self.sources)
        except BaseException as error:  # thread boundary: a bug ends the process
            self._failed(error)


def _same_connection(before: Stream, after: Stream) -> bool:
    return before == after.model_copy(update={name: getattr(before, name) for name in IN_PLACE})


def _status(entry: _Camera, totals: metrics.StreamTotals | None) -> SourceStatus:
    """Complete the status that the reader reported with what has been counted and measured."""
    counted, flow, arrived = totals or metrics.StreamTotals(), entry.flow, entry.outlet.last_frame_at
    return replace(
        entry.status,
        connects=counted.connects,
        disconnects=counted.disconnects,
        stalls=counted.stalls,
        last_frame=datetime.fromtimestamp(arrived, UTC) if arrived else None,
        frames_decoded=counted.decoded,
        frames_missing=counted.missing,
        frames_analysed=counted.analysed,
        frames_dropped=counted.dropped,
        frames_unsearched=counted.unsearched,
        clock_offset=counted.clock_offset_s,
        fps_in=flow.fps_in,
        fps_analysed=flow.fps_analysed,
        frame_age=flow.frame_age,
        overloaded=flow.overloaded,
        link_quality=flow.link_quality,
    )
