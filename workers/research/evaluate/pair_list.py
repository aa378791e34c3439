"""Read lists of image pairs: LFW's own pairs.txt, and `path path 0|1 [fold]` for other sets."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceanalytics.errors import InputError
from workers.research.data.images import Files
from workers.research.evaluate.draw_pairs import Pairs
from workers.research.evaluate.verification import FOLDS, folds_in_order

SUFFIXES = (".jpg", ".png", ".jpeg", ".bmp")  # tried in this order for LFW's images


@dataclass(frozen=True, slots=True)
class _Pair:
    first: str
    second: str
    same: bool
    fold: int | None = None


def read_pairs(path: Path, folder: Path) -> tuple[Files, Pairs]:
    """Return the images of a list, each once, and its pairs; missing files are noticed when they are read.

    LFW's list begins with `folds pairs`, or with the pairs of a single fold, and its images are named
    name/name_0001.jpg. A general list has two paths below the folder and 0 or 1, and optionally the fold in a fourth
    column; without it the folds are ten equal parts in order. Raises InputError with the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of images")
    rows = [(number, line.split("\t" if "\t" in line else None)) for number, line in enumerate(lines, 1)]
    rows = [(number, words) for number, words in rows if words and any(words)]
    if not rows:
        raise InputError(f"{path}: the list is empty")
    head = rows[0][1]
    is_lfw = len(head) < 3 and all(word.isdecimal() for word in head)
    pairs = _lfw(path, rows, folder) if is_lfw else _general(path, rows)
    return _numbered(path, pairs, folder)


def _lfw(path: Path, rows: list[tuple[int, list[str]]], folder: Path) -> list[_Pair]:
    head = rows[0][1]
    folds, each = (int(head[0]), int(head[1])) if len(head) == 2 else (1, int(head[0]))
    if len(rows) - 1 != 2 * folds * each:
        raise InputError(
            f"{path}: {len(rows) - 1} pairs, but its first line announces {folds} folds with {each} pairs of each kind"
        )
    suffix = _suffix_in(folder)
    pairs = []
    for index, (number, words) in enumerate(rows[1:]):
        if len(words) not in (3, 4):
            found = f"{len(words)} columns: {' '.join(words)}"
            raise InputError(f"{path}:{number}: expected `name n n` or `name n name n`, found {found}")
        one, two = (words[0], words[1]), (words[-2] if len(words) == 4 else words[0], words[-1])
        for _, image in (one, two):
            if not image.isdecimal():
                raise InputError(f"{path}:{number}: {image!r} is not the number of an image")
        fold = index // (2 * each) if folds > 1 else None
        pairs.append(_Pair(_lfw_name(*one, suffix), _lfw_name(*two, suffix), len(words) == 3, fold))
    return pairs


def _lfw_name(person: str, number: str, suffix: Callable[[str], str]) -> str:
    return suffix(f"{person}/{person}_{int(number):04d}")


def _suffix_in(folder: Path) -> Callable[[str], str]:
    """Return a function that adds the suffix of the existing file to a name."""

    def complete(name: str) -> str:
        existing = (name + suffix for suffix in SUFFIXES if (folder / (name + suffix)).is_file())
        return next(existing, name + SUFFIXES[0])

    return complete


def _general(path: Path, rows: list[tuple[int, list[str]]]) -> list[_Pair]:
    columns = len(rows[0][1])
    pairs = []
    for number, words in rows:
        if len(words) not in (3, 4) or len(words) != columns:
            wanted = "3 or 4" if columns not in (3, 4) else str(columns)
            raise InputError(
                f"{path}:{number}: expected {wanted} columns (path path 0|1 [fold]), found {len(words)}. "
                "Paths with blanks need tabs between the columns"
            )
        if words[2] not in ("0", "1"):
            raise InputError(f"{path}:{number}: {words[2]!r} is neither 1 (one person) nor 0 (two persons)")
        if columns == 4 and not words[3].isdecimal():
            raise InputError(f"{path}:{number}: {words[3]!r} is not the number of a fold")
        pairs.append(_Pair(words[0], words[1], words[2] == "1", int(words[3]) if columns == 4 else None))
    return pairs


def _numbered(path: Path, pairs: list[_Pair], folder: Path) -> tuple[Files, Pairs]:
    number_of: dict[str, int] = {}
    names = (name for pair in pairs for name in (pair.first, pair.second))
    numbers = np.array([number_of.setdefault(name, len(number_of)) for name in names], np.int64)
    folds = [pair.fold for pair in pairs if pair.fold is not None]
    if not folds and len(pairs) < FOLDS:
        raise InputError(f"{path}: {len(pairs)} pairs cannot be divided into {FOLDS} folds")
    fold = np.unique(folds, return_inverse=True)[1] if folds else folds_in_order(len(pairs))
    if fold.max() < 1:
        raise InputError(f"{path}: all pairs are in one fold, so there are no others to choose a threshold on")
    same = np.array([pair.same for pair in pairs], np.bool_)
    return Files(folder, list(number_of)), Pairs(numbers[0::2], numbers[1::2], same, fold)
