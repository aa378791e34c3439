"""Run the tracker alone on detections in the text format of MOTChallenge, so that public tools can score it."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import replacing
from streamer import config
from streamer.track.tracker import Tracker
from streamer.values import Detections, Track, TrackKey, TrackState

COLUMNS = "frame,id,left,top,width,height,score"
MAX_FRAME = 10**9  # beyond it the times of two frames might be equal
UNKNOWN_SIZE = (0, 0)  # px, of the frames: it only decides the reason of an end, which is not written
_Row = tuple[float, ...]  # left, top, width, height, score


def track_file(detections: Path, fps: float, out: Path, config: config.Track) -> int:
    """Track a file of detections, write the tracks as MOT text, and return the number of lines.

    A frame that is not in the file counts as one without detections. A track has a line for each frame in which it was
    detected, including those before it was confirmed. The box is the smoothed one, which is closer to the true box than
    the detector's. Raises InputError for the first invalid line, ConfigError for the frame rate or the output.
    """
    if not (fps > 0 and math.isfinite(fps)):
        raise ConfigError(f"the frame rate must be above 0 frames/s, not {fps:g}")
    if 1 / fps > config.max_gap_s:
        raise ConfigError(
            f"at {fps:g} frames/s, frames are {1 / fps:.2f} s apart, more than track.max_gap_s "
            f"({config.max_gap_s:g} s), so no track could continue: raise track.max_gap_s and track.lost_s"
        )
    lines = _track(read_detections(detections), fps, config)
    _write(out, lines)
    return len(lines)


def read_detections(path: Path) -> dict[int, Detections]:
    """Read detections by frame, from lines with COLUMNS; further columns are ignored.

    Raises InputError, also for a line that says again what an earlier one said: a frame cannot have the same box twice,
    nor, where there are ids, the same id.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the detections {path}: {error}") from error
    frames: dict[int, list[_Row]] = {}
    lines: dict[tuple[float, ...], int] = {}  # line of each frame and box, and of each frame and id
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                frame, identity, row = _parse(line)
            except ValueError as error:
                raise InputError(f"{path}:{number}: {error}; expected {COLUMNS}") from error
            if problem := _doubled(lines, number, frame, identity, row):
                raise InputError(f"{path}:{number}: {problem}: a doubled line; remove one of the two")
            frames.setdefault(frame, []).append(row)
    return {frame: _detections(rows) for frame, rows in sorted(frames.items())}


def _doubled(lines: dict[tuple[float, ...], int], number: int, frame: int, identity: float, row: _Row) -> str | None:
    """Return what a line has in common with an earlier one; None: nothing, and it is added to `lines`."""
    box = (frame, *row[:4])
    if box in lines:
        return f"line {lines[box]} has the same box in frame {frame}"
    lines[box] = number
    if identity > 0:  # ids count from 1, and detections have -1
        if (frame, identity) in lines:
            return f"line {lines[frame, identity]} has the same id {identity:g} in frame {frame}"
        lines[frame, identity] = number
    return None


def _parse(line: str) -> tuple[int, float, _Row]:
    """Parse one line into its frame, id and row. Raises ValueError."""
    fields = line.split(",") if "," in line else line.split()
    if len(fields) < 7:
        raise ValueError(f"{len(fields)} columns instead of at least 7")
    values = [_number(name, field) for name, field in zip(COLUMNS.split(","), fields, strict=False)]
    frame, identity, *row = values
    if not 1 <= frame <= MAX_FRAME or frame != int(frame):
        raise ValueError(f"frame {fields[0]} is not a whole number from 1 to {MAX_FRAME}")
    if row[2] <= 0 or row[3] <= 0:
        raise ValueError(f"width {fields[4]} and height {fields[5]} must be above 0")
    if not 0 <= row[4] <= 1:
        raise ValueError(f"score {fields[6]} is not between 0 and 1, the scale of track.high_score")
    return int(frame), identity, tuple(row)


def _number(name: str, field: str) -> float:
    try:
        value = float(field)
    except ValueError:
        raise ValueError(f"{name} {field!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} {field!r} is not finite")
    return value


def _detections(rows: list[_Row]) -> Detections:
    values = np.array(rows, np.float64)
    boxes = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], axis=1)
    landmarks = np.zeros((len(rows), 5, 2), np.float32)  # the tracker does not use them
    return Detections(boxes.astype(np.float32), values[:, 4].astype(np.float32), landmarks)


def _track(detections: dict[int, Detections], fps: float, config: config.Track) -> list[str]:
    """Return the lines of all tracks that were ever confirmed, sorted by frame and number."""
    tracker = Tracker(config, lambda number: TrackKey(str(number), "", number))
    frames = list(_frames(list(detections), math.ceil(config.lost_s * fps) + 1))
    seen = followed(tracker, ((frame / fps, detections.get(frame, Detections.none())) for frame in frames))
    return [_line(frame, track) for frame, tracks in zip(frames, seen, strict=True) for track in tracks]


def followed(tracker: Tracker, frames: Iterable[tuple[float, Detections]]) -> list[list[Track]]:
    """Return, per frame (media time in s, detections), the tracks detected in it, oldest first.

    A track that was confirmed later is included from its first detection.
    """
    seen: list[list[Track]] = []
    confirmed: set[int] = set()
    for time, detections in frames:
        tracks, _ = tracker.update(time, detections, UNKNOWN_SIZE)
        confirmed.update(track.key.number for track in tracks if track.state is TrackState.CONFIRMED)
        seen.append([track for track in tracks if track.detection is not None])
    return [[track for track in tracks if track.key.number in confirmed] for tracks in seen]


def _frames(filled: list[int], quiet: int) -> Iterator[int]:
    """Yield the frames to track: those with detections, and after each as many empty ones as a lost track lives."""
    for frame, following in zip(filled, filled[1:] + filled[-1:], strict=True):
        yield frame
        yield from range(frame + 1, min(following, frame + 1 + quiet))


def _line(frame: int, track: Track) -> str:
    left, top, right, bottom = track.box.tolist()
    box = f"{left:.2f},{top:.2f},{right - left:.2f},{bottom - top:.2f}"
    return f"{frame},{track.key.number},{box},{track.score:.4f},-1,-1,-1"


def _write(out: Path, lines: list[str]) -> None:
    with replacing(out) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines))
