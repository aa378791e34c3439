"""What the pages of the dashboard cost the browser: first paint, an hour of visitors on open pages, and 60 tiles.

The hour is compressed: visitors come and go several times a second, as many as come in an hour where one comes every
four seconds. Memory is that after a collection of garbage. Scrolling is measured by the times between two pictures of
the browser, which has no GPU here and paints by software on the cores that also analyse the cameras.
"""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.support.dashboard import Dashboard, Visit, chromium, dashboard
from tests.support.painted_people import person, write_video
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import until
from tests.web.conftest import SETTINGS, Camera, Place, working

PAGES = ("/live", "/history", "/people", "/recordings", "/cameras", "/system")
OPEN = ("/live", "/history", "/system")  # for an hour
LOADS = 5
VISITORS, SAMPLES = 900, 10  # an hour of one every four seconds
WARM_UP_S = 20.0
TILES, SCROLL_S = 60, 8.0
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
SHIFTED = """new Promise((done) => { let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((one) => { if (!one.hadRecentInput) sum += one.value; }))
    .observe({ type: 'layout-shift', buffered: true });
  setTimeout(() => done(sum), 1000); })"""
SCRIPTS = """performance.getEntriesByType('resource').filter((one) => one.name.endsWith('.js'))
  .reduce((sum, one) => sum + one.decodedBodySize, 0)"""
SCROLL = """(seconds) => new Promise((done) => { const times = []; let before = performance.now(); const began = before;
  const step = (now) => { times.push(now - before); before = now;
    scrollTo(0, (Math.sin((now - began) / 1000) + 1) / 2 * (document.documentElement.scrollHeight - innerHeight));
    if (now - began < seconds * 1000) requestAnimationFrame(step); else done(times.slice(2)); };
  requestAnimationFrame(step); })"""


def measure(visitors: int = VISITORS) -> dict[str, Any]:
    """Load the pages, leave some of them open while visitors come and go, and scroll over many cameras."""
    with chromium() as browser:
        with _opened(1) as place:
            token = place.token("admin")
            painted = {page: _loaded(browser, place.url, token, page) for page in PAGES}
            hour = _hour(browser, place, token, visitors)
        with _opened(TILES) as place:
            scrolled = _scrolled(browser, place.url, place.token("admin"))
    return {"pages": painted, "hour": hour, "scroll": scrolled, "load": os.getloadavg()[1]}


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    lines = ["page".ljust(14) + "first paint ms".rjust(16) + "layout shift".rjust(14) + "scripts kB".rjust(12)]
    for page, one in results["pages"].items():
        lines.append(f"{page:14}{one['paint_ms']:16.0f}{one['shift']:14.3f}{one['script_kb']:12.0f}")
    lines += ["", "page open".ljust(14) + "visitors".rjust(10) + "heap MB".rjust(18) + "DOM nodes".rjust(18)]
    for page, one in results["hour"].items():
        heap = f"{one['heap_mb'][0]:.1f} -> {one['heap_mb'][-1]:.1f}"
        nodes = f"{one['nodes'][0]} -> {one['nodes'][-1]}"
        lines.append(f"{page:14}{one['visitors']:10d}{heap:>18}{nodes:>18}")
    scroll = results["scroll"]
    lines += [
        "",
        f"{TILES} tiles, scrolled: {scroll['median_ms']:.1f} ms between two pictures, p95 {scroll['p95_ms']:.1f}",
    ]
    lines.append(
        f"medians of {LOADS} loads; heap and nodes after the first and the last {SAMPLES}th part; "
        f"shared machine, load {results['load']:.0f}"
    )
    return "\n".join(lines)


@contextlib.contextmanager
def _opened(cameras: int) -> Iterator[Place]:
    """A streamer whose cameras show people who come and go."""
    with tempfile.TemporaryDirectory(prefix="fa-") as name, contextlib.ExitStack() as closing:
        folder = Path(name)
        detector = write_lite_patch_detector(folder / "patches.onnx")
        there = {person(number): [(0.0, 0.8)] for number in range(3)}
        write_video(folder / "door.mp4", there, 2 if cameras == 1 else 4)
        camera = Camera(folder / "door.mp4")
        closing.callback(camera.kill)
        settings = {**SETTINGS, "track": {**SETTINGS["track"], "lost_s": 0.5, "confirm_hits": 2}}
        names = [f"camera-{number:02}" for number in range(cameras)]
        uris = dict.fromkeys(names, camera.url)
        served: Dashboard = closing.enter_context(dashboard(folder, detector, uris, **settings))
        closing.enter_context(working(served.endpoint))
        until(lambda: all(f"camera {one} RUNNING" in served.program.text for one in names), "the cameras")
        yield Place(folder, served, camera)


def _loaded(browser: Browser, url: str, token: str, page: str) -> dict[str, float]:
    found: dict[str, list[float]] = {"paint_ms": [], "shift": [], "script_kb": []}
    with Visit(browser, url) as visit:
        visit.sign_in(token)
        for _ in range(LOADS):
            visit.page.goto(page)
            visit.until("document.querySelector('main h1') && !document.querySelector('main .skeleton')")
            found["shift"].append(visit.page.evaluate(SHIFTED))
            found["paint_ms"].append(visit.page.evaluate(PAINTED))
            found["script_kb"].append(visit.page.evaluate(SCRIPTS) / 1000)
    return {name: statistics.median(values) for name, values in found.items()}


def _hour(browser: Browser, place: Place, token: str, visitors: int) -> dict[str, dict[str, Any]]:
    """Leave pages open until the visitors of an hour have come; return heap and nodes at the end of each part."""
    with contextlib.ExitStack() as closing:
        visits = {}
        for page in OPEN:
            visit = visits[page] = closing.enter_context(Visit(browser, place.url))
            visit.sign_in(token)
            visit.page.goto(page)
        time.sleep(WARM_UP_S)
        counter = visits[OPEN[0]]
        came = _came(counter)
        found: dict[str, dict[str, Any]] = {page: {"heap_mb": [], "nodes": []} for page in OPEN}
        for part in range(SAMPLES):
            while _came(counter) - came < visitors * (part + 1) / SAMPLES:
                time.sleep(1.0)
            for page, visit in visits.items():
                metrics = _metrics(visit)
                found[page]["heap_mb"].append(metrics["JSHeapUsedSize"] / 1e6)
                found[page]["nodes"].append(int(metrics["Nodes"]))
                found[page]["visitors"] = _came(counter) - came
        assert all(not [one for one in visit.problems if "status of 4" not in one] for visit in visits.values())
    return found


def _came(visit: Visit) -> int:
    """Return how many tracks are stored, by the API."""
    asked = """async () => { const all = [...document.scripts].find((one) => one.src.includes('/static/')).src;
      const { call } = await import(all.replace(/[^/]+$/, 'api.js'));
      return (await call('TrackService/CountTracks', {})).hours?.reduce((sum, one) => sum + Number(one.tracks), 0) }"""
    return int(visit.page.evaluate(asked) or 0)


def _metrics(visit: Visit) -> dict[str, float]:
    session = visit.context.new_cdp_session(visit.page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return found


def _scrolled(browser: Browser, url: str, token: str) -> dict[str, float]:
    with Visit(browser, url) as visit:
        visit.sign_in(token)
        visit.until(f"document.querySelectorAll('.tile').length >= {TILES}")
        time.sleep(WARM_UP_S)
        times = sorted(visit.page.evaluate(SCROLL, SCROLL_S))
    return {"median_ms": statistics.median(times), "p95_ms": times[int(0.95 * len(times))]}


if __name__ == "__main__":
    print(table(measure()))
