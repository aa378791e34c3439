"""The configuration file: read strictly, shown with its secrets masked, hashed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from faceanalytics.errors import ConfigError
from faceanalytics.settings import expand_environment, explain, read_yaml
from streamer.config import StreamerConfig, redact

DECIDING = {"detect", "track", "crop", "schedule", "aggregate", "gallery", "relink"}  # sections that results depend on


def load_config(path: Path | None) -> StreamerConfig:
    """The configuration in a YAML file (None: all defaults). Raises ConfigError with the path of each wrong field."""
    if path is None:
        return StreamerConfig()
    return parse_config(expand_environment(read_yaml(path), str(path)), str(path))


def parse_config(data: dict[str, Any], origin: str) -> StreamerConfig:
    """Check plain data. `origin` names it in the ConfigError."""
    try:
        return StreamerConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {len(explain(error))} problem(s)\n" + "\n".join(explain(error))) from error


def show_config(config: StreamerConfig) -> str:
    """The whole configuration as YAML, defaults filled in, secrets masked."""
    data = config.model_dump(mode="json")
    for stream in data["streams"]:
        stream["uri"] = redact(stream["uri"])
    return yaml.safe_dump(data, sort_keys=False)


def config_hash(config: StreamerConfig) -> str:
    """What of the configuration decides the results of a recorded analysis, as 12 hex digits."""
    deciding = config.model_dump(mode="json", include=DECIDING)
    deciding["detect"].pop("weights")  # the weights' own hash stands for them, whatever their path
    del deciding["gallery"]["folder"], deciding["gallery"]["cohort"]  # so does that of the images
    deciding["batch"] = config.dispatch.batch
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]


def config_schema() -> dict[str, Any]:
    """JSON Schema of the configuration file."""
    return StreamerConfig.model_json_schema()
