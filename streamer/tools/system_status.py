"""Describe a running streamer in a few lines: version, latency, what is busy, how many more cameras fit, its store."""

import time
from typing import NamedTuple

import grpc
from google.protobuf.duration_pb2 import Duration

from faceanalytics.v1 import system_pb2, system_pb2_grpc
from streamer.tools.stream_status import ago

_LIMITS = {
    system_pb2.CAPACITY_LIMIT_DETECTOR: "the detector",
    system_pb2.CAPACITY_LIMIT_WORKERS: "the workers",
    system_pb2.CAPACITY_LIMIT_CPU: "the processors",
    system_pb2.CAPACITY_LIMIT_STREAMS: "sources.max_streams",
}


class System(NamedTuple):
    """What a streamer says of itself."""

    stats: system_pb2.GetStatsResponse
    capacity: system_pb2.GetCapacityResponse
    store: system_pb2.GetStoreResponse | None  # None: it has no store, or this token may not see it


def ask_system(channel: grpc.Channel, timeout_s: float) -> System:
    """Return what a streamer says of itself. Raises grpc.RpcError."""
    system = system_pb2_grpc.SystemServiceStub(channel)
    stats = system.GetStats(system_pb2.GetStatsRequest(), timeout=timeout_s)
    capacity = system.GetCapacity(system_pb2.GetCapacityRequest(), timeout=timeout_s)
    try:
        store = system.GetStore(system_pb2.GetStoreRequest(), timeout=timeout_s)
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED):
            raise
        store = None
    return System(stats, capacity, store)


def system_lines(system: System) -> list[str]:
    """Describe a streamer for people."""
    lines = [stats_line(system.stats), capacity_line(system.capacity)]
    return [*lines, store_line(system.store)] if system.store is not None else lines


def stats_line(stats: system_pb2.GetStatsResponse) -> str:
    """Describe the program, its latency, its faces and its clients."""
    process, latency = stats.process, stats.latency
    parts = [f"version {process.version}", f"up {ago(process.started_at, time.time())}"]
    if latency.HasField("p50"):
        parts.append(f"results after {_seconds(latency.p50)} s (95 %: {_seconds(latency.p95)} s)")
    decisions = stats.decisions
    if decisions.HasField("p50"):
        decided = f"{100 * decisions.decided / (decisions.decided + decisions.undecided):.0f} % of the faces"
        times = f"after {_seconds(decisions.p50)} s (95 %: {_seconds(decisions.p95)} s)"
        parts.append(f"{decided} decided while in view, {times}")
    parts.append(f"{stats.tracks.active} face{'' if stats.tracks.active == 1 else 's'} now")
    parts.append(f"{stats.subscribers.watching} watching")
    parts.append(_bytes(process.memory_bytes) if process.memory_bytes else "")
    return ", ".join(part for part in parts if part)


def capacity_line(capacity: system_pb2.GetCapacityResponse) -> str:
    """Describe what is busy, and how many more cameras fit."""
    uses = [f"detector {_percent(capacity.detector_use)}"]
    uses += [f"workers {_percent(capacity.worker_use)}"] if capacity.HasField("worker_use") else []
    uses += [f"processors {_percent(capacity.cpu_use)}"] if capacity.HasField("cpu_use") else []
    text = f"busy: {', '.join(uses)}"
    if not capacity.HasField("more_streams"):
        return text
    limit = _LIMITS.get(capacity.limited_by, "an unknown part")
    more = capacity.more_streams
    if not more:
        return f"{text}; no room for another camera like these, limited by {limit}"
    return f"{text}; room for about {more} more camera{'' if more == 1 else 's'} like these, limited by {limit}"


def store_line(store: system_pb2.GetStoreResponse) -> str:
    """Describe the store."""
    kind = system_pb2.StoreKind.Name(store.kind).removeprefix("STORE_KIND_").lower()
    if store.state.degraded:
        since = ago(store.state.degraded_since, time.time())
        waits = f"{store.state.backlog} events wait, {store.state.lost} are lost"
        return f"store: {kind}, has not worked for {since}, see the log of the streamer; {waits}"
    parts = [kind]
    if store.HasField("contents"):
        contents = store.contents
        parts.append(f"keeps {contents.rows['events']} events and {contents.rows['tracks']} tracks")
        if contents.HasField("oldest_event_at"):
            parts.append(f"the oldest event {ago(contents.oldest_event_at, time.time())} old")
        parts.append(_bytes(contents.database_bytes))
    return f"store: {', '.join(parts)}"


def _seconds(duration: Duration) -> str:
    return f"{duration.ToMicroseconds() / 1e6:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
