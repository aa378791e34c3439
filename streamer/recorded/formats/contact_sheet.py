"""Draw a contact sheet: a row per person with faces, name, age, expression and times; several pages if needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from faceanalytics.files import writing
from streamer.recorded.formats.faces import write_jpeg
from streamer.recorded.formats.stays import ADJECTIVES, Stay, age_text, label, notice, reasons_text
from streamer.recorded.records import Record
from streamer.recorded.stored import Stored
from streamer.values import Bytes

SHEET = "contact-sheet"
PICTURES = 6  # at most, per person
FACE, GAP, TEXT = 132, 12, 380  # px: side of a face, space between things, width of the text of a row
HEAD, ROW = 64, FACE + 36  # px: heights of the heading and of a row, which has a line of text below the faces
WIDTH = GAP + TEXT + PICTURES * (FACE + GAP) + GAP
PEOPLE = 10  # at most, per page
BLACK, GREY, RED, WHITE, LINE = (20, 20, 20), (110, 110, 110), (30, 30, 200), (255, 255, 255), (215, 215, 215)  # BGR
BODY, LINES = 17, 4  # px: height of the text of a row; lines of it, below the name
BOLD, NORMAL = 700, 400  # weights of the font


class Shown(NamedTuple):
    """One picture of a person."""

    media_time_s: float
    pixels: Bytes  # (n, n, 3) BGR


def write_contact_sheet(
    results: Stored,
    stays: Mapping[int, tuple[Stay, ...]],
    pictures: Mapping[int, Sequence[Shown]],
    folder: Path,
) -> list[Path]:
    """Write contact-sheet.jpg and, for more than ten people, contact-sheet-2.jpg and so on; return their paths.

    `pictures`: those of each person, by its number, of which the first six are shown. Pages of an earlier export are
    removed. Raises ConfigError.
    """
    with writing(folder / SHEET):
        for path in (folder / f"{SHEET}.jpg", *folder.glob(f"{SHEET}-*.jpg")):
            path.unlink(missing_ok=True)
    people: Sequence[Record] = results.people
    pages: list[Sequence[Record]] = [people[start : start + PEOPLE] for start in range(0, len(people), PEOPLE)] or [()]
    written = []
    for number, shown in enumerate(pages, 1):
        sheet = np.full((HEAD + max(1, len(shown)) * ROW + GAP, WIDTH, 3), 255, np.uint8)
        _heading(sheet, results, number, len(pages))
        for place, person in enumerate(shown):
            top = HEAD + place * ROW
            cv2.line(sheet, (GAP, top), (WIDTH - GAP, top), LINE, 1)
            _describe(sheet, top, person, stays[person["number"]])
            for column, one in enumerate(pictures.get(person["number"], ())[:PICTURES]):
                _paste(sheet, GAP + TEXT + column * (FACE + GAP), top + GAP, one)
        if not people:
            _write(sheet, "No person was found.", GAP, HEAD + 40, 22)
        path = folder / (f"{SHEET}.jpg" if number == 1 else f"{SHEET}-{number}.jpg")
        write_jpeg(path, sheet)
        written.append(path)
    return written


def _heading(sheet: Bytes, results: Stored, page: int, pages: int) -> None:
    source = results.header["source"]
    count = f"{len(results.people)} {'person' if len(results.people) == 1 else 'people'}"
    right = count if pages == 1 else f"{count}, page {page} of {pages}"
    width = _width(right, 18)
    _write(sheet, source["name"], GAP, 34, 24, BOLD, room=WIDTH - 3 * GAP - width)
    _write(sheet, right, WIDTH - GAP - width, 34, 18, colour=GREY)
    warning = notice(results.header)
    _write(sheet, warning or f"run {results.header['run_id']}", GAP, 56, 14, colour=RED if warning else GREY)


def _describe(sheet: Bytes, top: int, person: Record, stays: Sequence[Stay]) -> None:
    expression = person["expression"]
    lines = [age_text(person["age"]), *_wrap(reasons_text(person))]
    if expression is not None:
        share = expression["shares"][expression["mostly"]]
        lines.append(f"appears mostly {ADJECTIVES[expression['mostly']]} ({100 * share:.0f} %)")
    lines.insert(0, f"seen for {person['seen_s']:.1f} s, {_times(stays)}")
    name = label(person) if person["name"] is None else f"{label(person)} ({person['number']})"
    _write(sheet, name, GAP, top + 38, 24, BOLD, room=TEXT - GAP)
    for place, line in enumerate([line for line in lines if line][:LINES]):
        _write(sheet, line, GAP, top + 68 + 25 * place, BODY, room=TEXT - GAP)


def _times(stays: Sequence[Stay]) -> str:
    """Return "0:03.0-0:12.4, 1:20.0-1:31.2", shortened after two of several."""
    spans = [f"{_clock(one.start_s)}-{_clock(one.end_s)}" for one in stays]
    return ", ".join(spans) if len(spans) <= 2 else f"{', '.join(spans[:2])} and {len(spans) - 2} more"


def _clock(seconds: float) -> str:
    """Return m:ss.d, or h:mm:ss.d from an hour on."""
    tenths = round(10 * seconds)
    minutes = tenths // 600
    hours = f"{minutes // 60}:{minutes % 60:02}" if minutes >= 60 else f"{minutes}"
    return f"{hours}:{tenths // 10 % 60:02}.{tenths % 10}"


def _wrap(text: str) -> list[str]:
    """Break a text into lines that fit beside the faces."""
    lines: list[str] = []
    for word in text.split():
        if lines and _width(f"{lines[-1]} {word}", BODY) <= TEXT - GAP:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _paste(sheet: Bytes, left: int, top: int, shown: Shown) -> None:
    large = len(shown.pixels) < FACE
    way = cv2.INTER_CUBIC if large else cv2.INTER_AREA
    sheet[top : top + FACE, left : left + FACE] = cv2.resize(shown.pixels, (FACE, FACE), interpolation=way)
    _write(sheet, _clock(shown.media_time_s), left, top + FACE + 17, 14)


def _write(
    sheet: Bytes,
    text: str,
    left: int,
    base: int,
    size: int,
    weight: int = NORMAL,
    colour: tuple[int, int, int] = BLACK,
    room: int = WIDTH,
) -> None:
    """Write a line of text, px; what does not fit into `room` is cut off with an ellipsis."""
    shown = text
    while shown and _width(shown, size, weight) > room:
        text = text[:-1]
        shown = f"{text.rstrip()}\N{HORIZONTAL ELLIPSIS}"
    cv2.putText(sheet, shown, (left, base), colour, cv2.FontFace("sans"), size, weight)


def _width(text: str, size: int, weight: int = NORMAL) -> int:
    """Return the width of a line of text, px."""
    _, _, width, _ = cv2.getTextSize((10 * WIDTH, 100), text, (0, 0), cv2.FontFace("sans"), size, weight)
    return int(width)
