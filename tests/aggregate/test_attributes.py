"""Attributes: votes of seconds, and when they are enough."""

import numpy as np
import pytest

from faceanalytics.v1 import faces_pb2
from streamer.aggregate.attributes import AttributeBase, estimate_attributes, fold_attributes
from streamer.aggregate.samples import Sample
from streamer.config import Aggregate
from streamer.values import Presence

SETTINGS = Aggregate()
MALE, SMILING = faces_pb2.ATTRIBUTE_MALE - 1, faces_pb2.ATTRIBUTE_SMILING - 1
WHICH = (MALE, SMILING)


def votes(*logits: float, every: float = 1.0, start: float = 0.0, quality: float = 0.8) -> list[Sample]:
    """The same logit for both attributes."""
    return [
        Sample(start + index * every, quality, None, None, np.full(2, logit), None, 0.0)
        for index, logit in enumerate(logits)
    ]


def presence(samples: list[Sample]) -> tuple[Presence, ...]:
    return estimate_attributes(SETTINGS, WHICH, AttributeBase.empty(2), samples).presence


def test_one_second_decides_nothing_however_clear_and_however_often() -> None:
    assert presence(votes(4.0)) == (Presence.UNDECIDED, Presence.UNDECIDED)
    assert presence(votes(*[4.0] * 9, every=0.1)) == (Presence.UNDECIDED, Presence.UNDECIDED)


def test_clear_votes_of_several_seconds_decide() -> None:
    assert presence(votes(*[2.5] * 5)) == (Presence.PRESENT, Presence.PRESENT)
    assert presence(votes(*[-2.5] * 5)) == (Presence.ABSENT, Presence.ABSENT)
    assert presence(votes(*[0.3] * 50)) == (Presence.UNDECIDED, Presence.UNDECIDED)
    assert presence(votes(4.0, -4.0, 4.0, -4.0, 4.0, 4.0)) == (Presence.UNDECIDED, Presence.UNDECIDED)


def test_what_may_change_is_forgotten_and_what_does_not_is_not() -> None:
    male, smiling = presence([*votes(*[3.0] * 20), *votes(*[-3.0] * 10, start=20.0)])
    assert male is Presence.PRESENT or male is Presence.UNDECIDED
    assert smiling is Presence.ABSENT
    scores = estimate_attributes(
        SETTINGS, WHICH, AttributeBase.empty(2), [*votes(*[3.0] * 20), *votes(*[-3.0] * 10, start=20.0)]
    ).scores
    assert scores[0] == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-4)  # mean logit (60 - 30) / 30
    assert scores[1] < 0.1


def test_poor_crops_and_crowded_seconds_count_for_less() -> None:
    mixed = [*votes(2.0, quality=0.8), *votes(*[-2.0] * 4, every=0.2, start=1.0, quality=0.4)]
    found = estimate_attributes(SETTINGS, (MALE, MALE), AttributeBase.empty(2), mixed)
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-2 / 3)), abs=1e-4)  # (0.8 x 2 - 0.4 x 2) / 1.2


def test_votes_that_are_no_longer_kept_still_count() -> None:
    some = votes(*np.sin(np.arange(40)) * 3 + 1, every=0.5)
    whole = estimate_attributes(SETTINGS, WHICH, AttributeBase.empty(2), some)
    base = fold_attributes(WHICH, AttributeBase.empty(2), some[:20])
    later = estimate_attributes(SETTINGS, WHICH, base, some[20:])
    assert later.scores == pytest.approx(whole.scores, abs=1e-6)
    assert later.presence == whole.presence
