"""Declare the worker's Prometheus metrics and serve them."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector

from faceanalytics.errors import ConfigError
from faceanalytics.metrics_server import Door, admits_token_of, serve_registry
from faceanalytics.tls_files import ServerContext, TlsFiles
from workers.serve.config import WorkerConfig

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)  # CPU time, memory, descriptors
_PREFIX = "faceanalytics_"
_WAIT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

build_info = Info(_PREFIX + "build", "Version of the running program and its weights.", registry=REGISTRY)
inference_batch_crops = Histogram(
    _PREFIX + "inference_batch_crops",
    "Crops per inference.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    registry=REGISTRY,
)
batch_wait_seconds = Histogram(
    _PREFIX + "batch_wait_seconds", "Arrival of a batch to its inference.", buckets=_WAIT_S, registry=REGISTRY
)
inference_seconds = Histogram(
    _PREFIX + "inference_seconds", "Time of one call of a model.", ["stage"], buckets=_LATENCY_S, registry=REGISTRY
)
batches_refused = Counter(
    _PREFIX + "batches_refused_total", "Batches answered with an error.", ["reason"], registry=REGISTRY
)
refusals = Counter(
    _PREFIX + "refusals_total",
    "Times that a streamer began to refuse this worker because of its weights.",
    registry=REGISTRY,
)
malformed_messages = Counter(
    _PREFIX + "malformed_messages_total", "Messages of streamers that could not be decoded.", registry=REGISTRY
)
answers_undelivered = Counter(
    _PREFIX + "answers_undelivered_total", "Answers dropped because the streamer had gone.", registry=REGISTRY
)
spans = Counter(
    _PREFIX + "spans_total", "Spans sent to the collector, by what became of them.", ["outcome"], registry=REGISTRY
)


def serve_metrics(config: WorkerConfig, model_id: str) -> Callable[[], None]:
    """Start the endpoint at `metrics_listen` in its own thread, and return the function that stops it.

    Raises ConfigError if it cannot listen.
    """
    assert config.metrics_listen is not None
    build_info.info({"version": version("faceanalytics"), "model_id": model_id})
    host, _, port = config.metrics_listen.rpartition(":")
    tls = None
    if config.metrics_certificate and config.metrics_key:
        client_ca = Path(config.metrics_client_ca) if config.metrics_client_ca is not None else None
        files = TlsFiles(Path(config.metrics_certificate), Path(config.metrics_key), client_ca)
        tls = ServerContext(files, "metrics_certificate")
    token = config.metrics_token_file
    admits = admits_token_of(Path(token), "metrics_token_file") if token is not None else None
    try:
        return serve_registry(host.strip("[]"), int(port), REGISTRY, Door(tls, admits))
    except OSError as error:
        raise ConfigError(f"metrics_listen: cannot listen on {config.metrics_listen}: {error}") from error
