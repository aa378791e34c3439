"""Define the configuration of a training of the roll network. Unknown keys are errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faceanalytics.errors import ConfigError
from faceanalytics.settings import expand_environment, explain, read_yaml

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Source(_Section):
    """Upright faces in a Parquet file with encoded images in the column `image`."""

    path: Path
    """The file."""
    where: Mapping[str, str | int] = {}
    """Use only the rows that have these values in these columns."""
    box: tuple[float, float, float, float] | None = None
    """x1 y1 x2 y2 of the face in each image, for images aligned in one way. Default: the bundled detector finds it."""
    weight: Rate = 1.0
    """How often its faces are drawn, relative to the other sources."""
    rows: Positive | None = None
    """Use only this many rows, spread over the file. Default: all."""


class RollConfig(_Section):
    """One training."""

    out: Path
    """Folder for face-roll-nano.onnx and scalars.jsonl."""
    seed: int = 0
    steps: Positive
    batch: Positive = 256
    learning_rate: Rate = 3e-3
    nobody: Share = 0.12
    """Share of the crops that show no face. They train the network to be unsure."""
    upright: Share = 0.3
    """Share of the faces that are turned by at most 40 degrees. The others are turned by any angle."""
    sources: Mapping[str, Source]
    held_out: Mapping[str, Source]
    """Faces to report the error of at the end."""
    backgrounds: Path
    """CSV with columns file (below its folder) and faces: images with 0 faces lie behind the faces or are shown
    alone."""


def load_roll_config(path: Path, overrides: Mapping[str, Any]) -> RollConfig:
    """Read a training's YAML file and replace top-level settings by `overrides`. Raises ConfigError."""
    values = {**expand_environment(read_yaml(path), str(path)), **overrides}
    try:
        return RollConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {error.error_count()} problem(s)\n" + "\n".join(explain(error))) from error
