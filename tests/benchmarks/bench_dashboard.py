"""What the dashboard costs: CPU time per analysed frame with nobody, one page, many pages, and a stalled one.

With nobody it is compared with a streamer without a dashboard (`web.listen: null`), started in turns.
"""

import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.benchmarks.live_cameras import CROWD, Site, site
from tests.benchmarks.pipeline_stages import process_s, resident_mb
from tests.end_to_end.programs import Program, address_of, free_port
from tests.support.patience import until

CAMERAS, TILE, VIEWERS = 4, 640, 50  # cameras, px, viewers of one camera
WARM_UP_S, WINDOW_S, ROUNDS = 6.0, 6.0, 5
ANALYSED, ENCODED = "faceanalytics_frames_analysed_total", "faceanalytics_pictures_encoded_total"
WAYS = ("nobody", "one page of four tiles", "50 viewers of one camera", "a stalled page")


def measure(rounds: int = ROUNDS, window_s: float = WINDOW_S) -> dict[str, Any]:
    """Follow four cameras, and let people come and go in turns; before, with and without a dashboard in turns."""
    with tempfile.TemporaryDirectory(prefix="fa-") as name, site(Path(name)) as place, place.worker():
        without: dict[bool, list[dict[str, float]]] = {True: [], False: []}
        for _ in range(rounds):
            for there, windows in without.items():
                with _followed(place, there) as (streamer, port):
                    windows.append(_window(port, streamer.process.pid, window_s, lambda: 0))
        with _followed(place, True) as (streamer, port):
            url = streamer.wait_for(r"the dashboard is at http(\S+)\n").group(1)
            found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _ in range(rounds):
                for way in WAYS:
                    with _visitors(way, f"ws{url}socket", place) as received:
                        found[way].append(_window(port, streamer.process.pid, window_s, received))
    ways = {
        way: {key: statistics.median(one[key] for one in all_of) for key in all_of[0]} for way, all_of in found.items()
    }
    ratios = {
        way: statistics.median(
            one["cpu_ms_per_frame"] / none["cpu_ms_per_frame"]
            for one, none in zip(found[way], found["nobody"], strict=True)
        )
        for way in WAYS[1:]
    }
    nobody = {
        key: statistics.median(one[key] / none[key] for one, none in zip(without[True], without[False], strict=True))
        for key in ("analysed_per_s", "cpu_ms_per_frame", "resident_mb")
    }
    return {"ways": ways, "cost_ratio": ratios, "nobody_to_without": nobody, "load": os.getloadavg()[1]}


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    columns = {
        "analysed_per_s": "analysed/s",
        "cpu_ms_per_frame": "CPU ms/fr.",
        "encoded_per_s": "encoded/s",
        "received_per_s": "received/s",
        "resident_mb": "MB",
    }
    title = f"{CAMERAS} cameras, pictures of {TILE} px, medians"
    lines = [title.ljust(42) + "".join(f"{name:>12}" for name in columns.values()) + "       ratio"]
    for way, one in results["ways"].items():
        cells = "".join(f"{one[key]:12.1f}" for key in columns)
        lines.append(way.ljust(42) + cells + f"{results['cost_ratio'].get(way, 1):12.2f}")
    nobody = results["nobody_to_without"]
    lines.append(
        f"with a dashboard and nobody, to web.listen: null: frames/s {nobody['analysed_per_s']:.3f}, "
        f"CPU per frame {nobody['cpu_ms_per_frame']:.3f}, memory {nobody['resident_mb']:.3f}"
    )
    note = f"ratio: CPU per analysed frame, to that with nobody just before; shared machine, load {results['load']:.0f}"
    return "\n".join([*lines, note])


@contextmanager
def _followed(place: Site, dashboard: bool) -> Iterator[tuple[Program, int]]:
    """A streamer that has followed its cameras for a while, and the port of its metrics."""
    port = free_port()
    web = {"listen": "127.0.0.1:0" if dashboard else None}
    config = place.config(CAMERAS, CROWD, metrics={"listen": f"127.0.0.1:{port}"}, web=web)
    with Program("streamer", "serve", "--config", config) as streamer:
        address_of(streamer)
        until(lambda: _counts(port)[ANALYSED] > 0, "frames")
        time.sleep(WARM_UP_S)
        yield streamer, port


def _window(port: int, pid: int, seconds: float, received: Callable[[], int]) -> dict[str, float]:
    time.sleep(1.0)  # those who came have their first picture, those who left are forgotten
    before, cpu, got, began = _counts(port), process_s(pid), received(), time.monotonic()
    time.sleep(seconds)
    after, passed = _counts(port), time.monotonic() - began
    return {
        "analysed_per_s": (after[ANALYSED] - before[ANALYSED]) / passed,
        "encoded_per_s": (after[ENCODED] - before[ENCODED]) / passed,
        "received_per_s": (received() - got) / passed,
        "cpu_ms_per_frame": 1000 * (process_s(pid) - cpu) / max(1.0, after[ANALYSED] - before[ANALYSED]),
        "resident_mb": resident_mb(pid),
    }


def _counts(port: int) -> dict[str, float]:
    text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()  # our own address
    counts = dict.fromkeys((ANALYSED, ENCODED), 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in counts:
                counts[sample.name] += sample.value
    return counts


@contextmanager
def _visitors(way: str, url: str, place: Site) -> Iterator[Callable[[], int]]:
    """Those who watch, until the end of the block; it gives the number of pictures that they have received."""
    del place
    origin: Any = url.replace("ws", "http", 1).removesuffix("/socket")
    cameras = [f"{CROWD}-{number}" for number in range(CAMERAS)]
    with ExitStack() as closing:
        if way == WAYS[0]:
            yield lambda: 0
            return
        number = VIEWERS if way == WAYS[2] else 1
        sockets = [closing.enter_context(connect(url, origin=origin, max_queue=64)) for _ in range(number)]
        for socket in sockets:
            wanted = cameras[:1] if way == WAYS[2] else cameras
            socket.send(json.dumps({"watch": {"cameras": wanted, "width": TILE}}))
        counts = [0] * number
        if way != WAYS[3]:  # the stalled one reads nothing
            for place_of, socket in enumerate(sockets):
                threading.Thread(target=_read, args=(socket, counts, place_of), daemon=True).start()
        yield lambda: sum(counts)


def _read(socket: ClientConnection, counts: list[int], place: int) -> None:
    try:
        while True:
            if isinstance(socket.recv(), bytes):
                counts[place] += 1
                socket.send('{"ack":1}')
    except ConnectionClosed:
        return


if __name__ == "__main__":
    print(table(measure()))
