"""Implement `streamer watch` and `streamer health`: clients of the gRPC API that print its answers."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import grpc
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from faceanalytics.errors import ConfigError
from faceanalytics.files import replacing
from faceanalytics.json_form import as_line
from faceanalytics.v1 import faces_pb2, streams_pb2, system_pb2, tracks_pb2
from streamer.tools.connection import Connect, plain
from streamer.tools.identity_words import who
from streamer.tools.resumption import Interruption, check_address, reason_of
from streamer.tools.stream_status import (
    NOT_STORING,
    Changes,
    Streams,
    ask,
    camera_line,
    is_down,
    polling,
    services_line,
    streams_table,
)
from streamer.tools.subscription import Subscription

ENDED_ROWS = 8  # ended tracks that are still shown
INTERRUPTED = 130  # exit code after Ctrl-C
INSIST_S = 0.5  # between two attempts to interrupt
REFRESH_PER_S = 4
UNTRAINED = "The analysis network is UNTRAINED: ages, expressions and attributes are noise. Faces and tracks are real."
COLUMNS = ("#", "stream", "state", "who", "age", "appears", "samples", "quality", "face px", "seen s")


class Printer(Protocol):
    """Prints events and messages."""

    def show(self, event: tracks_pb2.WatchTracksResponse) -> None:
        """Print one event of the watch."""

    def notify(self, message: str) -> None:
        """Print a message about the connection."""


def watch(
    address: str,
    streams: list[str],
    as_json: bool,
    once: bool,
    resume: Path | None = None,
    connect: Connect = plain,
) -> int:
    """Print the events of the tracks until Ctrl-C: as a live table on a terminal, as one line per event elsewhere.

    A lost connection is restored; with `once` it ends the watch. `resume`: file that keeps the token of the last event
    shown, from which the next watch goes on. Returns the exit code: 130 after Ctrl-C; with `once` 0
    if the streamer ended the watch, 1 if the connection was lost. Raises ConfigError and LostDependency.
    """
    check_address(address)

    def wanted(found: Streams) -> None:
        printer.show_streams([one for one in found if not streams or one.stream_id in streams])

    try:
        with _insisting(), ExitStack() as stack:
            printer = _printer(as_json, stack)
            with nullcontext() if as_json else polling(address, wanted, connect):
                return follow(address, streams, printer, once, resume=resume, connect=connect)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the lines has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextmanager
def _insisting() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt repeatedly until it takes effect, because callbacks of gRPC swallow it."""

    def interrupt(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, INSIST_S)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(
    address: str,
    streams: list[str],
    printer: Printer,
    once: bool,
    wait: Callable[[float], None] = time.sleep,
    resume: Path | None = None,
    connect: Connect = plain,
) -> int:
    """Pass events to the printer, reconnecting as often as needed; `wait` sleeps the given seconds in between.

    Returns the exit code of `watch`. Raises LostDependency if the server refuses for good.
    """
    token = read_token(resume) if resume else ""
    request = tracks_pb2.WatchTracksRequest(
        stream_ids=streams, snapshot=True, resume_token=token, allow_gap=bool(token)
    )
    for event in Subscription(address, request, wait, connect):
        if not isinstance(event, Interruption):
            printer.show(event)
            if resume and event.resume_token:
                write_token(resume, event.resume_token)
        elif once:
            printer.notify(event.reason)
            return 0 if event.ended else 1
        else:
            printer.notify(f"{event.reason}; trying again in {event.retry_in_s:.1f} s")
    return 0


def read_token(file: Path) -> str:
    """Return the token in a file; empty: there is no file yet. Raises ConfigError."""
    try:
        return file.read_text(encoding="utf-8").strip() if file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--resume {file}: {error}") from error


def write_token(file: Path, token: str) -> None:
    """Replace the token in a file. Raises ConfigError."""
    with replacing(file) as partial:
        partial.write_text(token + "\n", encoding="utf-8")


def check_health(address: str, timeout_s: float, connect: Connect = plain) -> int:
    """Print SERVING or NOT_SERVING, the states of the services, the models, and cameras that are down or overloaded.

    It also says if the store does not work. An error is printed to standard error. Returns the exit code: 0 for
    SERVING, else 1, also without an answer within `timeout_s`.
    """
    check_address(address)
    with connect(address) as channel:
        try:
            serving, models, cameras, storing, services = ask(channel, timeout_s)
        except grpc.RpcError as error:
            print(f"{address}: {reason_of(error)}", file=sys.stderr)
            return 1
    print(serving)
    print(services_line(services))
    for model in models:
        print(model_line(model))
    for camera in cameras:
        if is_down(camera) or camera.overloaded:
            print(camera_line(camera))
    if not storing:
        print(NOT_STORING)
    if cameras:
        running = sum(camera.state == streams_pb2.STREAM_STATE_RUNNING for camera in cameras)
        print(f"{running} of {len(cameras)} cameras running")
    return 0 if serving == "SERVING" else 1


