"""Which tracks are one person: by faces, names and what was seen at the same time."""

import numpy as np
import pytest

from streamer.identity.cluster import MIN_GROUPS, Links, Tracklet, cluster, join_threshold
from streamer.values import Floats, ImpostorScores

# 1 % of strangers reach 0.4, one in a thousand 0.5, one in ten thousand 0.6
STRANGERS = ImpostorScores(
    200_000, 600, np.array([1e-4, 1e-3, 1e-2, 1.0]), np.array([0.6, 0.5, 0.4, -1.0]), "a made-up cohort"
)
RATE = 0.001
FROM = 0.66  # a little above the threshold of a few groups


def face(*parts: tuple[int, float]) -> Floats:
    """A unit vector with these values at these places; what is missing to length 1 is at a place of its own."""
    vector = np.zeros(512, np.float32)
    for place, value in parts:
        vector[place] = value
    rest = 1 - float(vector @ vector)
    vector[500] = np.sqrt(max(rest, 0.0))
    return vector


def person(who: int, alike: float, look: int) -> Floats:
    """A look of a person; two looks have the cosine `alike`, two people 0."""
    vector = np.zeros(512, np.float32)
    vector[who], vector[100 + look] = np.sqrt(alike), np.sqrt(1 - alike)
    return vector


def track(name: str, template: Floats | None, quality: float = 0.7, called: str = "") -> Tracklet:
    return Tracklet(name, template, quality, called)


def groups(tracks: list[Tracklet], links: Links | None = None, rate: float = RATE) -> list[str]:
    found = cluster(tracks, links or Links(), STRANGERS, rate)
    return ["".join(tracks[row].id for row in rows) for rows in found]


def test_tracks_of_one_face_are_one_person_and_strangers_are_not() -> None:
    people = {"a": 1, "b": 2, "c": 1, "d": 3, "e": 2, "f": 1}
    tracks = [track(name, person(who, 0.8, look)) for look, (name, who) in enumerate(people.items())]
    assert groups(tracks) == ["acf", "be", "d"]


@pytest.mark.parametrize(("cosine", "expected"), [(FROM + 0.01, ["ab"]), (FROM - 0.05, ["a", "b"])])
def test_the_threshold_follows_from_the_rate(cosine: float, expected: list[str]) -> None:
    assert groups([track("a", person(1, cosine, 0)), track("b", person(1, cosine, 1))]) == expected


def test_more_people_need_more_similar_faces() -> None:
    found = [join_threshold(STRANGERS, RATE, count) for count in (2, MIN_GROUPS, 100, 1000, 10_000)]
    assert found[0] == found[1]
    assert found == sorted(found)
    assert found[2] < found[3] < found[4]
    assert join_threshold(STRANGERS, 0.1, 2) < join_threshold(STRANGERS, 0.01, 2) < found[0]


def test_beyond_what_was_measured_the_tail_goes_on_by_its_last_decade() -> None:
    rate = 1 - (1 - 1e-6) ** (MIN_GROUPS - 1)  # one in a million: two decades below the rarest
    assert join_threshold(STRANGERS, rate, 2) == pytest.approx(0.8)


def test_tracks_seen_beside_each_other_are_two_people_however_alike() -> None:
    twins = [track(name, person(1, 0.95, look)) for look, name in enumerate("abc")]
    assert groups(twins, Links(apart=[("a", "b")])) == ["ac", "b"]
    assert groups(twins, Links(apart=[("b", "a"), ("c", "b")], same=[("a", "b")])) == ["ac", "b"]


def test_what_is_apart_stays_apart_after_joins() -> None:
    tracks = [track(name, person(1, 0.9, look)) for look, name in enumerate("abcd")]
    assert groups(tracks, Links(apart=[("a", "d"), ("b", "d")])) in (["abc", "d"], ["ab", "cd"])
    assert "ad" not in "".join(groups(tracks, Links(apart=[("a", "d"), ("b", "d"), ("c", "d")])))


