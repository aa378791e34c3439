"""Which visitor a live track joins and leaves, and the journeys that follow, with a real store and made summaries."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from streamer.config import Store, StreamerConfig
from streamer.people.curator import Curator
from streamer.people.live import LiveGallery, Workers
from streamer.people.visitors import VisitorBook
from streamer.values import EndReason, Floats, IdentityEstimate, ImpostorScores, TrackState, TrackSummary
from tests.support.builders import evidence, summary
from tests.support.stored import Running, running

TABLE = ImpostorScores(2_000_000, 3000, np.array([1e-5, 0.001, 1]), np.array([0.5, 0.4, -1]), "card")
ADA, BOB = 0, 1  # axes


def face(**shares: float) -> Floats:
    """A unit template between those of ada, bob and others."""
    axes: Mapping[str, int] = {"ada": ADA, "bob": BOB, "other": 2}
    template = np.zeros(512, np.float32)
    for name, share in shares.items():
        template[axes[name]] = share
    return np.asarray(template / np.linalg.norm(template), np.float32)


class Watched:
    """A book of visitors, and what is published."""

    def __init__(self, book: VisitorBook, one: Running) -> None:
        self.book = book
        self._one = one

    def see(self, track: str, camera: str, template: Floats, samples: int = 4, quality: float = 0.8, **how: Any) -> str:
        """Take in a summary of a track; returns its visitor (empty: none)."""
        identity = IdentityEstimate(template, None, 0, evidence(samples, quality))
        how = {"first_seen": 0.9, "time": 1.0, "model_id": "m", **how}
        seen = self.book.see(summary(track, samples, camera, identity=identity, samples=samples, **how))
        self._put(seen)
        return seen.visitor.visitor_id if seen.visitor is not None else ""

    def end(self, track: str, camera: str, template: Floats) -> None:
        """Take in the last summary of a track."""
        ended: dict[str, Any] = {"state": TrackState.ENDED, "final": True, "end_reason": EndReason.TIMEOUT}
        self.see(track, camera, template, **ended)

    async def journeys(self) -> list[tuple[str, str]]:
        """The cameras of each step, and its track."""
        await self._one.settle()
        return [(one.track_id, one.camera) for one in await self._one.log() if one.kind.value == "JOURNEY"]

    def _put(self, seen: TrackSummary) -> None:
        self._one.put(seen)
        self.book.follow(seen)


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Watched]:
    store = Store(folder=str(folder))
    made = StreamerConfig(store=store)
    config = made.model_copy(
        update={"visitors": made.visitors.model_copy(update={"enabled": True, "journeys": True, "min_quality": 0.4})}
    )
    async with running(store) as one:

        async def no_worker() -> None:
            return None

        workers = Workers(lambda crops: asyncio.sleep(0, []), lambda: [], no_worker, lambda: False)
        curator = Curator(one.store, LiveGallery(config, [], [], workers, lambda *_: None))
        await curator.open()
        book = VisitorBook(config, curator, lambda _: None, lambda _: None)
        await book.open()
        book.use_impostors(TABLE, "m")
        await book.load()
        yield Watched(book, one)


async def test_few_or_poor_crops_join_nobody(tmp_path: Path) -> None:
    async with watched(tmp_path) as here:
        ada = here.see("a", "door", face(ada=1))
        assert ada
        assert here.see("b", "yard", face(ada=1), samples=1) == ""
        assert here.see("c", "yard", face(ada=1), quality=0.3) == ""
        assert await here.journeys() == []
        assert here.see("b", "yard", face(ada=1), samples=2) == ada
        assert await here.journeys() == [("b", "yard")]
        others = here.book.others_of(["c"], face(ada=1, other=0.2), 0.8, "m")  # it shows nobody yet, and resembles ada
        assert others is not None
        assert others.shape == (2, 512)
        assert here.book.others_of(["a"], None, 0.0, "m") is not None
        assert here.book.others_of(["c"], None, 0.0, "m") is None
        assert here.book.others_of(["a"], None, 0.0, "other weights") is None


async def test_a_track_that_joined_by_its_first_crops_leaves_when_more_of_them_show_somebody_else(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path) as here:
        ada, bob = here.see("a", "door", face(ada=1)), here.see("b", "door2", face(bob=1))
        assert here.see("c", "yard", face(ada=1, other=1.6), samples=2) == ada  # 0.53, and the threshold is 0.5
        assert here.see("c", "yard", face(ada=1, other=1.88), samples=4) == ada  # 0.47: not unlike enough
        alone = here.see("c", "yard", face(ada=0.1, other=1), samples=8)
        assert alone not in (ada, bob, "")
        assert here.see("c", "yard", face(bob=1, ada=0.1), samples=16) == bob
        assert here.book.root(alone) == bob
        assert [one.track_id for one in here.book.tracks_of(ada)] == ["a"]


async def test_the_end_of_a_track_that_was_lost_for_long_is_no_step_back(tmp_path: Path) -> None:
    """Without a wall clock its times count from when it was first heard of, not from its end."""
    async with watched(tmp_path) as here:
        here.see("a", "door", face(ada=1))
        await asyncio.sleep(0.2)
        here.see("b", "yard", face(ada=1))
        await asyncio.sleep(0.2)
        here.end("a", "door", face(ada=1))
        assert await here.journeys() == [("b", "yard")]
        assert list(here.book.live) == ["b"]
