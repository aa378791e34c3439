"""Pseudonyms while tracks are seen, ids that last over grouping again, and how many people there are."""

import numpy as np
import pytest

from streamer.identity.stable_ids import keep_ids
from streamer.identity.unique import unique
from streamer.identity.visitors import Visitors
from streamer.values import Floats, ImpostorScores

TABLE = ImpostorScores(
    1_000_000, 2000, np.array([1e-5, 1e-4, 1e-3, 1e-2, 1.0]), np.array([0.6, 0.5, 0.4, 0.3, -1.0]), "test"
)


def face(seed: int, away: float = 0.0, towards: int = 99) -> Floats:
    """A unit vector of a person; `away`: how much of it is noise."""
    who = np.random.default_rng(seed).normal(size=512)
    noise = np.random.default_rng(towards).normal(size=512)
    vector = who / np.linalg.norm(who) + away * noise / np.linalg.norm(noise)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def test_a_face_finds_its_visitor_and_a_stranger_none() -> None:
    visitors = Visitors(0.001)
    assert visitors.match(face(1), 0.9) is None  # without scores of strangers nobody is joined
    visitors.use(TABLE)
    visitors.put("t1", "ada", face(1), 0.9)
    visitors.put("t2", "bob", face(2), 0.9)
    found = visitors.match(face(1, 0.5), 0.9)
    assert found is not None
    assert found.visitor_id == "ada"
    assert found.threshold == pytest.approx(0.6, abs=0.1)
    assert visitors.match(face(3), 0.9) is None
    assert visitors.match(face(1, 0.5), 0.9, without=["ada"]) is None


def test_poor_faces_need_a_higher_cosine() -> None:
    visitors = Visitors(0.001)
    visitors.use(TABLE)
    visitors.put("t1", "ada", face(1), 0.2)
    assert visitors.match(face(1, 0.7), 0.9) is not None
    assert visitors.match(face(1, 0.7), 0.2) is None


def test_more_visitors_need_more_similar_faces() -> None:
    few, many = Visitors(0.001), Visitors(0.001)
    for visitors, count in ((few, 1), (many, 300)):
        visitors.use(TABLE)
        for number in range(count):
            visitors.put(f"t{number}", f"v{number}", face(number), 0.9)
    one, other = few.match(face(0), 0.9), many.match(face(0), 0.9)
    assert one is not None
    assert other is not None
    assert other.threshold > one.threshold


def test_a_track_that_changes_or_goes_leaves_nothing_behind() -> None:
    visitors = Visitors(0.001)
    visitors.use(TABLE)
    for number in range(200):  # more than the table has at first
        visitors.put(f"t{number}", f"v{number}", face(number), 0.9)
    visitors.put("t0", "v1", face(0), 0.9)
    assert (visitors.of("t0"), len(visitors)) == ("v1", 199)
    for number in range(199):
        visitors.remove(f"t{number}")
    visitors.remove("unknown")
    assert len(visitors) == 1
    found = visitors.match(face(199), 0.9)
    assert found is not None
    assert found.visitor_id == "v199"
    assert visitors.match(face(0), 0.9) is None


@pytest.mark.parametrize(
    ("groups", "before", "first", "ids", "merged"),
    [
        (["abc"], "a1 b1 c2", "", "a1 b1 c1", {"2": "1"}),  # an id moves with the majority
        (["ab", "c"], "a1 b1 c1", "", "a1 b1 cN", {}),  # who is split off gets a new one
        (["ab", "c"], "a1 b1 c1", "c2", "a1 b1 c2", {}),  # or gets back what was merged
        (["a", "b"], "a1 b1", "a1 b1", "a1 bN", {}),  # of two halves the first keeps it
        (["ab", "cd"], "a1 b2 c2 d2", "", "a1 b1 c2 d2", {}),
        (["ab"], "a2 b1", "", "a1 b1", {"2": "1"}),  # of equal ones the oldest stays
        (["ax", "y"], "a1", "", "a1 x1 yN", {}),
    ],
)
def test_ids_last(groups: list[str], before: str, first: str, ids: str, merged: dict[str, str]) -> None:
    def read(text: str) -> dict[str, str]:
        return {part[0]: part[1:] for part in text.split()}

    found = keep_ids([list(group) for group in groups], read(before), read(first), lambda: "N")
    assert found.ids == read(ids)
    assert found.merged == merged


def test_an_id_that_others_use_is_not_given_back() -> None:
    found = keep_ids([["a"], ["b"]], {"a": "1", "b": "1"}, {"b": "2"}, lambda: "N", used=["2"])
    assert found.ids == {"a": "1", "b": "N"}


def test_the_number_of_people_has_an_interval() -> None:
    apart = np.eye(10)
    assert unique(10, apart, TABLE, 0.001, 0).low == 10
    assert unique(10, apart, TABLE, 0.001, 3).high == 10 + 1 + 3  # one may be two people, three were too poor
    alike = apart.copy()
    alike[0, 1] = alike[1, 0] = alike[2, 3] = alike[3, 2] = 0.55  # no strangers, and not joined either
    split = unique(10, alike, TABLE, 0.001, 0)
    assert (split.low, split.count) == (8, 10)
    nobody = unique(0, np.zeros((0, 0)), TABLE, 0.001, 2)
    assert (nobody.low, nobody.count, nobody.high) == (0, 0, 2)
