"""docs/api.md is true: its walk through is walked, its examples run, and its JSON is what the programs print."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from faceanalytics.json_form import as_dict, as_line
from faceanalytics.v1 import streams_pb2, tracks_pb2
from streamer.access.token_file import TokenFile
from streamer.access.tokens import Scope, new_token, utc_now
from streamer.safety import Access, Tls
from tests.conftest import ROOT
from tests.end_to_end.programs import free_port
from tests.support.brokers import find
from tests.support.builders import summary
from tests.support.certificates import issue
from tests.support.made_once import made_once
from tests.support.patience import WAIT_S
from tests.support.photographs import make_face_clip
from tests.support.stored import final
from tests.tools.test_resuming import Streamer

PAGE = ROOT / "docs" / "api.md"
ADDRESS, REMOTE = "127.0.0.1:50051", "10.0.0.7:50051"  # as the page has them
BLOCK = re.compile(r"^(?:<!-- ([\w. ]+) -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MESSAGES: list[Message] = [
    *(streams_pb2.Stream(), streams_pb2.StreamSettings()),
    *(tracks_pb2.WatchTracksResponse(), tracks_pb2.Track()),
    *(tracks_pb2.GetTrackResponse(), tracks_pb2.WatchTracksRequest()),
]  # fields of the examples


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code of the page."""

    line: int
    note: str  # the file to save it as, or `needs PROGRAM`
    language: str
    code: str


def blocks(section: str = "") -> list[Block]:
    """The blocks of a section, or of the whole page, without the reference."""
    text = PAGE.read_text().partition("\n## Reference\n")[0]
    begin = text.index(f"\n## {section}\n") if section else 0
    end = text.find("\n## ", begin + 1) if section else len(text)
    found = BLOCK.finditer(text, begin, end)
    return [Block(text.count("\n", 0, match.start(3)), match[1] or "", match[2], match[3]) for match in found]


# --- the walk through


def walk(folder: Path, ports: dict[str, str]) -> tuple[int | None, str]:
    """Save the files of the walk and run its commands, as they are but for the ports, one after the other in one shell.

    Returns the exit code and what was printed. What the commands have started ends with them, also if one fails.
    """
    script = "set -e\n"
    for block in blocks("Walk through"):
        code = block.code
        for port, other in ports.items():
            code = code.replace(port, other)
        needs = block.note.removeprefix("needs ")
        if needs != block.note and find(needs) is None:
            continue
        if needs and needs == block.note:
            (folder / block.note).write_text(code)
        else:
            assert block.language == "bash"
            script += f"echo '# line {block.line}'\n{code}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FACEANALYTICS_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / "printed").open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            ended: int | None = shell.wait(2 * WAIT_S)
        except subprocess.TimeoutExpired:
            ended = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    return ended, (folder / "printed").read_text()


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who has walked through."""

    def go(folder: Path) -> None:
        make_face_clip(folder / "clip.mp4", seconds=4.0)
        code, printed = walk(folder, {"50051": str(free_port()), "1883": str(free_port())})
        logs = "\n".join(f"{path}:\n{path.read_text()}" for path in folder.glob("*.log"))
        assert code == 0, f"{printed}\n{logs}"

    return made_once(tmp_path_factory, "walk", go)


@pytest.mark.slow
@pytest.mark.mosquitto
def test_the_walk_delivers_to_mqtt(walked: Path) -> None:
    event = json.loads((walked / "event.json").read_text())
    assert event["specversion"] == "1.0"
    assert event["data"]["stream_id"] == "door"


@pytest.mark.slow
def test_a_newcomer_walks_through(walked: Path) -> None:
    counted = [track for (track,) in select(walked / "visitors.db", "SELECT track_id FROM visitors ORDER BY rowid")]
    said = re.findall(r"^visitor (\S+)", (walked / "visitors.log").read_text(), re.MULTILINE)
    assert counted == list(dict.fromkeys(said))[: len(counted)]
    assert len(said) <= len(counted) + 2  # it says so before the transaction ends, in which each kill may come
    kept = "SELECT track_id FROM events WHERE kind = 'END' ORDER BY sequence"
    ended = [track for (track,) in select(walked / "store" / "store.sqlite", kept)]
    begin = ended.index(counted[0])
    assert counted == ended[begin : begin + len(counted)]  # nothing is lost, nothing comes twice
    assert len(counted) >= 3
    asked = [line.split() for line in (walked / "yesterday.txt").read_text().splitlines()]
    assert asked
    assert {words[0] for words in asked} <= set(ended)
    events = [json.loads(line) for line in (walked / "events.jsonl").read_text().splitlines()]
    for event in events:
        assert as_dict(ParseDict(event, tracks_pb2.WatchTracksResponse())) == event
    watched = [event["track"]["track_id"] for event in events if event["type"] == "EVENT_TYPE_END"]
    begin = ended.index(watched[0])
    assert watched == ended[begin : begin + len(watched)]


def select(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


# --- the other examples


class Enough(Exception):
    """The test has seen what it wanted."""


@pytest.fixture
def streamer(tmp_path: Path) -> Iterator[str]:
    """The address of a streamer whose faces come and go."""
    address, stop = f"127.0.0.1:{free_port()}", threading.Event()
    with Streamer(address, tmp_path / "store", summary("t0"), final("t0")) as running:

        def come_and_go() -> None:
            number = 0
            while not stop.wait(0.1):
                number += 1
                running.put(summary(f"t{number}"), final(f"t{number}"))

        coming = threading.Thread(target=come_and_go)
        coming.start()
        yield address
        stop.set()
        coming.join()


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a streamer with TLS. Its ca.pem is in this folder, and a token in the environment."""
    authority, folder = issue(tmp_path, "ca"), tmp_path / "access"
    server = issue(tmp_path, "server", authority)
    secret, made = new_token("test", [Scope.READ], (), None, utc_now())
    asyncio.run(TokenFile(folder).add(made))
    monkeypatch.setenv("FACEANALYTICS_TOKEN", secret)
    address = f"127.0.0.1:{free_port()}"
    safe = Tls(certificate=str(server.path), key=str(server.key_path)), Access(folder=str(folder))
    with Streamer(address, tmp_path / "remote", safe=safe):
        yield address


