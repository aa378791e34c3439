"""The pages of a track and of a visitor: who it is, which tracks are one, journeys; and what a viewer may not do."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.conftest import AXE
from tests.support.dashboard import NARROW, Visit
from tests.support.painted_people import person, write_image
from tests.support.patience import until
from tests.web.conftest import Place, open_place
from tests.web.test_door import csrf, post, signed_in

pytestmark = pytest.mark.browser
SCRIPT = "<img src=x onerror=alert(1)>"
ENOUGH = 3  # analyses of a track from which somebody can be enrolled
NAME, TWIN = "<img src=x> of the hall", "Twin <img src=x>"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    visitors = {"enabled": True, "min_quality": 0.0}
    with open_place(hall=True, visitors=visitors) as found:
        yield found


@pytest.fixture(scope="module")
def editor(place: Place) -> str:
    return place.token("read", "biometric", "enrol", "operate")


@pytest.fixture(scope="module")
def viewer(place: Place) -> str:
    return place.token("read", "biometric")


@pytest.fixture(scope="module")
def twins(place: Place, editor: str) -> str:
    """The id of a person with pictures of two people."""
    with signed_in(place, editor) as found:
        made = post(found, "/api/GalleryService/CreatePerson", {"person": {"displayName": TWIN, "labels": ["night"]}})
        person_id: str = made.json()["person"]["personId"]
        headers = {"origin": place.url, "x-csrf-token": csrf(found)}
        for seed in (8, 11):  # who are like nobody here
            image = place.folder / f"{seed}.jpg"
            write_image(image, [person(seed)])
            data = base64.b64encode(image.read_bytes()).decode()
            line = {"personId": person_id, "judgement": "JUDGEMENT_OFF", "fileName": image.name, "data": data}
            answer = found.post("/api/GalleryService/AddReferences", json=line, headers=headers)
            assert answer.json()["results"][0]["referenceId"]
    return person_id


def open_track(visit: Visit, found: httpx.Client) -> str:
    """Open the page of a face of ada, whom both cameras see, once it is analysed; its address.

    The others stay without a name, because other tests need them as visitors.
    """
    links: list[str] = []

    def there() -> bool:
        for one in tracks_of(found, "door", upper=True):
            link = f"#strip a[href='/tracks/{one['trackId']}']"
            element = visit.page.query_selector(link)
            if one.get("samples", 0) >= ENOUGH and element is not None and "about 30" in element.inner_text():
                links.append(link)
        return bool(links)

    visit.page.goto("/live")
    until(there, "a face of ada in the strip")
    visit.page.click(links[0])
    visit.until("document.querySelector('.who h1')")
    return visit.page.url


def say(visit: Visit, button: str) -> None:
    """Press a button of the open dialog, once it can be pressed."""
    visit.until(f"[...document.querySelectorAll('dialog button:enabled')].some((one) => one.innerText === '{button}')")
    visit.page.click(f"dialog button:has-text('{button}'):enabled")


def test_a_face_gets_a_name_and_loses_it_again(browser: Browser, place: Place, editor: str) -> None:
    with Visit(browser, place.url) as visit, signed_in(place, editor) as found:
        visit.sign_in(editor)
        address = open_track(visit, found)
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


def test_a_track_that_has_ended_gets_its_name_while_its_page_is_open(browser: Browser) -> None:
    with open_place() as alone, Visit(browser, alone.url) as visit:
        token = alone.token("admin")
        visit.sign_in(token)
        with signed_in(alone, token) as found:
            address = open_track(visit, found)
            visit.page.focus("text=This is")
            before = visit.page.inner_text(".why")
            visit.until(f"document.querySelector('.why').innerText !== {json.dumps(before)}")  # it is shown again
            assert visit.page.evaluate("document.activeElement.textContent").startswith("This is")
            post(found, "/api/StreamService/DeleteStream", {"streamId": "door"})
        visit.page.goto(address)  # nobody is enrolled yet, so nothing is stored that it could be compared by
        visit.until("document.querySelector('.about')?.parentElement.innerText.includes('ended')")
        visit.page.click("text=This is")
        visit.page.fill("#who", "Ada")
        change(visit, "This is Ada now")
        visit.until("document.querySelector('.who h1').textContent === 'Ada'")
        visit.page.click("text=Undo")
        visit.until("document.querySelector('.who h1').textContent.startsWith('Face #')")
        assert visit.problems == []


def test_a_viewer_sees_no_button_and_the_server_refuses_as_well(
    browser: Browser, place: Place, viewer: str, editor: str
) -> None:
    del editor
    with Visit(browser, place.url) as visit, signed_in(place, viewer) as found:
        visit.sign_in(viewer)
        open_track(visit, found)
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
    with Visit(browser, place.url) as visit, signed_in(place, viewer) as found:
        visit.sign_in(viewer)
        address = open_track(visit, found)
        track = visit.page.request.get(f"{address}.json").json()
        assert address.endswith(track["trackId"])
        assert track["streamId"] in ("door", "hall")
        with signed_in(place, place.token("read")) as blind:  # it sees no faces
            assert blind.get(f"/faces/{track['trackId']}.jpg").status_code == 204
        visit.page.goto("/tracks/nothing")
        assert "no live or stored track 'nothing'" in visit.page.inner_text("main")
        visit.page.goto("/nothing")
        assert "nothing at this address" in visit.page.inner_text("main")


def tracks_of(found: httpx.Client, camera: str, upper: bool) -> list[dict[str, Any]]:
    """The tracks of the upper or lower face of a camera."""
    answer = post(found, "/api/TrackService/ListTracks", {"streamIds": [camera]}).json()
    return [one for one in answer.get("tracks", []) if (one["box"]["y"] < 80) is upper]


def shown(found: httpx.Client, camera: str, upper: bool, visitor: bool = True) -> dict[str, Any]:
    """The track of the upper or lower face of a camera, once it is one of a `visitor`, if that is wanted."""
    tracks: list[dict[str, Any]] = []

    def there() -> bool:
        some = tracks_of(found, camera, upper)
        tracks[:] = [one for one in some if not visitor or one.get("visitor", {}).get("visitorId")]
        return bool(tracks)

    until(there, f"a visitor of {camera}")
    return tracks[-1]


def left(found: httpx.Client, visitor: str) -> str:
    """The id of a visitor after merging."""
    answer = post(found, "/api/VisitorService/GetVisitor", {"visitorId": visitor}).json()
    return str(answer["visitor"]["visitorId"])


def change(visit: Visit, said: str) -> None:
    """Look what would change, and do it."""
    say(visit, "See what changes")
    say(visit, "Do it")
    visit.until(f"document.querySelector('#track .done, #notices .done')?.innerText.includes({json.dumps(said)})")


def undo(visit: Visit) -> None:
    visit.page.click("text=Undo")
    visit.until("document.querySelector('#track .done, #notices .done')?.innerText.includes('That was undone')")


OPTIONS = "[...document.querySelectorAll('[role=option]')].map((one) => one.innerText.replaceAll('\\n', ' '))"
CAMERAS = "[...document.querySelectorAll('.stops .where')].map((one) => one.textContent).join()"


def test_two_tracks_are_said_to_be_one_face_or_two(browser: Browser, place: Place, editor: str) -> None:
    with Visit(browser, place.url) as visit, signed_in(place, editor) as found:
        visit.sign_in(editor)
        bo, cy = shown(found, "door", upper=False), shown(found, "hall", upper=True)
        visit.page.goto(f"/tracks/{bo['trackId']}")
        visit.page.click("text=Same as another track")
        visit.page.fill("#other-track", f"{place.url}/tracks/{cy['trackId']}?x=1")
        say(visit, "See what changes")
        visit.until("document.querySelector('dialog .changes')?.innerText.includes('Visitor ')")
        say(visit, "Do it")
        visit.until("document.querySelector('#track .done')?.innerText.includes('the same face')")
        undo(visit)
        visit.page.click("text=Different from another")
        visit.page.check(f"dialog input[value='{cy['trackId']}']")
        change(visit, "show two people")
        visit.page.goto("/people?tab=changes")
        visit.until("document.querySelector('#panel li')?.innerText.includes('show different people')")
        visit.page.click("#panel li >> nth=0 >> text=Undo")
        visit.page.click("dialog button[type=submit]")
        visit.until("document.querySelector('#notices')?.innerText.includes('was undone')")
        assert visit.problems == []


@pytest.mark.axe
def test_axe_finds_nothing_in_lists_and_dialogs_on_a_narrow_screen(
    browser: Browser, place: Place, editor: str, twins: str
) -> None:
    options: dict[str, Any] = {"bypass_csp": True, "viewport": NARROW, "color_scheme": "dark"}
    with Visit(browser, place.url, **options) as visit, signed_in(place, editor) as found:
        visit.sign_in(editor)
        page = visit.page
        bo = shown(found, "door", upper=False)
        place.camera.kill()  # a visitor of two tracks can be split
        place.camera.start_again()
        for path, button in (
            (f"/visitors/{bo['visitor']['visitorId']}", "Split"),
            (f"/tracks/{bo['trackId']}", "Same as"),
            (f"/people/{twins}", "Split off"),
        ):
            page.goto(path)
            page.click(f"text={button}")
            visit.until("document.querySelector('dialog .choice')")
            check(visit, path)
            page.keyboard.press("Escape")
            visit.until("!document.querySelector('dialog')")
        visit.until("document.querySelector('.journeys')")
        page.keyboard.press("/")
        page.keyboard.type("twin")
        visit.until(f"{OPTIONS}.length > 1")
        check(visit, "search")


def check(visit: Visit, what: str) -> None:
    """Let axe look at the page as it is."""
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], what
    assert visit.stretched() == [], what
    visit.page.add_script_tag(path=AXE)
    found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert serious == [], [(what, one["id"], [node["html"] for node in one["nodes"]]) for one in serious]


def test_a_visitor_has_journeys_and_is_merged_named_and_erased(browser: Browser, place: Place, editor: str) -> None:
    with Visit(browser, place.url) as visit, signed_in(place, editor) as found:
        visit.sign_in(editor)
        page = visit.page
        faces = [shown(found, "door", upper=False), shown(found, "hall", upper=True)]
        bo, cy = (one["visitor"]["visitorId"] for one in faces)
        page.keyboard.press("/")
        page.keyboard.type(bo[-6:])
        visit.until(f"{OPTIONS}[0]?.startsWith('Visitor Visitor ')")
        bo, cy = left(found, bo), left(found, cy)
        page.goto("/people?tab=visitors")
        page.click(f".person-card[href='/visitors/{bo}']")
        visit.until(f"{CAMERAS} === 'door'")
        assert "the camera's own clock" in (page.get_attribute(".stops .when", "title") or "")
        page.click("text=Same as another visitor")
        page.check(f"dialog input[value='{cy}']")
        change(visit, "They are one visitor now")
        visit.until(f"{CAMERAS}.includes('hall')")
        undo(visit)
        visit.until(f"{CAMERAS} === 'door'")
        page.click("text=This is")
        page.fill("#who", NAME)
        change(visit, f"is {NAME} now")
        page.click(".profile a[href^='/people/']")
        visit.until(f"{CAMERAS}.includes('door')")
        assert page.text_content(".profile h1") == NAME
        address = page.get_attribute(".stops .links a", "href") or ""
        page.goto(f"/visitors/{cy}")
        page.click("text=Erase")
        page.check("dialog input[type=checkbox]")
        page.click("dialog button[type=submit]")
        visit.until("document.querySelector('dialog')?.innerText.includes('nothing was found')")
        page.click("dialog >> text=Close")
        page.wait_for_url("**/people?tab=visitors")
        page.goto(address)
        visit.until(f"document.querySelector('.who h1')?.textContent === {json.dumps(NAME)}")
        assert page.query_selector("main img[src=x]") is None
        assert visit.problems == []


def test_references_go_to_another_person_of_the_same_name(
    browser: Browser, place: Place, editor: str, twins: str
) -> None:
    with Visit(browser, place.url) as visit, signed_in(place, editor) as found:
        visit.sign_in(editor)
        page = visit.page
        page.goto(f"/people/{twins}")
        for again in (True, False):
            page.click("text=Split off")
            page.check("dialog input[type=checkbox] >> nth=1")
            page.fill("#who", TWIN)
            change(visit, f"{TWIN} has these references now")
            visit.until("document.querySelectorAll('.references .face').length === 1")
            if again:
                undo(visit)
                visit.until("document.querySelectorAll('.references .face').length === 2")
        page.goto(f"/tracks/{shown(found, 'door', upper=False, visitor=False)['trackId']}")
        page.click("text=This is")
        page.fill("#who", TWIN)
        visit.until(f"{OPTIONS}.filter((one) => one.includes('1 reference')).length === 2")
        say(visit, "See what changes")  # the browser asks for one of them
        assert "2 people have this name" in page.inner_text("dialog form")
        page.click("[role=option]:has-text('night')")
        say(visit, "See what changes")
        visit.until("document.querySelector('dialog form').innerText.includes('Do it')")
        assert "enrolled already (night" in page.inner_text("dialog form")
        page.keyboard.press("Escape")
        visit.until("!document.querySelector('dialog')")
        page.keyboard.press("/")
        page.keyboard.type("twin")
        visit.until(f"{OPTIONS}.length === 3")  # the last one is the history
        assert "night" in page.evaluate(OPTIONS)[0] + page.evaluate(OPTIONS)[1]
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_url("**/people/*")
        assert page.query_selector("main img[src=x], .find img[src=x]") is None
        page.keyboard.press("/")
        page.keyboard.type(shown(found, "door", upper=True, visitor=False)["trackId"])
        visit.until(f"{OPTIONS}[0]?.startsWith('Track')")
        page.fill("#find-text", "door")
        page.keyboard.press("Enter")  # before anything is found
        page.wait_for_url("**/live/door")
        assert visit.problems == []
