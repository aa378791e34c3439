"""Read the configuration file strictly, show it with its secrets masked, and hash it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from faceanalytics.errors import ConfigError
from faceanalytics.settings import expand_environment, explain, read_yaml
from streamer.config import StreamerConfig, redact
from streamer.privacy import Mode
from streamer.sink_fields import shown
from streamer.sink_settings import SINK_TYPES

# sections that results depend on
DECIDING = {"detect", "track", "crop", "schedule", "aggregate", "gallery", "relink", "people"}


def load_config(path: Path | None) -> StreamerConfig:
    """Load a YAML file; None gives all defaults. Raises ConfigError with the path of each wrong field."""
    if path is None:
        return StreamerConfig()
    return parse_config(expand_environment(read_yaml(path), str(path)), str(path))


def parse_config(data: dict[str, Any], origin: str) -> StreamerConfig:
    """Validate plain data. Raises ConfigError, which calls the data `origin`."""
    try:
        return StreamerConfig.model_validate(data)
    except ValidationError as error:
        # a check of several fields names them itself
        lines = explain(error, unnamed=SINK_TYPES, model=StreamerConfig)
        problems = [line.replace("(top): Value error, ", "") for line in lines]
        raise ConfigError(f"{origin}: {len(problems)} problem(s)\n" + "\n".join(problems)) from error


def with_attention(config: StreamerConfig, effort: int | None, max_fps: float | None) -> StreamerConfig:
    """Return the configuration with these settings of detect.attention, as far as they are given.

    Raises ConfigError.
    """
    given = {name: value for name, value in (("effort", effort), ("max_fps", max_fps)) if value is not None}
    if not given:
        return config
    data = config.model_dump()
    data["detect"]["attention"] |= given
    return parse_config(data, "--effort and --detect-fps")


def show_config(config: StreamerConfig) -> str:
    """Format the whole configuration as YAML, with defaults filled in and secrets masked."""
    data = config.model_dump(mode="json")
    for stream in data["streams"]:
        stream["uri"] = redact(stream["uri"])
    if data["store"] and data["store"]["url"]:
        data["store"]["url"] = redact(data["store"]["url"])
    data["sinks"] = [shown(sink) for sink in config.sinks]
    return yaml.safe_dump(data, sort_keys=False)


def config_hash(config: StreamerConfig) -> str:
    """Hash the settings that decide the results of a recorded analysis into 12 hex digits."""
    deciding = config.model_dump(mode="json", include=DECIDING)
    deciding["detect"].pop("weights")  # results record the hash of the weights themselves
    attention = deciding["detect"].pop("attention")
    if not config.detect.attention.every_frame:
        deciding["attention"] = {name: attention[name] for name in ("effort", "max_fps", "full_look_s")}
    del deciding["gallery"]["folder"], deciding["gallery"]["cohort"]  # and that of the images
    if config.privacy.mode is not Mode.IDENTITY:
        deciding["privacy"] = config.privacy.mode.value
    deciding["batch"] = config.dispatch.batch
    if config.sources.decode_device != "cpu":  # colours may differ in the last bit
        deciding["decode_device"] = config.sources.decode_device
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file."""
    return StreamerConfig.model_json_schema()
