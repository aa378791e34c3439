"""The search of past tracks finds what a comparison with all of them finds, also when some are gone or do not fit."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete

from streamer.config import Store
from streamer.identity import compact_index
from streamer.identity.compact_index import CompactIndex
from streamer.people import past_index
from streamer.people.book import Book
from streamer.people.past_index import OWNER, PastIndex
from streamer.store.tables import templates
from streamer.values import Floats
from tests.support.stored import final, running

Place = Callable[..., Store]
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def faces(count: int, seed: int = 0) -> Floats:
    dice = np.random.default_rng(seed)
    found = dice.standard_normal((count, 40)) @ np.linalg.qr(dice.standard_normal((512, 40)))[0].T
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def test_candidates_have_the_best_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact_index, "LEARN_FROM", 300)
    vectors, index = faces(1000), CompactIndex()
    for start in range(0, 1000, 100):
        index.add(np.arange(start, start + 100), vectors[start : start + 100])
    index.remove(np.arange(0, 1000, 7))
    left = np.setdiff1d(np.arange(1000), np.arange(0, 1000, 7))
    for probe in faces(20, seed=1):
        best = left[np.argsort(-(vectors[left] @ probe))[:5]]
        found = index.candidates(probe, 5)
        assert {*best.tolist()} <= {*found.tolist()}
        assert len(found) < 300
    assert index.bytes() < 1024 * 512 * 20


@pytest.mark.parametrize("memory_mb", [64.0, 0.0])
async def test_the_best_tracks_are_found(place: Place, memory_mb: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_index, "PAGE", 16)
    vectors = faces(60)
    async with running(place()) as one:
        one.put(*(final(f"t{at:02}", "yard" if at % 3 else "door") for at in range(60)))
        await one.settle()
        book = Book(one.store)
        await book.open()
        sealed = await book.sealed_of(OWNER)
        rows: list[dict[str, Any]] = [
            {
                "track_id": f"t{at:02}",
                "model_id": "m",
                "samples": 3,
                "quality": 0.5,
                "template": sealed.vector(vector, f"t{at:02}"),
                "at": NOW + timedelta(seconds=at),
            }
            for at, vector in enumerate(vectors)
        ]
        await one.store.execute(templates.insert().values(rows[:50]))
        index = PastIndex(book, memory_mb)

        async def names(probe: Floats, *cameras: str) -> list[str]:
            return [each.track.track_id for each in await index.search(probe, 4, "m", cameras)]

        def best(probe: Floats, among: list[int]) -> list[str]:
            return [f"t{at:02}" for at in sorted(among, key=lambda at: -float(vectors[at] @ probe))[:4]]

        for probe in faces(3, seed=2):
            assert await names(probe) == best(probe, [*range(50)])
            assert await names(probe, "door") == best(probe, [*range(0, 50, 3)])
        await one.store.execute(
            templates.insert().values(rows[50:]), delete(templates).where(templates.c.track_id < "t10")
        )
        assert await names(vectors[55]) == best(vectors[55], [*range(10, 60)])
        assert await names(vectors[3]) == best(vectors[3], [*range(10, 60)])
        await index.reconcile()
        assert await names(vectors[4]) == best(vectors[4], [*range(10, 60)])
        assert await index.search(vectors[4], 4, "other", ()) == []
