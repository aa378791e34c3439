"""Past tracks are read in pieces, in the order of their ids, each once."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamer.config import Store
from streamer.store import past
from streamer.store.past import each_past
from streamer.store.tables import templates
from tests.support.stored import final, running

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = [f"t{number:02}" for number in range(12)]


@pytest.mark.parametrize("most", [1, 2, 5, 100])
@pytest.mark.parametrize("count", [1, 2, 5, 100])
async def test_tracks_with_a_template_and_those_that_are_asked_for_come_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, count: int
) -> None:
    monkeypatch.setattr(past, "MOST_IDS", most)
    async with running(Store(folder=str(tmp_path / "store"))) as one:
        one.put(*(final(name) for name in NAMES))
        await one.settle()
        for name in NAMES[::3]:
            row = {"track_id": name, "model_id": "m", "samples": 3, "quality": 0.5, "template": b"x", "at": NOW}
            await one.store.execute(templates.insert().values(row))
        also = [*NAMES[1::4], NAMES[0], "t00a", "t05a", "t99"]  # some of which are not there
        database, columns = one.store.database, one.store.columns
        for after in ("", "t03", "t04x"):
            pieces = [[row.track_id for row in some] async for some in each_past(database, columns, also, count, after)]
            wanted = sorted(name for name in {*NAMES[::3], *NAMES[1::4]} if name > after)
            assert [name for some in pieces for name in some] == wanted
            assert all(0 < len(some) <= count for some in pieces)
