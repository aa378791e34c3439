"""All that an operator may set for a worker. Unknown keys are errors; the command line overrides the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faceanalytics.errors import ConfigError
from faceanalytics.settings import explain, read_yaml
from workers.swinface.precisions import Precision

Endpoint = Annotated[str, Field(pattern=r"^(ipc://.+|tcp://.+:\d+)$")]
Address = Annotated[str, Field(pattern=r"^[^:]+:\d+$|^\[.+\]:\d+$")]


class WorkerConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    connect: tuple[Endpoint, ...] = Field(("ipc:///tmp/faceanalytics-workers.ipc",), min_length=1)
    """Streamers to work for, ipc:///path or tcp://host:port each, as in their dispatch.bind. They need not run yet."""
    weights: str = "default"
    """SwinFace weights: the published checkpoint, our own .safetensors, or a name that `swinface weights list` shows.
    `default`: the small model that comes with the project; `untrained`: random, for tests of the plumbing."""
    device: str = "cpu"
    """cpu or cuda:N. There is no fallback: a device that cannot be used is an error."""
    precision: Precision = "fp32"
    """What the network computes in: fp32, or on a device that can bf16 or fp16, faster and a little less exact."""
    max_batch: Annotated[int, Field(ge=1, le=1024)] = 64
    """Largest batch it takes, and most that it computes at once, crops. Larger ones are answered with an error."""
    max_wait_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    """How long a batch may wait for batches of other streamers, to be computed with them; 0: not at all.
    It does not wait if they have nothing to add: with one streamer, never."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of one inference on a CPU; none: as many as the machine has cores."""
    metrics_listen: Address | None = None
    """host:port of the Prometheus endpoint; none: no endpoint."""


def load_config(path: Path | None, overrides: Mapping[str, Any]) -> WorkerConfig:
    """The configuration in a YAML file (None: the defaults) under `overrides`. Raises ConfigError."""
    values = {} if path is None else read_yaml(path)
    try:
        return WorkerConfig.model_validate({**values, **overrides})
    except ValidationError as error:
        lines = "\n".join(explain(error))
        raise ConfigError(f"{path or 'command line'}: {error.error_count()} problem(s)\n{lines}") from error
