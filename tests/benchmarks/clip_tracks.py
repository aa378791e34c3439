"""The faces of real clips as a streamer follows them: decoded, detected by the bundled detector, tracked.

`python -m tests.benchmarks.clip_tracks` prints how many are followed over all clips, by thresholds of the tracker.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from streamer.config import Crop, Detect
from streamer.config import Track as Following
from streamer.detect.detector import Detector
from streamer.select.align import align
from streamer.select.quality import finish, geometry
from streamer.source.file import read_file
from streamer.track.shot_change import ShotChangeDetector
from streamer.track.tracker import Tracker
from streamer.values import Detections, Frame, TrackKey, TrackState, Transition
from tests.benchmarks.degraded import SeenFace
from tests.conftest import shared_folder

CLIPS = (
    *(f"asl/{name}.mkv" for name in ["again", "bird", "book", "brother", "learn", "milk", "no", "please", "school"]),
    "face-demographics-walking-and-pause.gif",
    "head-pose-face-detection-female.gif",
    "head-pose-face-detection-female-and-male.gif",
    "stage-cuts.mp4",
    "street-crowd-1080p.mp4",
)


def clip_tracks(path: Path) -> tuple[float, dict[int, dict[int, SeenFace]]]:
    """Frames/s of a clip, and the usable crops of each of its confirmed tracks by frame."""
    detector, crop, following = Detector(Detect()), Crop(), Follower(Following())
    times: list[float] = []
    tracks: dict[int, dict[int, SeenFace]] = {}
    for place, frame in enumerate(read_file(path, "film", 0)):
        times.append(frame.media_time)
        (found,) = detector.detect([frame.pixels])
        height, width = frame.pixels.shape[:2]
        for number, row in following.see(frame, found):
            landmarks, score = found.landmarks[row], float(found.scores[row])
            pixels = align(frame.pixels, landmarks)
            quality = finish(geometry(score, landmarks, (width, height), crop), pixels, crop)
            if not quality.reasons:
                tracks.setdefault(number, {})[place] = SeenFace(place, score, quality, pixels)
    return 1 / float(np.median(np.diff(times))), tracks


class Follower:
    """The tracker as a streamer has it."""

    def __init__(self, settings: Following) -> None:
        self._tracker = Tracker(settings, lambda number: TrackKey(str(number), "film", number))
        self._cuts = ShotChangeDetector(settings.shot_change_levels)

    def see(self, frame: Frame, found: Detections) -> list[tuple[int, int]]:
        """Number and detection of the confirmed tracks that are in view."""
        height, width = frame.pixels.shape[:2]
        cut = self._cuts.see(frame.media_time, frame.pixels) in (Transition.CUT, Transition.FADE)
        tracks, _ = self._tracker.update(frame.media_time, found, (width, height), cut)
        there = [(track.key.number, track.detection) for track in tracks if track.state is TrackState.CONFIRMED]
        return [(number, row) for number, row in there if row is not None]


def main() -> None:
    clips = shared_folder() / "data" / "clips"
    paths = sorted([*clips.glob("*.gif"), *clips.glob("*.mp4"), *clips.glob("*/*.mkv")])
    detector = Detector(Detect())
    settings = [(high, weak) for high in (0.5, 0.55, 0.6) for weak in (0.3, 0.5)]
    counts = {pair: Counter[str]() for pair in settings}
    for path in paths:
        following = {pair: Follower(Following(high_score=pair[0], max_cost_weak=pair[1])) for pair in settings}
        numbers: dict[tuple[float, float], set[int]] = {pair: set() for pair in settings}
        for frame in read_file(path, "film", 0):
            (found,) = detector.detect([frame.pixels])
            for pair, one in following.items():
                seen = one.see(frame, found)
                counts[pair]["faces"] += len(seen)
                numbers[pair] |= {number for number, _ in seen}
        for pair in settings:
            counts[pair]["tracks"] += len(numbers[pair])
    print(f"{len(paths)} clips: confirmed tracks, and their faces in view summed over the frames")
    for (high, weak), count in counts.items():
        print(f"high_score {high:<5} max_cost_weak {weak:<4}{count['tracks']:>5} tracks{count['faces']:>7} faces")


if __name__ == "__main__":
    main()
