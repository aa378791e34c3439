"""Read faces from Parquet files whose columns are named in the configuration."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.folders import Skipped, files_in
from workers.research.data.assemble import Face, labels_of, or_images
from workers.research.data.class_names import ClassNames, by_name, class_names
from workers.research.data.face_set import UNKNOWN, Bytes, FaceSet, Integers
from workers.research.data.images import Names, decode, number
from workers.research.data.label_names import EXPRESSION_NAMES, GENDERS
from workers.research.data.options import MODEL, Kind, SetOptions

Value = str | int | float | bool


class Columns(BaseModel):
    """Names of the columns."""

    model_config = MODEL

    image: str = "image"
    """Column of encoded images: bytes, or a struct with the field `bytes` as written by Hugging Face."""
    name: str | None = None
    """Column of unique image names; default: the file's name and the row, such as faces/000012."""
    identity: str | None = None
    """Column of identities, text or numbers."""
    age: str | None = None
    """Column of ages in years."""
    gender: str | None = None
    """Column of genders: words such as male or F, or values defined in `values`."""
    expression: str | None = None
    """Column of expressions: words such as happiness or happy, numbers in SwinFace's order (0 surprise ... 6 neutral),
    or values defined in `values`. Numbers whose names are in the file (ClassLabel of Hugging Face) are read by name."""


class Parquet(SetOptions):
    """A Parquet file, or all *.parquet files of a folder as one set."""

    format: Literal["parquet"]
    columns: Columns = Columns()
    """Names of the columns; columns without a name here are not read."""
    where: Mapping[str, Value | tuple[Value, ...]] = {}
    """Use only rows with this value, or one of these values, in a column, such as {split: train}."""
    values: Mapping[Literal["gender", "expression"], Annotated[Mapping[Value, str], Field(min_length=1)]] = {}
    """Meaning of the values of a column, such as {expression: {"": unknown, contempt: unknown, 0: neutral}}."""


@dataclass(slots=True, eq=False)
class Table:
    """Images in rows of Parquet files. A process reads a file's column of images when it first needs it."""

    files: Sequence[Path]
    column: str
    file: Integers  # (n,) which file
    row: Integers  # (n,) of the file, from 0
    names: Sequence[str]  # (n,)
    columns: dict[int, Any]  # by file read so far: Arrow's column of bytes

    def __getstate__(self) -> tuple[Any, ...]:
        return self.files, self.column, self.file, self.row, self.names

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.files, self.column, self.file, self.row, self.names = state
        self.columns = {}

    def __len__(self) -> int:
        return len(self.row)

    def read(self, index: int) -> Bytes:
        file, row = int(self.file[index]), int(self.row[index])
        where = f"{self.files[file]}: row {row}"
        if file not in self.columns:
            self.columns[file] = _read(self.files[file], [self.column]).column(self.column)
        data = self.columns[file][row].as_py()
        if isinstance(data, dict):
            data = data.get("bytes")
        if not isinstance(data, bytes):
            raise InputError(f"{where}: {self.column} holds {type(data).__name__}, expected an image")
        return decode(data, where)

    def name(self, index: int) -> str:
        return self.names[index]


def open_parquet(name: str, config: Parquet) -> FaceSet:
    """Open the set; identities are numbered in the order of their names.

    Numbers out of range stay, to be reported as impossible later. Raises InputError that lists missing columns and
    values without a known meaning.
    """
    files = _files(config.path)
    if not files:
        raise InputError(f"{name}: no *.parquet in {config.path}")
    wanted = {kind: column for kind, column in config.columns if column is not None and kind != "image"}
    rows: dict[str, list[Any]] = {kind: [] for kind in ("file", "row", *wanted)}
    present: dict[str, set[Any]] = {column: set() for column in config.where}
    for file_number, path in enumerate(files):
        classes = _check_columns(path, [config.columns.image, *wanted.values(), *config.where])
        _check_order(path, config, classes)
        table = _read(path, list(dict.fromkeys([*wanted.values(), *config.where])))
        stored = {column: table.column(column).to_pylist() for column in table.column_names}
        named = {column: by_name(path, column, values, classes) for column, values in stored.items()}
        used = _matching(table.num_rows, stored, named, config.where)
        for column in config.where:
            present[column] |= {*stored[column], *named[column]}
        rows["file"] += [file_number] * len(used)
        rows["row"] += used
        for kind, column in wanted.items():
            rows[kind] += [named[column][row] for row in used]
    _check_values(name, config.where, present)
    if not rows["row"]:
        raise InputError(f"{name}: no row of {config.path} matches `where`")
    faces = _faces(name, config, rows, [file.stem for file in files])
    kinds: list[Kind] = [kind for kind in ("identity", "age", "gender", "expression") if kind in wanted]
    names = Names(face.name for face in faces)
    file, row = (np.array(rows[kind], np.int64) for kind in ("file", "row"))
    images = or_images(name, config, Table(files, config.columns.image, file, row, names, {}))
    identities = number([face.identity for face in faces])[1] if "identity" in kinds else ()
    return FaceSet(name, images, labels_of(faces, kinds), identities)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    skipped = Skipped()
    files = [path / name for name in files_in(path, skipped) if name.endswith(".parquet")]
    skipped.report()
    return files


