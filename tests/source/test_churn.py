"""A thousand connects and disconnects leave nothing behind: threads, descriptors, memory, metric series."""

import ctypes
import os
import threading
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from tests.end_to_end.programs import Program
from tests.support.patience import until
from tests.support.videos import make_video
from tests.support.watching import Watched, stream, watching

pytestmark = pytest.mark.slow

AT_ONCE, ROUNDS, WARM_UP = 20, 50, 10
GROWTH_MB = 40.0  # the heap's fragmentation moves by 25; a decoder that stays is 1 to 2 MB, so 800 would be 1 GB


def test_a_thousand_connects_and_disconnects_leave_nothing_behind(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mp4", frames=50)
    with Program("tests.support.rtsp_server", "--mount", f"a={clip}") as server:
        port = server.wait_for(r"ready (\d+)").group(1)
        uri = f"rtsp://127.0.0.1:{port}/a"
        with watching() as watched:
            before: dict[str, float] = {}
            for number in range(ROUNDS):
                _connect_and_remove(watched, uri, number)
                if number == WARM_UP:
                    before = _held()
            after = _held()
    assert after["threads"] <= before["threads"]
    assert after["descriptors"] <= before["descriptors"]
    assert after["series"] <= before["series"]
    assert after["memory_mb"] <= before["memory_mb"] + GROWTH_MB, (before, after)


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
