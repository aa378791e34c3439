"""Holds people and their embedded images, and finds those most similar to a face by exact search.

A person's score is the higher of two: the cosine to the mean of the images, and the highest cosine to a few images that
differ most (exemplars). Both are corrected for the number of images, because strangers are more similar to the best of
several images, and to their mean, than to a single one. The more the images differ, the more this counts; fifty images
of one moment are as one. So one cosine gives the same false-accept rate for people with one image and with fifty
(docs/decisions/0056-who-is-named.md).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import overload

import numpy as np
from numpy.typing import NDArray

from streamer.identity.face_index import COARSE_FROM, FaceIndex
from streamer.identity.impostors import impostor_table
from streamer.values import Candidate, Floats, ImpostorScores

Doubles = NDArray[np.float64]

EXEMPLARS = 5  # maximum number per person
# The mean of unit embeddings has a length, 1 if all are equal. Cosines to the mean are multiplied by this power of it.
SHRINKAGE = 1 / 3
# Cosines to exemplars are lowered by the first, and by the second for each unit that their mean is shorter than 1.
EXEMPLAR_PENALTY, EXEMPLAR_SPREAD = 0.04, 0.25
PLAIN_PENALTY = 0.02  # cosine, subtracted from those to exemplars in scores that are not corrected
MORE = 20  # people that are looked at beyond those who are wanted, if there are very many
TYPICAL = 3  # images of a person, from which further ones hardly raise the similarity to strangers
BLOCK = 512  # probes compared at once
MIN_COMPARED = 5  # people of a cohort with enough images, for the others not to be compared to


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedReference:
    """One image of a person, embedded."""

    person: str
    name: str  # for messages
    embedding: Floats  # (512,) before normalisation
    quality: float  # 0..1


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Vectors of people with which probes are compared: the score is cosine * factor - lowered."""

    vectors: Floats | Doubles  # (n, 512) unit length
    owners: NDArray[np.int64]  # (n,) places in the names of the gallery; -1: not compared
    factors: Doubles  # (n,)
    lowered: Doubles  # (n,)


