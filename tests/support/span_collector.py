"""A collector of OpenTelemetry: a real OTLP/gRPC server that keeps the spans that it gets."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class SpanCollector(services.TraceServiceServicer):
    """Use it as a context manager. Spans are kept with the name of the program that sent them."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.headers: list[dict[str, str]] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        services.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        place = "127.0.0.1:0"
        add = self._server.add_insecure_port
        port = self._server.add_secure_port(place, credentials) if credentials else add(place)
        self.address = f"127.0.0.1:{port}"

    def __enter__(self) -> "SpanCollector":
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop(0).wait()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.headers.append({key: str(value) for key, value in context.invocation_metadata()})
        for resource in request.resource_spans:
            named = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(named["service.name"], span) for span in scope.spans]
        return messages.ExportTraceServiceResponse()

    def traces(self) -> dict[bytes, dict[str, Span]]:
        """The spans by trace and name, the last one of each name."""
        found: dict[bytes, dict[str, Span]] = {}
        for _, span in list(self.spans):
            found.setdefault(span.trace_id, {})[span.name] = span
        return found

    def whole(self, names: set[str]) -> Callable[[], bool]:
        """Whether a trace with spans of all these names has arrived."""
        return lambda: any(names <= set(trace) for trace in self.traces().values())
