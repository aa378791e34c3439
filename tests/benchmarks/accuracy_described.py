"""Which tracks are described: faces, masks, half faces at the edge of the frame, hands, animals and things.

The tracks of the clips, and of photographs of people, of people with masks and of no people, each shown for 1.25 s with
a little motion. What is where was decided by eye (`described_labels.json`); pictures in which that was unclear are left
out, and so are faces whose eyes are less than 10 px apart, except in the clips. `left out`: tracks at other places.
`analysed`: tracks that published an age and an expression before there was a decision on that; `described`: those that
do now; `false`: those called FALSE_FACE, which do not count as people. Of the faces that are not described most are
poor (quality below 0.25).

The bounds (`aggregate.min_described_quality` and those after it) were chosen on these tracks, so other recordings may
fare a little worse.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from streamer.config import StreamerConfig
from streamer.detect.detector import Detector
from streamer.identity.blank import blank_crops
from streamer.identity.persons import Persons
from streamer.observe import Observer
from streamer.source.file import read_file
from streamer.track.keys import recorded_keys, split_keys
from streamer.values import (
    Bytes,
    ClockSource,
    EndReason,
    FaceAnalysis,
    Floats,
    Frame,
    Model,
    Observation,
    SourceEnd,
    TrackSummary,
    Undescribed,
)
from tests.benchmarks.clip_tracks import CLIPS
from tests.conftest import shared_folder
from workers.runtime.engine import Engine
from workers.weights.registry import find

FRAMES, STEP_S = 6, 0.25  # of a photograph
MIN_EYES_PX = 10.0
MORE_CLIPS = ("classroom.gif", "people-detection.gif", "shop-from-above-1080p-hevc.mp4")
FACE, MASK, HALF, HAND, THING, HEAD = "face", "mask", "half face at the edge", "hand", "animal or thing", "hidden face"
UNKNOWN = "left out"
LABELS = Path(__file__).with_name("described_labels.json")
MASKS = "shop-from-above-1080p-hevc.mp4"  # all its tracks are people with masks


def measure() -> dict[str, Any]:
    data = shared_folder() / "data"
    labels = json.loads(LABELS.read_text())
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in (FACE, HEAD, MASK, HALF, HAND, THING, UNKNOWN)}
    judge = _Judge()
    for name in (*CLIPS, *MORE_CLIPS):
        usual = MASK if name == MASKS else FACE
        for track in judge.tracks(read_file(data / "clips" / name, "film", 0)):
            kinds = (kind for kind, time, x, y in labels["clips"].get(name, []) if track.covers(x, y, time))
            _count(counts[next(kinds, usual)], track.summary)
    crowds = data / "train" / "crowds"
    for name, points in labels["photographs"].items():
        for track in judge.tracks(_shown(crowds / f"{name}.jpg")):
            kinds = (kind for kind, places in points.items() for x, y in places if track.covers(x, y))
            kind = next(kinds, UNKNOWN)
            if track.eyes_px >= MIN_EYES_PX or kind in (HAND, UNKNOWN):
                _count(counts[kind], track.summary)
    for line in (crowds / "index.csv").read_text().splitlines()[1:]:
        file = line.split(",", 1)[0]
        if file.endswith("n.jpg"):  # without a face
            for track in judge.tracks(_shown(crowds / file)):
                _count(counts[THING], track.summary)
    return {kind: dict(count) for kind, count in counts.items()}


def table(results: dict[str, Any]) -> str:
    columns = ("tracks", "analysed", "described", "false")
    lines = [f"{'':<24}" + "".join(f"{name:>11}" for name in columns)]
    lines += [
        f"{kind:<24}" + "".join(f"{count.get(name, 0):>11}" for name in columns) for kind, count in results.items()
    ]
    return "\n".join(lines)


_Sightings = list[tuple[float, Floats, Floats]]  # media time (s), box (4,) and landmarks (5, 2) in px


class _Found(NamedTuple):
    """A track with the frames in which it was detected."""

    summary: TrackSummary
    seen: _Sightings

    @property
    def eyes_px(self) -> float:
        """How far the eyes are apart."""
        return float(np.median([np.linalg.norm(points[1] - points[0]) for _, _, points in self.seen or [NOWHERE]]))

    def covers(self, x: float, y: float, time: float | None = None) -> bool:
        """Whether a point (px) is in its box at a time (s), or in the last frame."""
        for at, (left, top, right, bottom), _ in reversed(self.seen):
            if time is None or abs(at - time) < 0.1:
                return bool(left <= x <= right and top <= y <= bottom)
        return False


NOWHERE = 0.0, np.zeros(4, np.float32), np.zeros((5, 2), np.float32)


class _Judge:
    """Detects, tracks, analyses and describes, as a recorded analysis does."""

    def __init__(self) -> None:
        self._config = StreamerConfig()
        self._detector = Detector(self._config.detect)
        self._engine = Engine(find("default"), threads=1)
        mean = np.stack([one.embedding for one in self._analysed(blank_crops()) if one.embedding is not None]).mean(0)
        self._blank = (mean / np.linalg.norm(mean)).astype(np.float32)

    def tracks(self, frames: Iterator[Frame]) -> list["_Found"]:
        """The tracks, each with what was published last."""
        persons = Persons(self._config, split_keys(recorded_keys("film")))
        persons.use_blank(self._engine.model_id, self._blank)
        observer = Observer(self._config, self._detector, recorded_keys("film"))
        final: list[TrackSummary] = []
        seen: dict[str, _Sightings] = {}
        for frame in frames:
            for observation in observer.observe([frame]):
                final += self._add(persons, observation)
                for track in observation.tracks:
                    if track.detection is not None:
                        landmarks = observation.detections.landmarks[track.detection]
                        seen.setdefault(track.key.id, []).append((observation.media_time, track.box, landmarks))
        for observation in observer.observe([SourceEnd("film", 0, EndReason.END_OF_FILE)]):
            final += self._add(persons, observation)
        final += persons.release()
        return [_Found(one, seen.get(one.key.id, [])) for one in final if one.final]

    def _add(self, persons: Persons, observation: Observation) -> list[TrackSummary]:
        _, changed = persons.observe(observation)
        answers = self._analysed([crop.pixels for crop in observation.crops])
        for crop, answer in zip(observation.crops, answers, strict=True):
            changed += persons.add_analysis(crop, answer)
        return changed + [one for end in observation.ended for one in persons.finish(end)]

    def _analysed(self, crops: Any) -> list[FaceAnalysis]:
        if not len(crops):
            return []
        model = Model(self._engine.model_id, True, True, (), True)
        found = self._engine.analyse(np.stack(crops))
        assert found.age is not None
        assert found.expression is not None
        assert found.embeddings is not None
        assert found.norms is not None
        rows = zip(found.age, found.expression, found.embeddings, found.norms, strict=True)
        none = np.zeros(0, np.float32)
        return [FaceAnalysis(model, float(age), shown, none, who, float(norm)) for age, shown, who, norm in rows]


def _count(count: Counter[str], summary: TrackSummary) -> None:
    count["tracks"] += 1
    count["analysed"] += summary.estimates.samples > 0
    count["described"] += summary.described
    count["false"] += Undescribed.FALSE_FACE in summary.undescribed


def _shown(path: Path) -> Iterator[Frame]:
    """A photograph as a clip that moves and grows a little."""
    image = cv2.imread(str(path))
    assert image is not None
    height, width = image.shape[:2]
    for place in range(FRAMES):
        scale = 1 + 0.004 * place
        matrix = np.array([[scale, 0, -2.0 * place], [0, scale, -1.5 * place]])
        moved: Bytes = np.asarray(
            cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8
        )
        yield Frame("film", 0, STEP_S * place, None, ClockSource.FILE_PTS, 0.0, moved)


if __name__ == "__main__":
    print(table(measure()))
