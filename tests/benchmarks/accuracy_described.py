"""Which tracks are described: faces, masks, half faces at the edge of the frame, hands, animals and things.

The tracks of the clips, and of photographs of people, of people with masks and of no people, each shown for 1.25 s with
a little motion. What each track shows was decided by eye; pictures in which that was unclear are left out, and so are
faces whose eyes are less than 10 px apart, except in the clips. `analysed`: tracks that published an age and an
expression before there was a decision on that; `described`: those that do now; `false`: those called FALSE_FACE, which
do not count as people. Of the faces that are not described most are poor (quality below 0.25).

The bounds (`aggregate.min_described_quality` and those after it) were chosen on these tracks, so other recordings may
fare a little worse.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
OF_CLIPS = {  # kind of the tracks, by number, that are no plain faces; 0: all
    "asl/bird.mkv": {2: HALF},
    "asl/milk.mkv": {2: HALF},
    "asl/no.mkv": {2: HALF},
    "shop-from-above-1080p-hevc.mp4": {0: MASK},
    "stage-cuts.mp4": {20: HAND, 3: HEAD, 15: HEAD, 22: HEAD, 23: HEAD, 25: HEAD},
    "street-crowd-1080p.mp4": {9: HEAD, 11: HEAD, 13: HEAD},
}
# photograph: numbers of the tracks with masks, then after a slash of those left out, except the ones named below
MASKED = """
chandrikadeb7-face-mask-detection-001: 2 / 4; chandrikadeb7-face-mask-detection-002: 1 2;
chandrikadeb7-face-mask-detection-003: 1 2 3 4 5 6 7 8 9 10 11 13 15 / 14; formatcom-tfm-mask-detect-001: ;
formatcom-tfm-mask-detect-002: 3; formatcom-tfm-mask-detect-003: 3; formatcom-tfm-mask-detect-004: 3;
formatcom-tfm-mask-detect-005: 2; formatcom-tfm-mask-detect-006: 2 3; formatcom-tfm-mask-detect-007: 2 / 1;
linzaer-ultra-light-fast-generic-face-de-010: 2 3 4 5 6 7 8 / 9 10;
linzaer-ultra-light-fast-generic-face-de-011: 1 2 3 4 5 10 12 13 20 / 9;
marellanoc-maskon-001: 2 4; marellanoc-maskon-002: 2; marellanoc-maskon-004: 1; marellanoc-maskon-008: 2;
marellanoc-maskon-009: 2 4; marellanoc-maskon-010: 1 3 / 2; marellanoc-maskon-011: 1 3 4; marellanoc-maskon-012: 1;
marellanoc-maskon-013: 1 2 / 4 6; marellanoc-maskon-014: 1 2; marellanoc-maskon-015: 2 3 4; marellanoc-maskon-016: 3;
marellanoc-maskon-017: 1 2 4; marellanoc-maskon-018: 1 2 4 / 8; marellanoc-maskon-019: 1 2 4 6;
marellanoc-maskon-021: 1 2; marellanoc-maskon-022: 1 2 3; marellanoc-maskon-023: 2; marellanoc-maskon-024: 7 11 / 3;
marellanoc-maskon-025: 2 3 4 5 / 6 8; marellanoc-maskon-027: 5 8; marellanoc-maskon-028: 3;
marellanoc-maskon-029: 2 3 5; marellanoc-maskon-031: 1 2 3; marellanoc-maskon-032: 2 3;
victorlin000-yolov3-mask-detect-001: 2 4 6 7 8 10 11 12;
x-zhangyang-real-world-masked-face-datas-003: 1 2 3 4 5 6 7 8 9 10 11; gradio-app-hub-blm-001: 1 2 / 6;
gradio-app-hub-blm-002: / 5; gradio-app-hub-blm-003: / 3 5; bnu-sys-bnu-sys-github-io-002: ;
djangogirlsseoul-dgrsvpsite-003: ; empathia-crowdvoice-by-001: ; empathia-crowdvoice-by-002: ;
cmu-perceptual-computing-lab-openpose-001: ; seanlinx-mtcnn-001: ; seetaface-seetafaceengine-001: ;
seetaface-seetafaceengine-002: ; shiqiyu-libfacedetection-002: ; simbatmotsi-face-detection-004:
"""
OF_PHOTOGRAPHS = {
    "chandrikadeb7-face-mask-detection-003": {14: HAND},
    "linzaer-ultra-light-fast-generic-face-de-010": {10: HAND},
    "seanlinx-mtcnn-001": {6: HALF},
    "seetaface-seetafaceengine-001": {2: HALF},
}


def measure() -> dict[str, Any]:
    data = shared_folder() / "data"
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in (FACE, HEAD, MASK, HALF, HAND, THING)}
    judge = _Judge()
    for name in (*CLIPS, *MORE_CLIPS):
        kinds = OF_CLIPS.get(name, {})
        for summary, _ in judge.tracks(read_file(data / "clips" / name, "film", 0)):
            _count(counts[kinds.get(0, kinds.get(summary.key.number, FACE))], summary)
    crowds = data / "train" / "crowds"
    for name, (masked, left_out) in _photographs().items():
        for summary, eyes in judge.tracks(_shown(crowds / f"{name}.jpg")):
            number = summary.key.number
            kind = OF_PHOTOGRAPHS.get(name, {}).get(number, MASK if number in masked else FACE)
            if eyes >= MIN_EYES_PX and (number not in left_out or kind is HAND):
                _count(counts[kind], summary)
    for line in (crowds / "index.csv").read_text().splitlines()[1:]:
        file = line.split(",", 1)[0]
        if file.endswith("n.jpg"):  # without a face
            for summary, _ in judge.tracks(_shown(crowds / file)):
                _count(counts[THING], summary)
    return {kind: dict(count) for kind, count in counts.items()}


def table(results: dict[str, Any]) -> str:
    columns = ("tracks", "analysed", "described", "false")
    lines = [f"{'':<24}" + "".join(f"{name:>11}" for name in columns)]
    lines += [
        f"{kind:<24}" + "".join(f"{count.get(name, 0):>11}" for name in columns) for kind, count in results.items()
    ]
    return "\n".join(lines)


class _Judge:
    """Detects, tracks, analyses and describes, as a recorded analysis does."""

    def __init__(self) -> None:
        self._config = StreamerConfig()
        self._detector = Detector(self._config.detect)
        self._engine = Engine(find("default"), threads=1)
        mean = np.stack([one.embedding for one in self._analysed(blank_crops()) if one.embedding is not None]).mean(0)
        self._blank = (mean / np.linalg.norm(mean)).astype(np.float32)

    def tracks(self, frames: Iterator[Frame]) -> list[tuple[TrackSummary, float]]:
        """The final summaries of the tracks, and how far the eyes are apart, px."""
        persons = Persons(self._config, split_keys(recorded_keys("film")))
        persons.use_blank(self._engine.model_id, self._blank)
        observer = Observer(self._config, self._detector, recorded_keys("film"))
        found: list[TrackSummary] = []
        eyes: dict[str, list[float]] = {}
        for frame in frames:
            for observation in observer.observe([frame]):
                found += self._add(persons, observation)
                for track in observation.tracks:
                    if track.detection is not None:
                        left, right = observation.detections.landmarks[track.detection][:2]
                        eyes.setdefault(track.key.id, []).append(float(np.linalg.norm(right - left)))
        for observation in observer.observe([SourceEnd("film", 0, EndReason.END_OF_FILE)]):
            found += self._add(persons, observation)
        found += persons.release()
        return [(one, float(np.median(eyes.get(one.key.id, [0.0])))) for one in found if one.final]

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


def _photographs() -> dict[str, tuple[set[int], set[int]]]:
    """By name: the numbers of the tracks with masks, and of those left out."""
    found = {}
    for entry in MASKED.split(";"):
        name, _, numbers = entry.partition(":")
        masked, _, left_out = numbers.partition("/")
        found[name.strip()] = {int(one) for one in masked.split()}, {int(one) for one in left_out.split()}
    return found


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
