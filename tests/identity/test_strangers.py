"""The share of strangers who are named is estimated although some of the tracks show people of the gallery."""

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.identity.gallery import Gallery
from streamer.identity.impostors import threshold
from streamer.identity.strangers import estimated
from streamer.values import ImpostorScores
from tests.support.made_people import images_of, strangers_table

PEOPLE = 12
Doubles = NDArray[np.float64]


@pytest.fixture(scope="module")
def known() -> ImpostorScores:
    return strangers_table()


@pytest.fixture(scope="module")
def scores(known: ImpostorScores) -> tuple[Doubles, Doubles]:
    """Best scores of 600 strangers, and of 400 images of people of the gallery."""
    people = images_of(PEOPLE, 40, 0)
    gallery = Gallery({name: some[:2] for name, some in people.items()}, "m")
    strangers = [some[0].embedding for some in images_of(600, 1, 50).values()]
    members = [one.embedding for some in people.values() for one in some[2:]][:400]
    found = []
    for some in (strangers, members):
        units = np.stack(some)
        found.append(gallery.scores(units / np.linalg.norm(units, axis=1, keepdims=True)).max(axis=1))
    return found[0], found[1]


@pytest.mark.parametrize("members", [0, 400])
def test_the_estimate_holds_with_and_without_people_of_the_gallery(
    known: ImpostorScores, scores: tuple[Doubles, Doubles], members: int
) -> None:
    rate = 0.1
    least = threshold(known, rate, PEOPLE, "rate")
    both = np.concatenate([scores[0], scores[1][:members]])
    true = float((scores[0] >= least).mean())
    found = estimated(both, [[row] for row in range(len(both))], known, PEOPLE, least, rate, None)
    assert found.rate is not None
    assert found.members is not None
    assert found.suggested is not None
    assert true / 2 < found.rate < true * 2
    assert 0 < found.low <= found.rate <= found.high < 0.25
    assert found.members == pytest.approx(members / len(both), abs=0.05)
    assert found.named == int((both >= least).sum())
    assert found.suggested == pytest.approx(least, abs=0.05)  # the strangers are those of the table


def test_strangers_who_are_more_alike_than_the_table_are_noticed(
    known: ImpostorScores, scores: tuple[Doubles, Doubles]
) -> None:
    least = threshold(known, 0.05, PEOPLE, "rate")
    alike = scores[0] + 0.08
    found = estimated(alike, [[row] for row in range(len(alike))], known, PEOPLE, least, 0.05, None)
    assert found.low > 0.05
    assert found.suggested is not None
    assert found.suggested > least + 0.04


def test_tracks_of_few_visitors_give_a_bound_only(known: ImpostorScores, scores: tuple[Doubles, Doubles]) -> None:
    few = [list(range(start, start + 30)) for start in range(0, 600, 30)]
    found = estimated(scores[0], few, known, PEOPLE, 0.9, 0.01, None)
    assert (found.rate, found.suggested, found.visitors, found.tracks) == (None, None, 20, 600)
    assert (found.low, found.named) == (0.0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 20))  # nobody of twenty: the rule of three, at 97.5 %
    nobody = estimated(np.zeros(0), [], known, PEOPLE, 0.9, 0.01, None)
    assert (nobody.tracks, nobody.high) == (0, 1.0)


def test_certain_strangers_count_as_strangers(known: ImpostorScores, scores: tuple[Doubles, Doubles]) -> None:
    """Without what was said they would be taken for people of the gallery."""
    least = threshold(known, 0.1, PEOPLE, "rate")
    both = np.concatenate([scores[0][:200], scores[1][:60]])
    visitors = [[row] for row in range(len(both))]
    said = np.arange(len(both)) >= 200
    plain = estimated(both, visitors, known, PEOPLE, least, 0.1, None)
    found = estimated(both, visitors, known, PEOPLE, least, 0.1, None, said)
    assert plain.rate is not None
    assert found.rate is not None
    assert found.rate > plain.rate
