"""How long tests wait. These bounds find a hang; no test asserts how fast something is.

Set FACEANALYTICS_TEST_PATIENCE to a factor above 1 on a machine where even these are too short.
"""

import os
import time
from collections.abc import Callable

FACTOR = float(os.environ.get("FACEANALYTICS_TEST_PATIENCE", "1"))
WAIT_S = 240.0 * FACTOR  # for one event: a program that starts, an answer, a state
FOREVER_S = 86_400.0  # longer than any test may last: a time limit that the code under test must not need


def until(condition: Callable[[], bool], what: str, every_s: float = 0.05) -> None:
    """Wait until the condition holds; after WAIT_S, fail and say what did not happen."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_S:g} s in vain: {what}"
        time.sleep(every_s)
