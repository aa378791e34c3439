"""Read AffectNet in both layouts in which it was distributed.

The first, https://mohammadmahoor.com/pages/databases/affectnet/: training.csv and validation.csv of the manually
annotated images, with the columns COLUMNS. The later one: train_set and val_set with images/NUMBER.jpg and
annotations/NUMBER_exp.npy (also _val, _aro and _lnd, which are not read).
"""

import logging
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np

from faceanalytics.errors import InputError
from workers.research.data.assemble import Face, assemble
from workers.research.data.face_set import UNKNOWN, FaceSet
from workers.research.data.images import find_files
from workers.research.data.label_names import report_left_out
from workers.research.data.options import SetOptions
from workers.research.data.rows import read_rows, split_lines
from workers.swinface.labels import AFFECTNET_TO_EXPRESSION

log = logging.getLogger(__name__)

COLUMNS = (
    "subDirectory_filePath",
    *("face_x", "face_y", "face_width", "face_height", "facial_landmarks"),
    *("expression", "valence", "arousal"),
)
UNUSED_CLASSES = {7: "contempt", 8: "none", 9: "uncertain", 10: "no face"}  # classes that SwinFace does not have
LOG_EVERY = 50_000  # annotations between two log lines


class AffectNet(SetOptions):
    """AffectNet's manually annotated images, labelled by training.csv and validation.csv."""

    format: Literal["affectnet"]
    part: Literal["train", "validation"] = "train"
    """Whether to read training.csv or validation.csv."""


class AffectNetFolders(SetOptions):
    """AffectNet's train_set and val_set, with one annotation file per image."""

    format: Literal["affectnet_npy"]
    part: Literal["train", "validation"] = "train"
    """Whether to read train_set or val_set."""


def open_affectnet(name: str, config: AffectNet) -> FaceSet:
    """Open the set without images of classes that SwinFace does not have, and log their number."""
    file = "training.csv" if config.part == "train" else "validation.csv"
    label_file = _first(config.path / file, config.path / "Manually_Annotated_file_lists" / file)
    left_out: Counter[str] = Counter()
    faces = []
    for row in read_rows(label_file, COLUMNS, ",", _has_header(label_file)):
        raw = row.whole("expression")
        if raw < 0:
            raise row.fail(f"expression {raw} is not within 0..10")
        if raw in UNUSED_CLASSES:
            left_out[UNUSED_CLASSES[raw]] += 1
        else:
            faces.append(Face(row.text(COLUMNS[0]), row.line, expression=_to_expression(raw)))
    report_left_out(name, left_out, len(faces) + left_out.total())
    folder = _first(
        config.path / "Manually_Annotated_Images", config.path / "Manually_Annotated" / "Manually_Annotated_Images"
    )
    return assemble(name, config, folder, faces, ["expression"], label_file)


def open_affectnet_folders(name: str, config: AffectNetFolders) -> FaceSet:
    """Open the set like `open_affectnet`. Raises InputError for an image without a valid annotation."""
    root = config.path / ("train_set" if config.part == "train" else "val_set")
    left_out: Counter[str] = Counter()
    faces = []
    for count, image in enumerate(find_files(root / "images"), 1):
        raw = _read_annotation(root / "annotations" / f"{Path(image).stem}_exp.npy")
        if raw in UNUSED_CLASSES:
            left_out[UNUSED_CLASSES[raw]] += 1
        else:
            faces.append(Face(image, expression=_to_expression(raw)))
        if count % LOG_EVERY == 0:
            log.info("%s: %d annotations read", name, count)
    report_left_out(name, left_out, len(faces) + left_out.total())
    return assemble(name, config, root / "images", faces, ["expression"])


def _to_expression(raw: int) -> int:
    """Convert a class id. Ids that AffectNet does not have stay, to be reported as impossible later."""
    return AFFECTNET_TO_EXPRESSION[raw] if raw < len(AFFECTNET_TO_EXPRESSION) else raw


def _has_header(path: Path) -> int:
    """Return 1 if the first line is a header, else 0: the validation list was also distributed without one."""
    _, cells = next(split_lines(path, ","), (1, []))
    return int(cells[:1] == [COLUMNS[0]])


def _first(*paths: Path) -> Path:
    """Return the first path that exists, or the first one if none does."""
    return next((path for path in paths if path.exists()), paths[0])


def _read_annotation(path: Path) -> int:
    """Return the class id in a .npy file that holds one number or one string of digits."""
    try:
        value = int(np.load(path, allow_pickle=False).item())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not the number of one class: {error}") from error
    if value <= UNKNOWN:
        raise InputError(f"{path}: the class {value} is not within 0..10")
    return value
