"""Read Adience by its fold files.

Layout: https://talhassner.github.io/home/projects/Adience/Adience-data.html (readme.txt): fold_0_data.txt to
fold_4_data.txt, or fold_frontal_0_data.txt to fold_frontal_4_data.txt, tab separated with a header; images
faces/USER/coarse_tilt_aligned_face.FACE.IMAGE and aligned/USER/landmark_aligned_face.FACE.IMAGE.
"""

import math
import re
from typing import Annotated, Literal

from pydantic import Field

from workers.research.data.assemble import Face, assemble
from workers.research.data.face_set import UNKNOWN, FaceSet
from workers.research.data.options import SetOptions
from workers.research.data.rows import Row, read_table

COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")
PREFIXES = {"faces": "coarse_tilt_aligned_face", "aligned": "landmark_aligned_face"}
GENDERS = {"f": 0, "m": 1, "u": UNKNOWN, "": UNKNOWN}
GROUP = re.compile(r"\((\d+), ?(\d+)\)")
Fold = Annotated[int, Field(ge=0, le=4)]


class Adience(SetOptions):
    """Adience; `path` holds the fold files, and the folders faces and aligned."""

    format: Literal["adience"]
    folds: Annotated[tuple[Fold, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    """Which of the five folds to use. Nobody is in two folds."""
    frontal: bool = False
    """Use only nearly frontal faces: the files fold_frontal_*."""
    version: Literal["faces", "aligned"] = "faces"
    """faces: the coarse crops, which need `swinface data align`; aligned: the images that come aligned."""


def open_adience(name: str, config: Adience) -> FaceSet:
    """Open the set without identities, as a user's album may show several people."""
    files = [
        config.path / f"fold_{'frontal_' if config.frontal else ''}{fold}_data.txt"
        for fold in dict.fromkeys(config.folds)
    ]
    faces = [
        Face(_image(row, config.version), row.line, age=_age(row), gender=row.one_of("gender", GENDERS))
        for file in files
        for row in read_table(file, COLUMNS, "\t")
    ]
    label_file = files[0] if len(files) == 1 else None
    return assemble(name, config, config.path / config.version, faces, ["age", "gender"], label_file)


def _image(row: Row, version: str) -> str:
    return f"{row.text('user_id')}/{PREFIXES[version]}.{row.text('face_id')}.{row.text('original_image')}"


def _age(row: Row) -> float:
    """Return the age in years: the middle of a group, such as 28.5 for (25, 32); nan for None."""
    text = row.cells["age"]
    if text in ("None", ""):
        return math.nan
    if group := GROUP.fullmatch(text):
        return (int(group[1]) + int(group[2])) / 2
    if not text.isdigit():
        raise row.fail(f"age {text!r} is neither a group such as (25, 32), a number nor None")
    return float(text)