class Gallery:
    """People with their mean templates and exemplars, by one model. Immutable."""

    def __init__(self, people: Mapping[str, Sequence[EmbeddedReference]], model_id: str) -> None:
        """`people` are images by name, at least one each. Raises ValueError for an embedding of length 0."""
        self.model_id = model_id
        self.names = tuple(sorted(people))
        images = [people[name] for name in self.names]
        self.templates = np.stack([template(one) for one in images]) if images else np.zeros((0, 512))
        self.images = np.array([len(one) for one in images], np.int64)  # (people,)
        many = sum(min(EXEMPLARS, len(one)) for one in images) >= COARSE_FROM
        kind = np.float32 if many else np.float64  # half of the memory
        exemplars = [exemplars_of(one).astype(kind) for one in images]
        self._exemplars = np.concatenate(exemplars) if exemplars else np.zeros((0, 512))
        self._starts = np.cumsum([0, *map(len, exemplars)])[:-1]
        lengths = [_length(one.embedding for one in some) for some in images]
        self._shrinkage = shrinkage(np.array(lengths))  # (people,)
        self._penalties = penalty(np.array([_length(one) for one in exemplars]))  # (people,)
        self._indices: tuple[FaceIndex, FaceIndex] | None = None  # of means and of exemplars, if they are many
        if len(self._exemplars) >= COARSE_FROM:
            self._indices = _index(self.templates), _index(self._exemplars)
            self._owners = np.repeat(np.arange(len(images)), [len(one) for one in exemplars])

        self._rows = {name: row for row, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, person: object) -> bool:
        return person in self._rows

    def prepare(self) -> None:
        """Do now what the first search in many people would do: it takes seconds."""
        if self._indices is not None:
            self._best_of_many(np.asarray(self.templates[0], np.float32), 1)

    def wipe(self, person: str) -> None:
        """Overwrite what is known of a person, who must be left out of all searches from now on."""
        row = self._rows.get(person)
        if row is None:
            return
        places = self._exemplar_rows(row)
        self.templates[row] = self._exemplars[places] = 0
        if self._indices is not None:
            self._indices[0].wipe(np.array([row]))
            self._indices[1].wipe(np.arange(places.start, places.stop))

    def scores_of(self, person: str, probes: Floats | Doubles) -> Doubles | None:
        """Return the scores (n,) of n unit templates (n, 512) for one person; None: the person is not in it."""
        row = self._rows.get(person)
        if row is None:
            return None
        to_exemplars = (probes @ self._exemplars[self._exemplar_rows(row)].T).max(axis=1)
        to_mean = (probes @ self.templates[row]) * self._shrinkage[row]
        return np.asarray(np.maximum(to_mean, to_exemplars - self._penalties[row]), np.float64)

    def _exemplar_rows(self, row: int) -> slice:
        end = self._starts[row + 1] if row + 1 < len(self._starts) else len(self._exemplars)
        return slice(int(self._starts[row]), int(end))

    def scores(self, probes: Floats | Doubles, plain: bool = False) -> Doubles:
        """Return the scores (n, people) of the unit templates (n, 512) of n faces.

        `plain`: not corrected for the number of images, as templates of tracks are compared with each other.
        """
        if not self.names:
            return np.zeros((len(probes), 0))
        to_mean = probes @ self.templates.T
        to_exemplars = np.maximum.reduceat(probes @ self._exemplars.T, self._starts, axis=1)
        if plain:
            return np.asarray(np.maximum(to_mean, to_exemplars - PLAIN_PENALTY), np.float64)
        return np.asarray(np.maximum(to_mean * self._shrinkage, to_exemplars - self._penalties), np.float64)

    def compared(self) -> list[Compared]:
        """Return all that probes are compared with. The score of a person is the highest of the vectors."""
        people = np.arange(len(self))
        counts = np.diff([*self._starts, len(self._exemplars)])
        return [
            Compared(self.templates, people, self._shrinkage, np.zeros(len(self))),
            Compared(
                self._exemplars,
                np.repeat(people, counts),
                np.ones(len(self._exemplars)),
                np.repeat(self._penalties, counts),
            ),
        ]

    def template_of(self, person: str) -> Doubles:
        """Return the mean template (512,) of a person, unit length. Raises KeyError if there is no such person."""
        return np.asarray(self.templates[self._rows[person]], np.float64)

    def search(self, probe: Floats, count: int, without: Collection[str] = ()) -> tuple[Candidate, ...]:
        """Return the `count` people most similar to a unit template (512,), best first; ties by name.

        `without`: people who are left out.
        """
        wanted = count + len(without)
        if self._indices is None:
            scores = self.scores(np.asarray(probe, np.float64)[None])[0]
            best = [(row, float(scores[row])) for row in np.argsort(-scores, kind="stable")[:wanted].tolist()]
        else:
            best = self._best_of_many(np.asarray(probe, np.float32), wanted)
        found = (Candidate(self.names[row], score) for row, score in best if self.names[row] not in without)
        return tuple(islice(found, count))

    def nearest(self, probes: Floats, count: int) -> tuple[NDArray[np.int64], Doubles]:
        """Return places in `names` and scores (n, k) of the people most similar to unit templates (n, 512), best first.

        k is `count`, or the number of people if that is less. The result is exact.
        """
        kept = min(count, len(self))
        places, scores = np.zeros((len(probes), kept), np.int64), np.zeros((len(probes), kept))
        for start in range(0, len(probes) if kept else 0, BLOCK):
            some = np.asarray(probes[start : start + BLOCK], np.float32)
            if self._indices is None:
                table = self.scores(np.asarray(some, np.float64))
                order = np.argsort(-table, axis=1, kind="stable")[:, :kept]
                places[start : start + BLOCK] = order
                scores[start : start + BLOCK] = np.take_along_axis(table, order, axis=1)
                continue
            means, exemplars = self._indices
            wide = kept + MORE  # the corrections change the order a little
            people, to_mean = means.search(some, wide)
            chosen, to_exemplar = exemplars.search(some, EXEMPLARS * wide)
            for row in range(len(some)):
                owners = self._owners[chosen[row]]
                rows = np.concatenate([people[row], owners])
                both = [to_mean[row] * self._shrinkage[people[row]], to_exemplar[row] - self._penalties[owners]]
                corrected = np.concatenate(both)
                order = np.argsort(-corrected, kind="stable")
                first = order[np.sort(np.unique(rows[order], return_index=True)[1])][:kept]
                places[start + row], scores[start + row] = rows[first], corrected[first]
        return places, scores

    def _best_of_many(self, probe: Floats, count: int) -> list[tuple[int, float]]:
        """Return rows and scores by the indices: the mean or an exemplar of the best people is among the best ones."""
        assert self._indices is not None
        means, exemplars = self._indices
        wide = count + MORE  # the corrections change the order a little
        (people,), (to_mean,) = means.search(probe[None], wide)
        (places,), (to_exemplar,) = exemplars.search(probe[None], EXEMPLARS * wide)
        found: dict[int, float] = {}
        owners = self._owners[places]
        rows = np.concatenate([people, owners])
        corrected = [*(to_mean * self._shrinkage[people]), *(to_exemplar - self._penalties[owners])]
        for row, score in zip(rows.tolist(), corrected, strict=True):
            found[row] = max(float(score), found.get(row, -1.0))
        return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:count]

    def similar_pairs(self, threshold: float) -> list[tuple[str, str, float]]:
        """Return the pairs of people (name, name, score) that reach a threshold, the most similar first."""
        scores = self.scores(self.templates)
        higher = np.maximum(scores, scores.T)
        rows, columns = np.nonzero(np.triu(higher >= threshold, 1))
        pairs = [(self.names[a], self.names[b], float(higher[a, b])) for a, b in zip(rows, columns, strict=True)]
        return sorted(pairs, key=lambda pair: -pair[2])


