"""Shot changes: which are found and what is taken for one, over films whose changes are known.

The films are made of the clips of the data folder (`cut_films.py`): three people cut one after another in one studio
and framing, also at a low bit rate and at 15 frames/s; other takes of the same person; jumps within a clip; other zoom,
side and brightness; other scenes; real edits, labelled by eye; cross-fades of 0.2 to 1.5 s; and what is no change:
the clips as they are, with frames left out, lit by flashes, dimmed, shaken, panned, occluded, and noisy.
`before` is the structure of a grey picture of 32x18, the measure until now. `content` and `adaptive` are the detectors
of PySceneDetect with their defaults, except that shots may be short, on frames of its usual width of 256.
Each cell is `found+false`. A cross-fade counts as found from its first frame to 0.2 s after its last one, and what is
found then is not false. Thresholds of `ours` were set on these films. The last lines are the cost on one core.
"""

import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamer.config import Track
from streamer.source.file import read_file
from streamer.track.shot_change import ShotChangeDetector
from streamer.values import Floats, Transition
from tests.benchmarks.cut_films import Film, Picture, films
from tests.conftest import shared_folder

Find = Callable[[list[Picture]], list[int]]  # frames that begin another shot than the first
LATE_S = 0.2  # after the last frame of a cross-fade, within which it still counts
WIDTH = 256  # px, to which PySceneDetect reduces frames
TIMED = {"640x480": "asl/book.mkv", "1920x1080": "street-crowd-1080p.mp4"}
TIMED_FRAMES = 100


def measure() -> dict[str, Any]:
    detectors: dict[str, Find] = {"before": _before, "content": _content, "adaptive": _adaptive, "ours": _ours}
    kinds: dict[str, Any] = {}
    clips = shared_folder() / "data" / "clips"
    with tempfile.TemporaryDirectory() as folder:
        for film in films(clips, Path(folder)):
            row = kinds.setdefault(film.kind, {"changes": 0, "frames": 0, "found": defaultdict(lambda: [0, 0])})
            pictures = list(film.pictures())
            row["changes"] += len(film.changes)
            row["frames"] += len(pictures)
            for name, find in detectors.items():
                found, false = _judged(film, [at for at, _ in pictures], find(pictures))
                row["found"][name][0] += found
                row["found"][name][1] += false
    return {"kinds": kinds, "ms": {size: _cost(clips / name) for size, name in TIMED.items()}}


def table(results: dict[str, Any]) -> str:
    kinds = results["kinds"]
    names = list(next(iter(kinds.values()))["found"])
    lines = [f"{'':<48}{'frames':>7}{'changes':>8}" + "".join(f"{name:>10}" for name in names)]
    totals = {name: [0, 0] for name in names}
    for kind, row in kinds.items():
        cells = "".join(f"{'{}+{}'.format(*row['found'][name]):>10}" for name in names)
        lines.append(f"{kind:<48}{row['frames']:>7}{row['changes']:>8}{cells}")
        for name in names:
            totals[name] = [total + new for total, new in zip(totals[name], row["found"][name], strict=True)]
    changes = sum(row["changes"] for row in kinds.values())
    recalls = "".join(f"{found / changes:>10.3f}" for found, _ in totals.values())
    precisions = "".join(f"{found / max(found + false, 1):>10.3f}" for found, false in totals.values())
    lines += [f"{'recall':<63}{recalls}", f"{'precision':<63}{precisions}"]
    return "\n".join(lines + [f"{size}: {ms:.2f} ms a frame" for size, ms in results["ms"].items()])


def _judged(film: Film, times: list[float], found: list[int]) -> tuple[int, int]:
    """How many changes are found, and how many frames are taken for one by mistake."""
    left, hits = set(found), 0
    for change in film.changes:
        fade = change.last > change.first
        limit = times[min(change.last, len(times) - 1)] + (LATE_S if fade else 0.0)
        here = {at for at in left if at >= change.first and times[at] <= limit + 1e-6}
        hits += bool(here)
        left -= here
    return hits, len(left)


def _ours(pictures: list[Picture]) -> list[int]:
    shots = ShotChangeDetector(Track().shot_change_levels)
    found = [shots.see(at, pixels) for at, pixels in pictures]
    return [place for place, how in enumerate(found) if how in (Transition.CUT, Transition.FADE)]


def _before(pictures: list[Picture]) -> list[int]:
    """One minus the contrast and structure of SSIM, and twice its median over the last second."""
    found: list[int] = []
    changes: deque[tuple[float, float]] = deque()
    last: Floats | None = None
    for place, (at, pixels) in enumerate(pictures):
        step = max(1, pixels.shape[0] // 90)
        thin = np.ascontiguousarray(pixels[::step, ::step])
        grey = cv2.resize(thin, (32, 18), interpolation=cv2.INTER_AREA).mean(axis=2, dtype=np.float32)
        grey = np.asarray(grey - grey.mean(), np.float32)
        if last is not None:
            variances = float((last**2).mean() + (grey**2).mean())
            change = 1 - (2 * float((last * grey).mean()) + 16) / (variances + 16)
            changes = deque(one for one in changes if at - one[0] <= 1)
            usual = float(np.median([one for _, one in changes])) if changes else 0.0
            changes.append((at, change))
            if change >= max(0.6, 2 * usual):
                found.append(place)
        last = grey
    return found


def _content(pictures: list[Picture]) -> list[int]:
    from scenedetect.detectors import ContentDetector

    return _scenes(ContentDetector(min_scene_len=1), pictures)


def _adaptive(pictures: list[Picture]) -> list[int]:
    from scenedetect.detectors import AdaptiveDetector

    return _scenes(AdaptiveDetector(min_scene_len=1), pictures)


def _scenes(detector: Any, pictures: list[Picture]) -> list[int]:
    from scenedetect import FrameTimecode

    found: list[int] = []
    for place, (_, pixels) in enumerate(pictures):
        height, width = pixels.shape[:2]
        small = cv2.resize(pixels, (WIDTH, round(height * WIDTH / width)))
        found += [cut.frame_num for cut in detector.process_frame(FrameTimecode(place, 25.0), small)]
    return found


def _cost(clip: Path) -> float:
    """Milliseconds of processor time a frame."""
    frames = [(one.media_time, one.pixels) for one in islice(read_file(clip, "film", 0), TIMED_FRAMES)]
    shots = ShotChangeDetector(Track().shot_change_levels)
    started = time.process_time()
    for at, pixels in frames:
        shots.see(at, pixels)
    return 1000 * (time.process_time() - started) / len(frames)


if __name__ == "__main__":
    print(table(measure()))
