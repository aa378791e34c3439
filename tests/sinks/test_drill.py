"""The drills of tests/benchmarks/sink_drill.py, with few rounds."""

import pytest

from tests.benchmarks.sink_drill import WRONG, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["files", "webhook", "webhook_batches"])
def test_no_event_is_lost_or_out_of_order(kind: str) -> None:
    found = run(kind, rounds=1)
    assert found["events"] > 2
    assert [found[name] for name in WRONG] == [0, 0, 0, 0]