def test_the_python_examples_run(
    streamer: str, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    saved: list[str] = []

    def save(event: tracks_pb2.WatchTracksResponse, token: str) -> None:
        saved.append(token)
        if len(saved) == 3:
            raise Enough

    names: dict[str, Any] = {"saved_token": "", "save": save}
    examples = [block for block in blocks() if block.language == "python" and not block.note]
    assert len(examples) >= 4
    for block in examples:
        code = block.code.replace(ADDRESS, streamer).replace(REMOTE, remote)
        try:
            exec(compile("\n" * block.line + code, str(PAGE), "exec"), names)
        except Enough:
            assert all(saved)
    assert isinstance(names["response"], tracks_pb2.ListTracksResponse)
    out = capsys.readouterr().out
    assert re.search(r"^door t\d+ age unknown|^door t\d+ \d+ years", out, re.MULTILINE)
    assert 'model_id: "small"' in out
    channel: grpc.Channel = names["channel"]
    channel.close()


# --- JSON


def rows() -> list[str]:
    """The examples of the table in the section JSON."""
    section = PAGE.read_text().partition("\n## JSON\n")[2].partition("\n## ")[0]
    return re.findall(r"^\|.*\| `([^`]+)` \|$", section, re.MULTILINE)


def test_the_example_of_json_is_what_is_printed() -> None:
    (example,) = [block.code for block in blocks("JSON") if block.language == "json"]
    message = ParseDict(json.loads(example), tracks_pb2.WatchTracksResponse())
    assert json.dumps(as_dict(message), indent=2) + "\n" == example
    assert json.loads(as_line(message)) == json.loads(example)
    assert "\n" not in as_line(message)


def test_each_form_of_json_is_as_the_table_says() -> None:
    assert len(rows()) == 10
    for row in rows():
        ((name, value),) = json.loads(f"{{{row}}}").items()
        (kind, *_) = [message for message in MESSAGES if name in message.DESCRIPTOR.fields_by_name]
        message = ParseDict({name: value}, type(kind)())
        assert as_dict(message)[name] == value, row


def test_what_is_unknown_is_absent_and_not_zero() -> None:
    track = as_dict(tracks_pb2.Track())
    assert not {"age", "box", "first_captured_at", "decision"} & set(track)
    assert (track["samples"], track["final"], track["reasons"]) == (0, False, [])
    assert "margin" not in as_dict(tracks_pb2.IdentityDecision())
    assert as_dict(tracks_pb2.AgeEstimate(years=float("nan")))["years"] == "NaN"
    unknown = tracks_pb2.Track(state=99)  # type: ignore[arg-type]
    assert as_dict(unknown)["state"] == 99