def _index(vectors: Doubles) -> FaceIndex:
    index = FaceIndex()
    index.add(np.arange(len(vectors)), np.asarray(vectors, np.float32))
    return index


def shrinkage(lengths: Doubles) -> Doubles:
    """Return what cosines to means are multiplied by, for lengths (n,) of the means of unit embeddings."""
    return np.asarray(lengths**SHRINKAGE, np.float64)


@overload
def penalty(lengths: float) -> float: ...
@overload
def penalty(lengths: Doubles) -> Doubles: ...
def penalty(lengths: Doubles | float) -> Doubles | float:
    """Return what cosines to exemplars are lowered by, for the length of the mean of unit exemplars."""
    return EXEMPLAR_PENALTY + EXEMPLAR_SPREAD * (1 - lengths)


def template(images: Sequence[EmbeddedReference]) -> Doubles:
    """Return the normalised sum (512,) of the embeddings, in which clear faces weigh more because they are longer."""
    return _unit(np.stack([image.embedding for image in images]).sum(axis=0, dtype=np.float64))


def exemplars_of(images: Sequence[EmbeddedReference]) -> Doubles:
    """Return the unit embeddings (n, 512) of the best image and, in turn, of the one least similar to those chosen."""
    units = np.stack([_unit(image.embedding) for image in images])
    taken = [max(range(len(images)), key=lambda row: (images[row].quality, -row))]
    nearest = units @ units[taken[0]]
    while len(taken) < min(EXEMPLARS, len(images)):
        nearest[taken] = np.inf
        taken.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, units @ units[taken[-1]])
    return np.asarray(units[taken], np.float64)


def dissimilar_images(images: Sequence[EmbeddedReference], threshold: float) -> list[tuple[str, float]]:
    """Return the images of a person that are below a threshold: name, and cosine to the mean of the other images."""
    found = []
    for row, image in enumerate(images):
        others = [*images[:row], *images[row + 1 :]]
        if len(others) < 2:
            continue
        similarity = float(_unit(image.embedding) @ template(others))
        if similarity < threshold:
            found.append((image.name, similarity))
    return found


def cohort_scores(cohort: Gallery, gallery: Gallery, source: str, plain: bool = False) -> ImpostorScores:
    """Measure how similar strangers are: each person of the cohort against the others and against the gallery.

    `plain`: by scores that are not corrected for the number of images.

    The more images a person has, the more similar strangers are to the best of them and to their mean. So people of the
    cohort with fewer images than is usual in the gallery are compared with others, but others are not compared with
    them, provided that MIN_COMPARED people remain. Raises ConfigError if there are too few people.
    """
    usual = min(TYPICAL, int(np.median(gallery.images))) if len(gallery) else TYPICAL
    compared = np.flatnonzero(cohort.images >= usual)
    if len(compared) < MIN_COMPARED:
        compared = np.arange(len(cohort))
    among = cohort.scores(cohort.templates, plain)[:, compared][np.arange(len(cohort))[:, None] != compared]
    across = gallery.scores(cohort.templates, plain).ravel()
    both_ways = len(compared) * (len(compared) - 1) // 2
    pairs = len(among) - both_ways + len(across)
    return impostor_table(np.concatenate([among, across]), pairs, len(cohort), source)


def _length(embeddings: Iterable[Floats | Doubles]) -> float:
    """Return the length (0..1) of the mean of embeddings (512,) that are made unit vectors before."""
    return float(np.linalg.norm(np.mean([_unit(one) for one in embeddings], axis=0)))


def _unit(vector: Floats | Doubles) -> Doubles:
    length = float(np.linalg.norm(vector))
    if not length > 0:
        raise ValueError("an embedding of length 0 has no direction")
    return np.asarray(vector, np.float64) / length
