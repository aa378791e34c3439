"""Holds people and their embedded images, and finds those most similar to a face by exact search.

A person's score is the higher of two: the cosine to the mean of the images, and the highest cosine to a few images that
differ most (exemplars), less a small penalty because the highest of several is high by chance.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from streamer.identity.face_index import COARSE_FROM, FaceIndex
from streamer.identity.impostors import impostor_table
from streamer.values import Candidate, Floats, ImpostorScores

Doubles = NDArray[np.float64]

EXEMPLARS = 5  # maximum number per person
EXEMPLAR_PENALTY = 0.02  # cosine, subtracted from those to exemplars
TYPICAL = 3  # images of a person, from which further ones hardly raise the similarity to strangers
MIN_COMPARED = 5  # people of a cohort with enough images, for the others not to be compared to


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedReference:
    """One image of a person, embedded."""

    person: str
    name: str  # for messages
    embedding: Floats  # (512,) before normalisation
    quality: float  # 0..1


class Gallery:
    """People with their mean templates and exemplars, by one model. Immutable."""

    def __init__(self, people: Mapping[str, Sequence[EmbeddedReference]], model_id: str) -> None:
        """`people` are images by name, at least one each. Raises ValueError for an embedding of length 0."""
        self.model_id = model_id
        self.names = tuple(sorted(people))
        images = [people[name] for name in self.names]
        self.templates = np.stack([template(one) for one in images]) if images else np.zeros((0, 512))
        self.images = np.array([len(one) for one in images], np.int64)  # (people,)
        exemplars = [exemplars_of(one) for one in images]
        self._exemplars = np.concatenate(exemplars) if exemplars else np.zeros((0, 512))
        self._starts = np.cumsum([0, *map(len, exemplars)])[:-1]
        self._indices: tuple[FaceIndex, FaceIndex] | None = None  # of means and of exemplars, if they are many
        if len(self._exemplars) >= COARSE_FROM:
            self._indices = _index(self.templates), _index(self._exemplars)
            self._owners = np.repeat(np.arange(len(images)), [len(one) for one in exemplars])

    def __len__(self) -> int:
        return len(self.names)

    def scores(self, probes: Floats | Doubles) -> Doubles:
        """Return the scores (n, people) of the unit templates (n, 512) of n faces."""
        if not self.names:
            return np.zeros((len(probes), 0))
        to_mean = probes @ self.templates.T
        to_exemplars = np.maximum.reduceat(probes @ self._exemplars.T, self._starts, axis=1)
        return np.asarray(np.maximum(to_mean, to_exemplars - EXEMPLAR_PENALTY), np.float64)

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

    def _best_of_many(self, probe: Floats, count: int) -> list[tuple[int, float]]:
        """Return rows and scores by the indices: the mean or an exemplar of the best people is among the best ones."""
        assert self._indices is not None
        means, exemplars = self._indices
        (people,), (to_mean,) = means.search(probe[None], count)
        (places,), (to_exemplar,) = exemplars.search(probe[None], EXEMPLARS * count)
        found: dict[int, float] = {}
        rows = np.concatenate([people, self._owners[places]])
        for row, score in zip(rows.tolist(), [*to_mean, *(to_exemplar - EXEMPLAR_PENALTY)], strict=True):
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


def cohort_scores(cohort: Gallery, gallery: Gallery, source: str) -> ImpostorScores:
    """Measure how similar strangers are: each person of the cohort against the others and against the gallery.

    The more images a person has, the more similar strangers are to the best of them and to their mean. So people of the
    cohort with fewer images than is usual in the gallery are compared with others, but others are not compared with
    them, provided that MIN_COMPARED people remain. Raises ConfigError if there are too few people.
    """
    usual = min(TYPICAL, int(np.median(gallery.images))) if len(gallery) else TYPICAL
    compared = np.flatnonzero(cohort.images >= usual)
    if len(compared) < MIN_COMPARED:
        compared = np.arange(len(cohort))
    among = cohort.scores(cohort.templates)[:, compared][np.arange(len(cohort))[:, None] != compared]
    across = gallery.scores(cohort.templates).ravel()
    both_ways = len(compared) * (len(compared) - 1) // 2
    pairs = len(among) - both_ways + len(across)
    return impostor_table(np.concatenate([among, across]), pairs, len(cohort), source)


def _unit(vector: Floats | Doubles) -> Doubles:
    length = float(np.linalg.norm(vector))
    if not length > 0:
        raise ValueError("an embedding of length 0 has no direction")
    return np.asarray(vector, np.float64) / length
