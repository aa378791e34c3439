"""Read label files line by line, with errors that name file and line."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from faceanalytics.errors import InputError
from workers.research.data.face_set import UNKNOWN


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a label file."""

    path: Path
    line: int  # from 1
    cells: Mapping[str, str]  # text by column, without blanks around it

    def fail(self, reason: str) -> InputError:
        """Return the error to raise for this line."""
        return InputError(f"{self.path}:{self.line}: {reason}")

    def text(self, column: str) -> str:
        """Return the text of a cell, which must not be empty."""
        if not self.cells[column]:
            raise self.fail(f"{column} is empty")
        return self.cells[column]

    def number(self, column: str) -> float:
        """Return a number, which may be nan."""
        try:
            return float(self.cells[column])
        except ValueError:
            raise self.fail(f"{column} {self.cells[column]!r} is not a number") from None

    def whole(self, column: str) -> int:
        """Return a whole number other than -1, which would mean unknown in our labels."""
        try:
            value = int(self.cells[column])
        except ValueError:
            raise self.fail(f"{column} {self.cells[column]!r} is not a whole number") from None
        if value == UNKNOWN:
            raise self.fail(f"{column} {value} is not a label")
        return value

    def one_of(self, column: str, meanings: Mapping[str, int]) -> int:
        """Return the number that the text of a cell stands for."""
        if self.cells[column] not in meanings:
            known = ", ".join(map(repr, meanings))
            raise self.fail(f"{column} {self.cells[column]!r} is not one of {known}")
        return meanings[self.cells[column]]


def read_rows(path: Path, columns: Sequence[str], delimiter: str | None = None, skip: int = 0) -> Iterator[Row]:
    """Yield the lines of a file with these columns after skipping `skip` lines; delimiter None: whitespace.

    Empty lines are ignored. Raises InputError for a line with more or fewer columns.
    """
    for line, cells in split_lines(path, delimiter):
        if line > skip:
            yield _row(path, line, cells, columns)


def read_table(path: Path, needed: Sequence[str], delimiter: str | None = ",") -> Iterator[Row]:
    """Yield the lines of a file whose first line names its columns. Raises InputError if a needed one is missing."""
    lines = split_lines(path, delimiter)
    line, header = next(lines, (1, []))
    if missing := [column for column in needed if column not in header]:
        raise InputError(
            f"{path}:{line}: there is no column {', '.join(map(repr, missing))} among {', '.join(header) or 'none'}"
        )
    for line, cells in lines:
        yield _row(path, line, cells, header)


def _row(path: Path, line: int, cells: Sequence[str], columns: Sequence[str]) -> Row:
    if len(cells) != len(columns):
        raise InputError(
            f"{path}:{line}: {len(cells)} columns, expected {len(columns)}: {', '.join(columns[:12])}"
            + (" ..." if len(columns) > 12 else "")
        )
    return Row(path, line, dict(zip(columns, cells, strict=True)))


def split_lines(path: Path, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each line that is not empty. Raises InputError if the file cannot be read."""
    with reading(path) as file:
        if delimiter is None:
            for number, text in enumerate(file, 1):
                if cells := text.split():
                    yield number, cells
            return
        table = csv.reader(file, delimiter=delimiter)
        for cells in table:
            if any(cell.strip() for cell in cells):
                yield table.line_num, [cell.strip() for cell in cells]


@contextmanager
def reading(path: Path) -> Iterator[TextIO]:
    """Open a text file, and turn errors of reading it into an InputError that names it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise InputError(f"{path}: not a table: {error}") from error
