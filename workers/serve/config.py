"""The configuration of a worker. Unknown keys are errors; the command line overrides the file."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from faceanalytics.errors import ConfigError
from faceanalytics.settings import explain, read_yaml
from workers.swinface.precisions import Precision

Endpoint = Annotated[str, Field(pattern=r"^(ipc://.+|tcp://.+:\d+)$")]
Address = Annotated[str, Field(pattern=r"^[^:]+:\d+$|^\[.+\]:\d+$")]


class WorkerConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    connect: tuple[Endpoint, ...] = Field(("ipc:///tmp/faceanalytics-workers.ipc",), min_length=1)
    """Streamers to serve, each as ipc:///path or tcp://host:port like its dispatch.bind. They need not be running."""
    keys: tuple[str, ...] = ()
    """Files of keys that `streamer keys new --worker NAME` made, for tcp: one for all streamers, or one for each of
    `connect` in its order. A streamer on another machine needs them."""
    insecure: bool = False
    """Connect to streamers on other machines without keys: faces cross the network unencrypted."""
    weights: str = "default"
    """SwinFace weights: the published checkpoint, our own .safetensors, or a name shown by `swinface weights list`.
    `default` is the small model that comes with the project; `untrained` is random, for tests without weights."""
    device: str = "cpu"
    """cpu or cuda:N. A device that cannot be used is an error; there is no fallback."""
    precision: Precision = "fp32"
    """Precision of the network: fp32; or bf16 or fp16, faster and slightly less exact, on devices that have them."""
    max_batch: Annotated[int, Field(ge=1, le=1024)] = 64
    """Most crops per batch and per inference. A larger batch is answered with an error."""
    max_wait_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    """Longest time in milliseconds that a batch waits for batches of other streamers to be computed together with it;
    0 disables waiting. With a single streamer a batch never waits."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads of one inference; default: one per core."""
    metrics_listen: Address | None = None
    """host:port of the Prometheus endpoint; default: no endpoint. One that other machines can reach needs a
    certificate, and a token or metrics_client_ca."""
    metrics_certificate: str | None = None
    """PEM file of the endpoint's certificate; default: no TLS."""
    metrics_key: str | None = None
    """PEM file of its private key, without a passphrase."""
    metrics_client_ca: str | None = None
    """PEM file of authorities. Only clients with a certificate of one of them may read the metrics."""
    metrics_token_file: str | None = None
    """File of the token that clients of the endpoint must send, as `streamer tokens create --out` writes it."""
    metrics_insecure: bool = False
    """Listen on an address that other machines can reach without certificate and token."""

    tracing_endpoint: Address | None = None
    """host:port of a collector of OpenTelemetry (OTLP over gRPC), for batches that their streamer traces; default: no
    tracing. This needs the extra `tracing`. One on another machine is reached by TLS."""
    tracing_tls_ca_file: str | None = None
    """PEM file of the authorities to accept; default: the public ones, and no TLS on this machine."""
    tracing_headers_file: str | None = None
    """File of headers to send along, a line `name: value` each, such as a token of the collector."""
    tracing_insecure: bool = False
    """Send spans to another machine without TLS."""

    @model_validator(mode="after")
    def _safe(self) -> "WorkerConfig":
        if len(self.keys) not in (0, 1, len(self.connect)):
            raise ValueError(f"keys: give one file, or one for each of the {len(self.connect)} of connect")
        for endpoint in self.connect:
            if not (self.keys or self.insecure or is_local(endpoint)):
                raise ValueError(
                    f"connect: {endpoint} is on another machine, so it needs keys: make them there with `streamer keys "
                    "new --worker NAME`, copy the file here and name it with --keys; see docs/security.md. "
                    "Only in a network that you trust: --insecure"
                )
        return self

    @model_validator(mode="after")
    def _measured_safely(self) -> "WorkerConfig":
        if (self.metrics_certificate is None) != (self.metrics_key is None):
            raise ValueError("metrics_certificate, metrics_key: give both")
        if self.metrics_client_ca and not self.metrics_certificate:
            raise ValueError("metrics_client_ca: it needs metrics_certificate and metrics_key")
        if self.metrics_insecure and (self.metrics_certificate or self.metrics_token_file):
            raise ValueError("metrics_insecure: remove it, or certificate and token")
        if self.metrics_listen is None or self.metrics_insecure or is_local(self.metrics_listen):
            return self
        missing = [] if self.metrics_certificate else ["metrics_certificate and metrics_key"]
        missing += [] if self.metrics_token_file or self.metrics_client_ca else ["metrics_token_file"]
        if missing:
            raise ValueError(
                f"metrics_listen: other machines can reach {self.metrics_listen}, so it needs "
                f"{' and '.join(missing)}; see docs/security.md. Only in a network that you trust: --metrics-insecure"
            )
        return self

    def keys_of(self, endpoint: str) -> str | None:
        """Return the file of the keys for one of `connect`; None: it needs none."""
        if not self.keys or endpoint.startswith("ipc:"):
            return None
        return self.keys[self.connect.index(endpoint) if len(self.keys) > 1 else 0]


def is_local(endpoint: str) -> bool:
    """Return whether an endpoint is on this machine."""
    if endpoint.startswith("ipc:"):
        return True
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]").lower()
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_config(path: Path | None, overrides: Mapping[str, Any]) -> WorkerConfig:
    """Read a YAML file (None: the defaults) and apply `overrides`. Raises ConfigError."""
    values = {} if path is None else read_yaml(path)
    try:
        return WorkerConfig.model_validate({**values, **overrides})
    except ValidationError as error:
        # a check of several fields names them itself
        lines = "\n".join(line.replace("(top): Value error, ", "") for line in explain(error, model=WorkerConfig))
        raise ConfigError(f"{path or 'command line'}: {error.error_count()} problem(s)\n{lines}") from error
