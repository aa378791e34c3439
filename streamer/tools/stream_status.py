"""Ask a running streamer for its cameras and show how they are doing: as lines, as a table, again and again."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich import box
from rich.table import Table
from rich.text import Text

from faceanalytics.v1 import streams_pb2, streams_pb2_grpc, system_pb2, system_pb2_grpc, tracks_pb2
from streamer.tools.connection import Connect, plain
from streamer.tools.pages import pages

POLL_S = 1.0
NOT_STORING = "the store does not work: events are published without being stored"
OLD_S = 5.0  # the last frame of a running camera is mentioned once it is older than this
COLUMNS = ("camera", "state", "fps", "link", "frames", "details")
FINE = (streams_pb2.STREAM_STATE_RUNNING, streams_pb2.STREAM_STATE_PAUSED, streams_pb2.STREAM_STATE_ENDED)

Streams = list[streams_pb2.Stream]


class Overview(NamedTuple):
    """How a streamer is doing."""

    serving: str  # SERVING or NOT_SERVING
    models: list[system_pb2.Model]
    cameras: Streams
    storing: bool  # False: the streamer has a store that does not work
    services: dict[str, str]  # name, such as TrackService or store -> SERVING or NOT_SERVING


def ask(channel: grpc.Channel, timeout_s: float) -> Overview:
    """Return how a streamer is doing. Raises grpc.RpcError, also without an answer within `timeout_s`."""
    services = service_states(channel, timeout_s)
    serving = services.pop("")
    system = system_pb2_grpc.SystemServiceStub(channel)
    models = system.ListModels(system_pb2.ListModelsRequest(), timeout=timeout_s).models
    storing = services.get("store", "SERVING") == "SERVING"
    return Overview(serving, list(models), list_streams(channel, timeout_s), storing, services)


def service_states(channel: grpc.Channel, timeout_s: float) -> dict[str, str]:
    """Return the state of each service by its short name; empty name: of the whole. It needs no token.

    Raises grpc.RpcError.
    """
    answer = health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=timeout_s)
    name_of = health_pb2.HealthCheckResponse.ServingStatus.Name
    return {name.rpartition(".")[2]: name_of(one.status) for name, one in sorted(answer.statuses.items())}


def services_line(services: dict[str, str]) -> str:
    """Return a line such as `services: TrackService SERVING, store NOT_SERVING`."""
    return "services: " + ", ".join(f"{name} {state}" for name, state in services.items())


def list_streams(channel: grpc.Channel, timeout_s: float) -> Streams:
    """Return all streams of a streamer. Raises grpc.RpcError."""
    service = streams_pb2_grpc.StreamServiceStub(channel)
    answers = pages(service.ListStreams, streams_pb2.ListStreamsRequest(), timeout_s)
    return [stream for answer in answers for stream in answer.streams]


@contextmanager
def polling(address: str, show: Callable[[Streams], None], connect: Connect = plain) -> Iterator[None]:
    """Pass the streams to `show` every POLL_S from another thread, and an empty list while there is no answer."""
    stop = threading.Event()

    def poll() -> None:
        with connect(address) as channel:
            while not stop.is_set():
                try:
                    streams = list_streams(channel, POLL_S)
                except grpc.RpcError:  # the watch itself reports that the streamer is gone
                    streams = []
                try:
                    show(streams)
                except BrokenPipeError:  # the reader of the lines has gone
                    return
                stop.wait(POLL_S)

    thread = threading.Thread(target=poll, name="streams", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(2 * POLL_S)


def is_down(stream: streams_pb2.Stream) -> bool:
    """Return whether a camera should deliver frames but does not."""
    return stream.state not in FINE


def camera_line(stream: streams_pb2.Stream) -> str:
    """Describe a camera in one line, `camera door: running for 3 min, 1920x1080 h264, 25.0 fps in, ...`."""
    parts = [f"{state_word(stream)} for {ago(stream.state_since, time.time())}"]
    if stream.state == streams_pb2.STREAM_STATE_RUNNING:
        parts.append(frames_word(stream))
        if stream.fps_in:
            parts.append(f"{stream.fps_in:.1f} fps in, {stream.fps_analysed:.1f} analysed")
        if stream.link_quality:
            parts.append(f"link {link_word(stream)}")
    return f"camera {stream.stream_id}: " + ", ".join(part for part in [*parts, details(stream)] if part)


def note(stream: streams_pb2.Stream) -> str:
    """Return what is wrong with a camera or what it waits for, or nothing."""
    parts = ["overloaded"] if stream.overloaded else []
    if stream.error_code:
        parts.append(f"{streams_pb2.StreamErrorCode.Name(stream.error_code).removeprefix('STREAM_ERROR_CODE_')}:")
    parts.append(stream.error_message)  # without an error: what a connection waits for
    if is_down(stream) and stream.HasField("next_retry_at"):
        seconds = max(0.0, stream.next_retry_at.ToMicroseconds() / 1e6 - time.time())
        parts.append(f"(next attempt in {seconds:.0f} s)" if seconds else "(connecting again)")
    return " ".join(part for part in parts if part)


def streams_table(streams: Iterable[streams_pb2.Stream], addresses: bool = False) -> Table:
    """Build a table of cameras, in which only addresses and details are wrapped. `addresses`: show them too."""
    columns = (*COLUMNS[:-1], "address", COLUMNS[-1]) if addresses else COLUMNS
    table = Table(box=box.SIMPLE_HEAD)
    for name in columns:
        wrapped = name in ("address", "details")
        table.add_column(name, no_wrap=not wrapped, overflow="fold" if wrapped else "ellipsis")
    for stream in streams:
        state = f"{state_word(stream)} {ago(stream.state_since, time.time())}"
        style = "bold red" if is_down(stream) or stream.overloaded else None
        shown = [stream.settings.uri or stream.settings.uri_file] if addresses else []
        row = (
            stream.stream_id,
            state,
            fps_word(stream),
            link_word(stream),
            frames_word(stream),
            *shown,
            details(stream),
        )
        table.add_row(*(Text(cell) for cell in row), style=style)  # not markup: addresses contain [::1]
    return table


def details(stream: streams_pb2.Stream) -> str:
    """Return what is wrong with a camera, its last frame if that is old, clock, age of frames and lost frames."""
    parts = [note(stream)]
    if stream.privacy_mode > streams_pb2.PRIVACY_MODE_IDENTITY:
        parts.append(streams_pb2.PrivacyMode.Name(stream.privacy_mode).removeprefix("PRIVACY_MODE_").lower())
    if stream.HasField("last_frame_at"):
        old = time.time() - stream.last_frame_at.ToMicroseconds() / 1e6 > OLD_S
        if old or stream.state != streams_pb2.STREAM_STATE_RUNNING:
            parts.append(f"last frame {ago(stream.last_frame_at, time.time())} ago")
    if stream.clock_source:
        parts.append(f"clock {tracks_pb2.ClockSource.Name(stream.clock_source).removeprefix('CLOCK_SOURCE_').lower()}")
    if stream.HasField("frame_age"):
        parts.append(f"age {stream.frame_age.ToMicroseconds() / 1e6:.2f} s")
    dropped = [f"{frames} {reason}" for reason, frames in sorted(stream.frames_dropped.items())]
    parts.append(f"dropped {', '.join(dropped)}" if dropped else "")
    parts.append(f"missing {stream.frames_missing}" if stream.frames_missing else "")
    return ", ".join(part for part in parts if part)


def state_word(stream: streams_pb2.Stream) -> str:
    """Return the state for people."""
    return streams_pb2.StreamState.Name(stream.state).removeprefix("STREAM_STATE_").lower()


def frames_word(stream: streams_pb2.Stream) -> str:
    """Return size and codec, and the device that decodes it if that is not the CPU; empty before the first frame."""
    codec = stream.codec if stream.decoder.endswith(" on cpu") else stream.decoder or stream.codec
    return f"{stream.frame_width}x{stream.frame_height} {codec}".rstrip() if stream.frame_width else ""


def fps_word(stream: streams_pb2.Stream) -> str:
    """Return the frames per second that are analysed, of those that arrive."""
    return f"{stream.fps_analysed:.1f} of {stream.fps_in:.1f}"


def link_word(stream: streams_pb2.Stream) -> str:
    """Return the quality of the link; empty if it is not known."""
    name = streams_pb2.LinkQuality.Name(stream.link_quality).removeprefix("LINK_QUALITY_").lower()
    return name if stream.link_quality else ""


def ago(moment: Timestamp, now: float) -> str:
    """Return the time from a moment to `now` (s, Unix time), such as 35 s, 12 min, 3 h or 4 days."""
    seconds = max(0.0, now - moment.ToMicroseconds() / 1e6)
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"


class Changes:
    """Finds the cameras whose status has changed in a way that is a line of a log."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, ...]] = {}

    def of(self, streams: Streams) -> Streams:
        """Return the streams that are new, or differ from the last time in state, error, size, overload or link."""
        changed = []
        for one in streams:
            size = one.frame_width, one.frame_height
            shown = one.state, one.error_code, size, one.codec, one.overloaded, one.link_quality
            if self._known.get(one.stream_id) != shown:
                self._known[one.stream_id] = shown
                changed.append(one)
        return changed
