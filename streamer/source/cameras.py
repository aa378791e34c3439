"""All cameras of this process: one thread each, added and removed while the others run."""

import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamer import metrics
from streamer.config import Stream
from streamer.handover import LatestPerCamera
from streamer.source.reader import Outlet, run_camera
from streamer.values import EndReason, SourceState, SourceStatus

LINGER_S = 1.0  # after their end was said, threads that hang in the network are not waited for longer than this

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Camera:
    stream: Stream
    outlet: Outlet
    status: SourceStatus
    thread: threading.Thread | None = None


class Cameras:
    """Safe to call from any thread; nothing here waits for a camera but `stop_all`."""

    def __init__(self, handover: LatestPerCamera, failed: Callable[[BaseException], None]) -> None:
        """`failed` gets a bug in the thread of a camera, called from that thread."""
        self._handover = handover
        self._failed = failed
        self._cameras: dict[str, _Camera] = {}
        self._lock = threading.Lock()
        self._epochs = itertools.count(1)

    def add(self, stream: Stream) -> None:
        """Start a camera (one that is not enabled: PAUSED). Raises ValueError if the id is taken."""
        with self._lock:
            if stream.id in self._cameras:
                raise ValueError(f"stream {stream.id} exists already")
            self._cameras[stream.id] = self._start(stream)

    def replace(self, stream: Stream) -> None:
        """End a camera and start it with other settings. Raises KeyError if the id is unknown."""
        with self._lock:
            self._cameras[stream.id].outlet.close(EndReason.SOURCE_REMOVED)
            self._cameras[stream.id] = self._start(stream)

    def remove(self, camera: str) -> None:
        """End a camera: its SourceEnd is handed over before this returns. Raises KeyError if the id is unknown."""
        with self._lock:
            self._cameras.pop(camera).outlet.close(EndReason.SOURCE_REMOVED)
            metrics.forget_stream(camera)
        log.info("camera %s removed", camera)

    def list(self) -> list[tuple[Stream, SourceStatus]]:
        """Every camera and how it does, by id."""
        with self._lock:
            return [(entry.stream, entry.status) for _, entry in sorted(self._cameras.items())]

    def get(self, camera: str) -> tuple[Stream, SourceStatus]:
        """Raises KeyError if the id is unknown."""
        with self._lock:
            return self._cameras[camera].stream, self._cameras[camera].status

    def stop_all(self, timeout_s: float) -> None:
        """End every camera with SHUTDOWN, then wait a moment, at most `timeout_s`, for their threads."""
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
            run_camera(entry.stream, entry.outlet, report, lambda: next(self._epochs))
        except BaseException as error:  # the border of the thread: a bug ends the process
            self._failed(error)
        with self._lock:
            if entry.stream.id not in self._cameras:
                metrics.forget_stream(entry.stream.id)  # again: the thread may have counted on after the removal


def _show(camera: str, state: SourceState) -> None:
    for each in SourceState:
        metrics.stream_state.labels(camera, each.value).set(each is state)
