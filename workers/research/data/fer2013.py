"""Read FER2013 from its table of pixels, with its own labels or those of FER+.

Layout: https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge (columns
emotion, pixels, Usage, in any order) and https://github.com/microsoft/FERPlus (fer2013new.csv: the same rows in the
same order, Usage, Image name and ten people's votes).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from faceanalytics.errors import InputError
from workers.research.data.assemble import or_images
from workers.research.data.face_set import Bytes, FaceSet, Integers, Labels
from workers.research.data.label_names import EXPRESSION_NAMES, classes, report_left_out
from workers.research.data.options import ResolvedPath, SetOptions
from workers.research.data.rows import Row, read_table

SIDE = 48  # px
FER2013 = classes("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
VOTED = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
Usage = Literal["Training", "PublicTest", "PrivateTest"]


class Fer2013(SetOptions):
    """FER2013; `path` is fer2013.csv. Files in `images` are named by the row from 0, such as fer0000000.png."""

    format: Literal["fer2013"]
    usage: Annotated[tuple[Usage, ...], Field(min_length=1)] = ("Training",)
    """Parts of the challenge to use."""
    ferplus: ResolvedPath | None = None
    """fer2013new.csv of FER+, whose votes replace the labels; default: FER2013's own labels."""
    ferplus_rule: Literal["most", "half"] = "most"
    """most: the class with the most votes; half: only a class with more than half of them. Faces with a tie, contempt,
    unknown and NF (no face) are left out, and their number is logged."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelRows:
    """Images stored as lines of a table."""

    path: Path
    column: int  # column of the pixels
    offsets: Integers  # (n,) bytes
    lines: Integers  # (n,) from 1
    rows: Integers  # (n,) from 0, without the header

    def __len__(self) -> int:
        return len(self.offsets)

    def read(self, index: int) -> Bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(int(self.offsets[index]))
                text = _cells(file.readline())[self.column]
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}") from error
        try:
            grey = np.array(text.split(), np.uint8).reshape(SIDE, SIDE)
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{self.path}:{self.lines[index]}: pixels are not {SIDE * SIDE} numbers of 0..255"
            ) from error
        return np.repeat(grey[:, :, None], 3, axis=2)

    def name(self, index: int) -> str:
        return f"fer{self.rows[index]:07d}.png"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of fer2013.csv without its pixels."""

    number: int  # from 1
    offset: int  # bytes
    emotion: int  # FER2013's class
    usage: str


def open_fer2013(name: str, config: Fer2013) -> FaceSet:
    """Open the set. Raises InputError for a line without 2,304 pixels, or a FER+ file that does not fit the table."""
    column, lines = _scan(config.path)
    wanted = [row for row, line in enumerate(lines) if line.usage in config.usage]
    if config.ferplus is None:
        expressions = {row: FER2013.get(lines[row].emotion, lines[row].emotion) for row in wanted}
    else:
        expressions = _vote(name, config, lines, wanted)
    rows = np.array(list(expressions), np.int64)
    if not len(rows):
        raise InputError(f"{name}: no faces of usage {', '.join(config.usage)} in {config.path}")
    numbers = np.array([line.number for line in lines], np.int64)[rows]
    offsets = np.array([line.offset for line in lines], np.int64)[rows]
    images = or_images(name, config, PixelRows(config.path, column, offsets, numbers, rows))
    labels = Labels(expression=np.array(list(expressions.values()), np.int64))
    return FaceSet(name, images, labels, label_file=config.path, lines=numbers)


def _cells(line: bytes) -> list[bytes]:
    return [cell.strip(b' "\r\n') for cell in line.split(b",")]


def _scan(path: Path) -> tuple[int, list[Line]]:
    """Return the column of the pixels, and all lines without their pixels, which would take 300 MB."""
    try:
        with path.open("rb") as file:
            first = file.readline()
            header = [cell.decode("utf-8-sig", "replace").lower() for cell in _cells(first)]
            if missing := {"emotion", "pixels", "usage"} - set(header):
                raise InputError(
                    f"{path}:1: expected the columns emotion, pixels, Usage; {', '.join(missing)} is missing"
                )
            index_of = {column: index for index, column in enumerate(header)}
            return index_of["pixels"], list(_lines(path, file, len(first), len(header), index_of))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _lines(path: Path, file: Iterator[bytes], offset: int, columns: int, index_of: dict[str, int]) -> Iterator[Line]:
    for number, text in enumerate(file, 2):
        start, offset = offset, offset + len(text)
        if not text.strip():
            continue
        cells = _cells(text)
        if len(cells) != columns:
            raise InputError(f"{path}:{number}: {len(cells)} columns, expected {columns}")
        emotion, pixels, usage = (cells[index_of[column]] for column in ("emotion", "pixels", "usage"))
        if pixels.count(b" ") != SIDE * SIDE - 1:
            raise InputError(f"{path}:{number}: {len(pixels.split())} pixels, expected {SIDE * SIDE}")
        if not emotion.isdigit():
            raise InputError(f"{path}:{number}: emotion {emotion.decode('utf-8', 'replace')!r} is not a class number")
        if usage not in (b"Training", b"PublicTest", b"PrivateTest"):
            raise InputError(f"{path}:{number}: usage {usage.decode('utf-8', 'replace')!r} is unknown")
        yield Line(number, start, int(emotion), usage.decode())


def _vote(name: str, config: Fer2013, lines: list[Line], wanted: list[int]) -> dict[int, int]:
    """Return FER+'s expression of each row, leaving out rows without one of SwinFace's expressions."""
    assert config.ferplus is not None
    table = list(read_table(config.ferplus, ["Usage", "Image name", *VOTED]))
    if len(table) != len(lines):
        raise InputError(
            f"{config.ferplus}: {len(table)} rows, but {config.path} has {len(lines)}; the files do not belong together"
        )
    left_out: Counter[str] = Counter()
    expressions = {}
    for row in wanted:
        if table[row].cells["Usage"] != lines[row].usage:
            raise table[row].fail(f"Usage is not {lines[row].usage}, as in line {lines[row].number} of {config.path}")
        winner = _winner(table[row], config.ferplus_rule)
        if winner in EXPRESSION_NAMES:
            expressions[row] = EXPRESSION_NAMES[winner]
        else:
            left_out[winner] += 1
    report_left_out(name, left_out, len(wanted))
    return expressions


def _winner(row: Row, rule: str) -> str:
    """Return the class that won the vote, or why there is none."""
    votes = {voted: row.whole(voted) for voted in VOTED}
    most = max(votes.values())
    leading = [voted for voted, count in votes.items() if count == most]
    if most == 0:
        return "without votes"
    if rule == "half" and 2 * most <= sum(votes.values()):
        return "without a majority"
    return leading[0] if len(leading) == 1 else "with a tie"
