"""The way out of a camera's reader: frames go to the hand-over until the outlet is closed."""

import threading

from streamer.handover import LatestPerCamera, Picture
from streamer.values import EndReason, SourceEnd


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

    @property
    def calm(self) -> bool:
        """Whether fewer frames of the camera suffice, because nothing happens in it."""
        return self._handover.is_calm(self._camera)

    def put(self, frame: Picture) -> None:
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
