"""A real browser without a window: Chromium, which is spoken to over two pipes in its DevTools protocol."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.patience import WAIT_S

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--mute-audio")


def find_browser() -> str | None:
    """The program: FACEANALYTICS_BROWSER, else Chromium or Chrome on the PATH."""
    named = os.environ.get("FACEANALYTICS_BROWSER")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A page in a tab of its own."""

    def __init__(self, pipes: "_Pipes", session: str) -> None:
        self._pipes = pipes
        self._session = session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    @property
    def problems(self) -> list[str]:
        """Exceptions and messages of the browser so far, such as violations of the page's content security policy."""
        found = [event["params"] for event in self._pipes.events if event["method"] == "Runtime.exceptionThrown"]
        logged = [event["params"]["entry"] for event in self._pipes.events if event["method"] == "Log.entryAdded"]
        return [json.dumps(one["exceptionDetails"]) for one in found] + [one["text"] for one in logged]

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for so far, without those inside the page."""
        sent = [event["params"] for event in self._pipes.events if event["method"] == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent if not one["request"]["url"].startswith("data:")]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._pipes.call(method, self._session, **parameters)

    def size(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, path: Path) -> None:
        """Load a file and wait until everything in it is there; forget what was before."""
        self._pipes.events.clear()
        self.call("Page.navigate", url=path.absolute().as_uri())
        self.until("document.readyState === 'complete' && location.href.startsWith('file:')")

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, f"{expression}: {found['exceptionDetails']}"
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + WAIT_S
        while not self.value(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.02)

    def click(self, selector: str, share: float = 0.5) -> None:
        """Press the mouse on an element, at a share of its width."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.value(f"(({{x, y, width, height}}) => [x, y, width, height])({element}.getBoundingClientRect())")
        place = {"x": box[0] + share * box[2], "y": box[1] + box[3] / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **place)

    def wheel(self, selector: str, down: float, modifiers: int = 0) -> None:
        """Turn the wheel over the middle of an element; `modifiers` 2: with the Ctrl key."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.value(f"(({{x, y, width, height}}) => [x, y, width, height])({element}.getBoundingClientRect())")
        place = {"x": box[0] + box[2] / 2, "y": box[1] + box[3] / 2}
        self.call("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=down, modifiers=modifiers, **place)

    def press(self, key: str) -> None:
        """Press a key, such as Enter or ArrowDown."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        codes = {"Enter": 13, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        common = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def enter(self, selector: str, value: str) -> None:
        """Give a field a value as a user does."""
        field = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{field}.value = {json.dumps(value)}")
        self.value(f"{field}.dispatchEvent(new Event('input', {{bubbles: true}}))")

    def print(self) -> bytes:
        """The page as a PDF, in the size that it asks for."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])


@contextlib.contextmanager
def browser_page(folder: Path) -> Iterator[Page]:
    """A new browser with one page; `folder` is for its files."""
    program = find_browser()
    assert program is not None
    to_child, to_us = os.pipe(), os.pipe()
    # the browser reads from 3 and writes to 4, so our own ends have to be elsewhere
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_child[0], to_us[1]))
    ours = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (to_us[0], to_child[1])]
    for end in (*to_child, *to_us):
        os.close(end)
    arguments = [program, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0o600) for number in (1, 2)]
    moved = [(os.POSIX_SPAWN_DUP2, read, 3), (os.POSIX_SPAWN_DUP2, write, 4)]
    child = os.posix_spawn(program, arguments, dict(os.environ), file_actions=[*quiet, *moved], setpgroup=0)
    os.close(read)
    os.close(write)
    try:
        pipes = _Pipes(*ours)
        target = pipes.call("Target.createTarget", url="about:blank")["targetId"]
        session = pipes.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        yield Page(pipes, session)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in ours:
            os.close(end)


class _Pipes:
    """Sends commands and collects answers and events: JSON texts that end with a zero byte."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        text = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while text:
            text = text[os.write(self._writing, text) :]
        while True:
            answer = self._next(method)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                found: dict[str, Any] = answer["result"]
                return found
            if "method" in answer:
                self.events.append(answer)

    def _next(self, waiting_for: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], WAIT_S)
            assert ready, f"the browser does not answer to {waiting_for}"
            block = os.read(self._reading, 1 << 20)
            assert block, "the browser has ended"
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found
