"""What one would write first: ultralytics `track` on every frame, SwinFace on every face of every frame.

`python -m tests.benchmarks.naive clip.mp4` prints one JSON object: the frames and the tracks, each with its mean age
and the expression that appears most often. The weights are the bundled ones, as in the streamer.
"""

import json
import sys
from collections import Counter, defaultdict

import numpy as np

from streamer.detect.bundled import bundled_detector
from streamer.detect.offline import import_ultralytics
from streamer.labels import EXPRESSIONS
from streamer.select.align import align
from workers.runtime.engine import Engine
from workers.weights.registry import find


def main() -> None:
    yolo = import_ultralytics().YOLO(str(bundled_detector().with_suffix(".pt")))
    engine = Engine(find("default"))
    ages: defaultdict[int, list[float]] = defaultdict(list)
    appears: defaultdict[int, Counter[str]] = defaultdict(Counter)
    frames = faces = 0
    for result in yolo.track(sys.argv[1], stream=True, persist=True, verbose=False):
        frames += 1
        if result.boxes.id is None:
            continue
        crops = np.stack([align(result.orig_img, points) for points in result.keypoints.xy.cpu().numpy()])
        answers = engine.analyse(crops)
        assert answers.age is not None
        assert answers.expression is not None
        faces += len(crops)
        for track, age, scores in zip(result.boxes.id.int().tolist(), answers.age, answers.expression, strict=True):
            ages[track].append(float(age))
            appears[track][EXPRESSIONS[int(scores.argmax())]] += 1
    tracks = [
        {"track": track, "age": float(np.mean(found)), "expression": appears[track].most_common(1)[0][0]}
        for track, found in ages.items()
    ]
    print(json.dumps({"frames": frames, "faces": faces, "tracks": tracks}))


if __name__ == "__main__":
    main()
