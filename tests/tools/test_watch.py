"""What the watching client prints, and what it does when the other side comes and goes: real servers and processes."""

import asyncio
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from rich.console import Console

from faceanalytics.errors import ConfigError, LostDependency
from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from streamer.api.server import Server, start_server
from streamer.config import Publish, Stream
from streamer.hub import Hub
from streamer.tools.watch import (
    COLUMNS,
    ENDED_ROWS,
    UNTRAINED,
    View,
    check_health,
    event_line,
    final_table,
    follow,
    table_rows,
    watch,
)
from tests.api.test_server import KeptCameras, final, summary
from tests.support.builders import SMALL
from tests.support.patience import WAIT_S

Event = tracks_pb2.WatchTracksResponse


def track(number: int = 3, **fields: Any) -> tracks_pb2.Track:
    made: dict[str, Any] = {
        "track_id": f"t{number}",
        "stream_id": "door",
        "number": number,
        "state": "TRACK_STATE_CONFIRMED",
        "first_seen_s": 1.0,
        "last_seen_s": 3.25,
        "box": {"x": 1, "y": 2, "width": 57.4, "height": 63.6},
    }
    return ParseDict(made | fields, tracks_pb2.Track())


def analysed(number: int = 3, **fields: Any) -> tracks_pb2.Track:
    return track(
        number,
        age={"years": 34.4, "low_years": 28.6, "high_years": 40.2, "evidence": {"samples": 12}},
        expression={"appears": "EXPRESSION_HAPPINESS"},
        samples=12,
        quality=0.816,
        model_id="a",
        **fields,
    )


def event(kind: str, of: tracks_pb2.Track | None = None, sequence: int = 2) -> Event:
    return Event(type=tracks_pb2.EventType.Value(f"EVENT_TYPE_{kind}"), track=of, sequence=sequence)


def words(line: str | None) -> list[str]:
    return [part.strip() for part in (line or "").split("  ") if part.strip()]


def printed(view: View, title: str = "") -> str:
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(view.table(title))
    return console.export_text()


# --- texts


def test_a_line_says_what_is_known_of_the_track() -> None:
    assert words(event_line(event("UPDATE", analysed()))) == [
        "update",
        "door #3",
        "confirmed",
        "2.2 s",
        "face 57x64 px",
        "age 34 (29-40)",
        "appears happiness",
        "12 samples",
        "quality 0.82",
    ]


def test_a_line_says_why_a_face_was_not_analysed() -> None:
    small = track(reasons=["REASON_SMALL_BOUNDING_BOX", "REASON_LOW_SHARPNESS"])
    assert words(event_line(event("NEW", small)))[-1] == "small bounding box, low sharpness"


def test_a_line_and_a_row_say_why_an_analysed_track_is_not_described() -> None:
    reasons = ["UNDESCRIBED_REASON_BORDER", "UNDESCRIBED_REASON_LOW_QUALITY"]
    half = track(samples=4, quality=0.214, model_id="a", undescribed_reasons=reasons)
    assert words(event_line(event("UPDATE", half)))[-3:] == [
        "not described: border, low quality",
        "4 samples",
        "quality 0.21",
    ]
    (row,) = table_rows([half])
    assert (row[COLUMNS.index("age")], row[COLUMNS.index("quality")]) == ("", "0.21 border, low quality")
    waiting = track(undescribed_reasons=["UNDESCRIBED_REASON_NOT_ANALYSED"], reasons=["REASON_BUDGET"])
    assert words(event_line(event("NEW", waiting)))[-1] == "budget"


def test_a_line_says_why_a_track_has_ended() -> None:
    ended = track(state="TRACK_STATE_ENDED", final=True, end_reason="END_REASON_LEFT_FRAME")
    assert words(event_line(event("END", ended)))[:3] == ["end", "door #3", "left frame"]


def test_a_line_says_that_the_network_is_untrained() -> None:
    untrained = analysed()
    untrained.model_id = "untrained"
    assert words(event_line(event("UPDATE", untrained)))[-1] == "(untrained)"


@pytest.mark.parametrize("kind", ["HEARTBEAT", "SNAPSHOT_END"])
def test_an_event_about_no_track_has_no_line(kind: str) -> None:
    assert event_line(event(kind)) is None


def test_an_expression_that_is_not_clear_is_a_question() -> None:
    unclear = track(expression={"appears": "EXPRESSION_UNSPECIFIED"}, samples=1)
    assert table_rows([unclear])[0][COLUMNS.index("appears")] == "?"