def _faces(name: str, config: Parquet, rows: Mapping[str, list[Any]], stems: Sequence[str]) -> list[Face]:
    count = len(rows["row"])
    nothing = [None] * count
    names = rows.get("name") or [
        f"{stems[file]}/{row:06d}" for file, row in zip(rows["file"], rows["row"], strict=True)
    ]
    if len(set(names)) != count or None in names:
        raise InputError(
            f"{name}: the column {config.columns.name} does not name each image: some names are repeated or empty"
        )
    genders = _codes(name, "gender", rows.get("gender", nothing), GENDERS, config)
    expressions = _codes(name, "expression", rows.get("expression", nothing), EXPRESSION_NAMES, config)
    return [
        Face(
            str(image),
            identity=None if identity is None else str(identity),
            age=_age(name, age),
            gender=gender,
            expression=expression,
        )
        for image, identity, age, gender, expression in zip(
            names, rows.get("identity", nothing), rows.get("age", nothing), genders, expressions, strict=True
        )
    ]


def _age(name: str, value: Any) -> float:
    if value is None:
        return float("nan")
    if not isinstance(value, int | float):
        raise InputError(f"{name}: the column of ages holds {value!r}, which is not a number")
    return float(value)


def _codes(
    name: str, kind: Literal["gender", "expression"], values: Sequence[Any], known: Mapping[str, int], config: Parquet
) -> list[int]:
    """Return our number of each value; None is unknown."""
    meanings = {str(value): meaning for value, meaning in config.values.get(kind, {}).items()}
    codes: dict[Any, int] = {None: UNKNOWN}
    values = [_whole(value) for value in values]
    for value in set(values) - {None}:
        meaning = meanings.get(str(value), value)
        if isinstance(meaning, int) and not isinstance(meaning, bool) and meaning != UNKNOWN:
            codes[value] = meaning
        elif str(meaning).lower() in known:
            codes[value] = known[str(meaning).lower()]
        elif meaning == "unknown" and str(value) in meanings:
            codes[value] = UNKNOWN
    if unknown := sorted({repr(value) for value in values if value not in codes}):
        raise InputError(
            f"{name}: {kind}: the meaning of {', '.join(unknown)} is not known; define it in `values: {{{kind}: ...}}` "
            f"as one of unknown, {', '.join(known)}"
        )
    return [codes[value] for value in values]


def _check_order(path: Path, config: Parquet, classes: ClassNames) -> None:
    """Raise InputError if `values` gives a class number another meaning than the class names of the file."""
    for kind, meanings in config.values.items():
        column = getattr(config.columns, kind)
        names = classes.get(column, ())
        known: Mapping[str, int] = GENDERS if kind == "gender" else EXPRESSION_NAMES
        for value, meaning in meanings.items():
            if not isinstance(value, int) or not 0 <= value < len(names) or names[value].isdecimal():
                continue
            if meaning.lower() not in known or known[meaning.lower()] != known.get(names[value].lower()):
                raise InputError(
                    f"{path}: the class {value} of the column {column} is called {names[value]} in the file, but "
                    f"`values` says {meaning}: remove {value} from `values: {{{kind}: ...}}`, or give the meaning of "
                    f"{names[value]} there"
                )


def _whole(value: Any) -> Any:
    """Convert 3.0, as columns with gaps are stored, to 3, and nan to None; return anything else unchanged."""
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else int(value) if value.is_integer() else value


def _allowed(wanted: Value | tuple[Value, ...]) -> tuple[Value, ...]:
    return wanted if isinstance(wanted, tuple) else (wanted,)


def _matching(
    count: int,
    stored: Mapping[str, Sequence[Any]],
    named: Mapping[str, Sequence[Any]],
    where: Mapping[str, Value | tuple[Value, ...]],
) -> list[int]:
    """Return the rows that have these values, as they are stored or by the names of their classes."""
    return [
        row
        for row in range(count)
        if all(
            stored[column][row] in _allowed(wanted) or named[column][row] in _allowed(wanted)
            for column, wanted in where.items()
        )
    ]


def _check_values(name: str, where: Mapping[str, Value | tuple[Value, ...]], present: Mapping[str, set[Any]]) -> None:
    """Raise ConfigError for a value that no row has, which must be misspelt."""
    for column, wanted in where.items():
        if absent := [value for value in _allowed(wanted) if value not in present[column]]:
            known = ", ".join(sorted(map(repr, present[column]))[:20])
            raise ConfigError(f"{name}: where.{column}: no row has {', '.join(map(repr, absent))}; it has {known}")


def _check_columns(path: Path, needed: Sequence[str]) -> ClassNames:
    """Return the class names that the file holds. Raises InputError if a column is missing."""
    schema = _open(path).schema_arrow
    if missing := [column for column in needed if column not in schema.names]:
        raise InputError(f"{path}: there is no column {', '.join(missing)} among {', '.join(schema.names)}")
    return class_names(path, schema.metadata)


def _read(path: Path, columns: list[str]) -> Any:
    """Return an Arrow table with these columns."""
    from pyarrow import ArrowException

    file = _open(path)
    try:
        return file.read(columns=columns)
    except (ArrowException, OSError) as error:
        raise InputError(f"{path}: damaged: {error}") from error


def _open(path: Path) -> Any:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path, memory_map=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ArrowException as error:
        raise InputError(f"{path}: not a Parquet file: {error}") from error
