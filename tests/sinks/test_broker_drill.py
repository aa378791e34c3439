"""The drills of tests/benchmarks/sink_drill.py for message brokers, with few rounds."""

import pytest

from tests.benchmarks.sink_drill import WRONG, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "kind",
    [pytest.param("mqtt", marks=pytest.mark.mosquitto), pytest.param("nats", marks=pytest.mark.nats), "kafka"],
)
def test_no_event_is_lost_or_out_of_order_and_doubles_have_the_same_id(kind: str) -> None:
    found = run(kind, rounds=1)
    assert found["events"] > 10
    assert [found[name] for name in WRONG] == [0] * len(WRONG)
    if kind == "nats":  # the server drops them
        assert found["twice"] == 0
