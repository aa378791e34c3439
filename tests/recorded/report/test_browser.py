"""The page in a real browser: filters, zoom, jumps into a real video, keys, print; and nothing asked of a network."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faceanalytics.files import hash_file
from streamer.recorded.report.report import write_report
from tests.support.browser import Page, browser_page
from tests.support.made_once import made_once
from tests.support.result_files import USUAL, Person, Results, Track, crowded
from tests.support.videos import make_video

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAMES = "[...document.querySelectorAll('.card:not([hidden]) h4')].map(one => one.textContent)"
ROWS = "[...document.querySelectorAll('.line.person:not([hidden]) .who a')].map(one => one.textContent)"
SHOWN = "document.querySelector('.shown').textContent"
NOW = "document.querySelector('video').currentTime"
ZOOM = "Number(document.querySelector('.canvas').style.getPropertyValue('--zoom') || 1)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser_page(tmp_path_factory.mktemp("browser")) as page:
        page.size(1280, 900)
        yield page


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with its annotated video, of 10 s, beside it."""

    def make(folder: Path) -> None:
        video = make_video(folder / "annotated.mp4", frames=100, fps=10, size=(640, 480), gop=5)
        write(folder, replace(USUAL, header={"source": {"name": "annotated.mp4", "sha256": hash_file(video)}}))

    return made_once(tmp_path_factory, "report", make) / "report.html"


@pytest.fixture
def page(browser: Page, written: Path) -> Page:
    browser.open(written)
    browser.until("document.querySelector('video').readyState >= 1")
    return browser


def write(folder: Path, results: Results) -> Path:
    results.write(folder)
    write_report([folder], folder / "report.html")
    return folder / "report.html"


def test_the_page_loads_without_a_complaint_and_asks_no_network(page: Page, written: Path) -> None:
    assert page.problems == []
    assert {address.rpartition("/")[2] for address in page.requests} == {"report.html", "annotated.mp4"}
    assert all(address.startswith(written.parent.as_uri()) for address in page.requests)
    page.value("fetch('https://example.org').catch(() => null)")
    assert "Content Security Policy" in page.problems.pop()
    assert all(address.startswith("file:") for address in page.requests)


@pytest.mark.parametrize(
    ("field", "value", "left"),
    [
        ("text", "ada", ["Ada"]),
        ("text", "PERSON 2", ["Person 2"]),
        ("text", "border", ["Person 3"]),
        ("shown", "happiness", ["Ada"]),
        ("shown", "anger", ["Person 2"]),
        ("youngest", "30", ["Person 2"]),
        ("oldest", "30", ["Ada"]),
        ("shot", "3", ["Ada", "Person 2"]),
        ("least", "2", ["Ada", "Person 2"]),
        ("text", "nobody of this name", []),
    ],
)
def test_a_filter_leaves_those_that_match(page: Page, field: str, value: str, left: list[str]) -> None:
    page.enter(f"[name={field}]", value)
    assert page.value(NAMES) == page.value(ROWS) == left
    assert page.value(SHOWN) == f"{len(left)} of 3 people"
    assert page.value("document.querySelector('.nobody').hidden") is bool(left)
    page.click("[type=reset]")
    page.until(f"{SHOWN} === '3 people'")


def test_those_that_are_not_described_can_be_left_out(page: Page) -> None:
    page.click("[name=described]")
    assert page.value(NAMES) == ["Ada", "Person 2"]


def test_rows_and_cards_are_sorted_alike(browser: Page, tmp_path: Path) -> None:
    tracks = (Track(1, 0.0, 1.0, 50.0), Track(2, 1.0, 6.0, 20.0), Track(3, 2.0, 5.0, None))
    people = tuple(Person((track,), name) for track, name in zip(tracks, ("Zoe", "Ada", "Bo"), strict=True))
    browser.open(write(tmp_path, replace(USUAL, people=people)))
    orders = {
        "first": ["Zoe", "Ada", "Bo"],
        "name": ["Ada", "Bo", "Zoe"],
        "age": ["Ada", "Zoe", "Bo"],
        "seen": ["Ada", "Bo", "Zoe"],
    }
    for order, names in orders.items():
        browser.enter("[name=sort]", order)
        assert browser.value(NAMES) == browser.value(ROWS) == names, order


def test_a_click_on_a_bar_shows_that_moment(page: Page) -> None:
    page.click(".line.person .span", share=0.75)  # of 0 to 4 s
    page.until(f"Math.abs({NOW} - 3) < 0.1")
    page.until("!document.querySelector('.playhead').hidden")
    assert page.value("[...document.querySelectorAll('.span.at')].map(one => one.title.slice(0, 8))") == [
        "Ada: 0:0",
        "Person 2",
        "Person 3",
    ]
    page.click(".shots .shot:nth-child(2)")
    page.until(f"Math.abs({NOW} - 2.5) < 0.01")
    assert page.problems == []


