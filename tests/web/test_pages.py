"""The pages of cameras, history, people, recordings and the system, in a browser, against a running streamer."""

import base64
import contextlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.conftest import AXE
from tests.support.dashboard import NARROW, WIDE, Visit, dashboard
from tests.support.painted_people import write_image, write_video
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import until
from tests.web.conftest import ADA, BO, CY, SETTINGS, Camera, Place, working
from tests.web.test_door import client, post, signed_in

pytestmark = pytest.mark.browser
SCRIPT = "<img src=x onerror=alert(1)>"
VISITOR_CHANGES = ("JoinTracks", "PartTracks", "MergeVisitors", "SplitVisitor", "NameVisitor", "EraseVisitor")
PAGES = ("/history", "/people", "/recordings", "/cameras", "/system")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A streamer with one camera, a file that is not there, and a folder of recordings."""
    with tempfile.TemporaryDirectory(prefix="fa-") as name, contextlib.ExitStack() as closing:
        folder = Path(name)
        detector = write_lite_patch_detector(folder / "patches.onnx")
        write_video(folder / "door.mp4", {ADA: [(0, 4)], BO: [(0, 4)]}, 4)
        inputs = folder / "recordings"
        inputs.mkdir()
        write_video(inputs / "hall.mp4", {ADA: [(0, 1)]}, 1)
        # somebody else: pictures of her from before anybody was enrolled would be found after an erasure
        write_video(folder / "yard.mp4", {CY: [(0, 4)]}, 4)
        camera = Camera(folder / "door.mp4", yard=folder / "yard.mp4")
        closing.callback(camera.kill)
        cameras = {"door": camera.url, "gone": str(folder / "gone.mp4")}
        served = closing.enter_context(dashboard(folder, detector, cameras, jobs={"inputs": [str(inputs)]}, **SETTINGS))
        closing.enter_context(working(served.endpoint))
        until(lambda: "camera door RUNNING" in served.program.text, "the camera")
        yield Place(folder, served, camera)


@pytest.fixture(scope="module")
def admin(place: Place) -> str:
    return place.token("admin")


@pytest.fixture(scope="module")
def visit(browser: Browser, place: Place, admin: str) -> Iterator[Visit]:
    with Visit(browser, place.url, accept_downloads=True) as found:
        found.sign_in(admin)
        yield found
        assert [one for one in found.problems if "status of 4" not in one] == []
        assert found.foreign() == []


def row(camera: str) -> str:
    return f"document.querySelector('.camera[data-camera={camera}]')"


def test_a_camera_is_looked_at_added_changed_and_removed(visit: Visit, place: Place) -> None:
    page = visit.page
    page.goto("/cameras")
    visit.until(f"{row('door')}?.innerText.includes('running since')")
    page.click("text=Add a camera")
    page.fill("dialog input[placeholder=door]", "yard")
    page.fill("#f-address", place.camera.url.replace("/door", "/nothing"))
    page.click("dialog >> text=Probe")
    visit.until("document.querySelector('dialog .findings').innerText.includes('It cannot be used')")
    page.fill("#f-address", place.camera.url.replace("/door", "/yard"))
    page.click("dialog button:has-text('Probe'):enabled")
    visit.until("/It can be used[^]*h264/.test(document.querySelector('dialog .findings').innerText)")
    page.click("dialog button[type=submit]")
    visit.until(f"{row('yard')}?.innerText.includes('running since')")
    visit.until(f"{row('yard')}.querySelector('img').naturalWidth > 0")
    page.click(".camera[data-camera=yard] >> text=Pause")
    visit.until(f"{row('yard')}.innerText.includes('paused since')")
    page.click(".camera[data-camera=yard] >> text=Edit")
    page.click("dialog summary")
    page.fill("dialog input[type=number]", "5")
    page.click("dialog button[type=submit]")
    visit.until("document.querySelector('#notices').innerText.includes('new settings')")
    page.click(".camera[data-camera=yard] >> text=Remove")
    page.click("dialog button[type=submit]")
    visit.until(f"!{row('yard')}")


def test_somebody_is_enrolled_from_a_face_and_named_in_the_next_track(visit: Visit, place: Place) -> None:
    page = visit.page
    page.goto("/people")
    visit.until("document.querySelector('.teach')")
    page.click("text=Enrol somebody >> nth=0")
    page.fill("#f-name", SCRIPT)

    def enrolled() -> bool:
        """Take the first face, again while too little of it was analysed."""
        if page.query_selector("dialog[open]"):
            page.click("dialog button.pick:has(img) >> nth=0")
        return page.query_selector(".person-card") is not None

    until(enrolled, "a face that is good enough", every_s=0.5)
    assert page.inner_text(".person-card strong") == SCRIPT
    assert page.query_selector("main img[src=x]") is None
    place.camera.kill()
    page.goto("/cameras")
    visit.until(f"{row('door')}?.innerText.includes('lost since')")
    visit.until("document.querySelector('#state').innerText.includes('down')")
    place.camera.start_again()
    visit.until(f"{row('door')}.innerText.includes('running since')")
    page.goto("/history?name=" + SCRIPT)
    card = "[...document.querySelectorAll('.faces li')].find((one) => one.querySelector('.sign.ok'))"
    visit.until(f"{card}?.innerText.includes('<img')")  # the track after the one that was enrolled
    page.goto("/history?unknown=1")
    visit.until("document.querySelector('.faces li')")
    assert SCRIPT not in page.inner_text(".days")


def open_person(visit: Visit, place: Place, admin: str) -> None:
    """Open the page of the person who is enrolled; of a new one if nobody is: tests of a module may run in pieces."""
    visit.page.goto("/people")
    visit.until("document.querySelector('.person-card, .teach')")
    if visit.page.query_selector(".person-card") is None:
        write_image(place.folder / "ada.jpg", [ADA])
        with signed_in(place, admin) as found:
            made = post(found, "/api/GalleryService/CreatePerson", {"person": {"displayName": SCRIPT}}).json()["person"]
            data = base64.b64encode((place.folder / "ada.jpg").read_bytes()).decode()
            picture = {"personId": made["personId"], "judgement": "JUDGEMENT_OFF", "fileName": "ada.jpg", "data": data}
            assert post(found, "/api/GalleryService/AddReferences", picture).json()["results"][0]["referenceId"]
        visit.page.reload()
    visit.page.click(".person-card")


def test_a_track_that_is_not_the_person_leaves_the_page_and_comes_back(visit: Visit, place: Place, admin: str) -> None:
    page = visit.page
    open_person(visit, place, admin)
    visit.until("document.querySelectorAll('.seen .faces li a').length > 0")
    track = page.get_attribute(".seen .faces li", "data-track")
    card = f"document.querySelector('.seen [data-track=\"{track}\"]')"
    page.click(f".seen [data-track='{track}'] button")
    page.click("dialog button:has-text('See what changes'):enabled")
    page.click("dialog button:has-text('Do it'):enabled")
    visit.until(f"!{card}")
    page.click("#notices >> text=Undo")
    visit.until(f"{card} !== null")


def test_what_is_no_picture_is_refused_in_words(visit: Visit, place: Place, admin: str) -> None:
    page = visit.page
    open_person(visit, place, admin)
    page.click("text=Add pictures")
    (place.folder / "large.jpg").write_bytes(bytes(10_000_000))
    (place.folder / "text.jpg").write_text("no picture")
    page.set_input_files("dialog input[type=file]", [place.folder / "large.jpg", place.folder / "text.jpg"])
    page.click("dialog button[type=submit]")
    visit.until("document.querySelectorAll('dialog figure').length === 2")
    said = page.inner_text("dialog .results")
    assert "at most 8.4 MB are taken" in said
    assert "text.jpg was not taken" in said
    page.keyboard.press("Escape")


def test_a_person_is_renamed_and_erased_with_a_report(visit: Visit, place: Place, admin: str) -> None:
    page = visit.page
    open_person(visit, place, admin)
    profile = page.url
    place.camera.kill()  # its clip would show the very picture again that is searched for after the erasure
    page.goto("/cameras")
    visit.until(f"{row('door')}?.innerText.includes('lost since')")
    page.goto(profile)
    page.click("text=Name and labels")
    page.fill("dialog input >> nth=0", "Ada Lovelace of London")
    page.fill("dialog input >> nth=1", "staff, night")
    page.click("dialog button[type=submit]")
    visit.until("document.querySelector('.profile h1').textContent === 'Ada Lovelace of London'")
    visit.until("document.querySelectorAll('.profile .chip').length === 2")
    page.click(".profile >> text=Erase")
    visit.until("document.querySelector('dialog ul').innerText.includes('1 reference')")
    page.check("dialog input[type=checkbox]")
    page.click("dialog button[type=submit]")
    visit.until("document.querySelector('dialog')?.innerText.includes('nothing was found')")
    page.click("dialog >> text=Close")
    page.wait_for_url("**/people")
    visit.until("document.querySelector('.teach')")
    page.click("[data-tab=changes]")
    visit.until("document.querySelector('#panel').innerText.includes('was erased')")
    place.camera.start_again()


def test_the_history_keeps_its_filters_in_the_address_and_exports_what_is_shown(visit: Visit, place: Place) -> None:
    page = visit.page
    page.goto("/history?camera=door")
    visit.until("document.querySelectorAll('.faces li').length > 1")
    place.camera.kill()

    def ended() -> bool:
        page.reload()
        visit.until("document.querySelectorAll('.faces li').length > 1")
        return page.query_selector(".hours a") is not None  # they are those of tracks that have ended

    until(ended, "the tracks end", every_s=0.5)
    ids = page.eval_on_selector_all(".faces li", "(all) => all.map((one) => one.dataset.track)")
    assert ids == sorted(ids, reverse=True)
    with page.expect_download() as waiting:
        page.click("text=CSV")
    lines = waiting.value.path().read_text().splitlines()
    assert lines[0].startswith("track_id,camera,first_seen")
    assert [line.split(",")[0] for line in lines[1:]] == ids
    page.select_option("[aria-label=Expression]", "ANGER")
    visit.until("document.querySelector('.days').innerText.includes('Nobody fits')")
    assert page.url.endswith("/history?camera=door&looks=ANGER")
    page.click("text=Clear")
    visit.until("document.querySelectorAll('.faces li').length > 1")
    place.camera.start_again()


def test_a_recording_of_the_folders_is_analysed_and_its_report_is_sealed_off(visit: Visit) -> None:
    page = visit.page
    page.goto("/recordings")
    page.click("text=Analyse a recording >> nth=0")
    visit.until("document.querySelectorAll('dialog option').length === 2")
    page.select_option("dialog select", index=1)
    page.click("dialog button[type=submit]")
    visit.until("document.querySelector('.job')?.innerText.includes('1 person found')")
    address = page.get_attribute("a:has-text('Report')", "href")
    assert address is not None
    answer = page.request.get(address)
    assert answer.status == 200
    assert "sandbox" in answer.headers["content-security-policy"]
    job = address.split("/")[2]
    for path in ("../config.json", "..%2Fconfig.json", "%2e%2e/%2e%2e/x", "/etc/passwd", "nothing.txt"):
        assert page.request.get(f"/recordings/{job}/{path}").status == 404, path
    page.click(".job >> text=Delete")
    page.click("dialog button[type=submit]")
    visit.until("document.querySelector('.teach')")


def test_the_system_page_says_what_is_wrong_and_every_page_has_it(visit: Visit, place: Place, admin: str) -> None:
    page = visit.page
    with signed_in(place, admin) as found:
        for method, body in (
            ("CreateStream", {"streamId": "shed", "settings": {"uri": place.camera.url}}),
            ("DeleteStream", {"streamId": "shed"}),
        ):
            answer = post(found, f"/api/StreamService/{method}", body)
            assert answer.status_code == 200, answer.text
    page.goto("/history")
    visit.until("document.querySelector('.doctor')?.innerText.includes('gone.mp4 does not exist')")
    page.click(".doctor a")
    visit.until("document.querySelector('.finding')?.innerText.includes('mend its uri')")
    visit.until("/Camera to answer[^]*\\d+ ms/.test(document.querySelector('#page').innerText)")
    visit.until("document.querySelector('#page').innerText.includes('CreateStream')")  # of the audit log


def test_a_viewer_sees_no_buttons_and_is_refused_by_the_server_as_well(browser: Browser, place: Place) -> None:
    token = place.token("read", "biometric")
    with Visit(browser, place.url) as visit:
        visit.sign_in(token)
        visit.page.goto("/cameras")
        visit.until(f"{row('door')}")
        assert visit.page.query_selector("main button") is None
        visit.page.goto("/people")
        visit.until("document.querySelector('.teach')?.innerText.includes('scope enrol')")
        visit.page.goto("/system")
        visit.until("document.querySelector('.finding')")
        assert "Tokens" not in visit.page.inner_text("#page")
    with signed_in(place, token) as found:
        for method, body in (
            ("InspectionService/ProbeStream", {"settings": {"uri": "rtsp://h/x"}}),
            ("InspectionService/ListTokens", {}),
            ("InspectionService/ListAuditEntries", {}),
            ("InspectionService/ListRecordings", {}),
            ("AnalysisService/StartJob", {"path": "hall.mp4"}),
            ("GalleryService/ErasePerson", {"personId": "x"}),
            ("GalleryService/SplitPerson", {"personId": "x"}),
            *((f"VisitorService/{name}", {}) for name in VISITOR_CHANGES),
        ):
            answer = post(found, f"/api/{method}", body)
            assert (answer.status_code, answer.json()["reason"]) == (403, "SCOPE_MISSING"), method
        assert upload(found, b"x").status_code == 403


def test_uploads_that_are_not_what_they_say_leave_nothing(place: Place, admin: str) -> None:
    with signed_in(place, admin) as found:
        wrong = upload(found, b"x")
        assert wrong.status_code == 400
        assert "sha256" in wrong.json()["text"]
        line = json.dumps({"personId": "x", "fileName": "a.jpg", "data": "A" * 13_400_000})
        large = post(found, "/api/GalleryService/AddReferences", {"data": line})
        assert large.status_code == 429
        assert "too large" in large.json()["text"]
    with client(place) as nobody:
        assert nobody.get("/history.csv").status_code == 303


def upload(found: httpx.Client, content: bytes) -> httpx.Response:
    page = found.get("/live").text
    token = json.loads(re.findall(r'id="about">(.*?)</script>', page)[0])["csrf"]
    headers = {"origin": str(found.base_url).rstrip("/"), "x-csrf-token": token}
    return found.post(f"/recordings/upload?name=a.mp4&sha256={'0' * 64}", content=content, headers=headers)


@pytest.mark.axe
@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide", "narrow"])
def test_axe_finds_no_serious_violation(browser: Browser, place: Place, admin: str, size: Any, scheme: Any) -> None:
    # the policy of the pages would refuse the script of axe
    with Visit(browser, place.url, bypass_csp=True, viewport=size, color_scheme=scheme) as visit:
        visit.sign_in(admin)
        for path in PAGES:
            visit.page.goto(path)
            visit.until("document.querySelector('main h1') && !document.querySelector('main .skeleton')")
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
            assert visit.stretched() == [], path
            visit.page.add_script_tag(path=AXE)
            found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            serious = [one for one in found if one["impact"] in ("serious", "critical")]
            assert serious == [], [(path, one["id"], [node["html"] for node in one["nodes"]]) for one in serious]