def model_line(model: system_pb2.Model) -> str:
    """Describe the outputs of a model, its workers and its licence in one line."""
    attributes = [_word(faces_pb2.Attribute.Name(one), "ATTRIBUTE_") for one in model.attributes]
    outputs = (
        ("age", model.has_age),
        ("expression", model.has_expression),
        (attributes[0] if len(attributes) == 1 else f"{len(attributes)} attributes", bool(attributes)),
        ("identity", model.has_identity),
    )
    names = ", ".join(name for name, present in outputs if present)
    terms = f"; {model.licence}" if model.licence else ""
    return f"{model.model_id}: {names}; {model.workers} worker{'s' if model.workers > 1 else ''}{terms}"


def event_line(event: tracks_pb2.WatchTracksResponse) -> str | None:
    """Format an event as a line of text; None if it has no track and is no gap."""
    if event.HasField("gap"):
        return f"GAP       {event.gap.count} events are no longer stored and were missed"
    if not event.HasField("track"):
        return None
    track = event.track
    parts = [
        f"{_word(tracks_pb2.EventType.Name(event.type), 'EVENT_TYPE_'):<8}",
        f"{track.stream_id} #{track.number}",
        f"{_state(track):<10}",
        f"{_seen(track):>6} s",
        f"face {_face(track)} px",
    ]
    if track.HasField("decision") or track.HasField("visitor"):
        parts.append(_who(track))
    if track.HasField("journey"):
        parts.append(f"after {track.journey.from_stream_id}, {track.journey.gap.ToTimedelta().total_seconds():+.1f} s")
    if track.samples:
        parts += [f"age {_age(track)}"] if track.HasField("age") else []
        parts += [f"appears {_appears(track)}"] if track.HasField("expression") else []
        parts += [f"not described: {_undescribed(track)}"] if track.undescribed_reasons else []
        parts.append(f"{track.samples} samples")
    parts.append(f"quality {track.quality:.2f}" if track.samples else _quality(track))
    if track.model_id == "untrained":
        parts.append("(untrained)")
    return "  ".join(part for part in parts if part)


def table_rows(tracks: Iterable[tracks_pb2.Track]) -> list[tuple[str, ...]]:
    """Format one row of texts per track, in the order of COLUMNS."""
    return [
        (
            str(track.number),
            track.stream_id,
            _state(track),
            _who(track),
            _age(track),
            _appears(track),
            str(track.samples),
            _quality(track),
            _face(track),
            _seen(track),
        )
        for track in tracks
    ]


def final_table(tracks: Iterable[tracks_pb2.Track], title: str = "") -> Table:
    """Build a table of tracks for a terminal, without columns for outputs that their model lacks.

    The caption warns if the model is untrained.
    """
    shown = list(tracks)
    analysed = [track for track in shown if track.samples]
    available = {
        "who": any(track.HasField("decision") or track.HasField("visitor") for track in shown),
        "age": not analysed or any(track.HasField("age") for track in analysed),
        "appears": not analysed or any(track.HasField("expression") for track in analysed),
    }
    places = [place for place, name in enumerate(COLUMNS) if available.get(name, True)]
    untrained = any(track.model_id == "untrained" for track in shown)
    table = Table(title=title or None, caption=UNTRAINED if untrained else None, caption_style="bold red")
    for name in (COLUMNS[place] for place in places):
        table.add_column(name, justify="left" if name in ("stream", "state", "who", "appears", "quality") else "right")
    for track, row in zip(shown, table_rows(shown), strict=True):
        table.add_row(*(row[place] for place in places), style="dim" if track.final else None)
    return table


class View:
    """The tracks of one watch: the live ones and the last few that have ended."""

    def __init__(self) -> None:
        self.live: dict[str, tracks_pb2.Track] = {}
        self.ended: list[tracks_pb2.Track] = []

    def apply(self, event: tracks_pb2.WatchTracksResponse) -> None:
        """Apply an event. The first one of a watch drops the live tracks of the watch before."""
        if event.sequence == 1:
            self.live = {}
        if not event.HasField("track"):
            return
        track = event.track
        if track.final:
            self.live = {name: other for name, other in self.live.items() if name != track.track_id}
            others = [other for other in self.ended if other.track_id != track.track_id]  # a REVISION comes again
            self.ended = [*others, track][-ENDED_ROWS:]
        else:
            self.live = {**self.live, track.track_id: track}

    def table(self, title: str) -> Table:
        """Build the table of all tracks, ended ones last. Any thread may call this."""
        return final_table([*self.live.values(), *self.ended], title)


