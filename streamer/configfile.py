"""The configuration file: read strictly, shown with its secrets masked, hashed."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from streamer.config import StreamerConfig, redact
from streamer.errors import ConfigError

DECIDING = {"detect", "track", "crop", "schedule", "aggregate", "gallery", "relink"}  # sections that results depend on


def load_config(path: Path | None) -> StreamerConfig:
    """The configuration in a YAML file (None: all defaults). Raises ConfigError with the path of each wrong field."""
    if path is None:
        return StreamerConfig()
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    try:
        data = yaml.load(text, _StrictLoader)  # noqa: S506  # a safe loader that also refuses repeated keys
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if data is not None and not isinstance(data, dict):
        raise ConfigError(
            f"{path}: expected sections such as `streams:` and `detect:` at the top, found {type(data).__name__}"
        )
    return parse_config(_expand(data or {}, str(path)), str(path))


class _StrictLoader(yaml.SafeLoader):
    """YAML as usual, but a key that stands twice in a section is an error: which one counts is no one's guess."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = next((key for key, _ in node.value if keys.count(key.value) > 1 and key.value != "<<"), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice.value!r} stands twice", twice.start_mark)
        return super().construct_mapping(node, deep)


def parse_config(data: dict[str, Any], origin: str) -> StreamerConfig:
    """Check plain data. `origin` names it in the ConfigError."""
    try:
        return StreamerConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {len(explain(error))} problem(s)\n" + "\n".join(explain(error))) from error


def explain(error: ValidationError) -> list[str]:
    """One line per wrong field, `streams.0.uri: reason`, without the values (they may hold secrets)."""
    lines = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(part) for part in item["loc"]) or "(top)"
        message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
        lines.append(f"  {where}: {message}")
    return lines


def _expand(value: Any, origin: str) -> Any:
    """Replace ${NAME} in every text by the environment variable."""
    if isinstance(value, dict):
        return {key: _expand(item, origin) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, origin) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(f"{origin}: the environment variable {name} is not set")
        return os.environ[name]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", replace, value)


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
