"""How many more cameras fit: a table of cases."""

from collections.abc import Mapping

import pytest

from streamer.api.capacity import MEASURED_S, Limit, more_streams

DETECTOR, WORKERS, CPU, STREAMS = Limit.DETECTOR, Limit.WORKERS, Limit.CPU, Limit.STREAMS


@pytest.mark.parametrize(
    ("uses", "running", "overloaded", "free", "expected"),
    [
        ({DETECTOR: 0.2}, 1, 0, 99, (3, DETECTOR)),  # 0.2 each, 0.8 is full
        ({DETECTOR: 0.2}, 2, 0, 99, (6, DETECTOR)),
        ({DETECTOR: 0.2, WORKERS: 0.4, CPU: 0.1}, 1, 0, 99, (1, WORKERS)),
        ({DETECTOR: 0.2, WORKERS: 0.1, CPU: 0.7}, 4, 0, 99, (0, CPU)),
        ({DETECTOR: 0.95}, 3, 0, 99, (0, DETECTOR)),
        ({DETECTOR: 0.1, WORKERS: 0.5}, 2, 1, 99, (0, WORKERS)),  # one is overloaded: no more
        ({DETECTOR: 0.01, WORKERS: None, CPU: None}, 1, 0, 5, (5, STREAMS)),
        ({DETECTOR: 0.0}, 1, 0, 7, (7, STREAMS)),
        ({DETECTOR: 0.1}, 1, 0, -1, (0, STREAMS)),
        ({DETECTOR: 0.1}, 0, 0, 99, None),  # nothing to extrapolate from
        ({DETECTOR: None}, 1, 0, 99, None),
    ],
)
def test_the_scarcest_part_decides(
    uses: Mapping[Limit, float | None], running: int, overloaded: int, free: int, expected: tuple[int, Limit] | None
) -> None:
    assert more_streams(uses, running, overloaded, free, 60.0) == expected


def test_a_few_seconds_say_nothing() -> None:
    assert more_streams({DETECTOR: 0.2}, 1, 0, 99, MEASURED_S - 0.1) is None
    assert more_streams({DETECTOR: 0.2}, 1, 0, 99, MEASURED_S) == (3, DETECTOR)