def test_a_name_joins_and_two_names_never() -> None:
    tracks = [
        track("a", person(1, 0.9, 0), called="Ann"),
        track("b", person(2, 0.9, 1), called="Ann"),
        track("c", person(1, 0.9, 2), called="Bob"),
        track("d", person(2, 0.9, 3)),
    ]
    assert groups(tracks) in (["abd", "c"], ["ab", "c", "d"])
    assert groups(tracks[:1] + tracks[2:3]) == ["a", "c"]
    assert groups([track("a", None, called="Ann"), track("b", None, called="Ann")]) == ["ab"]
    assert groups(tracks[:2], Links(apart=[("a", "b")])) == ["a", "b"]


def test_poor_tracks_need_more_and_those_without_a_template_stay_alone() -> None:
    alike = [person(1, 0.75, look) for look in range(2)]
    assert groups([track("a", alike[0], 0.7), track("b", alike[1], 0.2)]) == ["ab"]  # the better one counts
    assert groups([track("a", alike[0], 0.4), track("b", alike[1], 0.4)]) == ["a", "b"]
    assert groups([track("a", None), track("b", alike[0]), track("c", None)]) == ["a", "b", "c"]


def test_a_track_of_two_people_does_not_glue_them_together() -> None:
    both = person(1, 0.9, 50) + person(2, 0.9, 51)
    mixed = track("x", both / np.float32(np.linalg.norm(both)))
    ones = [track(f"{place}", person(1, 0.9, place)) for place in range(3)]
    others = [track(f"{place + 5}", person(2, 0.9, place + 5)) for place in range(3)]
    found = groups([*ones, mixed, *others])
    assert not any({"0", "5"} <= set(group) for group in found)
    assert any({"0", "1", "2"} <= set(group) for group in found)
    assert any({"5", "6", "7"} <= set(group) for group in found)


def test_without_scores_of_strangers_only_names_join() -> None:
    tracks = [track("a", face((1, 1.0))), track("b", face((1, 1.0))), track("c", face((1, 1.0)), called="Ann")]
    assert cluster(tracks, Links(), None, RATE) == [[0], [1], [2]]
    assert cluster([], Links(), STRANGERS, RATE) == []


def test_the_order_of_the_tracks_does_not_decide() -> None:
    dice = np.random.default_rng(5)
    tracks = [track(f"{place},", person(place % 7, float(dice.uniform(0.5, 0.95)), place)) for place in range(60)]

    def found(order: list[int]) -> set[frozenset[str]]:
        some = [tracks[row] for row in order]
        return {frozenset(some[row].id for row in rows) for rows in cluster(some, Links(), STRANGERS, RATE)}

    assert found(list(range(60))) == found(dice.permutation(60).tolist()) == found(list(range(59, -1, -1)))


def test_it_finds_what_a_plain_search_of_all_pairs_finds() -> None:
    """The same joins as comparing all groups at every step."""
    dice = np.random.default_rng(7)
    for _ in range(5):
        vectors = dice.normal(size=(12, 512))
        picks = np.repeat(np.arange(12), 5)
        templates = vectors[picks] + dice.normal(size=(60, 512)) * dice.uniform(0.4, 1.0, (60, 1))
        templates /= np.linalg.norm(templates, axis=1)[:, None]
        tracks = [track(str(row), one.astype(np.float32)) for row, one in enumerate(templates)]
        assert cluster(tracks, Links(), STRANGERS, RATE) == plain(templates.astype(np.float32))


def plain(templates: Floats) -> list[list[int]]:
    cosines = templates.astype(np.float64) @ templates.T.astype(np.float64)
    found = [[row] for row in range(len(templates))]
    while len(found) > 1:
        pairs = [(cosines[np.ix_(found[a], found[b])].mean(), a, b) for b in range(len(found)) for a in range(b)]
        best, one, other = max(pairs)
        if best < join_threshold(STRANGERS, RATE, len(found)):
            break
        found[one] += found.pop(other)
    return sorted(sorted(rows) for rows in found)
