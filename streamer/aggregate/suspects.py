"""Compares each new analysis with its track before it changes the published answer.

A good crop that resembles the track's template too little is a suspect. It waits, and with it all crops after it, until
it is decided whom they show: another person, from whose first crop on the track is split, or nobody in particular
(outliers). One suspect decides only if it is far off, else it takes two or more that resemble each other.
What is too little depends on how much the crops of the track itself vary: the bounds are distances below their mean
cosine to each other. They were chosen on other draws of the tracks of `python -m tests.benchmarks "Tracks of two
persons"`, for the bundled weights; the text there states the share of tracks of one person that are split by mistake.
"""

import enum
import math
from collections.abc import Sequence

import numpy as np

from streamer.aggregate.samples import Doubles, Sample
from streamer.aggregate.template import GOOD_ENOUGH, TemplateBase
from streamer.config import Aggregate

MIN_QUALITY = 0.25  # poorer crops decide nothing: all poor crops resemble each other
ONE_LOOK = 0.97  # cosine from which two crops are one look at the face, and count once
FEW_LOOKS = 0.4  # the mean cosine of n looks may be too high by this, over n
OWN_GAP = 0.1  # a suspect is at least this far below the track's own mean cosine
# By the number of suspects (the last one holds for more): the cosine of the suspects together to the template must be
# below both the cap and the track's own mean cosine minus the gap, ...
CAP_ALONE, CAP = 0.1, 0.5
GAPS = (0.6, 0.45, 0.4, 0.35)
# ... or below this when corrected for attenuation (Spearman 1904): if the crops of one side resemble each other little,
# so do those of both sides, even of one person.
CAPS_TRUE = (0.0, 0.45, 0.5, 0.5)
PRIOR, PRIOR_LOOKS = 0.3, 3  # mean cosine of two crops of a person, before they are known, and how many it counts for
MIN_ALIKE = 0.4  # mean cosine of two crops without which this says nothing
ALONE_LOOKS = 3  # looks at the person before that one suspect alone must contradict
MIN_LOOKS = 2  # looks without which nothing is compared
ALIKE = 0.45  # cosine of a suspect to those before it from which they may be one person, ...
CLOSER = 0.1  # ... if it exceeds the cosine to the template by this
MAX_LOOKS = 5  # suspects that are of the same person after all, but in another pose, are used from this many on


class Verdict(enum.Enum):
    """What a new analysis means for its track."""

    TOO_OLD = "TOO_OLD"  # it is not used
    SAME = "SAME"  # it shows the person of the track, as do those that waited
    RETURNED = "RETURNED"  # it shows the person of the track; those that waited do not, and are left out
    WAITS = "WAITS"  # the next one must decide
    ALONE = "ALONE"  # the same, and those that waited show nobody in particular and are left out
    OTHER = "OTHER"  # it and those that waited show another person


def judge(
    settings: Aggregate, base: TemplateBase, known: Sequence[Sample], waiting: Sequence[Sample], one: Sample
) -> Verdict:
    """Return what a sample means for a track with the samples `known`, on top of the folded ones, and `waiting`."""
    least = max(MIN_QUALITY, GOOD_ENOUGH * max(each.quality for each in (*known, *waiting, one)))
    person = _looks([each for each in known if each.quality >= least])
    if one.quality < least:
        return Verdict.WAITS if waiting else Verdict.SAME
    if len(person) + min(base.samples, MIN_LOOKS) < MIN_LOOKS:
        return Verdict.SAME
    assert one.embedding is not None
    total = base.total + person.sum(axis=0)
    embedding = one.embedding.astype(np.float64)
    to_person = _cosine(total, embedding)
    if not waiting and to_person >= settings.identity_suspect_cosine:
        return Verdict.SAME
    own = _own_cosine(person, total)
    is_suspect = to_person < min(settings.identity_suspect_cosine, own - OWN_GAP)
    before = _looks([each for each in waiting if each.quality >= least])
    if len(before) == 0:
        if not is_suspect:
            return Verdict.SAME
    elif _cosine(before.sum(axis=0), embedding) < max(ALIKE, to_person + CLOSER):
        return Verdict.ALONE if is_suspect else Verdict.RETURNED
    others = _looks([each for each in (*waiting, one) if each.quality >= least])
    if _is_other(person, others, total, own):
        return Verdict.OTHER
    return Verdict.SAME if len(others) >= MAX_LOOKS else Verdict.WAITS


