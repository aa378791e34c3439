"""MORPH II by its table or by the names of its images.

Layout: https://uncw.edu/myuncw/research/intellectual-property/technology-commercialization/datasets: a table with the
columns id_num, photo, age, gender among others, and images such as 012345_00M32.JPG: person 012345, photo 00, male,
32 years. Copies that go round rename the columns: COLUMNS.
"""

from collections.abc import Mapping
from typing import Literal

from faceanalytics.errors import InputError
from workers.research.data.assemble import Face, assemble
from workers.research.data.face_set import UNKNOWN, FaceSet
from workers.research.data.label_names import GENDERS
from workers.research.data.named import MORPH, face_of_person, open_named
from workers.research.data.options import Kind, SetOptions
from workers.research.data.rows import read_table, split_lines

COLUMNS = {
    "image": ("photo", "filename", "file_name", "image", "image_name", "name", "path"),
    "age": ("age",),
    "gender": ("gender", "sex"),
    "person": ("id_num", "id", "subject", "person"),
}  # what the columns may be called, in any case of letters


class Morph(SetOptions):
    """MORPH II; `path` is its table (.csv), whose folder holds the images, or the folder of images alone."""

    format: Literal["morph"]
    genders: Mapping[str, Literal["female", "male", "unknown"]] = {}
    """What else than male, female, M and F stands in the table's column of genders, such as {"0": male}."""


def open_morph(name: str, config: Morph) -> FaceSet:
    """Raises InputError for a table without the columns, and with every name that says nothing."""
    if config.path.is_dir():
        return open_named(name, config, MORPH, "012345_00M32.JPG", face_of_person, ["identity", "age", "gender"])
    _, header = next(split_lines(config.path, ","), (1, []))
    columns = {field: _column(header, names) for field, names in COLUMNS.items()}
    if missing := [field for field in ("image", "age", "gender") if columns[field] is None]:
        called = "; ".join(f"{field}: {', '.join(COLUMNS[field])}" for field in missing)
        raise InputError(f"{config.path}:1: no column of {called} among {', '.join(header)}")
    image, age, gender = (str(columns[field]) for field in ("image", "age", "gender"))
    person = columns["person"]
    words = _words(config)
    faces = [
        Face(
            row.text(image).replace("\\", "/"),
            row.line,
            identity=None if person is None else row.text(person),
            age=row.number(age),
            gender=row.one_of(gender, words),
        )
        for row in read_table(config.path, [image, age, gender])
    ]
    kinds: list[Kind] = ["age", "gender"] if person is None else ["identity", "age", "gender"]
    return assemble(name, config, config.path.parent, faces, kinds, config.path)


def _column(header: list[str], names: tuple[str, ...]) -> str | None:
    """The first of these names that the table has."""
    lowered = {column.lower(): column for column in header}
    return next((lowered[name] for name in names if name in lowered), None)


def _words(config: Morph) -> dict[str, int]:
    ours = {"female": 0, "male": 1, "unknown": UNKNOWN}
    common = {form: number for word, number in GENDERS.items() for form in (word, word.upper(), word.capitalize())}
    return common | {word: ours[meaning] for word, meaning in config.genders.items()}
