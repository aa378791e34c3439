"""Draw a contact sheet of a set, faces with their labels in words, so that a person can check them."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from faceanalytics.errors import InputError
from faceanalytics.files import replacing
from workers.research.data.face_set import Bytes, FaceSet
from workers.research.data.statistics import GENDERS
from workers.swinface.labels import ATTRIBUTES, EXPRESSIONS

COLUMNS, ROWS = 8, 6
FACE, GAP, MARGIN, HEAD = 144, 14, 24, 76  # px: side of a face, gap between faces, margin, height of the heading
LINE = 16  # px, from one line of text to the next
PAPER, INK, PALE, BOX = (250, 250, 248), (28, 28, 30), (120, 120, 124), (228, 228, 226)
COLOURS = {"person": (24, 78, 140), "labels": INK, "attributes": PALE}
EACH = 200  # candidates for each value of a label
DECADE = 10  # years
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Mask = NDArray[np.bool_]


def write_sheet(faces: FaceSet, path: Path, refused: Collection[int] = ()) -> None:
    """Draw some faces of a set, but none of `refused`, into a PNG. Raises ConfigError if it cannot be written."""
    rows = choose(faces, COLUMNS * ROWS, refused)
    sheet = draw(faces, rows)
    with replacing(path) as partial:
        sheet.save(partial, format="PNG")


def choose(faces: FaceSet, number: int, refused: Collection[int] = ()) -> list[int]:
    """Choose at most `number` faces that together show as many label values as possible, always the same ones.

    Each step chooses the face whose values are the rarest among the chosen ones. If identity is the only label, choose
    several images of each person, so that a viewer can see whether they show one person.
    """
    random = np.random.default_rng(0)
    usable = np.ones(len(faces), np.bool_)
    usable[list(refused)] = False
    kinds = {name for name, _ in faces.labels.columns()}
    if kinds == {"identity"} and faces.labels.identity is not None:
        return _rows_of_people(faces.labels.identity, usable, number, random)
    values = [value & usable for value in _values(faces)]
    pools = [np.flatnonzero(value) for value in (usable, *values)]
    candidates = np.unique(np.concatenate([random.permutation(pool)[: max(EACH, number)] for pool in pools]))
    has = np.array([value[candidates] for value in values], np.bool_).reshape(len(values), len(candidates)).T
    chosen = _choose_diverse(has, _people(faces, candidates), number, random)
    return sorted((int(row) for row in candidates[chosen]), key=lambda row: _order(faces, row))


def caption(faces: FaceSet, row: int) -> dict[str, str]:
    """Return the known labels of a face in words, as `person`, `labels` and `attributes`."""
    labels = faces.labels
    words = []
    if labels.age is not None and not np.isnan(labels.age[row]):
        words.append(f"age {labels.age[row]:.4g}")
        if labels.age_spread is not None and not np.isnan(labels.age_spread[row]):
            words[-1] += f" ± {labels.age_spread[row]:.2g}"
    if labels.gender is not None and labels.gender[row] >= 0:
        words.append(GENDERS[labels.gender[row]])
    if labels.expression is not None and labels.expression[row] >= 0:
        words.append(EXPRESSIONS[labels.expression[row]])
    parts = {"labels": ", ".join(words)}
    if labels.identity is not None and labels.identity[row] >= 0:
        parts["person"] = faces.identities[labels.identity[row]]
    if labels.attributes is not None and (labels.attributes[row] >= 0).any():
        present = [task.score for task, sign in zip(ATTRIBUTES, labels.attributes[row], strict=True) if sign == 1]
        parts["attributes"] = ", ".join(name.replace("_", " ") for name in present) or "none of the attributes"
    return {name: parts[name] for name in COLOURS if parts.get(name)} or {"labels": "nothing known"}


def draw(faces: FaceSet, rows: Sequence[int]) -> Image.Image:
    """Draw these faces in a grid, each with its caption below."""
    small, large = ImageFont.load_default(size=13), ImageFont.load_default(size=24)
    captions = [_wrapped(caption(faces, row), small) for row in rows]
    heights = [
        FACE + 6 + LINE * max(map(len, captions[start : start + COLUMNS])) + GAP
        for start in range(0, len(rows), COLUMNS)
    ]
    width = 2 * MARGIN + COLUMNS * (FACE + GAP) - GAP
    sheet = Image.new("RGB", (width, HEAD + sum(heights) + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN - 8), faces.name, INK, large)
    pen.text((MARGIN, MARGIN + 23), f"{len(rows)} of {len(faces)} faces, chosen to show many labels", PALE, small)
    for place, (row, lines) in enumerate(zip(rows, captions, strict=True)):
        left = MARGIN + place % COLUMNS * (FACE + GAP)
        top = HEAD + sum(heights[: place // COLUMNS])
        _paste(sheet, pen, faces, row, (left, top), small)
        for number, (kind, text) in enumerate(lines):
            pen.text((left, top + FACE + 4 + number * LINE), text, COLOURS[kind], small)
    return sheet


def _paste(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, faces: FaceSet, row: int, corner: tuple[int, int], font: Font
) -> None:
    left, top = corner
    pen.rectangle((left, top, left + FACE - 1, top + FACE - 1), BOX)
    try:
        image = _fitted(faces.images.read(row))
    except InputError:
        pen.text((left + 8, top + 8), "cannot be read", PALE, font)
        return
    height, width = image.shape[:2]
    sheet.paste(Image.fromarray(image), (left + (FACE - width) // 2, top + (FACE - height) // 2))


def _fitted(image: Bytes) -> Bytes:
    """Scale the whole image so that its longer side is FACE."""
    height, width = image.shape[:2]
    scale = FACE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def _wrapped(parts: dict[str, str], font: Font) -> list[tuple[str, str]]:
    """Wrap a caption into lines no wider than a face, each with its kind."""
    lines: list[tuple[str, str]] = []
    for kind, text in parts.items():
        line = ""
        for word in _short(text.split(), font):
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > FACE:
                lines.append((kind, line))
                longer = word
            line = longer
        lines.append((kind, line))
    return lines


def _short(words: Sequence[str], font: Font) -> Iterator[str]:
    """Yield the words, with words wider than a face cut into pieces."""
    for word in words:
        piece = ""
        for letter in word:
            if piece and font.getlength(piece + letter) > FACE:
                yield piece
                piece = ""
            piece += letter
        yield piece


def _values(faces: FaceSet) -> Iterator[Mask]:
    """Yield for each value of a label which faces (n,) have it."""
    labels = faces.labels
    if labels.age is not None:
        decades = np.where(np.isfinite(labels.age), labels.age, -DECADE) // DECADE
        yield from (decades == decade for decade in np.unique(decades[decades >= 0]))
    if labels.gender is not None:
        yield from (labels.gender == place for place in range(len(GENDERS)))
    if labels.expression is not None:
        yield from (labels.expression == place for place in range(len(EXPRESSIONS)))
    if labels.attributes is not None:
        yield from (labels.attributes[:, place] == 1 for place in range(len(ATTRIBUTES)))


def _people(faces: FaceSet, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the identity of each candidate; unknown ones count as different people."""
    if faces.labels.identity is None:
        return np.arange(len(candidates), dtype=np.int64)
    identity = faces.labels.identity[candidates]
    return np.where(identity < 0, len(faces.identities) + np.arange(len(candidates)), identity)


