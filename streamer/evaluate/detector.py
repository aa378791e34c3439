"""A detector against labelled images: recall, precision and landmark error as a table, as JSON and as images."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from faceanalytics.errors import PARTIAL_RESULT, InputError
from faceanalytics.files import write_json
from faceanalytics.names import printable
from faceanalytics.progress import counted
from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.evaluate.labels import LabelledImage, read_labels
from streamer.evaluate.score import SAME_FACE, Counts, Match, Score, match, summarise
from streamer.evaluate.sheets import Sheets
from streamer.source.images import read_images
from streamer.values import Bytes

WEAKEST = 0.01  # lowest score requested of the detector, so that the curve is complete

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    labels: Path  # .jsonl, .xml or .txt
    images: Path | None  # folder that the names in the labels are relative to; None: see read_labels
    out: Path | None  # for the numbers as JSON
    sheets: Path | None  # folder for contact sheets
    min_score: float  # from which detections count in the table
    min_width: float  # px, narrower faces are ignored
    precision: float  # at which recall is reported


def evaluate(request: Request, config: Detect) -> int:
    """Print the table and write the requested files. Returns the exit code: 0, or 5 if some images could not be read.

    Raises InputError for unreadable labels or if no image can be read; ModelError, ConfigError.
    """
    images = read_labels(request.labels, request.images)
    detector = Detector(config.model_copy(update={"min_score": min(WEAKEST, config.min_score)}))
    sheets = Sheets(request.sheets, request.min_score) if request.sheets else None
    sources = [list(group) for _, group in groupby(images, lambda image: image.source)]
    matches: list[Match] = []
    failures = 0
    for group in counted(sources, len(sources), "images"):
        try:
            for image, pixels in _read(group):
                one = match(image.truth, detector.detect([pixels])[0], request.min_width)
                matches.append(one)
                if sheets:
                    sheets.add(pixels, one)
        except InputError as error:
            failures += 1
            log.error("%s", error)
    if not matches:
        raise InputError(f"{request.labels}: none of its {len(sources)} images and videos could be read")
    score = summarise(matches, request.min_score, request.precision)
    print(table(detector.model_id, request, score))
    if request.out:
        write_json(request.out, report(detector.model_id, request, score))
    if sheets:
        sheets.write()
    if failures:
        log.error("%d of %d files could not be judged to their end", failures, len(sources))
    return PARTIAL_RESULT if failures else 0


def _read(group: list[LabelledImage]) -> Iterator[tuple[LabelledImage, Bytes]]:
    """Yield the labelled images of one file with their pixels. Raises InputError, also if one is missing."""
    source = group[0].source
    wanted = {image.media_time: image for image in group}
    for time, pixels in read_images(source):
        image = wanted.pop(None if time is None else round(time, 6), None)
        if image is None:
            continue
        size = pixels.shape[1], pixels.shape[0]
        if image.size is not None and image.size != size:
            wrong = "x".join(map(str, image.size))
            raise InputError(f"{printable(source)}: has {size[0]}x{size[1]} pixels, its labels are for {wrong}")
        yield image, pixels
    if wanted:
        times = ", ".join("none" if time is None else f"{time:g} s" for time in list(wanted)[:3])
        raise InputError(
            f"{printable(source)}: {len(wanted)} labels are of frames that are not there: media time {times}"
        )


def table(detector: str, request: Request, score: Score) -> str:
    """Format the result for people."""
    lines = [
        f"{detector} on {request.labels}: {score.images} images, {score.at_score.faces} faces"
        f" from {request.min_width:g} px on, {score.ignored} ignored",
        f"found: an IoU of {SAME_FACE:g} at least, the strongest detection chooses first",
        "",
        f"{'score >= ' + format(request.min_score, 'g'):<16}{'faces':>8}{'found':>8}{'false':>8}"
        f"{'recall':>10}{'precision':>11}",
        _row("all", score.at_score),
        *(_row(name, counts) for name, counts in score.by_size.items()),
        "",
        *(_row(f"score >= {level:g}", counts) for level, counts in score.levels.items() if round(level * 20) % 2 == 0),
        "",
        f"average precision {_share(score.average_precision)}",
        f"recall at {_share(request.precision)} precision: {_share(score.recall_at_precision)}"
        + ("" if score.score_at_precision is None else f", from a score of {score.score_at_precision:.3f} on"),
        "",
        "average precision by the protocol of WIDER FACE, for faces from a height on:",
        ", ".join(
            f"{name} {_share(one.average_precision)} ({one.faces} from {one.least_height} px on)"
            for name, one in score.by_height.items()
        ),
    ]
    if errors := score.landmarks:
        lines += [
            "",
            f"landmark error of {errors.faces} found faces, share of the distance of the eyes:",
            f"mean {_share(errors.mean)}, median {_share(errors.median)}, 95 of 100 below {_share(errors.worst)}",
            ", ".join(f"{name} {_share(value)}" for name, value in errors.each.items()),
        ]
    return "\n".join(lines)


def report(detector: str, request: Request, score: Score) -> dict[str, Any]:
    """Return the result for programs; shares are 0..1, null where there is nothing to divide by."""
    return {
        "detector": detector,
        "labels": str(request.labels),
        "min_overlap": SAME_FACE,
        "min_score": request.min_score,
        "min_width_px": request.min_width,
        "images": score.images,
        "ignored": score.ignored,
        "all": _counts(score.at_score),
        "by_width": {name: _counts(counts) for name, counts in score.by_size.items()},
        "by_score": {f"{level:.2f}": _counts(counts) for level, counts in score.levels.items()},
        "average_precision": score.average_precision,
        "at_precision": {
            "precision": request.precision, "recall": score.recall_at_precision, "score": score.score_at_precision,
        },
        "wider_protocol": {name: asdict(one) for name, one in score.by_height.items()},
        "landmark_error": asdict(score.landmarks) if score.landmarks else None,
    }  # fmt: skip


def _row(name: str, counts: Counts) -> str:
    return (
        f"{name:<16}{counts.faces:>8}{counts.hits:>8}{counts.false_hits:>8}"
        f"{_share(counts.recall):>10}{_share(counts.precision):>11}"
    )


def _counts(counts: Counts) -> dict[str, Any]:
    return {**asdict(counts), "recall": counts.recall, "precision": counts.precision}


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
