"""The faces of real clips as a streamer follows them: decoded, detected by the bundled detector, tracked."""

from pathlib import Path

import numpy as np

from streamer.config import Crop, Detect
from streamer.config import Track as Following
from streamer.crop import align, finish, geometry
from streamer.cut import CutDetector
from streamer.decode import read_file
from streamer.detect import Detector
from streamer.track import Tracker
from streamer.values import TrackKey, TrackState
from tests.benchmarks.degraded import Seen

CLIPS = (
    *(f"asl/{name}.mkv" for name in ["again", "bird", "book", "brother", "learn", "milk", "no", "please", "school"]),
    "face-demographics-walking-and-pause.gif",
    "head-pose-face-detection-female.gif",
    "head-pose-face-detection-female-and-male.gif",
    "stage-cuts.mp4",
    "street-crowd-1080p.mp4",
)


def clip_tracks(path: Path) -> tuple[float, dict[int, dict[int, Seen]]]:
    """Frames/s of a clip, and the usable crops of each of its confirmed tracks by frame."""
    detector, crop = Detector(Detect()), Crop()
    tracker = Tracker(Following(), lambda number: TrackKey(str(number), "film", number))
    cuts = CutDetector(Following().cut_change)
    times: list[float] = []
    tracks: dict[int, dict[int, Seen]] = {}
    for place, frame in enumerate(read_file(path, "film", 0)):
        times.append(frame.media_time)
        (found,) = detector.detect([frame.pixels])
        cut = cuts.is_cut(frame.media_time, frame.pixels)
        height, width = frame.pixels.shape[:2]
        for track in tracker.update(frame.media_time, found, (width, height), cut)[0]:
            if track.state is not TrackState.CONFIRMED or track.detection is None:
                continue
            landmarks, score = found.landmarks[track.detection], float(found.scores[track.detection])
            pixels = align(frame.pixels, landmarks)
            quality = finish(geometry(score, landmarks, (width, height), crop), pixels, crop)
            if not quality.reasons:
                tracks.setdefault(track.key.number, {})[place] = Seen(place, score, quality, pixels)
    return 1 / float(np.median(np.diff(times))), tracks
