"""Spans of OpenTelemetry, sent to a collector over OTLP/gRPC. Times are `time.monotonic()` in seconds."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from faceanalytics.errors import ConfigError
from faceanalytics.extras import require

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, SpanContext

PACKAGES = "opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.grpc"
SEND_S = 5.0  # longest wait for the collector
CLOSE_MS = 2000  # to send the last spans when a program stops
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")  # W3C, sampled; others are not followed

Attributes: TypeAlias = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class SpanCollector:
    """Where spans go."""

    endpoint: str  # host:port
    encrypted: bool
    tls_ca_file: str | None = None  # PEM file of authorities; None: the public ones
    headers_file: str | None = None  # lines `name: value` that are sent along, such as a token


class Spans:
    """Makes spans and sends them in batches from a thread of its own. May be used from any thread."""

    def __init__(self, service: str, collector: SpanCollector, count: Callable[[bool, int], None]) -> None:
        """`service`: name of the program; `count` receives whether some spans were delivered, and how many.

        Raises MissingPackage, and ConfigError if a file cannot be read.
        """
        require("tracing", PACKAGES[0], use="tracing.endpoint")  # the others cannot be looked for without it
        require("tracing", *PACKAGES[1:], use="tracing.endpoint")
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        resource = Resource.create({"service.name": service, "service.version": version("faceanalytics")})
        self._provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)  # who makes spans has sampled
        self._processor = BatchSpanProcessor(_counting(_exporter(collector), count))
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("faceanalytics", version("faceanalytics"))

    def begin(self, name: str, began: float, parent: "SpanContext | None" = None, **attributes: str | int) -> "Span":
        """Begin a span, the first of a trace without a parent. `end` ends it."""
        from opentelemetry.context import Context
        from opentelemetry.trace import NonRecordingSpan, set_span_in_context

        empty = Context()  # not what happens to be the current one
        context = empty if parent is None else set_span_in_context(NonRecordingSpan(parent), empty)
        return self._tracer.start_span(name, context, attributes=_named(attributes), start_time=_unix_ns(began))

    def end(self, span: "Span", ended: float, error: str = "", **attributes: str | int) -> None:
        """End a span; `error`: why it failed."""
        from opentelemetry.trace import Status, StatusCode

        span.set_attributes(_named(attributes))
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(_unix_ns(ended))

    def add(self, name: str, began: float, ended: float, parent: "SpanContext", **attributes: str | int) -> None:
        """Add a span that is over."""
        self.end(self.begin(name, began, parent, **attributes), ended)

    def close(self) -> None:
        """Send what waits, for at most a few seconds."""
        self._provider.force_flush(CLOSE_MS)
        self._provider.shutdown()


def traceparent_of(context: "SpanContext") -> str:
    """Return the header of W3C Trace Context for a sampled span."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def read_traceparent(text: str) -> "SpanContext | None":
    """Return the span that a header names; None: it names no span."""
    from opentelemetry.trace import SpanContext, TraceFlags

    found = TRACEPARENT.fullmatch(text)
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(1))


def _named(attributes: Mapping[str, str | int]) -> dict[str, str | int]:
    return {f"faceanalytics.{name}": value for name, value in attributes.items()}


def _unix_ns(moment: float) -> int:
    """Return a moment (s, monotonic) as Unix time."""
    return time.time_ns() + round(1e9 * (moment - time.monotonic()))


def _exporter(collector: SpanCollector) -> "SpanExporter":
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    credentials = None
    if collector.encrypted:
        ca = _read(collector.tls_ca_file) if collector.tls_ca_file is not None else None
        credentials = grpc.ssl_channel_credentials(root_certificates=ca)
    return OTLPSpanExporter(
        endpoint=collector.endpoint,
        insecure=not collector.encrypted,
        credentials=credentials,
        headers=_headers(collector.headers_file),
        timeout=SEND_S,
    )


def _headers(file: str | None) -> Sequence[tuple[str, str]]:
    """Return the headers of a file. Raises ConfigError, which does not quote it."""
    if file is None:
        return ()
    lines = [line for line in _read(file).decode("utf-8", "replace").splitlines() if line.strip()]
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    if not all(re.fullmatch(r"[a-z0-9_.-]+", name) and value for name, value in pairs):
        raise ConfigError(f"{file}: expected lines such as `authorization: Bearer TOKEN`")
    return pairs


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"tracing: cannot read {file}: {error.strerror}") from error


def _counting(exporter: "SpanExporter", count: Callable[[bool, int], None]) -> "SpanExporter":
    """Return an exporter that also counts."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Counting(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = exporter.export(spans)
            count(result is SpanExportResult.SUCCESS, len(spans))
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = CLOSE_MS) -> bool:
            return exporter.force_flush(timeout_millis)

    return Counting()
