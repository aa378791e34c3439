"""The endpoint as Prometheus sees it."""

import re
import socket
import struct
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from faceanalytics import metrics_server
from streamer import metrics
from streamer.config import Metrics, StreamerConfig
from streamer.detect.detector import Detector
from streamer.metrics_endpoint import serve_metrics
from streamer.observe import Observer
from streamer.series import forget_stream, know_stream
from streamer.track.keys import recorded_keys
from streamer.values import EndReason, LinkQuality, SourceEnd, SourceState, SourceStatus
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import WAIT_S, until
from tests.test_observe import config, frame


def scrape() -> dict[str, Metric]:
    """The families of metrics by name, from a real endpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    stop = served(address)
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=WAIT_S) as response:
            text = response.read().decode()
    finally:
        stop()
    return {family.name: family for family in text_string_to_metric_families(text)}


def served(address: str) -> Callable[[], None]:
    return serve_metrics(StreamerConfig(metrics=Metrics(listen=address)), lambda _: 401)  # nobody is asked on loopback


def values(family: Metric, **labels: str) -> list[float]:
    return [one.value for one in family.samples if labels.items() <= one.labels.items()]


def test_names_and_labels_follow_the_conventions() -> None:
    know_stream("door")
    metrics.tracks_ended.labels("door", EndReason.LEFT_FRAME.value).inc()
    metrics.stream_errors.labels("door", "AUTH_FAILED").inc()
    metrics.frames_dropped.labels("door", "overload").inc()
    metrics.identity_decisions.labels("unknown").inc()
    try:
        families = scrape()
    finally:
        forget_stream("door")
    ours = [family for name, family in families.items() if name.startswith("faceanalytics_")]
    assert len(ours) > 20
    for family in ours:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert not sample.name.endswith("_created")
            for label, value in sample.labels.items():
                assert label in ("stream", "le", "version", "method") or value == value.lower(), sample
            if family.type == "counter":
                assert sample.name.endswith("_total")
    assert values(families["faceanalytics_tracks_ended"], stream="door", reason="left_frame") == [1]
    assert values(families["faceanalytics_stream_errors"], stream="door", code="auth_failed") == [1]
    assert values(families["faceanalytics_stream_disconnects"], stream="door") == [0]  # before the first one


def test_the_process_is_measured() -> None:
    families = scrape()
    for name in ("process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"):
        assert families[name].samples[0].value > 0


def test_the_status_of_a_stream_is_shown_as_long_as_it_exists() -> None:
    status = SourceStatus(SourceState.RUNNING, codec="h264", width=640, overloaded=True, link_quality=LinkQuality.FAIR)
    streams = {"door": status}
    hide = metrics.show_streams(lambda: streams.items())
    try:
        families = scrape()
        streams.clear()
        after = scrape()
    finally:
        hide()
    assert values(families["faceanalytics_stream_state"], stream="door", state="running") == [1]
    assert sum(values(families["faceanalytics_stream_state"], stream="door")) == 1
    assert values(families["faceanalytics_stream_link_quality"], quality="fair") == [1]
    assert values(families["faceanalytics_stream_overloaded"]) == [1]
    assert values(families["faceanalytics_stream_frame_width_pixels"]) == [640]
    assert values(families["faceanalytics_stream_last_frame_timestamp_seconds"]) == []  # none has arrived
    assert [sample for family in after.values() for sample in family.samples if "door" in sample.labels.values()] == []


def test_frames_are_analysed_once_and_not_counted_for_a_removed_camera(tmp_path: Path) -> None:
    path = write_lite_patch_detector(tmp_path / "patches.onnx")
    observer = Observer(config(path), Detector(config(path).detect), recorded_keys("content"))
    know_stream("cam")
    try:
        for number in range(4):
            observer.observe([frame(number / 25, (100, 60))])
        totals = metrics.stream_totals()["cam"]
        assert totals.analysed == 4
        assert totals.age_s > 0
        forget_stream("cam")
        observer.observe([frame(0.2, (100, 60)), SourceEnd("cam", 1, EndReason.SOURCE_REMOVED)])
        assert "cam" not in metrics.stream_totals()
    finally:
        forget_stream("cam")


REQUESTS = {
    "whole": b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
    "begun": b"GET /met",
    "garbage": b"\xff\xfe\0\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "long": b"GET " + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
}


def test_clients_that_vanish_stall_or_send_garbage_leave_no_trace(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "REQUEST_S", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    stop = served(f"{host}:{port}")
    try:
        for data in list(REQUESTS.values()) * 5:
            with socket.create_connection((host, port)) as connection:
                connection.sendall(data)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset at once
        stalled = socket.create_connection((host, port))
        stalled.sendall(REQUESTS["begun"])
        handling = [one for one in threading.enumerate() if "process_request_thread" in one.name]
        until(lambda: not any(one.is_alive() for one in handling), "the end of the requests")
        assert stalled.recv(100) == b""  # given up
        stalled.close()
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=WAIT_S) as response:
            assert response.status == 200
    finally:
        stop()
    assert caplog.records == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["dispatch_batch_crops", "inference_batch_crops"])
def test_the_two_batch_sizes_have_names_of_their_own(name: str) -> None:
    from workers.serve import metrics as of_worker

    declared = [module for module in (metrics, of_worker) if hasattr(module, name)]
    assert len(declared) == 1
