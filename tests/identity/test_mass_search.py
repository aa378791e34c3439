"""All that is found for many faces at once is what tables of all scores have."""

from collections.abc import Callable

import numpy as np
import pytest

from streamer.identity import mass_search
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.layered_gallery import LayeredGallery
from streamer.identity.mass_search import NOBODY, MassSearch
from tests.support.made_people import images_of


def wide(people: int, seed: int) -> dict[str, list[EmbeddedReference]]:
    """People in all dimensions, with 1 to 7 images each."""
    dice = np.random.default_rng(seed)
    found = {}
    for number in range(people):
        vectors = dice.standard_normal(512) + 0.7 * dice.standard_normal((1 + number % 7, 512))
        name = f"w{number:03}"
        found[name] = [EmbeddedReference(name, f"{name}/{at}", one, 0.5) for at, one in enumerate(vectors)]
    return found


def layered() -> Gallery:
    """With people who are gone, replaced and new."""
    base, new = images_of(90, 3, 1), images_of(99, 4, 2)
    gone = {"p3", "p7", "p50"}
    return LayeredGallery(Gallery(base, "m"), gone, Gallery({"p7": new["p7"], "p95": new["p95"]}, "m"))


def alike() -> Gallery:
    """All of one group of vectors, and two of them equal."""
    (one,) = images_of(1, 2, 4).values()
    return Gallery({"a": one, "b": one, "c": one[:1]}, "m")


@pytest.mark.parametrize("kind", ["compact", "wide", "layered", "alike", "one", "nobody"])
def test_everything_is_as_in_a_table_of_all_scores(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mass_search, "CHUNK", 256)
    monkeypatch.setattr(mass_search, "EXACTLY", 300)
    kinds: dict[str, Callable[[], Gallery]] = {
        "compact": lambda: Gallery(images_of(150, 8, 0), "m"),
        "wide": lambda: Gallery(wide(120, 3), "m"),
        "layered": layered,
        "alike": alike,
        "one": lambda: Gallery(images_of(1, 3, 0), "m"),
        "nobody": lambda: Gallery({}, "m"),
    }
    gallery = kinds[kind]()
    dice = np.random.default_rng(5)
    own = np.arange(len(gallery))
    strangers = dice.standard_normal((40, 512))
    probes = np.concatenate([gallery.templates, strangers / np.linalg.norm(strangers, axis=1, keepdims=True)])
    probes = probes.astype(np.float32)
    without = np.concatenate([own, np.full(40, NOBODY)])
    table = gallery.scores(probes.astype(np.float64))
    search = MassSearch(gallery)

    places, scores = search.best(probes, without)
    rest = np.pad(table.copy(), ((0, 0), (0, 1)), constant_values=-2)
    rest[own, own] = -3
    there = rest.max(axis=1) > -2
    assert np.allclose(scores[there], rest.max(axis=1)[there], atol=1e-9)
    close = np.abs(rest[there] - rest.max(axis=1)[there][:, None]) < 1e-12
    assert (places[there] == close.argmax(axis=1)).all()
    assert (places[~there] == NOBODY).all()

    found: dict[tuple[int, int], float] = {}
    threshold = 0.25
    for numbers, people, values in search.reaching(probes, threshold):
        for both, value in zip(zip(numbers.tolist(), people.tolist(), strict=True), values.tolist(), strict=True):
            found[both] = max(found.get(both, -1.0), value)
    assert sorted(found) == [(row, column) for row, column in np.argwhere(table >= threshold).tolist()]
    assert np.allclose([found[both] for both in sorted(found)], [table[both] for both in sorted(found)], atol=1e-9)

    if len(gallery):
        wanted = dice.integers(0, len(gallery), len(probes))
        assert np.allclose(search.scores_of(probes, wanted), table[np.arange(len(probes)), wanted], atol=1e-9)