def test_a_moment_in_a_card_is_shown_in_the_small_player(page: Page) -> None:
    page.click(".card .seen-at a:nth-of-type(2)")
    page.until(f"Math.abs({NOW} - 6) < 0.01")
    page.until("document.querySelector('.dock').classList.contains('docked')")
    page.click(".dock .close")
    assert not page.value("document.querySelector('.dock').classList.contains('docked')")


def test_the_timeline_is_used_with_keys(page: Page) -> None:
    page.value("document.querySelector('.line.person .span').focus()")
    focused = "document.activeElement.title.slice(0, 16)"
    page.press("ArrowRight")
    assert page.value(focused) == "Ada: 0:06.0 to 0"
    page.press("ArrowDown")
    assert page.value(focused) == "Person 2: 0:01.0"
    page.press("Enter")
    page.until(f"Math.abs({NOW} - 1) < 0.01")
    page.press("+")
    page.press("+")
    assert page.value(ZOOM) == 4
    bar = "document.activeElement.getBoundingClientRect()"
    box = "document.querySelector('.timeline').getBoundingClientRect()"
    assert page.value(f"{bar}.left < {box}.right && {bar}.right > {box}.left")  # it stayed in view
    page.press("0")
    assert page.value(ZOOM) == 1


def test_zoom_keeps_the_place_and_adds_ticks(page: Page) -> None:
    ticks = "document.querySelectorAll('.axis .lane span').length"
    before = page.value(ticks)
    page.wheel(".timeline", -400, modifiers=2)
    page.until(f"{ZOOM} > 3")
    assert page.value(ticks) > before
    page.click("[data-zoom=whole]")
    assert page.value(ZOOM) == 1
    page.enter("[name=text]", "person 3")  # 2 to 3 s of 9.9
    page.click("[data-zoom=fit]")
    assert page.value(ZOOM) == pytest.approx(9.9 / 1.2, rel=0.01)


def test_a_name_leads_to_its_card_also_if_it_is_filtered_out(page: Page) -> None:
    page.enter("[name=text]", "ada")
    page.value("location.hash = 'f1p2'")
    page.until("document.activeElement.id === 'f1p2'")
    assert page.value(SHOWN) == "3 people"


def test_a_video_that_was_moved_can_be_opened_in_the_page(browser: Page, tmp_path: Path) -> None:
    video = make_video(tmp_path / "elsewhere.mp4", frames=100, fps=10, size=(640, 480), gop=5)
    browser.open(write(tmp_path / "out", USUAL))
    assert browser.value("document.querySelector('video')") is None
    browser.click(".line.person .span")  # asks for the video
    node = browser.call("Runtime.evaluate", expression="document.querySelector('input[type=file]')")["result"]
    browser.call("DOM.setFileInputFiles", files=[str(video)], objectId=node["objectId"])
    browser.until("document.querySelector('video')?.readyState >= 1")
    browser.click(".line.person .span", share=0.5)
    browser.until(f"Math.abs({NOW} - 2) < 0.1")
    assert browser.problems == []


def test_a_video_that_is_gone_is_said(browser: Page, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "annotated.mp4").write_bytes(b"no video")
    browser.open(write(folder, USUAL))
    browser.until("!document.querySelector('.lost').hidden")
    assert "cannot play annotated.mp4, or it was moved" in browser.value("document.querySelector('.lost').textContent")


@pytest.mark.parametrize("width", [360, 1920])
def test_nothing_is_wider_than_the_window(browser: Page, tmp_path: Path, width: int) -> None:
    from tests.recorded.report.test_page import CASES

    browser.size(width, 900)
    try:
        for name in ("usual", "strange names", "explained", "no face"):
            browser.open(write(tmp_path / name, CASES[name]))
            assert browser.value("document.documentElement.scrollWidth") <= width, name
    finally:
        browser.size(1280, 900)


def test_a_printed_page_shows_everybody_and_no_filters(page: Page) -> None:
    assert page.print().startswith(b"%PDF")
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        gone = ".filters, .buttons, .player, .playhead, .choose"
        assert page.value(f"[...document.querySelectorAll('{gone}')].every(one => !one.getClientRects().length)")
        timeline = "document.querySelector('.timeline')"
        assert page.value(f"{timeline}.scrollHeight <= {timeline}.clientHeight + 1")  # nothing is cut off
        assert page.value("document.querySelector('.legend').getClientRects().length") == 1
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


def test_many_people_are_filtered_while_one_types(browser: Page, tmp_path: Path) -> None:
    browser.open(write(tmp_path / "out", crowded(fps=0.5)))
    assert browser.value(SHOWN) == "300 people"
    browser.enter("[name=text]", "somebody 1")
    names = browser.value(NAMES)
    assert names == []  # only whole numbers count, and Somebody 1 has no name
    browser.enter("[name=text]", "somebody")
    assert len(browser.value(NAMES)) == 60
