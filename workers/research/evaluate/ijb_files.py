"""Read the lists of IJB-B or IJB-C in the folder meta/ of insightface's distribution."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import InputError

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]
GALLERIES = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}  # the two galleries in the names of the files
HEADING = ("TEMPLATE_ID", "SUBJECT_ID")


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The images, one face each."""

    names: tuple[str, ...]  # (n,) below loose_crop
    template: Integers  # (n,)
    medium: Integers  # (n,) an image, or the video that a frame is from
    landmarks: Floats  # (n, 5, 2) x y, pixels of the image
    score: Floats  # (n,) of the detector, 0..1


@dataclass(frozen=True, slots=True, eq=False)
class TemplatePairs:
    """The n comparisons of 1:1."""

    first: Integers  # (n,) template
    second: Integers  # (n,) template
    same: NDArray[np.bool_]  # (n,)


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """The templates of 1:N and their subjects."""

    template: Integers  # (n,) ascending
    subject: Integers  # (n,)


@dataclass(frozen=True, slots=True)
class IjbFolder:
    """The paths of the files of `ijbb` or `ijbc`."""

    path: Path
    name: str

    @property
    def images(self) -> Path:
        return self.path / "loose_crop"

    @property
    def media(self) -> Path:
        return self._meta("face_tid_mid.txt")

    @property
    def faces(self) -> Path:
        return self._meta("name_5pts_score.txt")

    @property
    def pairs(self) -> Path:
        return self._meta("template_pair_label.txt")

    @property
    def galleries(self) -> tuple[Path, Path]:
        first, second = GALLERIES[self.name]
        return self._meta(f"1N_gallery_{first}.csv"), self._meta(f"1N_gallery_{second}.csv")

    @property
    def probes(self) -> Path:
        return self._meta("1N_probe_mixed.csv")

    def lists(self, tasks: Sequence[str]) -> list[Path]:
        """Return the files of meta/ that the tasks, `1:1` and `1:N`, need."""
        wanted = [self.media, self.faces]
        wanted += [self.pairs] if "1:1" in tasks else []
        return wanted + ([*self.galleries, self.probes] if "1:N" in tasks else [])

    def check(self, tasks: Sequence[str]) -> None:
        """Raise InputError that lists everything that the tasks need and that is missing."""
        missing = [str(path) for path in self.lists(tasks) if not path.is_file()]
        missing += [] if self.images.is_dir() else [f"{self.images}/"]
        if missing:
            raise InputError(f"{self.path} is an incomplete folder of {self.name}; missing:\n  " + "\n  ".join(missing))

    def _meta(self, rest: str) -> Path:
        return self.path / "meta" / f"{self.name}_{rest}"


def read_faces(folder: IjbFolder) -> Faces:
    """Read the two lists of images, which must name the same images in order. Raises InputError with the line."""
    media = list(_words(folder.media, 3))
    points = list(_words(folder.faces, 12))
    if len(media) != len(points):
        raise InputError(f"{folder.media} has {len(media)} images, {folder.faces} has {len(points)}")
    for (line, (name, *_)), (_, (other, *_)) in zip(media, points, strict=True):
        if name != other:
            raise InputError(f"{folder.media}:{line}: {name}, but {folder.faces} has {other} in the same line")
    numbers = _numbers(folder.media, [(line, words[1:]) for line, words in media], int)
    values = _numbers(folder.faces, [(line, words[1:]) for line, words in points], float)
    return Faces(
        names=tuple(words[0] for _, words in media),
        template=numbers[:, 0].astype(np.int64),
        medium=numbers[:, 1].astype(np.int64),
        landmarks=values[:, :10].reshape(-1, 5, 2).astype(np.float32),
        score=values[:, 10].astype(np.float32),
    )


def read_template_pairs(path: Path) -> TemplatePairs:
    """Read lines `template template 0|1`, of which there are millions. Raises InputError with the line."""
    if not path.stat().st_size:
        raise InputError(f"{path}: the list is empty")
    try:
        table = np.loadtxt(path, dtype=np.int32, comments=None, ndmin=2)
    except ValueError as error:
        raise _first_wrong(path, str(error)) from error
    if table.shape[1] != 3:
        raise InputError(f"{path}:1: expected 3 columns (template template 0|1), found {table.shape[1]}")
    wrong = np.flatnonzero((table[:, 2] != 0) & (table[:, 2] != 1))
    if len(wrong):
        raise InputError(f"{path}:{wrong[0] + 1}: {table[wrong[0], 2]} is neither 1 (one person) nor 0 (two persons)")
    return TemplatePairs(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2] == 1)


def read_subjects(path: Path) -> Subjects:
    """Read the templates of a gallery or of the probes from a table with a header and one line per image.

    Raises InputError with the line, also for a template with two subjects.
    """
    subject_of: dict[int, int] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        heading = [cell.strip().upper() for cell in next(rows, [])]
        if missing := [name for name in HEADING if name not in heading]:
            raise InputError(f"{path}:1: the header has no {', '.join(missing)}: {','.join(heading)}")
        columns = [heading.index(name) for name in HEADING]
        for row in rows:
            if len(row) != len(heading):
                raise InputError(f"{path}:{rows.line_num}: {len(row)} columns, the header has {len(heading)}")
            template, subject = (_whole(path, rows.line_num, row[column]) for column in columns)
            if subject_of.setdefault(template, subject) != subject:
                raise InputError(
                    f"{path}:{rows.line_num}: template {template} shows subject {subject}, "
                    f"but {subject_of[template]} in an earlier line"
                )
    if not subject_of:
        raise InputError(f"{path}: the list is empty")
    table = np.array(sorted(subject_of.items()), np.int64)
    return Subjects(table[:, 0], table[:, 1])


def positions_of(path: Path, known: Integers, wanted: Integers) -> Integers:
    """Return the positions of templates among the ascending `known` ones. Raises InputError for one without images."""
    positions = np.searchsorted(known, wanted).clip(max=max(len(known) - 1, 0))
    missing = np.unique(wanted[known[positions] != wanted]) if len(known) else wanted
    if len(missing):
        raise InputError(f"{path}: {len(missing)} templates have no image, such as {missing[0]}")
    return positions


def _words(path: Path, count: int) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file, 1):
            words = text.split()
            if len(words) != count:
                raise InputError(f"{path}:{line}: expected {count} columns, found {len(words)}")
            yield line, words


def _numbers(path: Path, rows: list[tuple[int, list[str]]], number: Callable[[str], float]) -> NDArray[np.float64]:
    """Convert cells to numbers, (n, columns); whole numbers up to 2^53 stay exact."""
    if not rows:
        raise InputError(f"{path}: the list is empty")
    table = np.empty((len(rows), len(rows[0][1])))
    for index, (line, words) in enumerate(rows):
        try:
            table[index] = [number(word) for word in words]
        except ValueError as error:
            raise InputError(f"{path}:{line}: {error}") from error
    wrong = np.flatnonzero(~np.isfinite(table).all(1))
    if len(wrong):
        raise InputError(f"{path}:{rows[wrong[0]][0]}: a number is not finite")
    return table


def _whole(path: Path, line: int, word: str) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise InputError(f"{path}:{line}: {word!r} is not a whole number") from error


def _first_wrong(path: Path, reason: str) -> InputError:
    for line, words in _words(path, 3):
        for word in words:
            _whole(path, line, word)
    return InputError(f"{path}: {reason}")