def poor_before(known: Sequence[Sample], others: Sequence[Sample]) -> int:
    """Return how many of the last samples `known` of a track are poor and resemble the samples `others` more."""
    least = max(MIN_QUALITY, GOOD_ENOUGH * max(one.quality for one in (*known, *others)))
    after = _looks(others).sum(axis=0)
    count = 0
    for place in range(len(known) - 1, 0, -1):
        one = known[place]
        if one.quality >= least or one.embedding is None:
            break
        embedding = one.embedding.astype(np.float64)
        if _cosine(after, embedding) <= _cosine(_looks(known[:place]).sum(axis=0), embedding):
            break
        count += 1
    return count


def _is_other(person: Doubles, others: Doubles, total: Doubles, own: float) -> bool:
    """Return whether the looks (k, 512) of suspects are of another person than those of the track."""
    together = _cosine(total, others.sum(axis=0))
    row = min(len(others), len(GAPS)) - 1
    if row == 0:
        return len(person) >= ALONE_LOOKS and together < min(CAP_ALONE, own - GAPS[0])
    clear = together < _own_cosine(others, others.sum(axis=0)) - CLOSER
    if clear and together < min(CAP, own - GAPS[row]):
        return True
    each, other = _alikeness(person), _alikeness(others)
    if len(person) < MIN_LOOKS or min(each, other) < MIN_ALIKE:
        return False
    return together / math.sqrt(_reliability(each, len(person)) * _reliability(other, len(others))) < CAPS_TRUE[row]


def _alikeness(looks: Doubles) -> float:
    """Return the mean cosine of any two looks (k, 512), drawn towards PRIOR as if PRIOR_LOOKS more were alike so."""
    count = len(looks)
    if count < MIN_LOOKS:
        return PRIOR
    unit = looks / np.linalg.norm(looks, axis=1, keepdims=True)
    mean = float(((unit @ unit.T).sum() - count) / (count * (count - 1)))
    return (mean * (count - 1) + PRIOR * PRIOR_LOOKS) / (count - 1 + PRIOR_LOOKS)


def _reliability(alikeness: float, count: int) -> float:
    """Return the squared cosine of the mean of `count` looks to that of endlessly many (Spearman-Brown)."""
    return count * alikeness / (1 + (count - 1) * alikeness)


def _looks(samples: Sequence[Sample]) -> Doubles:
    """Return the embeddings (k, 512) of samples, each times its weight, without those that show the same look again."""
    if not samples:
        return np.zeros((0, 512))
    vectors = np.stack([one.embedding for one in samples if one.embedding is not None]).astype(np.float64)
    same = vectors @ vectors.T >= ONE_LOOK
    chosen: list[int] = []
    for place in range(len(vectors)):
        if not same[place, chosen].any():
            chosen.append(place)
    weights = np.array([samples[place].weight * samples[place].norm for place in chosen])
    looks: Doubles = vectors[chosen] * weights[:, None]
    return looks


def _own_cosine(looks: Doubles, total: Doubles) -> float:
    """Return the mean cosine of each look (k, 512) to the rest of `total`, less what it may be too high for few."""
    rest = total - looks
    lengths = np.linalg.norm(rest, axis=1) * np.linalg.norm(looks, axis=1)
    cosines = np.divide((rest * looks).sum(axis=1), lengths, out=np.zeros(len(looks)), where=lengths > 0)
    return float(cosines.mean()) - FEW_LOOKS / len(looks) if len(looks) else 1.0


def _cosine(one: Doubles, other: Doubles) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths > 0 else 0.0
