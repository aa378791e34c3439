"""How similar strangers are for some weights: the table behind every threshold, for the weights' card.

Comparisons are those of a gallery, by the streamer's own code: the template of a person's images against the mean and
the exemplars of another's.
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
from workers.swinface.checkpoint import IMPOSTOR_SCORES, card_path
from workers.swinface.labels import EMBEDDING

IMAGES = 5  # of a person, those that come first in the set: galleries have few, and tracks few good crops
PEOPLE = 3000  # evenly taken from those that there are: all pairs of more take gigabytes
FEWEST = 5  # people, who make the ten pairs without which nothing is known
SHOWN = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # shares of the report


def measure_impostors(faces: FaceSet, network: Network, source: str, options: InferenceOptions | None = None) -> Result:
    """The table of cosines of everybody with everybody else; `source` says whose images these are.

    Raises InputError for a set that does not say who is who, or of too few people.
    """
    identity = faces.labels.identity
    if identity is None:
        raise InputError(f"{faces.name} has no label of identity, which impostors needs")
    chosen = faces.at(_chosen(identity))
    seen = infer(chosen.images, network, options)
    of = chosen.labels.at(seen.rows).identity
    assert of is not None
    people: dict[str, list[EmbeddedReference]] = {}
    for person, embedding in zip(of.tolist(), seen.outputs[EMBEDDING], strict=True):
        name = str(person)
        people.setdefault(name, []).append(EmbeddedReference(name, "", embedding, 1.0))
    if len(people) < FEWEST:
        raise InputError(f"{faces.name} has images of {len(people)} people, and at least {FEWEST} are needed")
    table = cohort_scores(Gallery(people, ""), Gallery({}, ""), source)
    digest = hashlib.sha256(seen.digest.encode() + np.ascontiguousarray(of).astype("<i8").tobytes())
    return Result(
        metrics={f"reached_by_{share:.0e}_of_strangers_cosine": _at(table, share) for share in _known(table)},
        counts={"faces": len(seen.rows), "people": table.people, "pairs": table.pairs},
        data=digest.hexdigest(),
        hashed="names and decoded pixels of the faces, and who they are",
        unreadable=seen.unreadable,
        details={IMPOSTOR_SCORES: as_card(table)},
    )


def as_card(table: ImpostorScores) -> dict[str, Any]:
    """The table as it stands in a card."""
    return {
        "pairs": table.pairs,
        "people": table.people,
        "source": table.source,
        "shares": [float(f"{share:.4e}") for share in table.shares],
        "cosines": [round(float(cosine) + 5e-7, 6) for cosine in table.cosines],  # rounded up
    }


def write_card(weights: Path, table: dict[str, Any]) -> None:
    """Put the table into the card beside the weights. Raises ConfigError if that cannot be done."""
    path = card_path(weights)
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"--card: cannot read {path}, the card of the weights: {error}") from error
    with replacing(path) as partial:
        partial.write_text(json.dumps({**card, IMPOSTOR_SCORES: table}, indent=2) + "\n")


def _chosen(identity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the first images of evenly taken people, ascending."""
    known = np.unique(identity[identity != UNKNOWN])
    people = set(known[np.linspace(0, len(known) - 1, min(PEOPLE, len(known))).astype(np.int64)].tolist())
    taken: dict[int, int] = {}
    rows = []
    for row, person in enumerate(identity.tolist()):
        if person in people and taken.get(person, 0) < IMAGES:
            taken[person] = taken.get(person, 0) + 1
            rows.append(row)
    return np.array(rows, np.int64)


def _known(table: ImpostorScores) -> list[float]:
    return [share for share in SHOWN if share >= table.shares[0]]


def _at(table: ImpostorScores, share: float) -> float:
    return float(table.cosines[int(np.searchsorted(table.shares, share * (1 + 1e-9), side="right")) - 1])
