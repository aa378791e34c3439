"""Connect to a camera and leave it again, many times, in a process of its own: `python -m tests.support.churn URI`.

Prints what the process holds after the warm-up and at the end, as two JSON objects.
"""

import ctypes
import json
import os
import sys
import threading
from pathlib import Path

from prometheus_client import REGISTRY

from tests.support.patience import until
from tests.support.watching import Watched, stream, watching

AT_ONCE, ROUNDS, WARM_UP = 20, 50, 10


def main() -> None:
    uri = sys.argv[1]
    with watching() as watched:
        for number in range(ROUNDS):
            _connect_and_remove(watched, uri, number)
            if number in (WARM_UP, ROUNDS - 1):
                print(json.dumps(_held()), flush=True)


def _connect_and_remove(watched: Watched, uri: str, number: int) -> None:
    names = [f"camera-{number}-{place}" for place in range(AT_ONCE)]
    for name in names:
        watched.cameras.add(stream(name, uri))
    watched.until(lambda: all(watched.status(name).connects for name in names))
    for name in names:
        watched.cameras.remove(name)
    until(lambda: not any(thread.name.startswith("decode-") for thread in threading.enumerate()), "the threads' ends")
    watched.items.clear()
    watched.dropped.clear()


def _held() -> dict[str, float]:
    """What the process holds: threads, descriptors, metric series, memory in MB."""
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "threads": threading.active_count(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "series": sum(len(metric.samples) for metric in REGISTRY.collect()),
        "memory_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
    }


if __name__ == "__main__":
    main()
