"""Visitors as evidence against a name: right and wrong names with and without the other tracks of a visitor.

The track-like sets of "Clustering of visitors", with visitors as a streamer makes them. `visitor`: one or ten visitors
with several tracks are named, and references are learnt from their best five tracks; `image`: one or ten people are
enrolled by one track each, as by an image. All other tracks are searched for. A name is right if the track shows the
person whom most tracks of the visitor show, who may have several pseudonyms.

`before` names from the threshold. `others` is what the streamer does: the mean of the track's similarity and that of
the visitor's other tracks must reach it. `pooled`: the mean over all tracks of the visitor must. `threshold + 0.05`
raises the threshold for all.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.impostors import threshold
from streamer.values import ImpostorScores
from tests.benchmarks.accuracy_clustering import card, online
from tests.benchmarks.accuracy_people import ROUNDS, SETS, Set, lfw_looks, orl_looks, recording
from tests.conftest import shared_folder
from workers.runtime.engine import Engine
from workers.weights.registry import FACE_MODEL, find

RATE, MARGIN, LEARNT, QUALITY = 0.01, 0.05, 5, 0.4
MOST_TRIALS = 25  # galleries of a set


class Search(NamedTuple):
    """A track that the threshold names."""

    right: bool
    score: float
    threshold: float
    others: list[float]  # scores of the other tracks of its visitor


RULES: dict[str, Callable[[Search], bool]] = {
    "before": lambda one: True,
    "others": lambda one: not one.others or (one.score + float(np.mean(one.others))) / 2 >= one.threshold,
    "pooled": lambda one: float(np.mean([one.score, *one.others])) >= one.threshold,
    "threshold + 0.05": lambda one: one.score >= one.threshold + 0.05,
}


def main() -> int:
    folder = shared_folder() / "data"
    if not folder.is_dir():
        print(f"needs the sets of the data folder at {folder} (FACEANALYTICS_SHARED)", file=sys.stderr)
        return 3
    engine = Engine(find(FACE_MODEL), threads=1)
    looks, known = {"lfw": lfw_looks(engine), "orl": orl_looks(engine)}, card(engine)
    print(f"{engine.model_id}: right and wrong names")
    print(f"{'gallery':<20}" + "".join(f"{name:>20}" for name in RULES))
    for how in (visitors_named, people_enrolled):
        for title, (source, people, photos) in SETS.items():
            sets = [recording(looks[source], seed, people, photos, impure=False) for seed in range(ROUNDS)]
            for size in (1, 10):
                found = [one for seed, some in enumerate(sets) for one in how(some, known, size, seed)]
                cells = [[one.right for one in found if rule(one)] for rule in RULES.values()]
                name = f"{'visitor' if how is visitors_named else 'image'} {title}, {size}"
                print(f"{name:<20}" + "".join(f"{sum(one):>12} {len(one) - sum(one):>7}" for one in cells), flush=True)
    return 0


def visitors_named(some: Set, known: ImpostorScores, size: int, seed: int) -> Iterator[Search]:
    groups = by_visitor(some, known, range(len(some.tracks)))
    good = [name for name, rows in groups.items() if len(rows) > 1]
    dice = np.random.default_rng(seed)
    for first in good:
        others = dice.permutation([name for name in good if name != first])[: size - 1].tolist()
        refs = {
            name: sorted(groups[name], key=lambda row: -some.tracks[row].quality)[:LEARNT] for name in (first, *others)
        }
        shown = {name: int(np.bincount(some.people[groups[name]]).argmax()) for name in refs}
        left = {name: rows for name, rows in groups.items() if name not in refs}
        yield from searched(some, known, refs, shown, left)


def people_enrolled(some: Set, known: ImpostorScores, size: int, seed: int) -> Iterator[Search]:
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, person in enumerate(some.people.tolist()):
        if some.tracks[row].quality >= QUALITY:
            rows_of[person].append(row)
    several = [person for person, rows in rows_of.items() if len(rows) > 1]
    dice = np.random.default_rng(seed)
    for _ in range(min(MOST_TRIALS, len(several) // size)):
        refs = {one: [int(dice.choice(rows_of[one]))] for one in dice.permutation(several)[:size].tolist()}
        used = {row for rows in refs.values() for row in rows}
        left = by_visitor(some, known, [row for row in range(len(some.tracks)) if row not in used])
        yield from searched(some, known, refs, {one: one for one in refs}, left)


def by_visitor(some: Set, known: ImpostorScores, rows: Collection[int]) -> dict[int, list[int]]:
    chosen, groups = [*rows], dict[int, list[int]]()
    labels = online(Set([some.tracks[row] for row in chosen], some.people[chosen]), known)
    for row, label in zip(chosen, labels.tolist(), strict=True):
        groups.setdefault(label, []).append(row)
    return groups


def searched(
    some: Set,
    known: ImpostorScores,
    refs: Mapping[int, list[int]],
    shown: Mapping[int, int],
    visitors: Mapping[int, list[int]],
) -> Iterator[Search]:
    """The tracks of visitors that the threshold names."""

    def reference(name: int, row: int) -> EmbeddedReference:
        template = some.tracks[row].template
        assert template is not None
        return EmbeddedReference(str(name), str(row), template, some.tracks[row].quality)

    gallery = Gallery({str(name): [reference(name, row) for row in rows] for name, rows in refs.items()}, "")
    least = threshold(known, RATE, len(gallery), "rate")
    for rows in visitors.values():
        good = [row for row in rows if some.tracks[row].quality >= QUALITY]
        if not good:
            continue
        scores = gallery.scores(np.stack([reference(0, row).embedding for row in good]).astype(np.float64))
        for place, row in enumerate(good):
            ranked = np.argsort(-scores[place])
            best = int(ranked[0])
            second = float(scores[place, ranked[1]]) if len(ranked) > 1 else -1.0
            score = float(scores[place, best])
            if score >= least and score - second >= MARGIN:
                others = np.delete(scores[:, best], place).tolist()
                yield Search(shown[int(gallery.names[best])] == some.people[row], score, least, others)


if __name__ == "__main__":
    sys.exit(main())