class JsonPrinter:
    """Prints each event as one line of JSON, with the field names of the .proto files, and no cameras."""

    def show(self, event: tracks_pb2.WatchTracksResponse) -> None:
        print(as_line(event), flush=True)

    def notify(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    def show_streams(self, streams: Streams) -> None:
        del streams  # the lines are events


class LinePrinter:
    """Prints each event with a track, and each change of a camera, as one line of text."""

    def __init__(self) -> None:
        self._changes = Changes()

    def show(self, event: tracks_pb2.WatchTracksResponse) -> None:
        line = event_line(event)
        if line is not None:
            print(line, flush=True)

    def notify(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    def show_streams(self, streams: Streams) -> None:
        for stream in self._changes.of(streams):
            print(camera_line(stream), flush=True)


class TablePrinter:
    """Shows a table of cameras and one of tracks that are redrawn in place."""

    def __init__(self, console: Console, stack: ExitStack) -> None:
        self._view = View()
        self._message = "connecting"
        self._streams: Streams = []
        live = Live(console=console, get_renderable=self._table, refresh_per_second=REFRESH_PER_S)
        stack.enter_context(live)

    def _table(self) -> Group:
        cameras = [streams_table(self._streams)] if self._streams else []
        return Group(*cameras, self._view.table(self._message))

    def show_streams(self, streams: Streams) -> None:
        self._streams = streams

    def show(self, event: tracks_pb2.WatchTracksResponse) -> None:
        self._view.apply(event)
        self._message = f"{len(self._view.live)} tracks"

    def notify(self, message: str) -> None:
        self._message = message


def _printer(as_json: bool, stack: ExitStack) -> JsonPrinter | LinePrinter | TablePrinter:
    console = Console()
    if as_json:
        return JsonPrinter()
    return TablePrinter(console, stack) if console.is_terminal else LinePrinter()


def _word(name: str, prefix: str) -> str:
    """Format the name of an enum value for people."""
    return name.removeprefix(prefix).lower().replace("_", " ")


def _state(track: tracks_pb2.Track) -> str:
    if track.final:
        return _word(tracks_pb2.EndReason.Name(track.end_reason), "END_REASON_")
    return _word(tracks_pb2.TrackState.Name(track.state), "TRACK_STATE_")


def _who(track: tracks_pb2.Track) -> str:
    """Return the person's name or the visitor, or why there is neither."""
    if track.HasField("visitor"):
        visits = f", visit {track.visitor.visits}" if track.visitor.seen_before else ""
        return f"visitor {track.visitor.visitor_id[-6:]}{visits}"
    if not track.HasField("decision"):
        return ""
    return who(track.decision)


def _undescribed(track: tracks_pb2.Track) -> str:
    """Return why an analysed track has no age and expression; empty if it has."""
    names = [tracks_pb2.UndescribedReason.Name(reason) for reason in track.undescribed_reasons]
    return ", ".join(_word(name, "UNDESCRIBED_REASON_") for name in names) if track.samples else ""


def _age(track: tracks_pb2.Track) -> str:
    if not track.HasField("age"):
        return ""
    return f"{round(track.age.years)} ({round(track.age.low_years)}-{round(track.age.high_years)})"


def _appears(track: tracks_pb2.Track) -> str:
    if not track.HasField("expression"):
        return ""
    if track.expression.appears == faces_pb2.EXPRESSION_UNSPECIFIED:
        return "?"
    return _word(faces_pb2.Expression.Name(track.expression.appears), "EXPRESSION_")


def _quality(track: tracks_pb2.Track) -> str:
    """Return the quality of the best crop, or why no crop has been analysed yet or the track is not described."""
    if track.samples:
        return " ".join(part for part in (f"{track.quality:.2f}", _undescribed(track)) if part)
    return ", ".join(_word(tracks_pb2.Reason.Name(reason), "REASON_") for reason in track.reasons)


def _face(track: tracks_pb2.Track) -> str:
    return f"{track.box.width:.0f}x{track.box.height:.0f}"


def _seen(track: tracks_pb2.Track) -> str:
    """Return the seconds from the first detection to the last."""
    return f"{track.last_seen_s - track.first_seen_s:.1f}"
