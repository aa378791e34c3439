"""The page of a track: enrol from it, see the name, say "not this person", and what a viewer may not do."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.dashboard import Visit
from tests.web.conftest import Place, open_place

pytestmark = pytest.mark.browser
SCRIPT = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with open_place() as found:
        yield found


@pytest.fixture(scope="module")
def editor(place: Place) -> str:
    return place.token("read", "biometric", "enrol", "operate")


@pytest.fixture(scope="module")
def viewer(place: Place) -> str:
    return place.token("read", "biometric")


def open_track(visit: Visit) -> str:
    """Open the page of the first face that is analysed; its address."""
    visit.page.goto("/live")
    visit.until("document.querySelector('#strip a')?.innerText.includes('about 30')")
    visit.page.click("#strip a")
    visit.until("document.querySelector('.who h1')")
    return visit.page.url


def say(visit: Visit, button: str) -> None:
    """Press a button of the open dialog, once it can be pressed."""
    visit.page.click(f"dialog button:has-text('{button}'):enabled")


def test_a_face_gets_a_name_and_loses_it_again(browser: Browser, place: Place, editor: str) -> None:
    with Visit(browser, place.url) as visit:
        visit.sign_in(editor)
        address = open_track(visit)
        visit.page.click("text=This is")
        visit.page.fill("#who", SCRIPT)
        say(visit, "See what changes")
        say(visit, "Do it")
        visit.until(f"document.querySelector('.who h1').textContent === {json.dumps(SCRIPT)}")
        assert visit.page.query_selector("main img[src=x]") is None
        visit.page.goto("/live")
        visit.until(f"document.querySelector('#strip').innerText.includes({json.dumps(SCRIPT)})")
        labels = "document.querySelector('[data-camera=door] canvas')?.shown?.labels ?? []"
        visit.until(f"({labels}).some((one) => one.text.startsWith({json.dumps(SCRIPT)}))")
        visit.page.goto(address)
        visit.until("document.querySelector('.who h1')")
        visit.page.click("text=Not <img")
        say(visit, "See what changes")
        say(visit, "Do it")
        visit.until("document.querySelector('.who h1').textContent.startsWith('Face #')")
        visit.page.click("text=Undo")
        visit.until(f"document.querySelector('.who h1').textContent === {json.dumps(SCRIPT)}")
        assert visit.problems == []
        assert visit.foreign() == []


def test_a_viewer_sees_no_button_and_the_server_refuses_as_well(
    browser: Browser, place: Place, viewer: str, editor: str
) -> None:
    del editor
    with Visit(browser, place.url) as visit:
        visit.sign_in(viewer)
        open_track(visit)
        assert visit.page.query_selector("text=This is") is None
        refused = visit.page.evaluate(
            """async () => {
              const about = JSON.parse(document.getElementById("about").textContent);
              const body = JSON.stringify({ trackId: about.values.track.trackId, newPerson: { displayName: "x" } });
              const headers = { "x-csrf-token": about.csrf };
              const url = "/api/GalleryService/EnrollFromTrack";
              const answer = await fetch(url, { method: "POST", headers, body });
              return [answer.status, (await answer.json()).reason];
            }"""
        )
        assert refused == [403, "SCOPE_MISSING"]


def test_a_track_is_json_as_well_and_says_in_words_what_is_missing(browser: Browser, place: Place, viewer: str) -> None:
    with Visit(browser, place.url) as visit:
        visit.sign_in(viewer)
        address = open_track(visit)
        track = visit.page.request.get(f"{address}.json").json()
        assert address.endswith(track["trackId"])
        assert track["streamId"] == "door"
        visit.page.goto("/tracks/nothing")
        assert "no live or stored track 'nothing'" in visit.page.inner_text("main")
        visit.page.goto("/nothing")
        assert "nothing at this address" in visit.page.inner_text("main")