def test_what_the_model_does_not_tell_has_no_column_and_no_words() -> None:
    silent = track(samples=3, quality=0.5, model_id="a")
    assert [column.header for column in final_table([silent, track(4)]).columns] == [
        name for name in COLUMNS if name not in ("who", "age", "appears")
    ]
    named = track(4, decision={"status": tracks_pb2.IDENTITY_STATUS_IDENTIFIED, "person": "ada"})
    assert [column.header for column in final_table([analysed(), named]).columns] == list(COLUMNS)
    assert words(event_line(event("UPDATE", silent)))[-2:] == ["3 samples", "quality 0.50"]


def test_a_row_has_a_text_for_each_column() -> None:
    rows = table_rows([analysed(), track(4)])
    assert rows[0] == ("3", "door", "confirmed", "", "34 (29-40)", "happiness", "12", "0.82", "57x64", "2.2")
    assert rows[1] == ("4", "door", "confirmed", "", "", "", "0", "", "57x64", "2.2")


ADA_AND_EVE = [{"person": "Ada", "similarity": 0.62}, {"person": "Eve", "similarity": 0.5}]


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        ({"status": tracks_pb2.IDENTITY_STATUS_IDENTIFIED, "person": "ada"}, "ada"),
        ({"status": tracks_pb2.IDENTITY_STATUS_UNKNOWN, "reason": 2}, "unknown"),
        ({"status": tracks_pb2.IDENTITY_STATUS_UNDECIDED, "reason": 3}, "undecided (ambiguous)"),
        ({"status": 3, "reason": 3, "candidates": ADA_AND_EVE}, "undecided (ambiguous: Ada or Eve)"),
        ({"status": 3, "reason": 1}, "undecided (too few good images)"),
        (
            {"status": 3, "reason": 8, "candidates": ADA_AND_EVE},
            "undecided (like Ada, but another face in the same frame has the name)",
        ),
        (
            {"status": 3, "reason": 9, "candidates": ADA_AND_EVE, "required": 0.7},
            "undecided (like Ada, but others are, too: cosine 0.62, 0.70 needed)",
        ),
        ({"status": 2, "reason": 6}, "unknown (rejected)"),
    ],
)
def test_who_it_is_has_a_column_and_a_word(decision: dict[str, Any], text: str) -> None:
    who = track(4, decision=decision)
    assert table_rows([who])[0][COLUMNS.index("who")] == text
    assert text in words(event_line(event("UPDATE", who)))


def test_the_caption_says_plainly_that_the_network_is_untrained() -> None:
    untrained = analysed()
    untrained.model_id = "untrained"
    assert final_table([analysed(), untrained]).caption == UNTRAINED
    assert final_table([analysed()]).caption is None


def test_the_view_follows_the_events() -> None:
    view = View()
    for one in (
        event("SNAPSHOT", track(1), sequence=1),
        event("SNAPSHOT_END"),
        event("NEW", track(2)),
        event("UPDATE", analysed(1)),
        event("HEARTBEAT"),
    ):
        view.apply(one)
    assert [(one.number, one.samples) for one in view.live.values()] == [(1, 12), (2, 0)]
    view.apply(event("END", track(2, final=True, end_reason="END_REASON_TIMEOUT")))
    text = printed(view, "1 tracks")
    assert text.index("confirmed") < text.index("timeout")
    assert "1 tracks" in text


def test_a_new_watch_forgets_the_live_tracks_of_the_old_one() -> None:
    view = View()
    view.apply(event("SNAPSHOT", track(1), sequence=1))
    view.apply(event("SNAPSHOT_END", sequence=1))
    assert view.live == {}


def test_only_a_few_ended_tracks_stay_in_the_view() -> None:
    view = View()
    for number in range(100):
        view.apply(event("NEW", track(number)))
        view.apply(event("END", track(number, final=True)))
    assert [one.number for one in view.ended] == list(range(100 - ENDED_ROWS, 100))
    assert view.live == {}


# --- connections


class Running:
    """A server in a thread of its own, for clients that block."""

    def __init__(self, listen: str = "127.0.0.1:0", **settings: Any) -> None:
        self._config = Publish(listen=listen, **settings)
        self._ready = threading.Event()
        self.cameras = KeptCameras()
        self.address = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop, self._leaving, self._hub = asyncio.get_running_loop(), asyncio.Event(), Hub(self._config)
        self._server: Server = await start_server(self._config, self._hub, self.cameras, lambda: {SMALL: 1})
        self.address = self._server.address
        self._ready.set()
        await self._leaving.wait()
        await self._server.stop(5.0)

    def __enter__(self) -> "Running":
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def leave(self) -> None:
        """Begin to stop."""
        with suppress(RuntimeError):  # it has stopped already
            self._loop.call_soon_threadsafe(self._leaving.set)

    def offer(self, *summaries: Any) -> None:
        for one in summaries:
            self._loop.call_soon_threadsafe(self._hub.offer, one, time.monotonic())

    def set_serving(self, serving: bool) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._server.set_serving, serving)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(WAIT_S)


