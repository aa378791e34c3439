"""How many of what there are in a set: counts of its labels and of the sizes of its images."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.research.data.face_set import OLDEST, UNKNOWN, FaceSet, Labels
from workers.swinface.labels import ATTRIBUTES, EXPRESSIONS

SIDE = 112  # px, of the crops that SwinFace takes
DECADE = 10  # years
SHOWN = 6  # sizes of images, the most frequent; the report has all
GENDERS = ("female", "male")


@dataclass(frozen=True, slots=True)
class People:
    """How many images there are of each person."""

    people: int  # with an image
    without_images: int
    fewest: int  # images of one person
    median: float
    most: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the labels of a set say, counted; None: the set says nothing of this kind. Impossible ones are no count."""

    faces: int
    known: dict[str, int]  # faces by kind of label
    people: People | None
    ages: dict[str, int] | None  # faces by decade, such as 20-29
    genders: dict[str, int] | None
    expressions: dict[str, int] | None
    attributes: dict[str, float | None] | None  # share that has each, of those of whom it is known; None: of nobody


@dataclass(frozen=True, slots=True)
class Sizes:
    """The images that were read."""

    images: int
    sizes: dict[str, int]  # images by width x height in pixels, the most frequent first
    not_square: int
    not_112: int  # have another size than the crops that SwinFace takes

    @classmethod
    def of(cls, counts: Mapping[tuple[int, int], int]) -> "Sizes":
        """From images by (width, height)."""
        ordered = Counter(counts).most_common()
        return cls(
            sum(counts.values()),
            {f"{width}x{height}": count for (width, height), count in ordered},
            sum(count for (width, height), count in ordered if width != height),
            sum(count for size, count in ordered if size != (SIDE, SIDE)),
        )


def count(faces: FaceSet) -> Statistics:
    """The facts of a set."""
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


def describe(facts: Statistics) -> Iterator[str]:
    """The facts in lines of text."""
    known = ", ".join(f"{name} {number}" for name, number in facts.known.items())
    yield f"known        {known or 'nothing'}"
    if people := facts.people:
        empty = f", {people.without_images} more without an image" if people.without_images else ""
        each = f"{people.fewest} to {people.most} images each, median {people.median:g}"
        yield f"people       {people.people}, {each}{empty}"
    for title, counts in (("ages", facts.ages), ("genders", facts.genders), ("expressions", facts.expressions)):
        if counts is not None:
            total = max(sum(counts.values()), 1)
            parts = (f"{name} {number} ({number / total:.1%})" for name, number in counts.items())
            yield from _columns(title, list(parts))
    if facts.attributes is not None:
        parts = (f"{name} {'-' if share is None else f'{share:.1%}'}" for name, share in facts.attributes.items())
        yield from _columns("attributes", list(parts))


def describe_sizes(sizes: Sizes) -> Iterator[str]:
    """The sizes in lines of text."""
    shown = list(sizes.sizes.items())[:SHOWN]
    more = f", and {len(sizes.sizes) - SHOWN} other sizes" if len(sizes.sizes) > SHOWN else ""
    yield f"sizes        {', '.join(f'{size} {number}' for size, number in shown) or 'none was read'}{more}"
    if sizes.not_112:
        yield f"             {sizes.not_112} are not {SIDE}x{SIDE}, {sizes.not_square} are not square"


def _columns(title: str, parts: list[str], wide: int = 4) -> Iterator[str]:
    """Several to a line, one below the other."""
    width = max(map(len, parts), default=0)
    for start in range(0, len(parts), wide):
        cells = "  ".join(part.ljust(width) for part in parts[start : start + wide])
        yield f"{title if start == 0 else '':<13}{cells}".rstrip()


def _people(identity: NDArray[np.int64], number: int) -> People:
    known = identity[(identity >= 0) & (identity < number)]
    images = np.bincount(known, minlength=number)
    seen = images[images > 0]
    if not len(seen):
        return People(0, number, 0, 0.0, 0)
    return People(len(seen), number - len(seen), int(seen.min()), float(np.median(seen)), int(seen.max()))


def _ages(age: NDArray[np.float32]) -> dict[str, int]:
    """By decade, from the first one with a face to the last."""
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
