"""Report how a camera is doing while its reader runs: its status, a line in the log for each change, and metrics."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from streamer import metrics
from streamer.source.health import Gaps
from streamer.source.image_folder import FolderFrame
from streamer.source.outlet import Outlet
from streamer.source.picture import DecodedFrame
from streamer.values import ClockSource, SourceErrorCode, SourceState, SourceStatus

log = logging.getLogger(__name__)


class Reporter:
    """Keeps the status of one camera; nothing is reported once its outlet is closed."""

    def __init__(
        self, camera: str, outlet: Outlet, report: Callable[[SourceStatus], None], next_epoch: Callable[[], int]
    ) -> None:
        """`report` receives every change of status, the first one at once."""
        self._camera = camera
        self._outlet = outlet
        self._report = report
        self._next_epoch = next_epoch
        self._status = SourceStatus(SourceState.CONNECTING, since=datetime.now(UTC))
        self._gaps = Gaps()
        self.running = False  # a frame has arrived since the connection
        self.running_since = 0.0  # s, monotonic
        report(self._status)

    @property
    def epoch(self) -> int:
        """Return the number of the present connection."""
        return self._status.epoch

    def arrived(self, decoded: DecodedFrame | FolderFrame, untimed: bool = False) -> None:
        """Note a frame; the first one after connecting begins an epoch.

        `untimed`: its time does not show whether others are missing: it is that of its arrival, or some are skipped.
        """
        self._outlet.last_frame_at = time.time()
        width, height = decoded.size
        described = decoded.codec, width, height
        if not self.running:
            self.running, self.running_since, self._gaps = True, time.monotonic(), Gaps()
            metrics.stream_connects.labels(self._camera).inc()
            connects = self._status.connects + 1
            self._status = replace(
                self._status,
                epoch=self._next_epoch(),
                connects=connects,
                clock_source=None,
                decoder=decoded.decoder,
            )
            self._describe(*described)
            self.change(SourceState.RUNNING, message=f"{width}x{height} {decoded.codec}")
        elif described != (self._status.codec, self._status.width, self._status.height):
            before = f"{self._status.width}x{self._status.height} {self._status.codec}"
            log.info("camera %s changes from %s to %dx%d %s", self._camera, before, width, height, decoded.codec)
            self._describe(*described)
            self._show()
        if untimed:
            self._gaps = Gaps()
        missing = 0 if untimed else self._gaps.missing(decoded.media_time)
        if missing:
            metrics.frames_missing.labels(self._camera).inc(missing)

    def clocked(self, source: ClockSource) -> None:
        """Note the clock of the newest frame."""
        if source is not self._status.clock_source:
            self._status = replace(self._status, clock_source=source)
            self._show()

    def change(
        self,
        state: SourceState,
        error: SourceErrorCode | None = None,
        message: str = "",
        retry_in_s: float | None = None,
    ) -> None:
        """Report another state, with its error or what is waited for; log it, and count the error."""
        if self._outlet.closed:
            return
        kept = message if error or state is SourceState.CONNECTING else ""  # what a connection waits for is shown too
        if error is not None:
            metrics.stream_errors.labels(self._camera, error.value).inc()
        if (state, error) != (self._status.state, self._status.error) or (kept != self._status.message and not error):
            level = logging.INFO if error is None else logging.WARNING
            log.log(level, "camera %s %s%s", self._camera, state.value, f": {message}" if message else "")
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

    def fail(self, code: SourceErrorCode, message: str) -> None:
        """Report an error that trying again does not mend."""
        self.change(SourceState.ERROR, code, message)

    def _describe(self, codec: str, width: int, height: int) -> None:
        self._status = replace(self._status, codec=codec, width=width, height=height)

    def _show(self) -> None:
        if not self._outlet.closed:
            self._report(self._status)
