"""Checks that what the configuration asks for is installed."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from faceanalytics.commandline import number_of
from streamer.config import StreamerConfig
from streamer.doctor.finding import Finding, Patient, fail, fine

OF_SINKS = {"webhook": "httpx", "mqtt": "aiomqtt", "nats": "nats", "kafka": "aiokafka"}


def check_packages(patient: Patient) -> Iterator[Finding]:
    """Look for the optional packages that the settings need, without importing them."""
    wanted = list(_wanted(patient.config))
    for setting, extra, package in wanted:
        if find_spec(package) is None:
            yield fail("packages", f"{setting} needs {package}", f"pip install 'faceanalytics[{extra}]'")
    yield fine("packages", f"{number_of(len(wanted), 'optional package')} needed")


def _wanted(config: StreamerConfig) -> Iterator[tuple[str, str, str]]:
    """Yield (setting, extra, package)."""
    if config.store is not None and config.store.database():
        yield "store.url", "postgres", "psycopg"
    if config.store is not None and config.store.key_file is not None:
        yield "store.key_file", "security", "cryptography"
    if config.web.listen is not None:
        for needed in ("jinja2", "starlette", "uvicorn", "websockets"):
            yield "web.listen", "web", needed
    if config.detect.precision != "fp32":
        yield "detect.precision", "openvino", "openvino"
    if Path(config.detect.weights).suffix == ".pt":
        yield "detect.weights", "ultralytics", "ultralytics"
    if config.detect.device != "cpu":
        yield "detect.device", "worker", "torch"
    if config.tracing.endpoint is not None:
        yield "tracing.endpoint", "tracing", "opentelemetry.exporter.otlp.proto.grpc"
    for sink in config.sinks:
        package = OF_SINKS.get(sink.type)
        if package is not None:
            yield f"the sink {sink.name}", "sinks", package
