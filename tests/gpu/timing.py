"""Seconds of calls that take turns, so that a machine that is busy for a moment slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping

Call = Callable[[], object]


def medians(
    calls: Mapping[str, Call], device: str, budget_s: float, most: int = 50, least: int = 3
) -> dict[str, float]:
    """Return the median seconds of each call: as many rounds as fit into a time, after one that does not count."""
    synchronise = synchroniser(device)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    synchronise()
    end = time.perf_counter() + budget_s
    rounds = 0
    while rounds < least or (rounds < most and time.perf_counter() < end):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            synchronise()
            seconds[name].append(time.perf_counter() - start)
        rounds += 1
    return {name: statistics.median(values) for name, values in seconds.items()}


def synchroniser(device: str) -> Callable[[], None]:
    """Return what waits until a device has done all that was asked of it."""
    if device == "cpu":
        return lambda: None
    import torch

    return lambda: torch.cuda.synchronize(device)
