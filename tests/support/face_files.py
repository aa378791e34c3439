"""Small sets of faces on disk, drawn and written by the tests."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from workers.research.data.face_set import FaceSet
from workers.research.data.sets import SET_CONFIG, open_set


def shade(value: int, size: int = 8, suffix: str = ".png") -> bytes:
    """An encoded image of one grey value, so that it is known again when it is read."""
    encoded = cv2.imencode(suffix, np.full((size, size, 3), value, np.uint8))[1]
    return encoded.tobytes()


def draw(folder: Path, names: Iterable[str]) -> Path:
    """Images of these names below a folder; the first is of shade 10, the next of 20, and so on."""
    for number, name in enumerate(names, 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            shade(10 * number % 256)
        )  # always PNG: the format is recognised by the content, not by the name
    return folder


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def opened(**settings: Any) -> FaceSet:
    """The set `faces` with these settings."""
    return open_set("faces", SET_CONFIG.validate_python(settings))


def names(faces: FaceSet) -> list[str]:
    return [faces.images.name(index) for index in range(len(faces))]


def shades(faces: FaceSet) -> list[int]:
    """The grey value of each image."""
    return [int(faces.images.read(index)[0, 0, 0]) for index in range(len(faces))]


def values(column: Any) -> list[Any]:
    """A column of labels as a list."""
    assert column is not None
    found: list[Any] = column.tolist()
    return found


def edit(path: Path, line: int, old: str, new: str) -> None:
    """Change one line of a file, counted from 1."""
    lines = path.read_text().splitlines()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    write(path, *lines)
