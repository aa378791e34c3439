"""Measure how similar strangers are for some weights: the table for their card from which thresholds follow.

Comparisons are those of a gallery, with the streamer's own code: the template of a person's images against the mean
and the exemplars of another person.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import replacing
from streamer.identity.gallery import EmbeddedReference, Gallery, cohort_scores
from streamer.values import ImpostorScores
from workers.research.data.face_set import UNKNOWN, FaceSet
from workers.research.evaluate.inference import InferenceOptions, Network, infer
from workers.research.evaluate.result import Result
from workers.swinface.card import card_path
from workers.swinface.checkpoint import IMPOSTOR_SCORES
from workers.swinface.labels import EMBEDDING

MAX_IMAGES = 5  # first images of a person: galleries have few, and tracks few good crops
MAX_PEOPLE = 3000  # evenly sampled from the set: all pairs of more people take gigabytes
MIN_PEOPLE = 5  # people, who make ten pairs
SHOWN = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # shares in the report


def measure_impostors(faces: FaceSet, network: Network, source: str, options: InferenceOptions | None = None) -> Result:
    """Measure the cosines of everybody with everybody else; `source` names the images in the card.

    Raises InputError for a set without identities or with too few people.
    """
    identity = faces.labels.identity
    if identity is None:
        raise InputError(f"{faces.name} has no labels of identity, which impostors needs")
    sample = faces.at(_sample(identity))
    inferred = infer(sample.images, network, options)
    person_of = sample.labels.at(inferred.rows).identity
    assert person_of is not None
    people: dict[str, list[EmbeddedReference]] = {}
    for person, embedding in zip(person_of.tolist(), inferred.outputs[EMBEDDING], strict=True):
        name = str(person)
        people.setdefault(name, []).append(EmbeddedReference(name, "", embedding, 1.0))
    if len(people) < MIN_PEOPLE:
        raise InputError(f"{faces.name} has images of {len(people)} people, but at least {MIN_PEOPLE} are needed")
    table = cohort_scores(Gallery(people, ""), Gallery({}, ""), source, plain=True)
    digest = hashlib.sha256(inferred.digest.encode() + np.ascontiguousarray(person_of).astype("<i8").tobytes())
    return Result(
        metrics={f"reached_by_{share:.0e}_of_strangers_cosine": _at(table, share) for share in _known(table)},
        counts={"faces": len(inferred.rows), "people": table.people, "pairs": table.pairs},
        data=digest.hexdigest(),
        hashed="names and decoded pixels of the faces, and who they are",
        unreadable=inferred.unreadable,
        details={IMPOSTOR_SCORES: as_card(table)},
    )


def as_card(table: ImpostorScores) -> dict[str, Any]:
    """Return the table in the form of the card."""
    return {
        "pairs": table.pairs,
        "people": table.people,
        "source": table.source,
        "shares": [float(f"{share:.4e}") for share in table.shares],
        "cosines": [round(float(cosine) + 5e-7, 6) for cosine in table.cosines],  # rounded up
    }


def write_card(weights: Path, table: dict[str, Any]) -> None:
    """Write the table into the card beside the weights. Raises ConfigError if the card cannot be read or written."""
    path = card_path(weights)
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"--card: cannot read {path}, the card of the weights: {error}") from error
    with replacing(path) as partial:
        partial.write_text(json.dumps({**card, IMPOSTOR_SCORES: table}, indent=2) + "\n")


def _sample(identity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows, ascending, of the first images of evenly sampled people."""
    known = np.unique(identity[identity != UNKNOWN])
    people = set(known[np.linspace(0, len(known) - 1, min(MAX_PEOPLE, len(known))).astype(np.int64)].tolist())
    counts: dict[int, int] = {}
    rows = []
    for row, person in enumerate(identity.tolist()):
        if person in people and counts.get(person, 0) < MAX_IMAGES:
            counts[person] = counts.get(person, 0) + 1
            rows.append(row)
    return np.array(rows, np.int64)


def _known(table: ImpostorScores) -> list[float]:
    return [share for share in SHOWN if share >= table.shares[0]]


def _at(table: ImpostorScores, share: float) -> float:
    return float(table.cosines[int(np.searchsorted(table.shares, share * (1 + 1e-9), side="right")) - 1])
