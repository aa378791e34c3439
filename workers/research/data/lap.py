"""Read the apparent ages of ChaLearn Looking at People: CLAP2015 and APPA-REAL.

Layout: https://chalearnlap.cvc.uab.cat/dataset/18/description/: lines `name;mean;std` or `name,mean,std` without header
(Reference.csv, Train.csv); https://chalearnlap.cvc.uab.cat/dataset/26/description/: gt_avg_train.csv with the header
file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age and images NAME_face.jpg beside NAME.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from faceanalytics.errors import InputError
from workers.research.data.assemble import Face, assemble
from workers.research.data.face_set import FaceSet
from workers.research.data.options import SetOptions
from workers.research.data.rows import Row, read_rows, read_table, split_lines

COLUMNS = ("name", "mean", "std")
APPA_REAL = ("file_name", "apparent_age_avg", "apparent_age_std")


class Lap(SetOptions):
    """Apparent ages with the spread of the guesses; `path` is the table, in the folder of the images."""

    format: Literal["lap"]
    suffix: str = ""
    """Suffix of the image files after the name in the table: _face.jpg for the faces of APPA-REAL."""


def open_lap(name: str, config: Lap) -> FaceSet:
    """Open the set: age is the mean of the guesses, age_spread their standard deviation, in years."""
    faces = []
    for row in _rows(config.path):
        image, mean, std = APPA_REAL if "file_name" in row.cells else COLUMNS
        file = row.text(image) + config.suffix
        faces.append(Face(file, row.line, age=row.number(mean), age_spread=row.number(std)))
    return assemble(name, config, config.path.parent, faces, ["age", "age_spread"], config.path)


def _rows(path: Path) -> Iterator[Row]:
    _, cells = next(split_lines(path, None), (1, [""]))
    delimiter = ";" if ";" in "".join(cells) else ","
    line, header = next(split_lines(path, delimiter), (1, []))
    if "file_name" in header:
        return read_table(path, APPA_REAL, delimiter)
    if len(header) != len(COLUMNS):
        raise InputError(f"{path}:{line}: {len(header)} columns, expected 3, separated by ; or ,: {', '.join(COLUMNS)}")
    return read_rows(path, COLUMNS, delimiter, skip=line if _is_header(header) else 0)


def _is_header(cells: list[str]) -> bool:
    """Return whether the first line has words in place of numbers."""
    return all(cell and cell[0].isalpha() for cell in cells[1:])
