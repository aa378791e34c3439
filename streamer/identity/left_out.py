"""Searches for each reference of a gallery as if it were not in it: whether its person is found without it. Pure.

People with the same number of references are computed together, by tables of numpy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.identity.gallery import EXEMPLARS, EmbeddedReference, Gallery, penalty, shrinkage
from streamer.identity.mass_search import MassSearch

Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]
Images = Mapping[str, Sequence[EmbeddedReference]]  # by person

REFERENCES = 4096  # computed together
COSINES = 1_000_000  # in the tables of people who are computed together


@dataclass(frozen=True, slots=True)
class Left:
    """One reference, searched for in the gallery without it."""

    person: str
    reference: str
    own: float | None  # score of its person; None: the person has no other reference
    other: str  # most similar other person; empty: there is nobody else
    other_score: float


def leave_one_out(gallery: Gallery, images: Images, search: MassSearch | None = None) -> list[Left]:
    """Search for each reference in the gallery without it. `search`: of this gallery, if there is one already."""
    place = {name: number for number, name in enumerate(gallery.names)}
    names = [name for name in gallery.names if name in images]
    search = search if search is not None else MassSearch(gallery)
    left: dict[str, list[Left]] = {}
    for some in together({name: images[name] for name in names}):
        raw, quality = arrays(some, images)
        count = raw.shape[1]
        units = raw / np.linalg.norm(raw, axis=2, keepdims=True)
        own = own_scores(raw, units, quality).tolist()
        mine = np.repeat([place[name] for name in some], count)
        places, scores = search.best(units.reshape(len(mine), -1).astype(np.float32), mine)
        others = [gallery.names[other] if other >= 0 else "" for other in places.tolist()]
        found = iter(zip(others, scores.tolist(), strict=True))
        for name, row in zip(some, own, strict=True):
            each = zip(images[name], row, found, strict=False)  # `found` goes on with the next person
            left[name] = [Left(name, image.name, score if count > 1 else None, *other) for image, score, other in each]
    return [one for name in names for one in left[name]]


def together(images: Images) -> Iterator[list[str]]:
    """Yield the people in groups with the same number of references, not too many at once."""
    by_count: dict[int, list[str]] = {}
    for name, some in images.items():
        by_count.setdefault(len(some), []).append(name)
    for count, names in by_count.items():
        most = max(1, min(REFERENCES // count, COSINES // count**2))
        yield from (names[start : start + most] for start in range(0, len(names), most))


def arrays(names: Sequence[str], images: Images) -> tuple[Doubles, Doubles]:
    """Return the embeddings (p, n, 512) and qualities (p, n) of the n references each of p people."""
    raw = np.stack([one.embedding for name in names for one in images[name]]).astype(np.float64)
    quality = np.array([[one.quality for one in images[name]] for name in names])
    return raw.reshape(*quality.shape, -1), quality


def own_scores(raw: Doubles, units: Doubles, quality: Doubles) -> Doubles:
    """Return the score (p, n) of each reference for its person without it; NaN if it is the only one."""
    people, count = quality.shape
    if count < 2:
        return np.full((people, count), np.nan)
    rest = raw.sum(axis=1, keepdims=True) - raw
    lengths = np.linalg.norm(rest, axis=2)
    along = np.einsum("pnd,pnd->pn", rest, units)
    to_mean = np.divide(along, lengths, out=np.full((people, count), -1.0), where=lengths > 0)
    spread = np.linalg.norm(units.sum(axis=1, keepdims=True) - units, axis=2) / (count - 1)  # length of their mean
    table = units @ units.transpose(0, 2, 1)
    exemplars = _exemplars(table, quality)
    person, row = np.arange(people)[:, None, None], np.arange(count)[None, :, None]
    highest = table[person, row, exemplars].max(axis=2)
    within = table[person[..., None], exemplars[..., :, None], exemplars[..., None, :]].sum(axis=(2, 3))
    apart = np.sqrt(np.maximum(within, 0.0)) / exemplars.shape[2]
    return np.asarray(np.maximum(to_mean * shrinkage(spread), highest - penalty(apart)), np.float64)


def _exemplars(table: Doubles, quality: Doubles) -> Rows:
    """Return the exemplars (p, n, e) of each of p people without each of n references, as `exemplars_of` chooses them.

    `table`: (p, n, n) cosines.
    """
    people, count = quality.shape
    itself = np.eye(count, dtype=np.bool_)
    if count - 1 <= EXEMPLARS:
        others = np.nonzero(~itself)[1].reshape(1, count, count - 1)
        return np.repeat(others, people, axis=0)
    person, without = np.arange(people)[:, None], np.arange(count)[None]
    taken = [np.where(itself, -np.inf, quality[:, None, :]).argmax(axis=2)]  # (p, n) each
    nearest = np.where(itself, np.inf, table[person, taken[0]])  # (p, n without, n)
    nearest[person, without, taken[0]] = np.inf
    while len(taken) < EXEMPLARS:
        taken.append(nearest.argmin(axis=2))
        nearest = np.maximum(nearest, table[person, taken[-1]])
        nearest[person, without, taken[-1]] = np.inf
    return np.stack(taken, axis=2)
