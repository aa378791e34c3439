"""Writes the shots of a recording as JSON lines: from which frame to which, and how each begins."""

from dataclasses import dataclass
from typing import Any

from faceanalytics.files import JsonLines
from streamer.values import Observation, Transition


@dataclass(slots=True)
class _Shot:
    """The shot that is going on. Frames count the analysed ones, from 0."""

    number: int
    transition: Transition
    start: tuple[int, float]  # frame, media time in s
    end: tuple[int, float]  # the newest frame

    def record(self) -> dict[str, Any]:
        return {
            "type": "shot",
            "shot": self.number,
            "transition": self.transition.value,
            "start_frame": self.start[0],
            "end_frame": self.end[0],
            "start_s": round(self.start[1], 6),
            "end_s": round(self.end[1], 6),
        }


class ShotLines:
    """Writes each shot when the next one begins."""

    def __init__(self, lines: JsonLines) -> None:
        self._lines = lines
        self._open: _Shot | None = None
        self.written = 0

    def see(self, frame: int, observation: Observation) -> None:
        """Take in the observation of a frame, which is the `frame`-th from 0."""
        now = frame, observation.media_time
        if self._open is not None and self._open.number == observation.shot:
            self._open.end = now
            return
        self.close()
        self._open = _Shot(observation.shot, observation.transition, now, now)

    def close(self) -> None:
        """Write the last shot. Called at the end of the video."""
        if self._open is not None:
            self._lines.write(self._open.record())
            self._open = None
            self.written += 1
