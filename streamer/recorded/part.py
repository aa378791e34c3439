"""Which part of a video is analysed: from when to when, how many of its frames, where, and how small a face may be."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from faceanalytics.errors import ConfigError
from streamer.config import Track
from streamer.detect.region import Region
from streamer.source.file import Length
from streamer.source.picture import DecodedFrame

EARLY_S = 1e-6  # a frame counts as on time that is this much early: media times are rounded

T = TypeVar("T", bound=DecodedFrame)


@dataclass(frozen=True, slots=True)
class Part:
    """The part of each video to analyse. The defaults are all of it."""

    start_s: float = 0.0  # media time
    end_s: float | None = None  # media time of the first frame left out; None: the end of the video
    sample_fps: float | None = None  # most frames per second of media time; None: all
    region: Region | None = None  # None: the whole picture
    min_face_px: float = 0.0  # narrower faces are neither followed nor analysed

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and self.start_s >= 0):
            raise ConfigError(f"--start: {self.start_s:g} s is not a time in the video; write 0 or more")
        if self.end_s is not None and not (math.isfinite(self.end_s) and self.end_s > self.start_s):
            raise ConfigError(f"--end: {self.end_s:g} s must be after --start, which is {self.start_s:g} s")
        if self.sample_fps is not None and not (math.isfinite(self.sample_fps) and self.sample_fps > 0):
            raise ConfigError(f"--sample-fps: {self.sample_fps:g} must be above 0")
        if not (math.isfinite(self.min_face_px) and self.min_face_px >= 0):
            raise ConfigError(f"--min-face: {self.min_face_px:g} must be 0 or more pixels")

    def check(self, config: Track) -> None:
        """Raise ConfigError if faces could not be followed from one frame to the next."""
        if self.sample_fps is not None and 1 / self.sample_fps >= config.max_gap_s:
            raise ConfigError(
                f"--sample-fps {self.sample_fps:g} leaves {1 / self.sample_fps:g} s between two frames, but "
                f"track.max_gap_s is {config.max_gap_s:g} s: no face could be followed. Take more frames, or raise "
                "track.max_gap_s and track.lost_s"
            )

    def check_region(self, size: tuple[int, int]) -> None:
        """Raise ConfigError if nothing of the region is in a picture of this width and height."""
        if self.region is None:
            return
        x1, y1, x2, y2 = self.region.corners(size)
        if x1 >= x2 or y1 >= y2:
            raise ConfigError(f"--region {self.region}: the picture of {size[0]}x{size[1]} pixels has nothing there")

    def frames(self, decoded: Iterable[T]) -> Iterator[T]:
        """Yield the frames of the part. Of those that are sampled, each is the first one due."""
        taken = -1  # frames that were due at the last one
        for frame in decoded:
            since = frame.media_time - self.start_s + EARLY_S
            if self.end_s is not None and frame.media_time + EARLY_S >= self.end_s:
                return
            if since < 0:
                continue
            if self.sample_fps is not None:
                due = math.floor(since * self.sample_fps)
                if due <= taken:
                    continue
                taken = due
            yield frame

    def expected(self, length: Length) -> int:
        """Return how many frames of a video belong to the part, by its header; 0 if that is unknown."""
        if not length.frames:
            return 0
        whole_s = length.duration_s or length.frames / length.fps
        length_s = max(0.0, min(whole_s, math.inf if self.end_s is None else self.end_s) - self.start_s)
        rate = length.frames / whole_s
        return max(1, round(length_s * min(rate, self.sample_fps or math.inf)))

    def nothing(self) -> str:
        """Return why a video has no frame in the part."""
        return f"it ends before --start, which is {self.start_s:g} s" if self.start_s else "it has no frame in the part"

    def record(self) -> dict[str, Any]:
        """Return the field `part` of the header."""
        return {
            "start_s": self.start_s,
            "end_s": self.end_s,
            "sample_fps": self.sample_fps,
            "region": None if self.region is None else str(self.region),
            "min_face_px": self.min_face_px,
        }


def parse_time(text: str) -> float:
    """Return a time in s, written as seconds or as [HH:]MM:SS[.mmm]. Raises ValueError."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?|\.\d+", text):
        raise ValueError(f"{text!r} is not a time: write seconds, or HH:MM:SS.mmm")
    *sixties, seconds = text.split(":")
    if (sixties and float(seconds) >= 60) or any(int(part) >= 60 for part in sixties[1:]):
        raise ValueError(f"{text!r} is not a time: minutes and seconds are below 60")
    total = float(seconds)
    for place, part in enumerate(reversed(sixties), start=1):
        total += int(part) * 60**place
    return total
