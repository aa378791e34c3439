"""Faces in Parquet files, with columns that the configuration names."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from faceanalytics.errors import ConfigError, InputError
from workers.research.data.assemble import Face, labels_of, or_images
from workers.research.data.face_set import UNKNOWN, Bytes, FaceSet, Integers
from workers.research.data.images import Names, decode, number
from workers.research.data.label_names import EXPRESSION_WORDS, GENDERS
from workers.research.data.options import MODEL, Kind, SetOptions

Value = str | int | float | bool


class Columns(BaseModel):
    """Which column says what."""

    model_config = MODEL

    image: str = "image"
    """Encoded images: bytes, or a struct with the field `bytes` as Hugging Face writes it."""
    name: str | None = None
    """Names of the images, unique; none: the file's name and the row, such as faces/000012."""
    identity: str | None = None
    """Who it is, text or number."""
    age: str | None = None
    """Years."""
    gender: str | None = None
    """A word such as male, F or unknown, or what `values` explains."""
    expression: str | None = None
    """A word such as happiness or happy, a number in SwinFace's order (0 surprise ... 6 neutral), or what `values`
    explains."""


class Parquet(SetOptions):
    """A Parquet file, or all *.parquet of a folder as one set."""

    format: Literal["parquet"]
    columns: Columns = Columns()
    """Which column says what; what is not named is not read."""
    where: Mapping[str, Value | tuple[Value, ...]] = {}
    """Only rows with this value, or one of these, in a column, such as {split: train}."""
    values: Mapping[Literal["gender", "expression"], Annotated[Mapping[Value, str], Field(min_length=1)]] = {}
    """What the values of a column mean, such as {expression: {"": unknown, contempt: unknown, 0: neutral}}."""


@dataclass(slots=True, eq=False)
class Table:
    """Images in the rows of files. A process reads the column of images of a file when it needs the first."""

    files: Sequence[Path]
    column: str
    file: Integers  # (n,) which file
    row: Integers  # (n,) of the file, from 0
    names: Sequence[str]  # (n,)
    columns: dict[int, Any]  # of each file read so far: Arrow's column of bytes

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
            raise InputError(f"{where}: {self.column} holds no image but {type(data).__name__}")
        return decode(data, where)

    def name(self, index: int) -> str:
        return self.names[index]


def open_parquet(name: str, config: Parquet) -> FaceSet:
    """Raises InputError for a column that is not there and for words without a meaning, all listed.

    Identities are numbered in the order of their names. Numbers out of range stay, to be found impossible.
    """
    files = sorted(config.path.glob("*.parquet")) if config.path.is_dir() else [config.path]
    if not files:
        raise InputError(f"{name}: no *.parquet in {config.path}")
    wanted = {kind: column for kind, column in config.columns if column is not None and kind != "image"}
    rows: dict[str, list[Any]] = {kind: [] for kind in ("file", "row", *wanted)}
    seen: dict[str, set[Any]] = {column: set() for column in config.where}
    for place, path in enumerate(files):
        _check_columns(path, [config.columns.image, *wanted.values(), *config.where])
        table = _read(path, list(dict.fromkeys([*wanted.values(), *config.where])))
        used = _matching(table, config.where)
        for column in config.where:
            seen[column] |= set(table.column(column).unique().to_pylist())
        rows["file"] += [place] * len(used)
        rows["row"] += used.tolist()
        for kind, column in wanted.items():
            rows[kind] += table.column(column).take(used).to_pylist()
    _check_values(name, config.where, seen)
    if not rows["row"]:
        raise InputError(f"{name}: no row of {config.path} matches `where`")
    faces = _faces(name, config, rows, [file.stem for file in files])
    kinds: list[Kind] = [kind for kind in ("identity", "age", "gender", "expression") if kind in wanted]
    names = Names(face.name for face in faces)
    file, row = (np.array(rows[kind], np.int64) for kind in ("file", "row"))
    images = or_images(name, config, Table(files, config.columns.image, file, row, names, {}))
    identities = number([face.identity for face in faces])[1] if "identity" in kinds else ()
    return FaceSet(name, images, labels_of(faces, kinds), identities)


def _faces(name: str, config: Parquet, rows: Mapping[str, list[Any]], stems: Sequence[str]) -> list[Face]:
    count = len(rows["row"])
    nothing = [None] * count
    names = rows.get("name") or [
        f"{stems[file]}/{row:06d}" for file, row in zip(rows["file"], rows["row"], strict=True)
    ]
    if len(set(names)) != count or None in names:
        raise InputError(
            f"{name}: the column {config.columns.name} does not name each image: some stand twice or are empty"
        )
    genders = _codes(name, "gender", rows.get("gender", nothing), GENDERS, config)
    expressions = _codes(name, "expression", rows.get("expression", nothing), EXPRESSION_WORDS, config)
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
    name: str, kind: Literal["gender", "expression"], values: Sequence[Any], words: Mapping[str, int], config: Parquet
) -> list[int]:
    """Our number of each value; None is unknown."""
    meanings = {str(value): meaning for value, meaning in config.values.get(kind, {}).items()}
    codes: dict[Any, int] = {None: UNKNOWN}
    values = [_whole(value) for value in values]
    for value in set(values) - {None}:
        meaning = meanings.get(str(value), value)
        if isinstance(meaning, int) and not isinstance(meaning, bool) and meaning != UNKNOWN:
            codes[value] = meaning
        elif str(meaning).lower() in words:
            codes[value] = words[str(meaning).lower()]
        elif meaning == "unknown" and str(value) in meanings:
            codes[value] = UNKNOWN
    if unknown := sorted({repr(value) for value in values if value not in codes}):
        raise InputError(
            f"{name}: {kind}: no meaning of {', '.join(unknown)} is known; say it in `values: {{{kind}: ...}}`, one of "
            f"unknown, {', '.join(words)}"
        )
    return [codes[value] for value in values]


def _whole(value: Any) -> Any:
    """3 for 3.0, as columns with gaps are written, and None for nan; anything else as it is."""
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else int(value) if value.is_integer() else value


def _allowed(wanted: Value | tuple[Value, ...]) -> tuple[Value, ...]:
    return wanted if isinstance(wanted, tuple) else (wanted,)


def _matching(table: Any, where: Mapping[str, Value | tuple[Value, ...]]) -> Integers:
    """Rows with these values."""
    used = np.ones(table.num_rows, bool)
    for column, wanted in where.items():
        allowed = _allowed(wanted)
        used &= np.array([value in allowed for value in table.column(column).to_pylist()], bool)
    return np.flatnonzero(used)


def _check_values(name: str, where: Mapping[str, Value | tuple[Value, ...]], seen: Mapping[str, set[Any]]) -> None:
    """Raises ConfigError for a value that no row has: it is misspelt."""
    for column, wanted in where.items():
        if absent := [value for value in _allowed(wanted) if value not in seen[column]]:
            known = ", ".join(sorted(map(repr, seen[column]))[:20])
            raise ConfigError(f"{name}: where.{column}: no row has {', '.join(map(repr, absent))}; there is {known}")


def _check_columns(path: Path, needed: Sequence[str]) -> None:
    known = _open(path).schema_arrow.names
    if missing := [column for column in needed if column not in known]:
        raise InputError(f"{path}: there is no column {', '.join(missing)} among {', '.join(known)}")


def _read(path: Path, columns: list[str]) -> Any:
    """An Arrow table with these columns."""
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