class Kept:
    """A printer that keeps what it gets, and reacts to it."""

    def __init__(self, react: Callable[[Event], object] = lambda event: None) -> None:
        self.events: list[Event] = []
        self.messages: list[str] = []
        self._react = react

    def show(self, event: Event) -> None:
        self.events.append(event)
        self._react(event)

    def notify(self, message: str) -> None:
        self.messages.append(message)


def kinds(events: list[Event]) -> list[str]:
    return [tracks_pb2.EventType.Name(one.type).removeprefix("EVENT_TYPE_") for one in events]


class Enough(Exception):
    """The test has seen what it wanted."""


def nobody_listens() -> str:
    with Running() as running:
        return running.address


def shortened(waits: list[float], longest: list[int]) -> bool:
    """Each wait is its longest one, shortened by up to half at random."""
    return all(limit / 2 <= wait <= limit for wait, limit in zip(waits, longest, strict=True))


def test_once_ends_with_0_when_the_streamer_ends_the_watch() -> None:
    with Running() as running:
        running.offer(summary("t1"))
        printer = Kept(lambda event: running.leave() if event.track.track_id else None)
        assert follow(running.address, [], printer, once=True) == 0
    assert kinds(printer.events)[-2:] == ["SNAPSHOT", "SNAPSHOT_END"]
    assert printer.messages == [f"{running.address} ended the watch"]


def test_once_ends_with_1_when_there_is_no_streamer() -> None:
    address, printer = nobody_listens(), Kept()
    assert follow(address, [], printer, once=True) == 1
    assert len(printer.messages) == 1
    assert printer.messages[0].startswith(f"{address}: UNAVAILABLE")


def test_a_streamer_that_is_away_is_tried_again_with_a_doubling_delay() -> None:
    waits: list[float] = []

    def wait(delay: float) -> None:
        waits.append(delay)
        if len(waits) == 7:
            raise Enough

    printer = Kept()
    address = nobody_listens()
    with pytest.raises(Enough):
        follow(address, [], printer, once=False, wait=wait)
    assert shortened(waits, [1, 2, 4, 8, 16, 30, 30])
    assert printer.messages[1].endswith(f"; trying again in {waits[1]:.1f} s")


def test_a_streamer_that_comes_back_is_watched_again() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(Running())
        first.offer(summary("t1"))
        waits: list[float] = []

        def wait(delay: float) -> None:
            waits.append(delay)
            if len(waits) == 3:
                first.__exit__()  # now its port is free
                stack.enter_context(Running(first.address)).offer(summary("t2"))

        def react(event: Event) -> None:
            if event.track.track_id == "t1":
                first.leave()
            if event.track.track_id == "t2":
                raise Enough

        printer = Kept(react)
        with pytest.raises(Enough):
            follow(first.address, [], printer, once=False, wait=wait)
    assert shortened(waits, [1, 2, 4])
    assert [one.track.track_id for one in printer.events] == ["t1", "", "t2"]


def test_a_streamer_that_was_too_busy_is_watched_from_a_new_snapshot() -> None:
    asked: list[tracks_pb2.WatchTracksRequest] = []

    class Busy(tracks_pb2_grpc.TrackServiceServicer):
        def WatchTracks(self, request: tracks_pb2.WatchTracksRequest, context: Any) -> Iterator[Event]:  # noqa: N802
            asked.append(request)
            yield Event(type=tracks_pb2.EVENT_TYPE_SNAPSHOT_END, sequence=1)
            code = grpc.StatusCode.RESOURCE_EXHAUSTED if len(asked) < 3 else grpc.StatusCode.PERMISSION_DENIED
            context.abort(code, "no")

        def GetTrack(self, request: Any, context: Any) -> Any: ...  # noqa: N802

        def ListTracks(self, request: Any, context: Any) -> Any: ...  # noqa: N802

        def CountTracks(self, request: Any, context: Any) -> Any: ...  # noqa: N802

    with threaded(Busy()) as address:
        printer, waits = Kept(), list[float]()
        with pytest.raises(LostDependency, match="PERMISSION_DENIED: no"):  # asking again would be of no use
            follow(address, ["door"], printer, once=False, wait=waits.append)
    assert [(list(request.stream_ids), request.snapshot) for request in asked] == [(["door"], True)] * 3
    assert shortened(waits, [1, 1])
    assert all("RESOURCE_EXHAUSTED: no; trying again in " in message for message in printer.messages)


