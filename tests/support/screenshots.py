"""Makes the pictures of the README: `python -m tests.support.screenshots docs/images`.

Two cameras show a photograph of NASA (public domain) that comes with scikit-image; the small bundled models look at it.
"""

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from playwright.sync_api import Browser

from streamer.tools.demo_clip import FPS, HEIGHT, WIDTH, View, photograph_of, view_of
from tests.end_to_end.programs import PATIENT_TRACK, Program
from tests.support.dashboard import Visit, chromium, dashboard
from tests.support.patience import until

SIZE = {"width": 1280, "height": 720}
NAME = "Ada"
SECONDS = 8.0
VIEWS: dict[str, tuple[View, View]] = {
    "entrance": ((0.52, 0.36, 1.0), (0.46, 0.28, 0.75)),
    "reception": ((0.40, 0.30, 0.80), (0.52, 0.34, 1.0)),
}


def make_camera(path: Path, start: View, end: View) -> None:
    """Write a clip that moves over the photograph, there and back."""
    photograph = photograph_of("skimage", "data/astronaut.png")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(round(SECONDS * FPS)):
            ease = 0.5 - 0.5 * np.cos(2 * np.pi * index / (SECONDS * FPS))
            view = view_of(photograph, tuple(a + ease * (b - a) for a, b in zip(start, end, strict=True)))
            image = av.VideoFrame.from_ndarray(view, format="bgr24")
            image.pts, image.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def take(browser: Browser, url: str, out: Path) -> None:
    """Enrol the face of one camera by its page, then take the pictures."""
    with Visit(browser, url, viewport=SIZE) as visit:
        page = visit.page
        page.goto("/live/entrance")
        visit.until("document.querySelector('#beside li')?.innerText.includes('about')")
        page.click("#beside li:has-text('about') a")
        visit.until("document.querySelector('.track img')?.complete")
        page.click("text=This is")
        page.fill("#who", NAME)
        page.click("dialog button:has-text('See what changes'):enabled")
        page.click("dialog button:has-text('Do it'):enabled")
        visit.until(f"document.querySelector('.who h1').textContent === '{NAME}'")
        address = page.url
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto(address)
            visit.until("document.querySelector('.track img')?.complete")
            page.wait_for_timeout(1000)
            page.screenshot(path=out / f"dashboard-track-{scheme}.jpg", type="jpeg", quality=82)
            page.goto("/live")
            both = "[...document.querySelectorAll('.tile canvas')].filter((one) => one.shown?.labels.some((each) =>"
            visit.until(f"{both} each.text.startsWith('{NAME}'))).length === {len(VIEWS)}")
            visit.until(f"document.querySelector('#strip').innerText.split('{NAME}').length > {len(VIEWS)}")
            page.screenshot(path=out / f"dashboard-live-{scheme}.jpg", type="jpeg", quality=82)


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fa-") as name:
        folder = Path(name)
        for camera, views in VIEWS.items():
            make_camera(folder / f"{camera}.mp4", *views)
        streams = [{"id": camera, "uri": str(folder / f"{camera}.mp4"), "loop": True, "max_fps": 3} for camera in VIEWS]
        track = {**PATIENT_TRACK, "max_gap_s": 600.0}
        with (
            dashboard(folder, Path("default"), {}, streams=streams, track=track) as served,
            Program("workers.serve", "--connect", served.endpoint, "--weights", "default", "--device", "cpu"),
            chromium() as browser,
        ):
            until(lambda: "connected" in served.program.text, "the worker")
            take(browser, served.url, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
