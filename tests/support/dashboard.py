"""A real dashboard in a real browser: `streamer serve` with cameras and a worker, and pages driven by Playwright."""

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from tests.end_to_end.programs import Program, address_of, serve
from tests.support.browser import find_browser
from tests.support.patience import WAIT_S

WIDE, NARROW = {"width": 1920, "height": 1080}, {"width": 360, "height": 740}


@contextlib.contextmanager
def dashboard(folder: Path, detector: Path, cameras: dict[str, str], **settings: Any) -> Iterator["Dashboard"]:
    """A streamer with a dashboard on a free port, and workers at `endpoint`; settings as in its configuration."""
    endpoint = f"ipc://{folder}/w"
    web = {"listen": "127.0.0.1:0", **settings.pop("web", {})}
    store = settings.pop("store", {"folder": str(folder / "store"), "faces": True})
    with serve(folder, detector, endpoint, cameras, web=web, store=store, **settings) as program:
        address = address_of(program)
        url = program.wait_for(r"the dashboard is at (\S+)/\n").group(1)
        yield Dashboard(program, address, url, endpoint)


class Dashboard:
    """A running streamer with its dashboard."""

    def __init__(self, program: Program, address: str, url: str, endpoint: str) -> None:
        self.program = program
        self.address = address  # of the gRPC API
        self.url = url
        self.endpoint = endpoint


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page of somebody, with what went wrong in it."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        """`options`: of the browser's context, such as color_scheme or extra_http_headers."""
        self.context: BrowserContext = browser.new_context(base_url=url, **{"viewport": WIDE, **options})
        self.context.set_default_timeout(1000 * WAIT_S)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []  # exceptions and messages of the browser, such as violations of the policy
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def sign_in(self, token: str) -> None:
        """Enter a token into the form."""
        self.page.goto("/login")
        self.page.fill("#token", token)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(re.compile(r"/live$"))

    def stretched(self) -> list[str]:
        """Pictures that are shown in other proportions than their own."""
        found: list[str] = self.page.evaluate(
            """[...document.images].filter((one) => one.naturalWidth && one.clientHeight)
              .filter((one) => getComputedStyle(one).objectFit === 'fill')
              .map((one) => [one.src, one.clientWidth / one.clientHeight, one.naturalWidth / one.naturalHeight])
              .filter(([, shown, own]) => Math.abs(shown / own - 1) > 0.05).map(([source]) => source)"""
        )
        return found

    def until(self, expression: str) -> None:
        """Wait until an expression of JavaScript is true.

        Not with Playwright's own wait_for_function, which evaluates texts in the page: its policy forbids that.
        """
        end = time.monotonic() + WAIT_S
        while not self._value(expression):
            assert time.monotonic() < end, f"never true: {expression}; the page says {self.page.inner_text('body')!r}"
            self.page.wait_for_timeout(50)

    def _value(self, expression: str) -> Any:
        try:
            return self.page.evaluate(expression)
        except Error:  # the page is being replaced by another, or lacks an element so far
            return None

    def foreign(self) -> list[str]:
        """Addresses of other machines that were asked for."""
        own = re.match(r"https?://[^/]+", self.page.url)
        return [one for one in self.requests if own and not one.startswith((own.group(), "blob:", "data:"))]
