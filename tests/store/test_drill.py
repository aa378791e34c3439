"""The drills of tests/benchmarks/store_drill.py, with few rounds."""

import pytest

from tests.benchmarks.store_drill import run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("drill", ["streamer", "client", pytest.param("postgres", marks=pytest.mark.postgres), "disk"])
def test_no_event_is_lost_and_none_comes_twice(drill: str) -> None:
    found = run(drill, rounds=2)
    assert found["events"] > 20
    assert [found[name] for name in ("lost", "strange", "twice", "out_of_order")] == [0, 0, 0, 0]
    if drill in ("postgres", "disk"):
        assert found["unstored"] > 0
