"""Log which images are aligned, so that a second run goes on where the first one stopped."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import replacing
from faceanalytics.names import original, printable

NAME = "aligned.jsonl"
NAMES = ("name", "crop")  # values that may hold bytes that are not UTF-8, which the file must not
ALIGNED, FACELESS, UNALIGNABLE, UNREADABLE = "aligned", "no face", "cannot be aligned", "unreadable"  # results
Line: TypeAlias = dict[str, Any]  # name and result of one image, and further values


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for an image, without the values that are not counted."""

    result: str
    why: str = ""
    border: float = 0.0  # see align_one.BORDERS

    def __str__(self) -> str:
        return f"{self.result}: {self.why}" if self.why else self.result


class Log:
    """`aligned.jsonl` in the folder of the crops: a line of options, then one line per image.

    Raises ConfigError if an earlier run had other options, InputError if the file is not such a log.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self.path = folder / NAME
        self._options = options
        self.done: dict[str, Outcome] = {}  # by name of the image
        if self.path.exists():
            self._read()

    def add(self, line: Line) -> None:
        """Append the result for an image to the file."""
        header = b"" if self.path.exists() else _encoded({"options": self._options})
        with self.path.open("ab") as file:
            file.write(header + _encoded(line))
        self.done[line["name"]] = _outcome(line)

    def _read(self) -> None:
        """Read the results of earlier runs, and remove lines that are no longer valid from the file.

        Those are a truncated last line, lines of deleted crops, and lines of unreadable images, which may have been
        repaired.
        """
        kept: dict[str, int] = {}  # image -> number of its line
        number = 0
        for number, text in self._lines():
            if not text.endswith(b"\n"):
                continue
            line = self._parse(number, text)
            if number == 1:
                self._compare(line)
            elif self._is_valid(line):
                kept[line["name"]] = number
                self.done[line["name"]] = _outcome(line)
        if len(kept) + 1 < number or number <= 1:
            self._rewrite(set(kept.values()))

    def _rewrite(self, numbers: set[int]) -> None:
        """Rewrite the file with only the options and these lines."""
        with replacing(self.path) as partial, partial.open("wb") as file:
            file.write(_encoded({"options": self._options}))
            file.writelines(text for number, text in self._lines() if number in numbers)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        with self.path.open("rb") as file:
            yield from enumerate(file, 1)

    def _parse(self, number: int, text: bytes) -> Line:
        try:
            line = json.loads(text)
        except ValueError as error:
            raise InputError(f"{self.path}:{number}: not a line of an alignment log: {error}") from error
        needed = {"options"} if number == 1 else {"name", "result"}
        if not isinstance(line, dict) or not needed <= line.keys():
            raise InputError(f"{self.path}:{number}: not a line of an alignment log: no {' and '.join(needed)}")
        return {**line, **{key: original(line[key]) for key in NAMES if key in line}}

    def _compare(self, header: Line) -> None:
        before = header["options"]
        now = json.loads(json.dumps(self._options))
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if changed:
            listed = "\n".join(f"  {name}: was {before.get(name)!r}, is {now.get(name)!r}" for name in changed)
            raise ConfigError(
                f"{self.path}:1: these faces were aligned with other options:\n{listed}\n"
                f"Use the same options, or choose another folder for the crops"
            )

    def _is_valid(self, line: Line) -> bool:
        if line["result"] == ALIGNED:
            crop: Path = self.path.parent / line["crop"]
            return crop.is_file() and crop.stat().st_size > 0
        return bool(line["result"] != UNREADABLE)


def _outcome(line: Line) -> Outcome:
    return Outcome(sys.intern(line["result"]), line.get("why", ""), line.get("border", 0.0))


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps({**line, **{key: printable(line[key]) for key in NAMES if key in line}}).encode() + b"\n"