@contextmanager
def threaded(service: tracks_pb2_grpc.TrackServiceServicer) -> Iterator[str]:
    """A server of another make."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        tracks_pb2_grpc.add_TrackServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


def test_an_invalid_address_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="host:port"):
        watch("here", [], as_json=False, once=True)


PROGRAM = (
    "import sys; from streamer.tools.watch import watch; "
    "sys.exit(watch(sys.argv[1], ['door'], sys.argv[2] == 'json', 0))"
)


@contextmanager
def process(address: str, kind: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """`streamer watch` as a process, and what it prints; ended by Ctrl-C at the latest."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, address, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            yield started, started.stdout
        finally:
            started.send_signal(signal.SIGINT)


def test_without_a_terminal_each_event_is_a_line_until_ctrl_c() -> None:
    with Running() as running:
        running.offer(summary("t1"), summary("t2", camera="yard"))
        with process(running.address, "lines") as (watching, lines):
            assert words(lines.readline())[:3] == ["snapshot", "door #7", "confirmed"]
            running.offer(final("t1"), final("t2", camera="yard"))
            assert words(lines.readline())[:3] == ["end", "door #7", "shutdown"]
            watching.send_signal(signal.SIGINT)
            assert watching.communicate(timeout=WAIT_S) == ("", "")
            assert watching.returncode == 130


def test_json_is_one_object_per_event_with_the_names_of_the_protocol() -> None:
    with Running() as running:
        running.offer(summary("t1"))
        with process(running.address, "json") as (_, lines):
            events = [json.loads(lines.readline()) for _ in range(2)]
    assert [one["type"] for one in events] == ["EVENT_TYPE_SNAPSHOT", "EVENT_TYPE_SNAPSHOT_END"]
    assert (events[0]["track"]["track_id"], events[0]["track"]["first_seen_s"]) == ("t1", 0.5)
    assert ParseDict(events[0], Event()).sequence == 1


def test_a_reader_who_has_enough_ends_the_watch_quietly() -> None:
    with Running(heartbeat_s=0.05) as running:
        running.cameras.add(Stream(id="door", uri="x.mp4"))  # the one that the program watches
        with process(running.address, "json") as (watching, lines):
            lines.readline()
            lines.close()
            assert watching.wait(WAIT_S) == 0
            assert watching.stderr is not None
            assert watching.stderr.read() == ""


def test_on_a_terminal_the_table_is_drawn_in_place() -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    with Running() as running:
        running.offer(summary("t1"))
        command = [sys.executable, "-W", "error", "-c", PROGRAM, running.address, "table"]
        with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment) as watching:
            os.close(slave)
            shown = b""
            while b"confirmed" not in shown:
                shown += os.read(master, 65536)
            watching.send_signal(signal.SIGINT)
            assert watching.wait(WAIT_S) == 130
        os.close(master)
    text = shown.decode(errors="replace")
    assert "1 tracks" in text
    assert "appears" in text


# --- health


SMALL_TELLS = ["small:", "age,", "expression,", "male,", "identity;", "1", "worker;", "research", "only"]


def test_health_is_printed_and_decides_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with Running() as running:
        assert check_health(running.address, WAIT_S) == 1
        running.set_serving(True)
        assert check_health(running.address, WAIT_S) == 0
    lines = capsys.readouterr().out.splitlines()
    down, up = lines[:3], lines[3:]
    names = ("Aggregate", "Analysis", "Frame", "Gallery", "Inspection", "Stream", "System", "Track", "Visitor")
    services = ", ".join(f"{name}Service {{0}}" for name in names)
    assert [down[0], up[0]] == ["NOT_SERVING", "SERVING"]
    assert [down[1], up[1]] == [f"services: {services.format(one)}" for one in ("NOT_SERVING", "SERVING")]
    assert down[2].split() == up[2].split() == SMALL_TELLS


def test_a_streamer_that_is_not_there_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    address = nobody_listens()
    assert check_health(address, 5.0) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"{address}: UNAVAILABLE")


def test_a_streamer_that_does_not_answer_in_time_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert check_health(address, 0.3) == 1
    assert "DEADLINE_EXCEEDED" in capsys.readouterr().err
