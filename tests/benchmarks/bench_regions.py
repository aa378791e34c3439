"""Regions of several cameras in one look of the detector, against their whole frames: time, small faces, landmarks.

Time: frames of the street clip, one for each camera. Each has two faces, whose regions are three face sizes wide as
those of tracks are, and one region of a quarter of the frame's height in which something moves. Both ways take turns
within one run; medians of CPU time of all that happens between frames and faces, on two threads; the machine was
shared. Packing is the part of it that decides where the regions go.

Best size: the faces of dlib-68-landmarks with human landmarks, each alone in a square of 2.5 face sizes on grey, scaled
to a width of its box in the detector's input, at four places in the grid of cells. Those that would be enlarged by more
than 1.5 are left out.

Random regions: one to four of 80 to 400 px in each seventh frame of the street clip, without any knowledge of faces. A
face with a score from 0.5 on is false, or was cut, if neither the whole frame nor a look at the unscaled frame shows it
at an IoU of 0.5.

Small faces: pictures of crowds that the detector was not trained on, and each seventh frame of the street clip, as
large as they are. Truth is what two of three public detectors agree on that look closer than one look allows, in tiles
of the unscaled picture (see Face detectors). Up to six of these faces at a time, chosen at random, have regions like
those of tracks: three face sizes wide, with a centre that is off by up to a quarter of a face in each direction. A face
is found if a detection with a score from 0.5 on has an IoU of 0.5 with it. False are detections in these regions that
no public detector has, for both ways; some are faces that those have missed. Landmark errors are distances to the
landmarks of the public detectors, as shares of the distance between the eyes: medians of the faces that both ways find.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from streamer.config import Detect
from streamer.detect.aiming import prepared
from streamer.detect.detector import Detector
from streamer.detect.packing import pack
from streamer.detect.parts import look_at_parts
from tests.benchmarks.regions_accuracy import BEST, WIDE, around, best_size, random_regions, small_faces, street_frames

CAMERAS = (1, 4, 8)
SIZES = ((640, 360), (1920, 1080))
ROUNDS = 15
REGIONS = 20  # of four frames, to be packed


def measure() -> dict[str, Any]:
    """All numbers. Needs the data folder."""
    detector = Detector(Detect(weights="default"))
    return {
        "detector": detector.model_id,
        "times": [_times(detector, size, cameras) for size in SIZES for cameras in CAMERAS],
        "packing_us": _packing(),
        "widths": [best_size(detector, width) for width in BEST],
        "faces": small_faces(detector),
        "random": random_regions(),
    }


def _times(detector: Detector, size: tuple[int, int], cameras: int) -> dict[str, Any]:
    """Medians in ms of CPU time, for one frame of each camera."""
    frames = [
        np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        for pixels in street_frames()[: 8 * cameras : 8]
    ]
    known = [faces.boxes[faces.scores >= 0.5] for faces in detector.detect(frames)]
    side = size[1] / 4
    moving = np.array([[side, side, 2 * side, 2 * side]], np.float32)
    regions = [np.concatenate([around(boxes[:2], WIDE), moving]) for boxes in known]
    plans = [prepared(boxes, faces, size) for boxes, faces in zip(regions, known, strict=True)]
    ways: dict[str, Callable[[], object]] = {
        "whole": lambda: detector.detect(frames),
        "regions": lambda: look_at_parts(detector, frames, regions, known),
        "packing": lambda: pack(
            [boxes for boxes, _ in plans], [size] * cameras, [scales for _, scales in plans], detector.config
        ),
    }
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(ROUNDS + 2):
        for way, run in ways.items():
            begun = time.process_time()
            run()
            if turn >= 2:
                spent[way].append(1e3 * (time.process_time() - begun))
    sights = look_at_parts(detector, frames, regions, known)
    return {
        "size": size,
        "cameras": cameras,
        "whole_frames": sum(sight is None for sight in sights),
        **{way: statistics.median(values) for way, values in spent.items()},
    }


def _packing() -> float:
    """Microseconds of packing REGIONS of four frames, of 60 to 120 px."""
    random, config, size, spent = np.random.default_rng(0), Detect(), (640, 360), []
    for _ in range(20 * ROUNDS):
        side = random.uniform(60, 120, (4, REGIONS // 4, 2))
        corner = random.uniform(0, 1, side.shape) * (size - side)
        regions = list(np.concatenate([corner, corner + side], axis=2).astype(np.float32))
        scales = [np.full(REGIONS // 4, 1.2, np.float32)] * 4
        begun = time.perf_counter()
        pack(regions, [size] * 4, scales, config)
        spent.append(1e6 * (time.perf_counter() - begun))
    return statistics.median(spent)


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    lines = [
        f"{results['detector']}",
        "",
        f"{'frames':<12}{'cameras':>8}{'whole ms':>10}{'regions ms':>12}{'of it packing':>15}{'ratio':>8}",
    ]
    lines += [
        f"{'x'.join(map(str, row['size'])):<12}{row['cameras']:>8}{row['whole']:>10.1f}{row['regions']:>12.1f}"
        f"{row['packing']:>15.2f}{row['regions'] / row['whole']:>8.2f}"
        for row in results["times"]
    ]
    lines += ["", f"packing of {REGIONS} regions of four frames: {results['packing_us']:.0f} us"]
    lines += ["", f"{'face in the input, px':<23}{'looks':>6}{'found':>9}{'landmark error':>16}"]
    lines += [
        f"{row['width']:<23}{row['looks']:>6}{_share(row['found'] / row['looks']):>9}{_share(row['error']):>16}"
        for row in results["widths"]
    ]
    lines += [
        "",
        f"{'pictures':<10}{'face, px':>10}{'faces':>7}{'found: whole':>14}{'regions':>9}"
        f"{'landmark error: whole':>23}{'regions':>9}",
    ]
    for row in results["faces"]["by_width"]:
        shares = [_share(row[way] / row["faces"] if row["faces"] else None) for way in ("whole", "regions")]
        errors = [_share(error) for error in row["errors"]]
        lines.append(
            f"{row['set']:<10}{'{}-{}'.format(*row['width']):>10}{row['faces']:>7}{shares[0]:>14}{shares[1]:>9}"
            f"{errors[0]:>23}{errors[1]:>9}"
        )
    counts = [f"{name} {whole} whole, {parts} in regions" for name, (whole, parts) in results["faces"]["false"].items()]
    lines += ["", f"false detections in the regions: {'; '.join(counts)}"]
    looks, whole, faces, false = results["random"].values()
    lines.append(
        f"{looks} looks at random regions: {faces} faces, {false} of them false; {whole} needed the whole frame"
    )
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


if __name__ == "__main__":
    print(table(measure()))
