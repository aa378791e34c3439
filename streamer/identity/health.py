"""Looks for what is wrong in a gallery: people who are taken for each other, and references that harm. Pure."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.identity.cluster import join_threshold
from streamer.identity.gallery import EXEMPLARS, EmbeddedReference, Gallery, penalty, shrinkage
from streamer.values import ImpostorScores

Doubles = NDArray[np.float64]
Images = Mapping[str, Sequence[EmbeddedReference]]  # by person

MOST_PAIRS = 200  # that are looked at closely
BESIDE = 16  # people compared with each person of a large gallery
ALL_BESIDE = 1000  # people up to which all of them are compared
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
class Left:
    """One reference, searched for in the gallery without it."""

    person: str
    reference: str
    own: float | None  # score of its person; None: the person has no other reference
    other: str  # most similar other person; empty: there is nobody else
    other_score: float


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A reference that may harm."""

    left: Left
    doubts: tuple[Doubt, ...]
    aside: bool  # it should be set aside


def certain_from(known: ImpostorScores, people: int) -> float:
    """Return the cosine that hardly any two strangers of a gallery reach."""
    return join_threshold(known, CERTAIN_RATE, people)


def leave_one_out(gallery: Gallery, images: Images) -> list[Left]:
    """Search for each reference in the gallery without it."""
    found = []
    names = [name for name in gallery.names if name in images]
    units = {name: _units(images[name]) for name in names}
    if not names:
        return []
    places, scores = gallery.nearest(np.concatenate([units[name] for name in names]).astype(np.float32), 2)
    row = 0
    for name in names:
        own = own_scores(images[name], units[name])
        for image, score in zip(images[name], own, strict=True):
            both = zip(places[row].tolist(), scores[row].tolist(), strict=True)
            rest = [(gallery.names[place], similar) for place, similar in both if gallery.names[place] != name]
            other, other_score = rest[0] if rest else ("", -1.0)
            found.append(Left(name, image.name, None if np.isnan(score) else float(score), other, other_score))
            row += 1
    return found


def own_scores(images: Sequence[EmbeddedReference], units: Doubles | None = None) -> Doubles:
    """Return the score (n,) of each reference for its person without it; NaN if it is the only one."""
    count = len(images)
    if count < 2:
        return np.full(count, np.nan)
    units = _units(images) if units is None else units
    raw = np.stack([one.embedding for one in images]).astype(np.float64)
    total = raw.sum(axis=0)
    rest = total - raw
    lengths = np.linalg.norm(rest, axis=1)
    to_mean = np.divide((rest * units).sum(axis=1), lengths, out=np.full(count, -1.0), where=lengths > 0)
    spread = np.linalg.norm(units.sum(axis=0) - units, axis=1) / (count - 1)  # length of the mean of the others
    table = units @ units.T
    quality = np.array([one.quality for one in images])
    to_exemplar = np.array([_to_exemplar(table, row, _exemplars(table, quality, row)) for row in range(count)])
    return np.asarray(np.maximum(to_mean * shrinkage(spread), to_exemplar), np.float64)


def _to_exemplar(table: Doubles, row: int, exemplars: Sequence[int]) -> float:
    """Return the score of a reference by the exemplars of its person, of which `table` has the cosines."""
    length = float(np.sqrt(max(table[np.ix_(exemplars, exemplars)].sum(), 0.0))) / len(exemplars)
    return float(table[row, exemplars].max() - penalty(length))


def _exemplars(table: Doubles, quality: Doubles, without: int) -> list[int]:
    """Return the rows of the exemplars of a person without one row, as `exemplars_of` chooses them."""
    rows = [row for row in range(len(quality)) if row != without]
    if len(rows) <= EXEMPLARS:
        return rows
    taken = [max(rows, key=lambda row: (quality[row], -row))]
    nearest = table[taken[0]].copy()
    while len(taken) < EXEMPLARS:
        nearest[[*taken, without]] = np.inf
        taken.append(int(np.argmin(nearest)))
        nearest = np.minimum(np.maximum(nearest, table[taken[-1]]), np.inf)
    return taken


def confusable(gallery: Gallery, images: Images, threshold: float, known: ImpostorScores) -> list[Pair]:
    """Return the pairs of people with images who reach the threshold, most similar first, at most MOST_PAIRS."""
    similar = _similar(gallery, threshold)
    found = {both: score for both, score in similar.items() if both[0] in images and both[1] in images}
    usual = _usual_within(images)
    certain = certain_from(known, len(gallery))
    pairs = []
    for (one, other), score in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST_PAIRS]:
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


def _similar(gallery: Gallery, threshold: float) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    beside = len(gallery) if len(gallery) <= ALL_BESIDE else BESIDE + 1
    places, scores = gallery.nearest(gallery.templates.astype(np.float32), beside)
    for row, column in np.argwhere(scores >= threshold).tolist():
        other = int(places[row, column])
        if other != row:
            names = gallery.names[min(row, other)], gallery.names[max(row, other)]
            found[names] = max(found.get(names, -1.0), float(scores[row, column]))
    return found


def _usual_within(images: Images) -> float | None:
    """Return the cosine that three of four pairs of references of one person reach; None: there are too few pairs."""
    cosines = []
    for some in images.values():
        if len(some) > 1:
            table = _units(some[:10]) @ _units(some[:10]).T
            cosines.append(table[np.triu_indices(len(table), 1)])
    together = np.concatenate(cosines) if cosines else np.zeros(0)
    return float(np.quantile(together, 0.25)) if len(together) >= MIN_WITHIN else None


def _pulling(one: Sequence[EmbeddedReference], other: Sequence[EmbeddedReference], threshold: float) -> tuple[str, ...]:
    """Return the references of two people without each of which they do not reach the threshold."""
    found = list[str]()
    for mine, theirs in ((one, other), (other, one)):
        rows = range(len(mine) if len(mine) > 1 else 0)
        found += [mine[row].name for row in rows if _score([*mine[:row], *mine[row + 1 :]], theirs) < threshold]
    return tuple(found)


def _score(one: Sequence[EmbeddedReference], other: Sequence[EmbeddedReference]) -> float:
    both = Gallery({"one": one, "other": other}, "")
    scores = both.scores(both.templates)
    return float(max(scores[0, 1], scores[1, 0]))


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
