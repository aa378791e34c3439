"""The pages for everybody: axe-core finds no serious violation, and keys suffice."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.conftest import AXE
from tests.support.dashboard import NARROW, WIDE, Visit
from tests.web.conftest import Place

pytestmark = [pytest.mark.browser, pytest.mark.axe]


@pytest.fixture(scope="module")
def visit(browser: Browser, place: Place) -> Iterator[Visit]:
    # the policy of the pages would refuse the script of axe
    with Visit(browser, place.url, bypass_csp=True) as found:
        found.page.goto("/live")
        found.until("document.querySelectorAll('#strip a').length > 0")
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("path", ["/live", "/live/door", "track", "/login", "/nothing"])
def test_axe_finds_no_serious_violation(visit: Visit, path: str, size: Any, scheme: Any) -> None:
    page = visit.page
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    if path == "track":
        page.goto("/live")
        visit.until("document.querySelectorAll('#strip a').length > 0")
        page.click("#strip a")
        visit.until("document.querySelector('.who h1')")
    else:
        page.goto(path)
        visit.until("document.querySelector('main h1')")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert serious == [], [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious]


def test_the_keys_are_listed_and_lead_to_the_pages(visit: Visit) -> None:
    visit.page.goto("/login")
    visit.page.goto("/live")
    visit.until("document.querySelector('.tile')")
    visit.page.keyboard.press("?")
    visit.until("document.querySelector('dialog[open]')?.innerText.includes('Arrow keys')")
    visit.page.keyboard.press("Escape")
    visit.until("!document.querySelector('dialog')")
