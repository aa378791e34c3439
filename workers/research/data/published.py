"""Read the label files of the published SwinFace code.

Layout: https://github.com/lxq1000/SwinFace, swinface_project/analysis/datasets.py. For its apparent ages
(name;mean;std) use format `lap`.
"""

import math
from typing import Literal

from faceanalytics.errors import InputError
from workers.research.data.assemble import Face, assemble
from workers.research.data.celeba import COLUMNS as CELEBA
from workers.research.data.celeba import signs
from workers.research.data.face_set import UNKNOWN, FaceSet
from workers.research.data.options import Kind, SetOptions
from workers.research.data.rafdb import part_of, raf_expression
from workers.research.data.rows import Row, read_rows, split_lines
from workers.swinface.labels import ATTRIBUTES

Holds = Literal["age_gender", "celeba", "raf", "affectnet", "fgnet"]
TASKS = tuple(task.slug for task in ATTRIBUTES)
COLUMNS: dict[Holds, tuple[str, ...]] = {
    "age_gender": ("path", "age", "gender"),
    "celeba": ("name", *TASKS),
    "raf": ("image", "expression"),
    "affectnet": ("name", "unused", "expression"),
    "fgnet": ("name", "age"),
}
KINDS: dict[Holds, list[Kind]] = {
    "age_gender": ["age", "gender"],
    "celeba": ["attributes"],
    "raf": ["expression"],
    "affectnet": ["expression"],
    "fgnet": ["age"],
}
GENDERS = {"1.0": 1, "1": 1, "0.0": 0, "0": 0, "nan": UNKNOWN}


class Published(SetOptions):
    """One label file of the published code; `path` is the file.

    Images are in its folder, those of age_gender in the folder `data` beside it, unless `images` names another one.
    """

    format: Literal["swinface"]
    holds: Holds
    """Content of the file. age_gender: `path age gender` below a header (IMDB, WIKI, Adience, MORPH). celeba: name and
    40 columns in the order of the tasks below a header. raf: `train_00001.jpg 5`. affectnet: name, an unused column and
    the expression in SwinFace's order, below a header. fgnet: `name age` below a header."""
    part: Literal["train", "test"] | None = None
    """For raf, whose file lists both parts: use only the images of this part."""


def open_published(name: str, config: Published) -> FaceSet:
    """Open the set. Raises InputError for columns in CelebA's own order, which would train heads on wrong labels."""
    if config.holds == "celeba":
        _refuse_official_order(config)
    faces = [
        _face(row, config.holds)
        for row in _rows(config)
        if config.holds != "raf" or config.part is None or part_of(row) == config.part
    ]
    folder = config.path.parent / "data" if config.holds == "age_gender" else config.path.parent
    return assemble(name, config, folder, faces, KINDS[config.holds], config.path)


def _rows(config: Published) -> list[Row]:
    """Return all lines; AffectNet's file has more columns than are used."""
    columns = COLUMNS[config.holds]
    skip = 0 if config.holds == "raf" else 1
    if config.holds == "affectnet":
        _, header = next(split_lines(config.path, None), (1, []))
        columns += tuple(f"unused {place}" for place in range(len(columns), len(header)))
    return list(read_rows(config.path, columns, skip=skip))


def _face(row: Row, holds: Holds) -> Face:
    match holds:
        case "age_gender":
            return Face(row.text("path"), row.line, age=row.number("age"), gender=row.one_of("gender", GENDERS))
        case "celeba":
            return Face(row.text("name"), row.line, attributes=signs(row, TASKS))
        case "raf":
            return Face(row.text("image"), row.line, expression=raf_expression(row))
        case "affectnet":
            return Face(row.text("name"), row.line, expression=row.whole("expression"))
        case "fgnet":
            age = row.number("age")
            if math.isnan(age):
                raise row.fail("age is nan")
            return Face(row.text("name"), row.line, age=age)


def _refuse_official_order(config: Published) -> None:
    """Raise InputError for CelebA's own header, which shows that the file was not converted to the tasks' order."""
    for line, cells in split_lines(config.path, None):
        if line > 2:
            return
        if tuple(cells[-len(CELEBA) :]) == CELEBA:
            raise InputError(
                f"{config.path}:{line}: these are CelebA's columns in CelebA's order, not in that of the tasks; "
                "use format `celeba`"
            )
