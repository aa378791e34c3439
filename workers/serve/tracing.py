"""Makes the spans of batches whose streamer traces them."""

from faceanalytics.spans import SpanCollector, Spans, read_traceparent
from workers.serve import metrics
from workers.serve.config import WorkerConfig, is_local
from workers.serve.messages import Batch


class BatchTracer:
    """Continues the traces of streamers. May be used from any thread."""

    def __init__(self, config: WorkerConfig, model_id: str) -> None:
        """Raises MissingPackage, and ConfigError if a file cannot be read."""
        assert config.tracing_endpoint is not None
        local = config.tracing_insecure or is_local(config.tracing_endpoint)
        places = config.tracing_tls_ca_file, config.tracing_headers_file
        collector = SpanCollector(config.tracing_endpoint, config.tracing_tls_ca_file is not None or not local, *places)
        self._spans = Spans("faceanalytics-worker", collector, _count)
        self._model_id = model_id

    def add(self, name: str, batch: Batch, began: float, ended: float, crops: int) -> None:
        """Add a span (s, monotonic) if the streamer traces this batch; `crops`: of all that was computed together."""
        parent = read_traceparent(batch.traceparent) if batch.traceparent else None
        if parent is not None:
            self._spans.add(name, began, ended, parent, crops=crops, model=self._model_id)

    def close(self) -> None:
        """Send the last spans, for at most a few seconds."""
        self._spans.close()


def _count(delivered: bool, spans: int) -> None:
    metrics.spans.labels("delivered" if delivered else "lost").inc(spans)
