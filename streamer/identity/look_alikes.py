"""Finds people of the gallery who look alike, such as siblings, and sets what a face needs to be named as one of them.

A face of one sibling is as similar to the other as the two are to each other. So the cosine from which somebody is
named is that of the most similar other person, if this is above the threshold of the gallery, and the lead over this
person must be larger.
"""

from collections.abc import Collection, Mapping

import numpy as np

from streamer.identity.gallery import Gallery

LEAD = 0.08  # least lead over a look-alike, cosine (docs/decisions/0056-who-is-named.md)
MOST = 10  # look-alikes of a person that count


class LookAlikes:
    """The look-alikes in a gallery. They are found when a person is asked for the first time."""

    def __init__(self, gallery: Gallery, threshold: float) -> None:
        """Two people look alike if images of one reach the `threshold` of the gallery for the other."""
        self._gallery = gallery
        self._threshold = threshold
        self._found: dict[str, Mapping[str, float]] = {}

    def of(self, person: str) -> Mapping[str, float]:
        """Return the similarity, cosine, of each look-alike of a person."""
        found = self._found.get(person)
        if found is None:
            template = self._gallery.template_of(person)
            near = self._gallery.search(np.asarray(template, np.float32), MOST, without=(person,))
            both = {}
            if near:
                others = np.stack([self._gallery.template_of(one.person) for one in near])
                back = self._gallery.scores_of(person, others)
                assert back is not None
                both = {one.person: max(one.similarity, float(score)) for one, score in zip(near, back, strict=True)}
            found = self._found[person] = {name: value for name, value in both.items() if value >= self._threshold}
        return found

    def required(self, person: str, excluded: Collection[str]) -> float:
        """Return the cosine from which a face is named as a person. `excluded`: people whom it does not show."""
        return max([self._threshold, *(value for name, value in self.of(person).items() if name not in excluded)])

    def lead(self, person: str, second: str, usual: float) -> float:
        """Return the least lead, cosine, of a person over the second one."""
        return max(usual, LEAD) if second in self.of(person) else usual
