"""Read MORPH II by its table or by the names of its images.

Layout: https://uncw.edu/myuncw/research/intellectual-property/technology-commercialization/datasets: a table with the
columns id_num, photo, age, gender among others, and images such as 012345_00M32.JPG: person 012345, photo 00, male,
32 years. Some copies rename the columns, see COLUMNS.
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
}  # names that the columns may have, in upper or lower case


class Morph(SetOptions):
    """MORPH II; `path` is its table (.csv) in the folder of the images, or only the folder of images."""

    format: Literal["morph"]
    genders: Mapping[str, Literal["female", "male", "unknown"]] = {}
    """Values in the gender column besides male, female, M and F, such as {"0": male}."""


def open_morph(name: str, config: Morph) -> FaceSet:
    """Open the set. Raises InputError if the table lacks columns, or that lists all names without labels."""
    if config.path.is_dir():
        return open_named(name, config, MORPH, "012345_00M32.JPG", face_of_person, ["identity", "age", "gender"])
    _, header = next(split_lines(config.path, ","), (1, []))
    columns = {field: _column(header, names) for field, names in COLUMNS.items()}
    if missing := [field for field in ("image", "age", "gender") if columns[field] is None]:
        called = "; ".join(f"{field}: {', '.join(COLUMNS[field])}" for field in missing)
        raise InputError(f"{config.path}:1: missing columns, any of these names ({called}); it has {', '.join(header)}")
    image, age, gender = (str(columns[field]) for field in ("image", "age", "gender"))
    person = columns["person"]
    genders = _genders(config)
    faces = [
        Face(
            row.text(image).replace("\\", "/"),
            row.line,
            identity=None if person is None else row.text(person),
            age=row.number(age),
            gender=row.one_of(gender, genders),
        )
        for row in read_table(config.path, [image, age, gender])
    ]
    kinds: list[Kind] = ["age", "gender"] if person is None else ["identity", "age", "gender"]
    return assemble(name, config, config.path.parent, faces, kinds, config.path)


def _column(header: list[str], names: tuple[str, ...]) -> str | None:
    """Return the first of these names that the table has."""
    lowered = {column.lower(): column for column in header}
    return next((lowered[name] for name in names if name in lowered), None)


def _genders(config: Morph) -> dict[str, int]:
    """Map all known values of the gender column to our numbers."""
    ours = {"female": 0, "male": 1, "unknown": UNKNOWN}
    common = {form: number for name, number in GENDERS.items() for form in (name, name.upper(), name.capitalize())}
    return common | {value: ours[meaning] for value, meaning in config.genders.items()}
