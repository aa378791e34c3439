"""Looks for what is wrong in a gallery: people who are taken for each other, and references that harm. Pure."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.identity.cluster import join_threshold
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.left_out import Images, Left, arrays, together
from streamer.identity.mass_search import MassSearch
from streamer.values import ImpostorScores

Doubles = NDArray[np.float64]

MOST_PAIRS = 200  # that are looked at closely
SAME_IMAGE = 0.995  # cosine of two crops of one image
CERTAIN_RATE = 0.001  # of pairs of strangers that would be judged to be one person, in the whole gallery
LISTED_SHARE, ASIDE_SHARE = 0.05, 0.25  # of strangers who resemble a person as much as a reference in doubt does
MIN_WITHIN = 20  # pairs of references of one person, to know how similar these are


class Doubt(enum.Enum):
    """Why a reference may harm."""

    UNLIKE_OTHERS = "UNLIKE_OTHERS"  # it resembles the others of the person no more than a stranger does
    RESEMBLES_OTHER = "RESEMBLES_OTHER"  # it resembles another person more than its own
    PULLS_TOGETHER = "PULLS_TOGETHER"  # without it, two people are not as similar as one


class Verdict(enum.Enum):
    """How two people are judged who are as similar as one."""

    LOOK_ALIKE = "LOOK_ALIKE"
    PROBABLY_SAME = "PROBABLY_SAME"
    SAME_IMAGE = "SAME_IMAGE"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two people who are as similar as one."""

    one: str
    other: str
    score: float  # the higher one of each as a result of a search for the other
    verdict: Verdict
    pulling: tuple[str, ...]  # references of either, without each of which they are not


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A reference that may harm."""

    left: Left
    doubts: tuple[Doubt, ...]
    aside: bool  # it should be set aside


def certain_from(known: ImpostorScores, people: int) -> float:
    """Return the cosine that hardly any two strangers of a gallery reach."""
    return join_threshold(known, CERTAIN_RATE, people)


def confusable(
    gallery: Gallery, images: Images, threshold: float, known: ImpostorScores, search: MassSearch | None = None
) -> list[Pair]:
    """Return the pairs of people with images who reach the threshold, most similar first, at most MOST_PAIRS.

    `search`: of this gallery, if there is one already.
    """
    found = _similar(gallery, images, threshold, search if search is not None else MassSearch(gallery))
    usual = _usual_within(images)
    certain = certain_from(known, len(gallery))
    pairs = []
    for one, other, score in found:
        both = images[one], images[other]
        crossed = _units(both[0]) @ _units(both[1]).T
        verdict = Verdict.LOOK_ALIKE
        if crossed.max() >= SAME_IMAGE:
            verdict = Verdict.SAME_IMAGE
        pulling = _pulling(both[0], both[1], threshold)
        alike = score >= certain and (usual is None or float(np.median(crossed)) >= usual)
        if verdict is Verdict.LOOK_ALIKE and alike and not pulling:  # not because of one reference only
            verdict = Verdict.PROBABLY_SAME
        pairs.append(Pair(one, other, score, verdict, pulling))
    return pairs


def _similar(gallery: Gallery, images: Images, threshold: float, search: MassSearch) -> list[tuple[str, str, float]]:
    """Return the pairs of people with images, most similar first, at most MOST_PAIRS."""
    there = np.array([name in images for name in gallery.names], np.bool_)
    kept = np.zeros((0, 2), np.int64), np.zeros(0)  # places, scores
    for probes, others, scores in search.reaching(gallery.templates, threshold):
        real = (probes != others) & there[probes] & there[others]
        both = np.sort(np.stack([probes[real], others[real]], axis=1), axis=1)
        places, scores = np.concatenate([kept[0], both]), np.concatenate([kept[1], scores[real]])
        order = np.lexsort((places[:, 1], places[:, 0], -scores))  # the names are sorted
        first = np.sort(np.unique(places[order], axis=0, return_index=True)[1])[:MOST_PAIRS]  # each pair's highest
        kept = places[order[first]], scores[order[first]]
    return [
        (gallery.names[a], gallery.names[b], score) for (a, b), score in zip(*map(np.ndarray.tolist, kept), strict=True)
    ]


def _usual_within(images: Images) -> float | None:
    """Return the cosine that three of four pairs of references of one person reach; None: there are too few pairs."""
    first = {name: some[:10] for name, some in images.items() if len(some) > 1}
    cosines = []
    for names in together(first):
        raw, _ = arrays(names, first)
        units = raw / np.linalg.norm(raw, axis=2, keepdims=True)
        one, other = np.triu_indices(raw.shape[1], 1)
        cosines.append((units @ units.transpose(0, 2, 1))[:, one, other].ravel())
    found = np.concatenate(cosines) if cosines else np.zeros(0)
    return float(np.quantile(found, 0.25)) if len(found) >= MIN_WITHIN else None


def _pulling(one: Sequence[EmbeddedReference], other: Sequence[EmbeddedReference], threshold: float) -> tuple[str, ...]:
    """Return the references of two people without each of which they do not reach the threshold."""
    found = list[str]()
    for mine, theirs in ((one, other), (other, one)):
        whole = Gallery({"": theirs}, "")
        for row in range(len(mine) if len(mine) > 1 else 0):
            rest = Gallery({"": [*mine[:row], *mine[row + 1 :]]}, "")
            if max(rest.scores(whole.templates).max(), whole.scores(rest.templates).max()) < threshold:
                found.append(mine[row].name)
    return tuple(found)


def doubtful(
    left: Sequence[Left], pairs: Sequence[Pair], images: Images, threshold: float, known: ImpostorScores
) -> list[Doubtful]:
    """Return the references that may harm, the worst first. At most half of a person's are to be set aside."""
    listed, worst = (
        float(np.interp(np.log(one), np.log(known.shares), known.cosines)) for one in (LISTED_SHARE, ASIDE_SHARE)
    )
    pulling = {name for pair in pairs for name in pair.pulling}
    same = {frozenset({one.one, one.other}) for one in pairs if one.verdict is Verdict.PROBABLY_SAME}
    found = []
    for each in left:
        twice = frozenset({each.person, each.other}) in same  # then its references rightly resemble the other one
        doubts = _doubts(each, len(images[each.person]), listed, 2.0 if twice else threshold, pulling)
        if doubts and each.own is not None:
            harms = each.own < worst or (each.own < listed and doubts != (Doubt.UNLIKE_OTHERS,))
            found.append(Doubtful(each, doubts, harms))
    found.sort(key=lambda one: (not one.aside, (one.left.own or 0.0) - one.left.other_score))
    taken: dict[str, int] = {}
    kept = []
    for one in found:
        person = one.left.person
        aside = one.aside and taken.get(person, 0) < len(images[person]) // 2
        taken[person] = taken.get(person, 0) + aside
        kept.append(Doubtful(one.left, one.doubts, aside))
    return kept


def _doubts(left: Left, count: int, listed: float, threshold: float, pulling: set[str]) -> tuple[Doubt, ...]:
    """Return why a reference is in doubt. `listed`: cosine that strangers reach now and then.

    `threshold`: of the other person, to be mistaken for.
    """
    if left.own is None:
        return ()
    found = []
    nearer = left.other_score > left.own and left.own < threshold <= 1
    if count > 2 and left.own < listed:
        found.append(Doubt.UNLIKE_OTHERS)
    if nearer and left.other_score >= threshold:
        found.append(Doubt.RESEMBLES_OTHER)
    if nearer and left.reference in pulling:
        found.append(Doubt.PULLS_TOGETHER)
    return tuple(found)


def _units(images: Sequence[EmbeddedReference]) -> Doubles:
    raw = np.stack([one.embedding for one in images]).astype(np.float64)
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), np.float64)
