"""Spans from frame to publication, as a real collector receives them."""

import re
from pathlib import Path

import grpc
import pytest
from prometheus_client import REGISTRY

from faceanalytics.errors import ConfigError
from faceanalytics.extras import MissingPackage
from faceanalytics.internal.v1 import faces_pb2
from faceanalytics.spans import SpanCollector as Place
from faceanalytics.spans import Spans, read_traceparent, traceparent_of
from streamer import tracer as tracer_module
from streamer.configfile import parse_config
from streamer.tracer import Tracer
from streamer.tracing import Tracing
from tests.end_to_end.programs import PATIENT_CAMERA, PATIENT_TRACK, Program, Subscriber, address_of, serve
from tests.support.builders import crop
from tests.support.certificates import issue
from tests.support.patch_detector import make_patch_video, write_lite_patch_detector
from tests.support.patience import until
from tests.support.span_collector import SpanCollector
from tests.test_observe import frame
from workers.serve.messages import read_batch

ALL = {"frame", "capture", "detect", "track", "dispatch", "wait", "infer", "aggregate", "store", "publish"}
SECRET = "s3cret"


def spans_total(outcome: str) -> float:
    return REGISTRY.get_sample_value("faceanalytics_spans_total", {"outcome": outcome}) or 0.0


@pytest.mark.slow
def test_a_trace_leads_from_a_frame_over_the_worker_to_the_subscribers(tmp_path: Path, small_file: Path) -> None:
    people = tmp_path / "people" / "Ada Lovelace"
    people.mkdir(parents=True)
    clip = make_patch_video(tmp_path / f"user:{SECRET}@clip.mp4", seconds=8, faces=1, speed=10.0)
    detector = write_lite_patch_detector(tmp_path / "detector.onnx")
    endpoint = f"ipc://{tmp_path}/w"
    with SpanCollector() as collector:
        tracing = {"endpoint": collector.address, "sample_ratio": 1.0}
        streams = [{**PATIENT_CAMERA, "id": "door", "uri": str(clip), "loop": True}]
        worker = "--connect", endpoint, "--weights", small_file, "--tracing-endpoint", collector.address
        with (
            serve(tmp_path, detector, endpoint, {}, tracing=tracing, track=PATIENT_TRACK, streams=streams) as streamer,
            Program("workers.serve", *worker),
            Subscriber(address_of(streamer)),
        ):
            until(collector.whole(ALL), "a whole trace")
        trace = next(trace for trace in collector.traces().values() if set(trace) >= ALL)
        parents = {name: span.parent_span_id for name, span in trace.items()}
        assert parents["frame"] == b""
        assert {parents[name] for name in ("capture", "detect", "track", "dispatch")} == {trace["frame"].span_id}
        below = ("wait", "infer", "aggregate", "store", "publish")
        assert {parents[name] for name in below} == {trace["dispatch"].span_id}
        starts = [trace[name].start_time_unix_nano for name in ("capture", "detect", "track", "dispatch", "aggregate")]
        assert starts == sorted(starts)
        dispatch, infer = trace["dispatch"], trace["infer"]
        assert dispatch.start_time_unix_nano <= infer.start_time_unix_nano  # both programs are on one machine
        assert infer.end_time_unix_nano <= dispatch.end_time_unix_nano
        assert trace["store"].end_time_unix_nano <= trace["publish"].end_time_unix_nano
        assert {service for service, _ in collector.spans} == {"faceanalytics-streamer", "faceanalytics-worker"}
        said = "".join(str(span) for _, span in collector.spans)
        assert "faceanalytics.camera" in said
        for secret in (SECRET, "Ada", "clip.mp4", "embedding"):
            assert secret not in said


def make(collector: SpanCollector, **settings: object) -> Tracer:
    made = Tracer.of(Tracing.model_validate({"endpoint": collector.address, "sample_ratio": 1.0, **settings}), False)
    assert made is not None
    return made


def test_only_the_wanted_share_of_the_frames_is_traced() -> None:
    with SpanCollector() as collector:
        tracer = make(collector, sample_ratio=0.1)
        for number in range(1000):
            one = frame(number / 25)
            tracer.detected([one], one.received, one.received + 0.01)
            tracer.tracked(one, one.received)
        tracer.close()
        detected = [span for _, span in collector.spans if span.name == "detect"]
        assert 40 < len(detected) < 200
        assert len([span for _, span in collector.spans if span.name == "track"]) == len(detected)