def _choose_diverse(has: Mask, people: NDArray[np.int64], number: int, random: np.random.Generator) -> list[int]:
    """Return rows of `has` (candidates, values) in greedy order of what they add to the chosen ones."""
    free = np.ones(len(has), np.bool_)
    counts = np.zeros(has.shape[1])  # chosen faces with each value
    tie_break = random.random(len(has)) * 1e-3
    chosen: list[int] = []
    while len(chosen) < min(number, len(has)):
        gain = has @ (1 / (1 + counts) ** 2) / np.maximum(has.sum(1), 1) + tie_break - np.isin(people, people[chosen])
        best = int(np.where(free, gain, -np.inf).argmax())
        chosen.append(best)
        free[best] = False
        counts += has[best]
    return chosen


def _rows_of_people(identity: NDArray[np.int64], usable: Mask, number: int, random: np.random.Generator) -> list[int]:
    """Return the images of one person per row of the sheet, people with several images first."""
    known = usable & (identity >= 0)
    images = np.bincount(identity[known]) if known.any() else np.zeros(0, np.int64)
    people = random.permutation(np.flatnonzero(images))
    people = people[np.argsort(-np.minimum(images[people], COLUMNS), kind="stable")]
    rows: list[int] = []
    for person in people:
        if len(rows) >= number:
            break
        rows += [int(row) for row in np.flatnonzero(known & (identity == person))[:COLUMNS]]
    return rows[:number]


def _order(faces: FaceSet, row: int) -> tuple[float, ...]:
    """Return the sort key that puts faces with the same labels side by side."""
    labels = faces.labels
    columns = (labels.expression, labels.gender, labels.age)
    return (*(float(np.nan_to_num(column[row], nan=-1.0)) for column in columns if column is not None), float(row))
