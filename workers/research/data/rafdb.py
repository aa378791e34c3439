"""Read the basic part of RAF-DB with seven expressions.

Layout: http://www.whdeld.cn/RAF/model1.html (readme.txt of the archive): EmoLabel/list_patition_label.txt with lines
`train_00001.jpg 5`, images Image/aligned/train_00001_aligned.jpg and Image/original/train_00001.jpg.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field

from workers.research.data.assemble import Face, assemble
from workers.research.data.face_set import FaceSet
from workers.research.data.options import SetOptions
from workers.research.data.rows import Row, read_rows

LABELS = "EmoLabel/list_patition_label.txt"  # spelt like this in RAF-DB
Part = Literal["train", "test"]


class RafDb(SetOptions):
    """RAF-DB basic; `path` is the folder that holds EmoLabel and Image."""

    format: Literal["rafdb"]
    version: Literal["aligned", "original"] = "aligned"
    """aligned: the images of 100x100 pixels that come aligned; original: the images from the web, which need
    `swinface data align`."""
    parts: Annotated[tuple[Part, ...], Field(min_length=1)] = ("train",)
    """Official parts to use; the names of the images begin with the part."""


def open_rafdb(name: str, config: RafDb) -> FaceSet:
    """Open the set; names are those of the files, with _aligned for the aligned ones."""
    label_file = config.path / LABELS
    rows = list(read_rows(label_file, ["image", "expression"]))
    faces = [
        Face(_file(row, config.version), row.line, expression=raf_expression(row))
        for row in rows
        if part_of(row) in config.parts
    ]
    return assemble(name, config, config.path / "Image" / config.version, faces, ["expression"], label_file)


def raf_expression(row: Row) -> int:
    """Return our class: RAF-DB uses our order, but counts from 1 (surprise) to 7 (neutral)."""
    label = row.whole("expression")
    if label < 1:
        raise row.fail(f"expression {label} is not within 1..7")
    return label - 1


def part_of(row: Row) -> str:
    """Return train or test, with which the name of the image begins."""
    part = PurePosixPath(row.text("image")).name.partition("_")[0]
    if part not in ("train", "test"):
        raise row.fail(f"the image {row.cells['image']!r} begins neither with train_ nor with test_")
    return part


def _file(row: Row, images: str) -> str:
    image = PurePosixPath(row.text("image"))
    return str(image) if images == "original" else f"{image.stem}_aligned{image.suffix}"
