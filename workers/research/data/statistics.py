"""Count the labels of a set and the sizes of its images."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.research.data.face_set import OLDEST, UNKNOWN, FaceSet, Labels
from workers.swinface.labels import ATTRIBUTES, EXPRESSIONS

SIDE = 112  # px, side of SwinFace's crops
DECADE = 10  # years
SHOWN = 6  # sizes of images to print; the report has all
GENDERS = ("female", "male")


@dataclass(frozen=True, slots=True)
class People:
    """The number of people and of their images."""

    people: int  # with an image
    without_images: int
    fewest: int  # images of one person
    median: float
    most: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of a set's labels; None: the set has no labels of this kind. Impossible labels are not counted."""

    faces: int
    known: dict[str, int]  # faces by kind of label
    people: People | None
    ages: dict[str, int] | None  # faces by decade, such as 20-29
    genders: dict[str, int] | None
    expressions: dict[str, int] | None
    attributes: dict[str, float | None] | None  # share of faces with it among those with a known label; None: no such


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of the sizes of the images that were read."""

    images: int
    sizes: dict[str, int]  # images by width x height in pixels, the most frequent first
    not_square: int
    not_112: int  # images that are not as large as SwinFace's crops

    @classmethod
    def of(cls, counts: Mapping[tuple[int, int], int]) -> "Sizes":
        """Summarise counts of images by (width, height)."""
        ordered = Counter(counts).most_common()
        return cls(
            sum(counts.values()),
            {f"{width}x{height}": count for (width, height), count in ordered},
            sum(count for (width, height), count in ordered if width != height),
            sum(count for size, count in ordered if size != (SIDE, SIDE)),
        )


def count(faces: FaceSet) -> Statistics:
    """Count the labels of a set."""
    labels = faces.labels
    return Statistics(
        len(faces),
        labels.count(),
        None if labels.identity is None else _people(labels.identity, len(faces.identities)),
        None if labels.age is None else _ages(labels.age),
        None if labels.gender is None else _classes(labels.gender, GENDERS),
        None if labels.expression is None else _classes(labels.expression, EXPRESSIONS),
        None if labels.attributes is None else dict(_attributes(labels)),
    )


def describe(statistics: Statistics) -> Iterator[str]:
    """Yield the statistics as lines of text."""
    known = ", ".join(f"{name} {number}" for name, number in statistics.known.items())
    yield f"known        {known or 'nothing'}"
    if people := statistics.people:
        empty = f", {people.without_images} more without an image" if people.without_images else ""
        each = f"{people.fewest} to {people.most} images each, median {people.median:g}"
        yield f"people       {people.people}, {each}{empty}"
    by_class = {"ages": statistics.ages, "genders": statistics.genders, "expressions": statistics.expressions}
    for title, counts in by_class.items():
        if counts is not None:
            total = max(sum(counts.values()), 1)
            parts = (f"{name} {number} ({number / total:.1%})" for name, number in counts.items())
            yield from _columns(title, list(parts))
    if statistics.attributes is not None:
        parts = (f"{name} {'-' if share is None else f'{share:.1%}'}" for name, share in statistics.attributes.items())
        yield from _columns("attributes", list(parts))


def describe_sizes(sizes: Sizes) -> Iterator[str]:
    """Yield the sizes as lines of text."""
    shown = list(sizes.sizes.items())[:SHOWN]
    more = f", and {len(sizes.sizes) - SHOWN} other sizes" if len(sizes.sizes) > SHOWN else ""
    yield f"sizes        {', '.join(f'{size} {number}' for size, number in shown) or 'none was read'}{more}"
    if sizes.not_112:
        yield f"             {sizes.not_112} are not {SIDE}x{SIDE}, {sizes.not_square} are not square"


def _columns(title: str, parts: list[str], wide: int = 4) -> Iterator[str]:
    """Yield the parts in columns, several per line."""
    width = max(map(len, parts), default=0)
    for start in range(0, len(parts), wide):
        cells = "  ".join(part.ljust(width) for part in parts[start : start + wide])
        yield f"{title if start == 0 else '':<13}{cells}".rstrip()


def _people(identity: NDArray[np.int64], number: int) -> People:
    known = identity[(identity >= 0) & (identity < number)]
    images = np.bincount(known, minlength=number)
    present = images[images > 0]
    if not len(present):
        return People(0, number, 0, 0.0, 0)
    return People(
        len(present), number - len(present), int(present.min()), float(np.median(present)), int(present.max())
    )


def _ages(age: NDArray[np.float32]) -> dict[str, int]:
    """Return the number of faces by decade, from the first to the last decade with a face."""
    possible = age[(age >= 0) & (age <= OLDEST)]
    counts = np.bincount((possible // DECADE).astype(np.int64))
    first = int(np.flatnonzero(counts)[0]) if len(counts) else 0
    return {
        f"{decade * DECADE}-{decade * DECADE + DECADE - 1}": int(counts[decade]) for decade in range(first, len(counts))
    }


def _classes(column: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, int]:
    return {name: int((column == place).sum()) for place, name in enumerate(names)}


def _attributes(labels: Labels) -> Iterator[tuple[str, float | None]]:
    if labels.attributes is None:
        return
    for task, column in zip(ATTRIBUTES, labels.attributes.T, strict=True):
        known = column[column != UNKNOWN]
        yield task.score, round(float((known == 1).mean()), 6) if len(known) else None
