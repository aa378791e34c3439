"""The lines of `streamer status` about the streamer itself."""

import time

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from faceanalytics.v1 import system_pb2
from streamer.tools.system_status import System, capacity_line, stats_line, store_line, system_lines


def seconds_ago(seconds: int) -> Timestamp:
    return Timestamp(seconds=int(time.time()) - seconds)


def test_the_program_is_described() -> None:
    stats = system_pb2.GetStatsResponse()
    stats.process.version = "1.2.3"
    stats.process.started_at.CopyFrom(seconds_ago(3 * 3600))
    stats.tracks.active = 1
    assert stats_line(stats) == "version 1.2.3, up 3 h, 1 face now, 0 watching"
    stats.latency.p50.CopyFrom(Duration(nanos=180_000_000))
    stats.latency.p95.CopyFrom(Duration(seconds=1, nanos=405_000_000))
    stats.tracks.active, stats.subscribers.watching = 2, 4
    stats.process.memory_bytes = 2_340_000_000
    line = "version 1.2.3, up 3 h, results after 0.18 s (95 %: 1.41 s), 2 faces now, 4 watching, 2.3 GB"
    assert stats_line(stats) == line


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"detector_use": 0.004}, "busy: detector 0 %"),
        (
            {"detector_use": 0.5, "worker_use": 0.1, "cpu_use": 0.25},
            "busy: detector 50 %, workers 10 %, processors 25 %",
        ),
        (
            {"detector_use": 0.5, "more_streams": 1, "limited_by": system_pb2.CAPACITY_LIMIT_DETECTOR},
            "busy: detector 50 %; room for about 1 more camera like these, limited by the detector",
        ),
        (
            {"more_streams": 12, "limited_by": system_pb2.CAPACITY_LIMIT_STREAMS},
            "busy: detector 0 %; room for about 12 more cameras like these, limited by sources.max_streams",
        ),
        (
            {"detector_use": 0.9, "more_streams": 0, "limited_by": system_pb2.CAPACITY_LIMIT_CPU},
            "busy: detector 90 %; no room for another camera like these, limited by the processors",
        ),
    ],
)
def test_what_is_busy_and_how_many_cameras_fit(values: dict[str, float], line: str) -> None:
    assert capacity_line(system_pb2.GetCapacityResponse(**values)) == line  # type: ignore[arg-type]


def test_the_store_is_described_also_while_it_does_not_work() -> None:
    store = system_pb2.GetStoreResponse(kind=system_pb2.STORE_KIND_POSTGRESQL)
    assert store_line(store) == "store: postgresql"
    store.contents.rows.update({"events": 12, "tracks": 5})
    store.contents.oldest_event_at.CopyFrom(seconds_ago(10 * 86_400))
    store.contents.database_bytes = 6_200_000
    assert store_line(store) == "store: postgresql, keeps 12 events and 5 tracks, the oldest event 10 days old, 6.2 MB"
    state = system_pb2.StoreState(degraded=True, degraded_since=seconds_ago(200), backlog=7, lost=2)
    store.state.CopyFrom(state)
    why = "has not worked for 3 min, see the log of the streamer; 7 events wait, 2 are lost"
    assert store_line(store) == f"store: postgresql, {why}"


def test_without_a_store_there_is_no_line_about_it() -> None:
    stats, capacity = system_pb2.GetStatsResponse(), system_pb2.GetCapacityResponse()
    assert len(system_lines(System(stats, capacity, None))) == 2
    assert len(system_lines(System(stats, capacity, system_pb2.GetStoreResponse()))) == 3