def test_without_an_endpoint_or_a_share_nothing_is_made() -> None:
    assert Tracer.of(Tracing(), stores=True) is None
    assert Tracer.of(Tracing(endpoint="127.0.0.1:4317", sample_ratio=0), stores=True) is None


def test_what_gets_no_answer_is_kept_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer_module, "KEPT", 10)
    with SpanCollector() as collector:
        tracer = make(collector)
        for number in range(50):
            one = frame(number / 25)
            tracer.detected([one], one.received, one.received)
            assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", tracer.sent([crop(str(number), one.media_time)]))
            assert tracer.sent([None, crop(str(number), 99.0)]) == ""  # of other clients, and not sampled
        tracer.answered(crop("49", 49 / 25), False)
        tracer.close()
        dispatched = [span for _, span in collector.spans if span.name == "dispatch"]
        assert len(dispatched) == 41  # 40 that were forgotten, and one that was given up
        assert {span.status.code for span in dispatched} == {2}  # errors


def test_a_collector_that_is_down_costs_nothing_but_a_count() -> None:
    lost = spans_total("lost")
    with SpanCollector() as collector:
        tracer = make(collector)
    one = frame(0.0)
    tracer.detected([one], one.received, one.received)
    tracer.tracked(one, one.received)
    tracer.close()
    assert spans_total("lost") > lost


def test_a_collector_elsewhere_is_reached_by_tls_with_the_headers_of_a_file(tmp_path: Path) -> None:
    authority = issue(tmp_path, "ca")
    server = issue(tmp_path, "server", authority)
    pair = server.key_path.read_bytes(), server.path.read_bytes()
    headers = tmp_path / "headers"
    headers.write_text(f"Authorization: Bearer {SECRET}\n")
    with SpanCollector(grpc.ssl_server_credentials([pair])) as collector:
        tracer = make(collector, tls_ca_file=str(authority.path), headers_file=str(headers))
        one = frame(0.0)
        tracer.detected([one], one.received, one.received)
        tracer.close()
        assert collector.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert Tracing(endpoint="collector.example.org:4317").encrypted
    assert not Tracing(endpoint="localhost:4317").encrypted
    assert not Tracing(endpoint="collector.example.org:4317", insecure=True).encrypted
    headers.write_text(f"{SECRET}\n")
    with pytest.raises(ConfigError) as caught:
        Spans("test", Place("127.0.0.1:1", False, None, str(headers)), lambda *_: None)
    assert SECRET not in str(caught.value)


def test_settings_that_contradict_each_other_are_refused() -> None:
    config = parse_config({"tracing": {"endpoint": "a:1", "insecure": True, "tls_ca_file": "ca.pem"}}, "test")
    with pytest.raises(ConfigError, match=r"tracing\.insecure"):
        config.check_safe()
    for endpoint in ("http://a:4317", "user:pw@a:4317", "a"):
        with pytest.raises(ConfigError, match=r"tracing\.endpoint"):
            parse_config({"tracing": {"endpoint": endpoint}}, "test")


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceanalytics.extras.find_spec", lambda _: None)
    with pytest.raises(MissingPackage, match=r"faceanalytics\[tracing\]"):
        Tracer(Tracing(endpoint="127.0.0.1:4317"), stores=False)


@pytest.mark.parametrize(
    "text",
    ["", "00-x-y-01", f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'1' * 32}-{'1' * 16}-00", f"01-{'1' * 32}-{'1' * 16}-01"],
)
def test_a_worker_follows_sampled_contexts_only(text: str) -> None:
    assert read_traceparent(text) is None
    good = read_traceparent(f"00-{'1' * 32}-{'2' * 16}-01")
    assert good is not None
    assert traceparent_of(good) == f"00-{'1' * 32}-{'2' * 16}-01"


def test_a_worker_reads_batches_with_and_without_a_context() -> None:
    pixels = bytes(112 * 112 * 3)
    for context in ("", "00-a-b-01"):
        header = faces_pb2.Batch(batch_id=1, crop_ids=[2], traceparent=context)
        assert read_batch([b"BATCH", header.SerializeToString(), pixels], 8).traceparent == context
