"""The live page in a real browser: a real RTSP server, a real streamer, a worker."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from playwright.sync_api import Browser

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from tests.support.dashboard import NARROW, Visit
from tests.support.patience import until
from tests.web.conftest import Place, open_place

pytestmark = pytest.mark.browser
SHOWN = "document.querySelector('[data-camera=door] canvas')?.shown"


class Published:
    """The boxes that the API publishes, by track and media time."""

    def __init__(self, address: str) -> None:
        self.boxes: dict[tuple[str, float], tuple[float, ...]] = {}
        self._channel = grpc.insecure_channel(address)
        stub = tracks_pb2_grpc.TrackServiceStub(self._channel)
        self._call: Any = stub.WatchTracks(tracks_pb2.WatchTracksRequest())
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for event in self._call:
                box = event.track.box
                where = box.x, box.y, box.width, box.height
                self.boxes[event.track.track_id, round(event.track.last_seen_s, 3)] = where
        except grpc.RpcError:
            return

    def close(self) -> None:
        self._call.cancel()
        self._channel.close()


@pytest.fixture
def live(browser: Browser, place: Place) -> Iterator[Visit]:
    with Visit(browser, place.url) as visit:
        visit.page.goto("/live")
        visit.until(f"{SHOWN}?.boxes.length === 2")
        yield visit
        assert visit.problems == []
        assert visit.foreign() == []


def test_a_tile_shows_moving_pictures_with_the_published_boxes_of_the_same_frame(live: Visit, place: Place) -> None:
    published = Published(place.dashboard.address)
    try:
        matched: dict[float, float] = {}  # media time of a picture -> largest distance of a side, source pixels

        def compared() -> bool:
            shown = live.page.evaluate(SHOWN)
            placed, frame = shown["placed"], shown["frame"]
            assert shown["picture"] == [640, 480]
            for box in shown["boxes"]:
                key = box["id"], round(frame["time"], 3)
                if key in published.boxes and not box["predicted"]:
                    x, y = ((box[side] - placed[side]) / placed["scale"] for side in ("x", "y"))
                    found = x, y, box["width"] / placed["scale"], box["height"] / placed["scale"]
                    off = max(abs(one - two) for one, two in zip(found, published.boxes[key], strict=True))
                    matched[frame["time"]] = max(off, matched.get(frame["time"], 0))
            return len(matched) >= 5

        until(compared, "five pictures whose boxes were published")
        assert max(matched.values()) < 3
    finally:
        published.close()


def test_labels_never_cover_a_face_and_never_leave_the_picture(live: Visit) -> None:
    live.until(f"{SHOWN}.labels.length === 2")
    shown = live.page.evaluate(SHOWN)
    area = shown["placed"]
    for label in shown["labels"]:
        assert label["x"] >= area["x"]
        assert label["y"] >= area["y"]
        assert label["x"] + label["width"] <= area["x"] + area["width"] + 0.1
        assert label["y"] + label["height"] <= area["y"] + area["height"] + 0.1
        for other in [*shown["boxes"], *(one for one in shown["labels"] if one is not label)]:
            apart = (
                label["x"] >= other["x"] + other["width"]
                or other["x"] >= label["x"] + label["width"]
                or label["y"] >= other["y"] + other["height"]
                or other["y"] >= label["y"] + label["height"]
            )
            assert apart, (label, other)


def test_faces_appear_below_and_lead_to_their_tracks(live: Visit) -> None:
    live.until("document.querySelectorAll('#strip a').length === 2")
    live.page.click("#strip a")
    live.until("document.querySelector('.who h1')?.textContent.startsWith('Face #')")
    live.until("document.querySelector('.about').innerText.includes('about 30')")


def test_a_camera_in_full_size_has_its_faces_beside_it(live: Visit) -> None:
    live.page.focus(".tile")
    live.page.keyboard.press("Enter")
    live.page.wait_for_url("**/live/door")
    live.until("document.querySelectorAll('#beside li').length === 2")
    live.page.keyboard.press("Escape")
    live.page.wait_for_url("**/live")


def test_nothing_is_cut_off_on_a_narrow_screen(live: Visit) -> None:
    live.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    live.until("document.querySelector('.tile').clientWidth > 300")
    assert live.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_the_bar_says_on_every_page_that_analyses_are_behind(browser: Browser) -> None:
    with open_place(fails=True) as behind, Visit(browser, behind.url) as visit:
        for page in ("/live", "/history", "/cameras"):
            visit.page.goto(page)
            visit.until(
                "/^1 camera · [1-9]\\d* analys[ei]s\\/s behind$/.test(document.querySelector('#state').innerText)"
            )
        assert visit.problems == []


def test_a_camera_that_is_lost_shows_its_last_picture_and_says_why_and_comes_back(live: Visit, place: Place) -> None:
    place.camera.kill()
    live.until("document.querySelector('.tile.down .words')?.innerText.includes('lost since')")
    assert live.page.evaluate(f"{SHOWN}.picture") == [640, 480]
    assert "1 down" in live.page.inner_text("#state")
    with_words = live.page.inner_text(".tile .words")
    assert "tried again" in with_words
    before = live.page.evaluate(f"{SHOWN}.frame.epoch")
    place.camera.start_again()
    live.until(f"{SHOWN}.frame.epoch > {before} && !document.querySelector('.tile.down')")
