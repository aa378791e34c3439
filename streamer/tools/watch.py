"""What `streamer watch` and `streamer health` do: clients of the gRPC API that print what they are told."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import grpc
from google.protobuf.json_format import MessageToJson
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console
from rich.live import Live
from rich.table import Table

from faceanalytics.v1 import faces_pb2, system_pb2, system_pb2_grpc, tracks_pb2
from streamer.tools.subscription import OPTIONS, Interruption, Subscription, check_address, reason_of

ENDED_ROWS = 8  # tracks that have ended and are still shown
INTERRUPTED = 130  # exit code after Ctrl-C
INSIST_S = 0.5  # between two tries to be interrupted
REFRESH_PER_S = 4
UNTRAINED = "The analysis network is UNTRAINED: ages, expressions and attributes are noise. Faces and tracks are real."
COLUMNS = ("#", "stream", "state", "who", "age", "appears", "samples", "quality", "face px", "seen s")


class Printer(Protocol):
    """Where events and messages go."""

    def show(self, event: tracks_pb2.WatchTracksResponse) -> None:
        """One event of the watch."""

    def tell(self, message: str) -> None:
        """Something about the connection."""


def watch(address: str, streams: list[str], as_json: bool, once: bool) -> int:
    """Print what happens to the tracks until Ctrl-C (130): on a terminal as a table that is drawn anew, else one line
    per event. A lost connection is made again; with `once` it ends the watch (1; 0 if the streamer has ended it)."""
    check_address(address)
    try:
        with _insisting(), ExitStack() as stack:
            return follow(address, streams, _printer(as_json, stack), once)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the lines has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextmanager
def _insisting() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, again and again until it has come through: what is raised inside a callback of
    gRPC is swallowed there."""

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
    address: str, streams: list[str], printer: Printer, once: bool, wait: Callable[[float], None] = time.sleep
) -> int:
    """Carry events to the printer over as many connections as it takes; `wait` (s) passes the time between two.
    Raises LostDependency if the other side refuses in a way that will not change."""
    request = tracks_pb2.WatchTracksRequest(stream_ids=streams, snapshot=True)
    for event in Subscription(address, request, wait):
        if not isinstance(event, Interruption):
            printer.show(event)
        elif once:
            printer.tell(event.reason)
            return 0 if event.ended else 1
        else:
            printer.tell(f"{event.reason}; trying again in {event.retry_in_s:g} s")
    return 0


def check_health(address: str, timeout_s: float) -> int:
    """Print SERVING (0), NOT_SERVING (1), or why there is no answer within `timeout_s` (1, to standard error); and a
    line per model of the workers."""
    check_address(address)
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
            system = system_pb2_grpc.SystemServiceStub(channel)
            models = system.ListModels(system_pb2.ListModelsRequest(), timeout=timeout_s).models
        except grpc.RpcError as error:
            print(f"{address}: {reason_of(error)}", file=sys.stderr)
            return 1
    print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
    for model in models:
        print(model_line(model))
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


def model_line(model: system_pb2.Model) -> str:
    """What the weights of some workers tell, as a line of text."""
    attributes = [_word(faces_pb2.Attribute.Name(one), "ATTRIBUTE_") for one in model.attributes]
    tells = (
        ("age", model.has_age),
        ("expression", model.has_expression),
        (attributes[0] if len(attributes) == 1 else f"{len(attributes)} attributes", bool(attributes)),
        ("identity", model.has_identity),
    )
    told = ", ".join(name for name, there in tells if there)
    terms = f"; {model.licence}" if model.licence else ""
    return f"{model.model_id}: {told}; {model.workers} worker{'s' if model.workers > 1 else ''}{terms}"


def event_line(event: tracks_pb2.WatchTracksResponse) -> str | None:
    """An event as a line of text; None: it is about no track."""
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
    if track.HasField("decision"):
        parts.append(_who(track))
    if track.samples:
        parts += [f"age {_age(track)}"] if track.HasField("age") else []
        parts += [f"appears {_appears(track)}"] if track.HasField("expression") else []
        parts.append(f"{track.samples} samples")
    parts.append(f"quality {_quality(track)}" if track.samples else _quality(track))
    if track.model_id == "untrained":
        parts.append("(untrained)")
    return "  ".join(part for part in parts if part)


