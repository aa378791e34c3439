"""A large gallery with some people changed since it was made: it answers as a gallery made of all people would.

To make a gallery of a million images takes many seconds, and a change should count at once. So the people who have
changed are in a small gallery beside it, and those who are replaced or gone are left out of the answers of the large
one, which stays as it is and may be searched meanwhile.
"""

from collections.abc import Collection, Set
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.identity.gallery import Compared, Doubles, Gallery
from streamer.values import Candidate, Floats

MORE = 8  # people of the large gallery who are asked for besides those who are wanted


class LayeredGallery(Gallery):
    """The people of `base` without those in `gone`, and those of `new`."""

    def __init__(self, base: Gallery, gone: Set[str], new: Gallery) -> None:
        self.model_id = base.model_id
        self._base = base
        self._gone = gone
        self._new = new

    def __len__(self) -> int:
        return len(self._base) - len(self._gone) + len(self._new)

    def __contains__(self, person: object) -> bool:
        return person in self._new or (person in self._base and person not in self._gone)

    @cached_property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """All people, sorted."""
        return tuple(self._all[0])

    @cached_property
    def templates(self) -> Doubles:  # type: ignore[override]
        """Their mean templates (people, 512)."""
        return np.asarray(np.concatenate([self._base.templates, self._new.templates])[self._all[1]])

    @cached_property
    def images(self) -> Any:  # type: ignore[override]
        """Their numbers of images (people,)."""
        return np.concatenate([self._base.images, self._new.images])[self._all[1]]

    @cached_property
    def _all(self) -> tuple[list[str], list[int]]:
        """Return the names of all people and their rows, of the base and then of the new ones."""
        first = len(self._base)
        rows = [(name, row) for row, name in enumerate(self._base.names) if name not in self._gone]
        rows = sorted([*rows, *((name, first + row) for row, name in enumerate(self._new.names))])
        return [name for name, _ in rows], [row for _, row in rows]

    def template_of(self, person: str) -> Doubles:
        found = self._new if person in self._new else self._base
        return found.template_of(person)

    def scores(self, probes: Floats | Doubles, plain: bool = False) -> Doubles:
        both = np.concatenate([self._base.scores(probes, plain), self._new.scores(probes, plain)], axis=1)
        return np.asarray(both[:, self._all[1]])

    def scores_of(self, person: str, probes: Floats | Doubles) -> Doubles | None:
        if person in self._new:
            return self._new.scores_of(person, probes)
        return None if person in self._gone else self._base.scores_of(person, probes)

    def compared(self) -> list[Compared]:
        of_row, first = self._places, len(self._base)
        old = [replace(one, owners=of_row[:first][one.owners]) for one in self._base.compared()]
        return [*old, *(replace(one, owners=of_row[first:][one.owners]) for one in self._new.compared())]

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Return the place in the names of each row of the base and then of the new ones; -1: gone."""
        of_row = np.full(len(self._base) + len(self._new), -1, np.int64)
        of_row[self._all[1]] = np.arange(len(self))
        return of_row

    def nearest(self, probes: Floats, count: int) -> tuple[NDArray[np.int64], Doubles]:
        of_row = self._places
        old, old_scores = self._base.nearest(probes, count + len(self._gone))
        new, new_scores = self._new.nearest(probes, count)
        places = np.concatenate([of_row[old], of_row[new + len(self._base)]], axis=1)
        scores = np.where(places < 0, -np.inf, np.concatenate([old_scores, new_scores], axis=1))
        order = np.argsort(-scores, axis=1, kind="stable")[:, : min(count, len(self))]
        return np.take_along_axis(places, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def search(self, probe: Floats, count: int, without: Collection[str] = ()) -> tuple[Candidate, ...]:
        left_out, wanted = {*without} | self._gone, count + MORE
        while True:
            found = self._base.search(probe, wanted, without)
            kept = [one for one in found if one.person not in left_out]
            if len(kept) >= count or len(found) < wanted:
                break
            wanted *= 4
        both = [*kept[:count], *self._new.search(probe, count, without)]
        return tuple(sorted(both, key=lambda one: (-one.similarity, one.person))[:count])
