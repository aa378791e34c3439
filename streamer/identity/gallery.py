"""People and their images, and who of them a face is most similar to: exact cosines, no index.

A person's score is the higher of the cosine to the mean of the images and of the cosines to a few of them that differ
most (less a little, as the highest of several is high by chance).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.identity.impostors import counted
from streamer.values import Candidate, Floats, ImpostorScores

Doubles = NDArray[np.float64]

EXEMPLARS = 5  # images that are kept one by one, those that differ most
EXEMPLAR_PENALTY = 0.02  # cosine
TYPICAL = 3  # images of a person: whoever has as many is as similar to strangers as one with more
FEWEST = 5  # people of a cohort with so many images, for the others to be left out on their side


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedReference:
    """One image of a person, embedded."""

    person: str
    name: str  # for messages
    embedding: Floats  # (512,) as long as the network made it
    quality: float  # 0..1


class Gallery:
    """People, their mean templates and exemplars, of one model. Not changed after it was made."""

    def __init__(self, people: Mapping[str, Sequence[EmbeddedReference]], model_id: str) -> None:
        """Each person has at least one image. Raises ValueError for an embedding without direction."""
        self.model_id = model_id
        self.names = tuple(sorted(people))
        images = [people[name] for name in self.names]
        self.templates = np.stack([template(one) for one in images]) if images else np.zeros((0, 512))
        self.images = np.array([len(one) for one in images], np.int64)  # (people,)
        exemplars = [exemplars_of(one) for one in images]
        self._exemplars = np.concatenate(exemplars) if exemplars else np.zeros((0, 512))
        self._starts = np.cumsum([0, *map(len, exemplars)])[:-1]

    def __len__(self) -> int:
        return len(self.names)

    def scores(self, probes: Floats | Doubles) -> Doubles:
        """(n, people) for the unit templates (n, 512) of n faces."""
        if not self.names:
            return np.zeros((len(probes), 0))
        to_mean = probes @ self.templates.T
        to_exemplars = np.maximum.reduceat(probes @ self._exemplars.T, self._starts, axis=1)
        return np.asarray(np.maximum(to_mean, to_exemplars - EXEMPLAR_PENALTY), np.float64)

    def search(self, probe: Floats, count: int) -> tuple[Candidate, ...]:
        """The `count` most similar people for the unit template (512,) of a face, best first; ties by name."""
        scores = self.scores(np.asarray(probe, np.float64)[None])[0]
        best = np.argsort(-scores, kind="stable")[:count]
        return tuple(Candidate(self.names[row], float(scores[row])) for row in best)

    def alike(self, threshold: float) -> list[tuple[str, str, float]]:
        """Pairs of people who would be taken for each other, the most similar first."""
        scores = self.scores(self.templates)
        higher = np.maximum(scores, scores.T)
        rows, columns = np.nonzero(np.triu(higher >= threshold, 1))
        pairs = [(self.names[a], self.names[b], float(higher[a, b])) for a, b in zip(rows, columns, strict=True)]
        return sorted(pairs, key=lambda pair: -pair[2])


def template(images: Sequence[EmbeddedReference]) -> Doubles:
    """(512,) unit length: the sum of the embeddings, in which clear faces weigh more because they are longer."""
    return _unit(np.stack([image.embedding for image in images]).sum(axis=0, dtype=np.float64))


def exemplars_of(images: Sequence[EmbeddedReference]) -> Doubles:
    """(n, 512) unit length: the best image, then always the one that is least similar to those taken."""
    units = np.stack([_unit(image.embedding) for image in images])
    taken = [max(range(len(images)), key=lambda row: (images[row].quality, -row))]
    nearest = units @ units[taken[0]]
    while len(taken) < min(EXEMPLARS, len(images)):
        nearest[taken] = np.inf
        taken.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, units @ units[taken[-1]])
    return np.asarray(units[taken], np.float64)


def unlike(images: Sequence[EmbeddedReference], threshold: float) -> list[tuple[str, float]]:
    """Images that do not look like the same person's others: name, and cosine to their mean."""
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
    """How similar strangers are: everybody of the cohort against the others, and against the gallery.

    The more images a person has, the more similar strangers are to the best of them and to their mean. So those of
    the cohort who have fewer than people of the gallery usually have only are compared, and not compared to, if there
    are others. Raises ConfigError if there are too few.
    """
    usual = min(TYPICAL, int(np.median(gallery.images))) if len(gallery) else TYPICAL
    to = np.flatnonzero(cohort.images >= usual)
    if len(to) < FEWEST:
        to = np.arange(len(cohort))
    among = cohort.scores(cohort.templates)[:, to][np.arange(len(cohort))[:, None] != to]
    across = gallery.scores(cohort.templates).ravel()
    both_ways = len(to) * (len(to) - 1) // 2
    pairs = len(among) - both_ways + len(across)
    return counted(np.concatenate([among, across]), pairs, len(cohort), source)


def _unit(vector: Floats | Doubles) -> Doubles:
    length = float(np.linalg.norm(vector))
    if not length > 0:
        raise ValueError("an embedding of length 0 points nowhere")
    return np.asarray(vector, np.float64) / length