def table_rows(tracks: Iterable[tracks_pb2.Track]) -> list[tuple[str, ...]]:
    """One row of texts per track, in the order of COLUMNS."""
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
    """The tracks as a table for a terminal, without columns for what their model does not tell; says so if the
    analyses mean nothing."""
    shown = list(tracks)
    analysed = [track for track in shown if track.samples]
    told = {
        "who": any(track.HasField("decision") for track in shown),
        "age": not analysed or any(track.HasField("age") for track in analysed),
        "appears": not analysed or any(track.HasField("expression") for track in analysed),
    }
    places = [place for place, name in enumerate(COLUMNS) if told.get(name, True)]
    untrained = any(track.model_id == "untrained" for track in shown)
    table = Table(title=title or None, caption=UNTRAINED if untrained else None, caption_style="bold red")
    for name in (COLUMNS[place] for place in places):
        table.add_column(name, justify="left" if name in ("stream", "state", "who", "appears", "quality") else "right")
    for track, row in zip(shown, table_rows(shown), strict=True):
        table.add_row(*(row[place] for place in places), style="dim" if track.final else None)
    return table


class View:
    """The tracks of one watch: the live ones and a few that have ended."""

    def __init__(self) -> None:
        self.live: dict[str, tracks_pb2.Track] = {}
        self.ended: list[tracks_pb2.Track] = []

    def apply(self, event: tracks_pb2.WatchTracksResponse) -> None:
        """Take an event in. The first one of a watch forgets the tracks of the watch before."""
        if event.sequence == 1:
            self.live = {}
        if not event.HasField("track"):
            return
        track = event.track
        if track.final:
            self.live = {name: other for name, other in self.live.items() if name != track.track_id}
            self.ended = [*self.ended, track][-ENDED_ROWS:]
        else:
            self.live = {**self.live, track.track_id: track}

    def table(self, title: str) -> Table:
        """All tracks, those that have ended last. May be called from another thread."""
        return final_table([*self.live.values(), *self.ended], title)


JSON_FORM: dict[str, Any] = {
    "preserving_proto_field_name": True,
    "always_print_fields_with_no_presence": True,  # 0 and false are values
    "indent": None,
    "ensure_ascii": False,
}


class JsonPrinter:
    """Each event as one line of JSON, with the field names of the .proto files."""

    def show(self, event: tracks_pb2.WatchTracksResponse) -> None:
        print(MessageToJson(event, **JSON_FORM), flush=True)

    def tell(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


class LinePrinter:
    """Each event that is about a track as one line of text."""

    def show(self, event: tracks_pb2.WatchTracksResponse) -> None:
        line = event_line(event)
        if line is not None:
            print(line, flush=True)

    def tell(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


class TablePrinter:
    """A table that is drawn anew in place."""

    def __init__(self, console: Console, stack: ExitStack) -> None:
        self._view = View()
        self._message = "connecting"
        live = Live(console=console, get_renderable=self._table, refresh_per_second=REFRESH_PER_S)
        stack.enter_context(live)

    def _table(self) -> Table:
        return self._view.table(self._message)

    def show(self, event: tracks_pb2.WatchTracksResponse) -> None:
        self._view.apply(event)
        self._message = f"{len(self._view.live)} tracks"

    def tell(self, message: str) -> None:
        self._message = message


def _printer(as_json: bool, stack: ExitStack) -> Printer:
    console = Console()
    if as_json:
        return JsonPrinter()
    return TablePrinter(console, stack) if console.is_terminal else LinePrinter()


def _word(name: str, prefix: str) -> str:
    """A name of an enum for people."""
    return name.removeprefix(prefix).lower().replace("_", " ")


def _state(track: tracks_pb2.Track) -> str:
    if track.final:
        return _word(tracks_pb2.EndReason.Name(track.end_reason), "END_REASON_")
    return _word(tracks_pb2.TrackState.Name(track.state), "TRACK_STATE_")


def _who(track: tracks_pb2.Track) -> str:
    """The name, or why there is none."""
    if not track.HasField("decision"):
        return ""
    decision = track.decision
    if decision.status == tracks_pb2.IDENTITY_STATUS_IDENTIFIED:
        return decision.person
    status = _word(tracks_pb2.IdentityStatus.Name(decision.status), "IDENTITY_STATUS_")
    if decision.status == tracks_pb2.IDENTITY_STATUS_UNKNOWN:
        return status
    return f"{status} ({_word(tracks_pb2.IdentityReason.Name(decision.reason), 'IDENTITY_REASON_')})"


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
    """How good the best crop was, or why there is none yet."""
    if track.samples:
        return f"{track.quality:.2f}"
    return ", ".join(_word(tracks_pb2.Reason.Name(reason), "REASON_") for reason in track.reasons)


def _face(track: tracks_pb2.Track) -> str:
    return f"{track.box.width:.0f}x{track.box.height:.0f}"


def _seen(track: tracks_pb2.Track) -> str:
    """Seconds from the first detection to the last."""
    return f"{track.last_seen_s - track.first_seen_s:.1f}"
