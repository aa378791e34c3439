"""The receiver in docs/operations.md, run as it stands there."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.sinks.delivery import Undelivered
from tests.conftest import ROOT
from tests.end_to_end.programs import free_port
from tests.sinks.test_files import event
from tests.sinks.test_webhook import post
from tests.support.patience import until
from tests.support.receiver import SECRET


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """What the running receiver prints, and its address."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "operations.md").read_text(), re.M | re.S)
    (code,) = [block for block in blocks if "webhook-" in block]
    script, port = tmp_path / "receiver.py", free_port()
    script.write_text(code)
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    output = tmp_path / "output"
    with output.open("wb") as out:
        process = subprocess.Popen([sys.executable, script, str(port)], stdout=out, stderr=subprocess.STDOUT)
    try:
        until(lambda: listens(port) or process.poll() is not None, "the receiver listens")
        assert process.poll() is None, output.read_text()
        yield output, f"http://127.0.0.1:{port}/"
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


async def test_the_example_takes_signed_events_once_and_no_others(example: tuple[Path, str]) -> None:
    output, url = example
    body = {"stream_id": "door"}
    await post(url, [event(1, body=body)], secret=SECRET)
    await post(url, [event(1, body=body), event(2, body=body)], secret=SECRET)
    for wrong in ({"secret": "another secret of the right length"}, {}):
        with pytest.raises(Undelivered, match="answers 401"):
            await post(url, [event(3, body=body)], **wrong)
    until(lambda: "t2" in output.read_text(), "the second event")
    lines = [line for line in output.read_text().splitlines() if line.startswith("faceanalytics")]
    assert lines == ["faceanalytics.track.new door t1", "faceanalytics.track.new door t2"]
