"""The drills of tests/benchmarks/people_drill.py, with few rounds."""

import pytest

from tests.benchmarks import people_drill

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_a_kill_leaves_whole_people_and_does_not_disturb_another_streamer(store: str) -> None:
    found = await people_drill.run("killed", store, 2)
    assert (found["wrong"], found["examples"]) == (0, [])
    assert found["entries"] >= 2


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_searches_beside_changes_find_who_is_there(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_drill, "TOGETHER_S", 1.0)
    found = await people_drill.run("together", store, 0)
    assert (found["wrong"], found["examples"]) == (0, [])
    assert found["searched"] > 0
