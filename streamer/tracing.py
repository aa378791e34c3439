"""The settings of tracing: spans of OpenTelemetry from frame to publication. `tracer.py` makes them."""

from typing import Annotated

from pydantic import Field

from faceanalytics.errors import ConfigError
from streamer.safety import is_loopback
from streamer.section import Section


class Tracing(Section):
    """Spans from frame to publication, sent to a collector of OpenTelemetry. This needs the extra `tracing`."""

    endpoint: Annotated[str, Field(pattern=r"^([^:/@\s]+|\[[0-9a-fA-F:]+\]):\d{1,5}$")] | None = None
    """host:port of a collector (OTLP over gRPC, usually port 4317). null: no tracing. One on another machine is reached
    by TLS."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the frames that are traced, from 0 to 1."""
    tls_ca_file: str | None = None
    """PEM file of the authorities to accept. null: the public ones, and no TLS on this machine."""
    headers_file: str | None = None
    """File of headers to send along, a line `name: value` each, such as a token of the collector."""
    insecure: bool = False
    """Send spans to another machine without TLS."""

    @property
    def encrypted(self) -> bool:
        """Whether the collector is reached by TLS."""
        return self.tls_ca_file is not None or not (self.insecure or self._local)

    @property
    def _local(self) -> bool:
        return self.endpoint is not None and is_loopback(self.endpoint.rpartition(":")[0])

    def check(self) -> None:
        """Raise ConfigError for settings that contradict each other."""
        if self.insecure and self.tls_ca_file is not None:
            raise ConfigError("tracing.insecure: remove it, tracing.tls_ca_file is set (or remove tracing.tls_ca_file)")
