"""Face detectors on images that none of ours was trained on: recall, precision, landmark error, time.

Most of these images were not labelled by hand. Truth is the agreement of public detectors that look closer than the
tested ones may: at several scales, in tiles of the unscaled image. A face is a detection that two of them share
(IoU 0.5, mean score 0.5); a detection of one alone is ignored, neither missed nor false. To be fair, each public
detector is compared with the agreement of the other two, with the bundled one beside it; the bundled one also with two
of all three. All three taught the bundled one (on other images), so their habits, including bad ones, count in its
favour.

Each tested detector sees the whole image once, scaled into 640x640 and enlarged by 1.5 at most: in a frame of 1920
pixels a face of 24 px is then one of 8 px. The images are those held out in configs/train-detector.yaml. Frames of a
clip resemble each other, so a hundred faces are not a hundred independent ones. Not all of them are strangers: one of
the two in `two_turning` is seen in a training clip, and `stage_end` is the rest of a recording whose beginning was
trained on. The training keeps the weights that do best on some of these frames, which flatters them a little. Faces
under 24 px and ignored ones do not count, except in the table by width, which begins at 12 px.

The bundled detector and YOLOv8-lite run as in `streamer detect`. YuNet and SCRFD return nothing below a score of 0.3
here, so their recall may be underestimated where a precision of 97 % holds down to there.

The protocol of WIDER FACE is that of `streamer evaluate-detector`: all detections count, and a level has the faces of
some height and more, so that readers can compare. Its own levels are chosen by an older method, not by height.

Landmark errors are means over the faces of dlib-68-landmarks, whose file says that dlib's own model placed its points.
Times are medians of one image of 640x640 pixels on two threads, all detectors taking turns: the network alone, and
the whole of `detect` for ours.

Crowds are the photographs of public repositories that the training keeps aside, one look each, judged in the same way.
Close-ups are cut out of the photographs with labelled landmarks, so that the face fills 80, 100 and 120 % of the
height of 640 pixels: a face counts if exactly one box with a score from 0.5 on is there, and it is that of the face.
Rolled faces are the same photographs turned by quarters: a face counts from a score of 0.3 on if its landmarks are
less than a quarter of the eye distance away on average, each at its own part of the turned face.

`python -m tests.benchmarks.accuracy_detect FILE.onnx` tests another file in place of the bundled one, and writes
nothing; with `--sheets DIR` it shows its hits, misses and false detections.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from faceanalytics.errors import ModelError
from faceanalytics.errors import ModelError as TeacherError
from faceanalytics.files import hash_file
from streamer.boxes import covered, iou
from streamer.config import Detect
from streamer.detect.bundled import bundled_detector
from streamer.detect.detector import Detector
from streamer.detect.letterbox import GREY
from streamer.detect.session import open_session
from streamer.evaluate.labels import read_labels
from streamer.evaluate.score import SAME_FACE, Counts, Match, Truth, match, summarise
from streamer.evaluate.score import landmark_errors as landmark_distances
from streamer.evaluate.sheets import Sheets
from streamer.source.images import IMAGES, find_files, read_images
from streamer.values import Bytes, Detections
from tests.conftest import ROOT, shared_folder
from workers.research.detector.teachers import Teacher, agree, find, open_teacher, usual_scales

PUBLIC = {"YOLOv8-lite-t": "yolov8-lite-t-face", "YuNet": "yunet_n_640", "SCRFD-500m": "scrfd_500m_kps"}
LITE = "YOLOv8-lite-t"
HELD_OUT = {  # name: file or folder, share of the frames to skip at the beginning, step between frames
    "dlib": ("stills/dlib-68-landmarks", 0.0, 1),
    "group": ("stills/group-of-6.jpg", 0.0, 1),
    "swinface": ("stills/swinface-test.jpg", 0.0, 1),
    "street": ("clips/street-crowd-1080p.mp4", 0.0, 7),
    "two_turning": ("clips/head-pose-face-detection-female-and-male.gif", 0.0, 6),
    "book": ("clips/asl/book.mkv", 0.0, 15),
    "learn": ("clips/asl/learn.mkv", 0.0, 15),
    "school": ("clips/asl/school.mkv", 0.0, 15),
    "nobody": ("clips/people-detection.gif", 0.0, 6),
    "stage_end": ("clips/stage-cuts.mp4", 0.67, 7),
}
CROWDS = ("train/crowds", 0.84)  # folder, and share of its files that are trained on
FILLED = (0.8, 1.0, 1.2)  # shares of the height
RIGHT = 0.25  # share of the eye distance: landmarks are right with a smaller mean error
SIDE, MAX_UPSCALE = 640, 1.5
GOAL_PX, MIN_PX = 24, 12
PRECISION, HALF, LOWEST = 0.97, 0.5, 0.3
ROUNDS = 25


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    source: str  # name in the configuration
    pixels: Bytes  # (h, w, 3) BGR
    closely: dict[str, Detections]  # what each public detector finds at all scales
    once: dict[str, Detections]  # what each judged detector finds in one look


def measure(weights: Path | None = None, sheets: Path | None = None, every: int = 1) -> dict[str, Any]:
    """All numbers, from each `every`-th image, of the bundled detector or of `weights`. Raises ModelError."""
    ours = weights or bundled_detector()
    data = shared_folder() / "data"
    teachers = {name: open_teacher(data / "weights" / f"{stem}.onnx") for name, stem in PUBLIC.items()}
    judged = {ours.stem: _as_served(ours), LITE: _as_served(data / "weights" / f"{PUBLIC[LITE]}.onnx")}
    judged |= {name: _once(teacher) for name, teacher in teachers.items() if name != LITE}

    def seen(found: Iterator[tuple[str, Bytes]]) -> list[Image]:
        return [
            Image(
                source,
                pixels,
                {name: find(teacher, pixels, usual_scales(pixels)) for name, teacher in teachers.items()},
                {name: look(pixels) for name, look in judged.items()},
            )
            for source, pixels in list(found)[::every]
        ]

    images = seen(held_out(data))
    return {
        "detector": f"{ours.name} {hash_file(ours)[:12]}",
        "images": len(images),
        "rows": _rows(images, ours.stem, sheets),
        "crowds": _rows(seen(crowds(data)), ours.stem),
        "close_ups": {name: close_ups(data, look) for name, look in judged.items()},
        "rolled": {name: rolled(data, look) for name, look in judged.items()},
        "landmark_error": {name: landmark_errors(data, look) for name, look in judged.items()},
        "milliseconds": _times(ours, data),
    }


def held_out(data: Path) -> Iterator[tuple[str, Bytes]]:
    """Name of the source and images (h, w, 3) BGR. Raises ValueError if the training does not hold them out."""
    for name, (path, begin, every) in HELD_OUT.items():
        _check_held_out(path, begin)
        for file in find_files([data / path]):
            images = [pixels for _, pixels in read_images(file)]
            for pixels in images[round(begin * len(images)) :: every]:
                yield name, pixels


def crowds(data: Path) -> Iterator[tuple[str, Bytes]]:
    """Yield the crowds kept aside, BGR. Raises ValueError if the training does not hold them out."""
    path, begin = CROWDS
    _check_held_out(path, begin)
    files = [file for file in find_files([data / path], IMAGES) if file.is_file()]
    for file in files[round(begin * len(files)) :]:
        for _, pixels in read_images(file):
            yield "crowds", pixels


def _check_held_out(path: str, begin: float) -> None:
    training = yaml.safe_load((ROOT / "configs" / "train-detector.yaml").read_text())
    kept_out = {(source["path"], source.get("part", [0.0, 1.0])[0]) for source in training["held_out"].values()}
    if (f"${{DATA}}/{path}", begin) not in kept_out:
        raise ValueError(f"configs/train-detector.yaml does not hold out {path} from {begin:g} on")


def _rows(images: Sequence[Image], ours: str, sheets: Path | None = None) -> list[dict[str, Any]]:
    rows = [_row(images, ours, list(PUBLIC), sheets)]
    for name in PUBLIC:
        others = [other for other in PUBLIC if other != name]
        rows += [_row(images, name, others), _row(images, ours, others)]
    return rows


def _labelled(data: Path) -> list[tuple[Bytes, Truth]]:
    labels = read_labels(data / "stills" / "dlib-68-landmarks" / "faces.xml", None)
    return [(np.asarray(cv2.imread(str(label.source)), np.uint8), label.truth) for label in labels]


def close_ups(data: Path, look: Callable[[Bytes], Detections]) -> dict[str, Any]:
    """Count the faces that have one box, of those without another one in the window, by the share that they fill."""
    found = {}
    for filled in FILLED:
        faces = right = 0
        for pixels, truth in _labelled(data):
            for box in truth.boxes:
                centre, side = (box[:2] + box[2:]) / 2, float(box[3] - box[1]) / filled
                window = np.concatenate([centre - side / 2, centre + side / 2]).astype(np.float32)
                if (covered(truth.boxes, window[None]) > 0).sum() > 1:
                    continue
                scale = SIDE / side
                matrix = np.array([[scale, 0, -window[0] * scale], [0, scale, -window[1] * scale]])
                view = np.asarray(cv2.warpAffine(pixels, matrix, (SIDE, SIDE), borderValue=(GREY,) * 3), np.uint8)
                wanted = ((box - np.tile(window[:2], 2)) * scale).clip(0, SIDE)
                seen = look(view)
                boxes = seen.boxes[seen.scores >= HALF]
                faces += 1
                right += len(boxes) == 1 and float(iou(boxes, wanted[None])[0, 0]) >= SAME_FACE
        found[f"{100 * filled:.0f} %"] = {"faces": faces, "right": right}
    return found


def rolled(data: Path, look: Callable[[Bytes], Detections]) -> dict[str, Any]:
    """Count the faces that are found with their landmarks in images turned clockwise, by the degrees."""
    found = {}
    for quarters in range(4):
        faces = right = 0
        for pixels, truth in _labelled(data):
            boxes, marks = truth.boxes, truth.landmarks
            height, width = pixels.shape[:2]
            for _ in range(quarters):  # clockwise: x' = height - y, y' = x
                boxes = np.stack([height - boxes[:, 3], boxes[:, 0], height - boxes[:, 1], boxes[:, 2]], axis=1)
                marks = np.stack([height - marks[..., 1], marks[..., 0]], axis=2)
                height, width = width, height
            one = match(Truth(boxes, truth.ignored, marks), look(np.rot90(pixels, -quarters).copy()), MIN_PX)
            sure = (one.faces >= 0) & (one.found.scores >= LOWEST)
            rows = one.faces[sure]
            errors = landmark_distances(marks[rows], one.found.landmarks[sure]).mean(axis=1)
            faces += int(one.counted.sum())
            right += int((errors < RIGHT).sum())
        found[f"{90 * quarters} degrees"] = {"faces": faces, "right": right}
    return found


def _as_served(weights: Path) -> Callable[[Bytes], Detections]:
    detector = Detector(Detect(weights=str(weights), min_score=0.01))
    return lambda pixels: detector.detect([pixels])[0]


def _once(teacher: Teacher) -> Callable[[Bytes], Detections]:
    return lambda pixels: find(teacher, pixels, [min(SIDE / max(pixels.shape[:2]), MAX_UPSCALE)])


def truth_of(image: Image, by: Sequence[str]) -> Truth:
    agreed = agree([image.closely[name] for name in by])
    none = np.full((len(agreed.unsure), 5, 2), np.nan, np.float32)
    return Truth(
        np.concatenate([agreed.faces.boxes, agreed.unsure]),
        np.arange(len(agreed.faces) + len(agreed.unsure)) >= len(agreed.faces),
        np.concatenate([agreed.faces.landmarks, none]),
    )


def _row(images: Sequence[Image], name: str, by: Sequence[str], sheets: Path | None = None) -> dict[str, Any]:
    """The figures of one detector, where those of `by` say what is a face."""
    truths = [truth_of(image, by) for image in images]
    wide, all_widths = (
        [match(truth, image.once[name], least) for truth, image in zip(truths, images, strict=True)]
        for least in (GOAL_PX, MIN_PX)
    )
    score = summarise(wide, HALF, PRECISION)
    level = HALF if score.score_at_precision is None else score.score_at_precision
    if sheets:
        drawn = Sheets(sheets, level)
        for image, one in zip(images, wide, strict=True):
            drawn.add(image.pixels, one)
        drawn.write()
    by_source: dict[str, list[Match]] = {}
    for image, one in zip(images, wide, strict=True):
        by_source.setdefault(image.source, []).append(one)
    return {
        "detector": name,
        "truth": list(by),
        "faces": score.at_score.faces,
        "recall_at_precision": score.recall_at_precision,
        "score_at_precision": score.score_at_precision,
        "at_half": _counts(score.at_score),
        "average_precision": score.average_precision,
        "levels": {level: asdict(one) for level, one in score.by_height.items()},
        "by_width": {size: _counts(counts) for size, counts in summarise(all_widths, level, PRECISION).by_size.items()},
        "by_source": {
            source: _counts(summarise(some, level, PRECISION).at_score) for source, some in by_source.items()
        },
    }


def _counts(counts: Counts) -> dict[str, Any]:
    return {
        "faces": counts.faces, "hits": counts.hits, "false_hits": counts.false_hits,
        "recall": counts.recall, "precision": counts.precision,
    }  # fmt: skip


def landmark_errors(data: Path, look: Callable[[Bytes], Detections]) -> dict[str, Any]:
    """Faces found from a score of 0.3 on, of those labelled, and their landmark error."""
    matches = [match(truth, look(pixels), MIN_PX) for pixels, truth in _labelled(data)]
    score = summarise(matches, LOWEST, PRECISION)
    return {**_counts(score.at_score), "error": asdict(score.landmarks) if score.landmarks else None}


def _times(ours: Path, data: Path) -> dict[str, dict[str, float | None]]:
    """Medians in ms; `whole` is None for what is not run by the streamer."""
    files = {ours.stem: ours, **{name: data / "weights" / f"{stem}.onnx" for name, stem in PUBLIC.items()}}
    blob, image = np.zeros((1, 3, SIDE, SIDE), np.float32), np.full((SIDE, SIDE, 3), GREY, np.uint8)
    runs: dict[tuple[str, str], Callable[[], object]] = {}
    for name, path in files.items():
        session = open_session(path, "cpu")
        runs[name, "network"] = partial(session.run, None, {session.get_inputs()[0].name: blob})
        if name in (ours.stem, LITE):
            runs[name, "whole"] = partial(Detector(Detect(weights=str(path))).detect, [image])
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for turn in range(ROUNDS + 3):
        for key, run in runs.items():
            start = time.perf_counter()
            run()
            if turn >= 3:  # warm
                seconds[key].append(time.perf_counter() - start)
    medians = {key: statistics.median(values) * 1e3 for key, values in seconds.items()}
    return {name: {kind: medians.get((name, kind)) for kind in ("network", "whole")} for name in files}


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    lines = [f"{results['detector']}, {results['images']} images; faces from {GOAL_PX} px on", ""]
    lines += _judged(results["rows"])
    lines += ["", f"{results['rows'][0]['detector']} by source, two of the three, faces from {GOAL_PX} px on", ""]
    lines += [f"{source:<19}{_cell(counts):>17}" for source, counts in results["rows"][0]["by_source"].items()]
    lines += ["", "crowds kept aside", "", *_judged(results["crowds"])]
    for title, kind in (("close-ups: one box", "close_ups"), ("rolled: found with its landmarks", "rolled")):
        cells = list(next(iter(results[kind].values())))
        lines += ["", f"{title:<40}" + "".join(f"{cell:>14}" for cell in cells)]
        for name, one in results[kind].items():
            lines.append(f"{name:<40}" + "".join(f"{one[cell]['right']:>11}/{one[cell]['faces']}" for cell in cells))
    lines += ["", f"{'':<19}{'landmark error, share of the eye distance':>55}{'ms, network':>14}{'whole':>8}"]
    for name, marks in results["landmark_error"].items():
        error, spent = marks["error"], results["milliseconds"][name]
        errors = whole = "-"
        if error is not None:
            of = f"{marks['hits']}/{marks['faces']} faces"
            errors = f"mean {_share(error['mean'])}, median {_share(error['median'])}, {of}"
        if spent["whole"] is not None:
            whole = f"{spent['whole']:.1f}"
        lines.append(f"{name:<19}{errors:>55}{spent['network']:>14.1f}{whole:>8}")
    return "\n".join(lines)


def _judged(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        f"{'detector':<19}{'truth: agreement of':<34}{'faces':>6}{'recall at 97 % precision':>26}"
        f"{'at 0.5: recall':>16}{'precision':>11}{'AP':>9}",
    ]
    for row in rows:
        reached = "never"
        if row["recall_at_precision"] is not None:
            reached = f"{_share(row['recall_at_precision'])} from {row['score_at_precision']:.2f} on"
        lines.append(
            f"{row['detector']:<19}{_agreed(row):<34}{row['faces']:>6}{reached:>26}{_share(row['at_half']['recall']):>16}"
            f"{_share(row['at_half']['precision']):>11}{_share(row['average_precision']):>9}"
        )
    levels = rows[0]["levels"]
    lines += ["", "average precision by the protocol of WIDER FACE, of faces", ""]
    heads = (f"{level}, >= {one['least_height']} px" for level, one in levels.items())
    lines.append(f"{'detector':<19}{'truth: agreement of':<34}" + "".join(f"{head:>20}" for head in heads))
    for row in rows:
        cells = (f"{_share(one['average_precision'])} of {one['faces']}" for one in row["levels"].values())
        lines.append(f"{row['detector']:<19}{_agreed(row):<34}" + "".join(f"{cell:>20}" for cell in cells))
    widths = list(dict.fromkeys(width for row in rows for width in row["by_width"]))
    lines += ["", "found/faces +false from that score on, by width of the face in its image", ""]
    lines.append(f"{'detector':<19}{'truth: agreement of':<34}" + "".join(f"{width:>17}" for width in widths))
    for row in rows:
        cells = (_cell(row["by_width"].get(width)) for width in widths)
        lines.append(f"{row['detector']:<19}{_agreed(row):<34}" + "".join(f"{cell:>17}" for cell in cells))
    return lines


def _agreed(row: dict[str, Any]) -> str:
    return "two of the three" if len(row["truth"]) > 2 else " and ".join(row["truth"])


def _cell(counts: dict[str, Any] | None) -> str:
    return "-" if counts is None else f"{counts['hits']}/{counts['faces']} +{counts['false_hits']}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge a detector; writes no page.")
    parser.add_argument("weights", nargs="?", type=Path, metavar="FILE", help="default: the bundled one")
    parser.add_argument("--sheets", type=Path, metavar="DIR")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th image: a quick look")
    arguments = parser.parse_args()
    try:
        print(table(measure(arguments.weights, arguments.sheets, arguments.every)))
    except (ModelError, TeacherError) as error:
        print(error, file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
