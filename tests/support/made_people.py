"""People as embeddings: images of one person lie around a direction of their own, as far apart as real ones do."""

import numpy as np

from streamer.identity.gallery import EmbeddedReference
from streamer.identity.impostors import impostor_table
from streamer.values import ImpostorScores

DIMENSIONS = 40  # that differ between people, so that strangers resemble each other by chance as real ones do
SPREAD = 0.6  # of the images of a person


def images_of(people: int, images: int, seed: int) -> dict[str, list[EmbeddedReference]]:
    """People p0, p1 ...: those of a seed are always the same, and so is image number k of each."""
    found = {}
    for number in range(people):
        generator = np.random.default_rng((seed, number))
        centre = generator.standard_normal(DIMENSIONS)
        rows = []
        for image in range(images):
            embedding = np.zeros(512, np.float32)
            embedding[:DIMENSIONS] = centre + SPREAD * generator.standard_normal(DIMENSIONS)
            quality = 0.5 + 0.4 * float(generator.random())
            rows.append(EmbeddedReference(f"p{number}", f"p{number}/{image}", embedding, quality))
        found[f"p{number}"] = rows
    return found


def strangers_table(people: int = 700) -> ImpostorScores:
    """How similar such strangers are."""
    units = np.stack([some[0].embedding for some in images_of(people, 1, 12345).values()])
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    scores = (units @ units.T)[np.triu_indices(people, 1)].astype(np.float64)
    return impostor_table(scores, len(scores), people, "made")
