"""Manage the cameras of this process: each has its own thread, and can be added or removed while the others run."""

import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamer import metrics
from streamer.config import Sources, Stream
from streamer.handover import LatestPerCamera
from streamer.source.hardware import CPU, check_device
from streamer.source.reader import Outlet, run_camera
from streamer.values import EndReason, SourceState, SourceStatus, TooManyStreams

LINGER_S = 1.0  # longest wait for threads that hang in the network, once their ends have been handed over

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Camera:
    stream: Stream
    outlet: Outlet
    status: SourceStatus
    thread: threading.Thread | None = None


class Cameras:
    """The cameras by id. Safe to call from any thread; only `stop_all` waits for a camera."""

    def __init__(
        self, handover: LatestPerCamera, failed: Callable[[BaseException], None], sources: Sources | None = None
    ) -> None:
        """`failed` is called with an unexpected exception of a camera's thread, from that thread."""
        self.sources = sources or Sources()
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
            self._cameras[stream.id] = self._start(stream)

    def replace(self, stream: Stream) -> None:
        """Stop a camera and start it with new settings. Raises KeyError if the id is unknown, ModelError as `add`."""
        check_device(stream.decode_device or CPU)
        with self._lock:
            self._cameras[stream.id].outlet.close(EndReason.SOURCE_REMOVED)
            self._cameras[stream.id] = self._start(stream)

    def remove(self, camera: str) -> None:
        """Stop a camera and hand over its SourceEnd before returning. Raises KeyError if the id is unknown."""
        with self._lock:
            self._cameras.pop(camera).outlet.close(EndReason.SOURCE_REMOVED)
            metrics.forget_stream(camera)
        log.info("camera %s removed", camera)

    def list(self) -> list[tuple[Stream, SourceStatus]]:
        """Return the settings and status of every camera, sorted by id."""
        with self._lock:
            return [(entry.stream, entry.status) for _, entry in sorted(self._cameras.items())]

    def get(self, camera: str) -> tuple[Stream, SourceStatus]:
        """Return the settings and status of a camera. Raises KeyError if the id is unknown."""
        with self._lock:
            return self._cameras[camera].stream, self._cameras[camera].status

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
        entry = _Camera(stream, Outlet(stream.id, self._handover), SourceStatus(state))
        _show(stream.id, state)
        if stream.enabled:
            entry.thread = threading.Thread(target=self._run, args=(entry,), name=f"decode-{stream.id}", daemon=True)
            entry.thread.start()
        return entry

    def _run(self, entry: _Camera) -> None:
        def report(status: SourceStatus) -> None:
            with self._lock:
                changed = status.state is not entry.status.state
                entry.status = status
                if changed and self._cameras.get(entry.stream.id) is entry:
                    _show(entry.stream.id, status.state)

        try:
            run_camera(entry.stream, entry.outlet, report, lambda: next(self._epochs), self.sources)
        except BaseException as error:  # thread boundary: a bug ends the process
            self._failed(error)
        with self._lock:
            if entry.stream.id not in self._cameras:
                metrics.forget_stream(entry.stream.id)  # again: the thread may have kept counting after the removal


def _show(camera: str, state: SourceState) -> None:
    for each in SourceState:
        metrics.stream_state.labels(camera, each.value).set(each is state)
