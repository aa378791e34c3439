"""Read CelebA as published: attributes, partition and identities.

Layout: https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (README.txt there), and Kaggle's copy of it as .csv,
https://www.kaggle.com/datasets/jessicali9530/celeba-dataset
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from faceanalytics.errors import InputError
from workers.research.data.assemble import Face, assemble
from workers.research.data.face_set import FaceSet, Signs
from workers.research.data.options import SetOptions
from workers.research.data.rows import Row, read_rows, read_table, split_lines
from workers.swinface.labels import CELEBA_COLUMNS

# CelebA's own column names in its own order, which labels.Task.celeba refers to
COLUMNS = (
    *("5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose"),
    *("Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses"),
    *("Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache"),
    *("Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks"),
    *("Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick"),
    *("Wearing_Necklace", "Wearing_Necktie", "Young"),
)
IN_TASK_ORDER = tuple(COLUMNS[column] for column in CELEBA_COLUMNS)
PARTS = {"train": 0, "validation": 1, "test": 2}
FOLDERS = ("", "Anno", "Eval")  # folders below `path` that may hold the label files
IMAGES = ("img_align_celeba/img_align_celeba", "img_align_celeba", "Img/img_align_celeba")
Part = Literal["train", "validation", "test"]


class CelebA(SetOptions):
    """CelebA with its official label files: list_attr_celeba, list_eval_partition, identity_CelebA."""

    format: Literal["celeba"]
    parts: Annotated[tuple[Part, ...], Field(min_length=1)] = ("train",)
    """Parts of the official partition to use."""
    identities: bool = False
    """Also read identities from identity_CelebA.txt, which must exist then."""


def open_celeba(name: str, config: CelebA) -> FaceSet:
    """Open the set with its columns, found by name, in the order of the tasks; gender is only an attribute.

    Raises InputError for an unknown header, and for images without a part or an identity.
    """
    label_file = _find(config.path, "list_attr_celeba.txt", "list_attr_celeba.csv")
    parts = _read_parts(_find(config.path, "list_eval_partition.txt", "list_eval_partition.csv"))
    people = _read_people(_find(config.path, "identity_CelebA.txt")) if config.identities else None
    wanted = {PARTS[part] for part in config.parts}
    faces = []
    for row in _read_attributes(label_file):
        image = row.text("image_id")
        if image not in parts:
            raise row.fail(f"{image} is not in list_eval_partition")
        if parts[image] not in wanted:
            continue
        if people is not None and image not in people:
            raise row.fail(f"{image} is not in identity_CelebA.txt")
        person = None if people is None else people[image]
        faces.append(Face(image, row.line, person, attributes=signs(row, IN_TASK_ORDER)))
    folder = next((config.path / place for place in IMAGES if (config.path / place).is_dir()), config.path)
    if folder == config.path and config.images is None:
        listed = ", ".join(IMAGES)
        raise InputError(f"{name}: no folder of images in {config.path} ({listed}); set `images` to their folder")
    kinds: Sequence[Literal["identity", "attributes"]] = (
        ["attributes"] if people is None else ["identity", "attributes"]
    )
    return assemble(name, config, folder, faces, kinds, label_file)


def signs(row: Row, columns: Sequence[str]) -> Signs:
    """Return the attributes of a line, (40,): 1 is present, -1 or 0 absent; other numbers are reported later."""
    values = np.empty(len(columns), np.int8)
    for place, column in enumerate(columns):
        text = row.cells[column]
        if text in ("1", "-1", "0"):
            values[place] = text == "1"
            continue
        value = row.whole(column)
        if not -128 <= value <= 127:
            raise row.fail(f"{column} {value} is neither 1 nor -1")
        values[place] = value
    return values


def _find(root: Path, *names: str) -> Path:
    """Return the first of these label files that exists. Raises InputError if none does."""
    paths = [root / folder / name for name in names for folder in FOLDERS]
    for path in paths:
        if path.is_file():
            return path
    raise InputError(f"the label file is missing; looked for {', '.join(map(str, paths))}")


def _read_attributes(path: Path) -> Iterator[Row]:
    """Yield lines with the columns image_id and COLUMNS, found by name."""
    if path.suffix == ".csv":
        yield from read_table(path, ["image_id", *COLUMNS])
        return
    lines = split_lines(path, None)
    _, count = next(lines, (1, []))
    if len(count) != 1 or not count[0].isdigit():
        raise InputError(f"{path}:1: expected the number of images")
    line, header = next(lines, (2, []))
    check_columns(path, line, header)
    rows = 0
    for row in read_rows(path, ["image_id", *header], skip=line):
        rows += 1
        yield row
    if rows != int(count[0]):
        raise InputError(f"{path}:1: says {count[0]} images, but {rows} lines follow the header; is the file complete?")


def check_columns(path: Path, line: int, header: Sequence[str]) -> None:
    """Raise InputError unless these are CelebA's columns, in any order."""
    if sorted(header) != sorted(COLUMNS):
        wrong = sorted(set(header) ^ set(COLUMNS)) or ["a column twice"]
        raise InputError(f"{path}:{line}: not the 40 attributes of CelebA; unknown or missing: {', '.join(wrong)}")


def _read_parts(path: Path) -> Mapping[str, int]:
    rows = (
        read_table(path, ["image_id", "partition"])
        if path.suffix == ".csv"
        else read_rows(path, ["image_id", "partition"])
    )
    numbers = {str(number): number for number in PARTS.values()}
    return {row.text("image_id"): row.one_of("partition", numbers) for row in rows}


def _read_people(path: Path) -> Mapping[str, str]:
    return {row.text("image_id"): f"{row.whole('person'):05d}" for row in read_rows(path, ["image_id", "person"])}
