"""Implement `streamer status` and `streamer streams`: see and manage the cameras of a running streamer."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from rich.console import Console

from faceanalytics.errors import ConfigError, LostDependency
from faceanalytics.json_form import as_dict
from faceanalytics.v1 import streams_pb2, streams_pb2_grpc
from streamer.api.messages import duration
from streamer.tools import stream_status
from streamer.tools.connection import Connect, plain
from streamer.tools.resumption import check_address, hint
from streamer.tools.stream_status import state_word, streams_table
from streamer.tools.system_status import ask_system, system_lines
from streamer.tools.watch import model_line

ANSWER_S = 10.0  # longest wait for an answer
PIPE_WIDTH = 2000  # characters of a table that does not go to a terminal: one line for each camera
GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
ENUMS: dict[str, dict[str, int]] = {
    "transport": {"tcp": streams_pb2.TRANSPORT_TCP, "udp": streams_pb2.TRANSPORT_UDP},
    "privacy_mode": {
        "identity": streams_pb2.PRIVACY_MODE_IDENTITY,
        "pseudonymous": streams_pb2.PRIVACY_MODE_PSEUDONYMOUS,
        "aggregate_only": streams_pb2.PRIVACY_MODE_AGGREGATE_ONLY,
    },
}
DURATIONS = (
    "connect_timeout",
    "first_frame_timeout",
    "key_frame_timeout",
    "stall_timeout",
    "reconnect_initial",
    "reconnect_max",
    "image_interval",
)
SETTINGS = (
    *DURATIONS,
    "reconnect_jitter",
    "max_fps",
    "transport",
    "loop",
    "video_stream",
    "decode_device",
    "privacy_mode",
    "follow",
    "tls_ca_file",
    "uri_file",
)


@contextmanager
def connected(address: str, connect: Connect) -> Iterator[grpc.Channel]:
    """Connect to a streamer. Calls that fail in the block raise ConfigError or LostDependency."""
    check_address(address)
    try:
        with connect(address) as channel:
            yield channel
    except grpc.RpcError as error:
        text = f"{address}: {error.code().name}: {error.details()}{hint(error)}"
        raise (LostDependency if error.code() in GONE else ConfigError)(text) from error


def show_status(address: str, as_json: bool, timeout_s: float, connect: Connect = plain) -> int:
    """Print whether a streamer serves, its workers' models, and its cameras. Returns the exit code 0.

    Raises LostDependency if it does not answer within `timeout_s`.
    """
    with connected(address, connect) as channel:
        serving, models, cameras, storing, services = stream_status.ask(channel, timeout_s)
        system = ask_system(channel, timeout_s)
    if as_json:
        known = {"address": address, "status": serving, "services": services}
        lists = {"models": _plain(models), "streams": _plain(cameras)}
        parts = {name: as_dict(message) for name, message in system._asdict().items() if message is not None}
        _print_json(known | lists | parts)
        return 0
    workers = sum(model.workers for model in models)
    print(f"{address}: {serving}, {workers} worker{'' if workers == 1 else 's'}, {_counted(cameras)}")
    for model in models:
        print(f"  {model_line(model)}")
    for line in system_lines(system):
        print(f"  {line}")
    if not storing:
        print(f"  {stream_status.NOT_STORING}")
    _print_table(cameras)
    return 0


def list_streams(address: str, as_json: bool, connect: Connect = plain) -> int:
    """Print the cameras of a streamer. Returns the exit code 0. Raises LostDependency if it does not answer."""
    with connected(address, connect) as channel:
        cameras = stream_status.list_streams(channel, ANSWER_S)
    if as_json:
        _print_json({"streams": _plain(cameras)})
    else:
        _print_table(cameras)
    return 0


def add_stream(address: str, name: str, settings: Mapping[str, Any], as_json: bool, connect: Connect = plain) -> int:
    """Add a camera with the given settings, by their names in the API. Returns the exit code 0.

    Raises ConfigError if the streamer refuses them, LostDependency if it does not answer.
    """
    request = streams_pb2.CreateStreamRequest(stream_id=name, settings=settings_message(settings))
    with connected(address, connect) as channel:
        made = streams_pb2_grpc.StreamServiceStub(channel).CreateStream(request, timeout=ANSWER_S).stream
    _report(made, "added", as_json)
    return 0


def update_streams(
    address: str,
    names: Iterable[str],
    settings: Mapping[str, Any],
    done: str,
    as_json: bool,
    connect: Connect = plain,
) -> int:
    """Change the given settings of cameras, and print `done` for each. Returns the exit code 0; raises as above."""
    if not settings:
        raise ConfigError("streams update: name at least one setting to change")
    with connected(address, connect) as channel:
        update = streams_pb2_grpc.StreamServiceStub(channel).UpdateStream
        for name in names:
            request = streams_pb2.UpdateStreamRequest(
                stream_id=name, settings=settings_message(settings), update_mask=FieldMask(paths=[*settings])
            )
            _report(update(request, timeout=ANSWER_S).stream, done, as_json)
    return 0


def remove_streams(address: str, names: Iterable[str], connect: Connect = plain) -> int:
    """Remove cameras. Returns the exit code 0; raises as above."""
    with connected(address, connect) as channel:
        delete = streams_pb2_grpc.StreamServiceStub(channel).DeleteStream
        for name in names:
            delete(streams_pb2.DeleteStreamRequest(stream_id=name), timeout=ANSWER_S)
            print(f"{name}: removed", flush=True)
    return 0


def settings_message(settings: Mapping[str, Any]) -> streams_pb2.StreamSettings:
    """Return settings, by their names in the API with times in s, as a message."""
    fields: dict[str, Any] = {
        name: duration(value) if name in DURATIONS else ENUMS[name][value] if name in ENUMS else value
        for name, value in settings.items()
        if (name, value) != ("video_stream", "shown")  # absent in the message
    }
    return streams_pb2.StreamSettings(**fields)


def state_of(stream: streams_pb2.Stream) -> str:
    """Return the state of a camera, with its error."""
    state = state_word(stream).upper()
    error = streams_pb2.StreamErrorCode.Name(stream.error_code).removeprefix("STREAM_ERROR_CODE_")
    return f"{state} ({error})" if stream.error_code else state


def _counted(streams: list[streams_pb2.Stream]) -> str:
    states = [state_word(stream) for stream in streams] + ["overloaded" for stream in streams if stream.overloaded]
    kinds = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    return f"{len(streams)} stream{'' if len(streams) == 1 else 's'}" + (f" ({kinds})" if kinds else "")


def _print_table(streams: list[streams_pb2.Stream]) -> None:
    if not streams:
        print("no streams; add one with `streamer streams add NAME=URL`")
        return
    console, table = Console(), streams_table(streams, addresses=True)
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
        table.box, table.pad_edge = None, False
    console.print(table)


def _report(stream: streams_pb2.Stream, done: str, as_json: bool) -> None:
    if as_json:
        _print_json(as_dict(stream))
    else:
        print(f"{stream.stream_id}: {done}, {state_of(stream)}", flush=True)


def _plain(messages: Iterable[Any]) -> list[dict[str, Any]]:
    return [as_dict(message) for message in messages]


def _print_json(data: dict[str, Any]) -> None:
    print(json.dumps(data, ensure_ascii=False), flush=True)
