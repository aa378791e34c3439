"""What people said about tracks: whom they show, and whom they do not. It has precedence over any search."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Corrections:
    """Corrections by ids of tracks. People are named as in the gallery."""

    confirmed: Mapping[str, str] = field(default_factory=dict)  # track id -> person
    rejected: Mapping[str, frozenset[str]] = field(default_factory=dict)  # track id -> people
    negatives: Mapping[str, Doubles] = field(default_factory=dict)  # person -> (n, 512) unit templates of others

    def person_of(self, track_ids: Collection[str]) -> str | None:
        """Return the person whom one of these tracks, which were joined, was said to show; None: nobody was named."""
        return next((self.confirmed[one] for one in track_ids if one in self.confirmed), None)

    def not_of(self, track_ids: Collection[str]) -> frozenset[str]:
        """Return the people whom one of these tracks was said not to show."""
        return frozenset().union(*(self.rejected.get(one, frozenset()) for one in track_ids))

    def resembles_other(self, person: str, probe: Doubles, score: float) -> bool:
        """Return whether a unit template (512,) is nearer to a track that was said not to show the person.

        `score`: the similarity to the person.
        """
        others = self.negatives.get(person)
        return others is not None and float((others @ probe).max()) > score


NOTHING_SAID = Corrections()
