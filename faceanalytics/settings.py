"""Settings in YAML: read strictly, environment variables put in, problems reported field by field."""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from faceanalytics.errors import ConfigError


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file; an empty file has none. A key that stands twice is an error. Raises ConfigError."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506  # a safe loader, and stricter
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if data is not None and not isinstance(data, dict):
        raise ConfigError(
            f"{path}: expected names with values at the top, such as `detect:` or `device: cpu`, "
            f"found {type(data).__name__}"
        )
    return data or {}


def with_changes(settings: dict[str, Any], changes: Sequence[str], option: str) -> dict[str, Any]:
    """Return the settings with those of texts such as `run.threads=2` replaced or added; values are YAML.

    Raises ConfigError, which names the `option` that the texts come from.
    """
    for text in changes:
        name, found, value = text.partition("=")
        steps = name.strip().split(".")
        if not found or not all(steps):
            raise ConfigError(f"{option} {text}: expected KEY=VALUE, such as steps=200 or run.threads=2")
        try:
            changed = yaml.load(value, _StrictLoader)  # noqa: S506  # a safe loader, and stricter
        except yaml.YAMLError as error:
            raise ConfigError(f"{option} {text}: the value is not YAML") from error
        settings = _changed(settings, steps, changed, f"{option} {text}")
    return settings


def _changed(settings: Any, steps: Sequence[str], value: Any, where: str) -> Any:
    """Return the settings with the one at a path replaced. Numbers in the path are places in a list."""
    step, rest = steps[0], steps[1:]
    if isinstance(settings, list):
        if not step.isdecimal() or int(step) >= len(settings):
            raise ConfigError(f"{where}: {step} is not a place in a list of {len(settings)}, counted from 0")
        place = int(step)
        inner = _changed(settings[place], rest, value, where) if rest else value
        return [*settings[:place], inner, *settings[place + 1 :]]
    if settings is not None and not isinstance(settings, dict):
        raise ConfigError(f"{where}: there is no section above {step}, but a value")
    section = settings or {}
    return {**section, step: _changed(section.get(step), rest, value, where) if rest else value}


class _StrictLoader(yaml.SafeLoader):
    """YAML as usual, but a key that stands twice in a section is an error: which one counts is no one's guess."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = next((key for key, _ in node.value if keys.count(key.value) > 1 and key.value != "<<"), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice.value!r} stands twice", twice.start_mark)
        return super().construct_mapping(node, deep)


def explain(
    error: ValidationError, within: Sequence[str] = (), unnamed: Sequence[str] = (), model: Any = None
) -> list[str]:
    """One line per wrong setting, `sets.faces.path: reason`, without the values.

    `within`: the sections that the checked data stand in; `unnamed`: steps of pydantic's own that a user did not write;
    `model`: the type that the data should have, from which a known key is suggested for an unknown one.
    """
    lines = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        steps = [str(part) for part in item["loc"] if str(part) not in unnamed]
        where = ".".join([*within, *steps]) or "(top)"
        reason = item["msg"]
        if item["type"] == "extra_forbidden":
            reason = f"unknown key{close_to(steps[-1], _keys_at(model, item['loc'][:-1]))}"
        lines.append(f"  {where}: {reason}")
    return lines


def close_to(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean max_fps?` if one of the known names resembles `name`, else nothing."""
    found = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _keys_at(model: Any, path: Sequence[int | str]) -> set[str]:
    """Return the keys that a type allows at a path. Steps that are no keys, such as places in a list, are skipped."""
    models = _models_in(model)
    for step in path:
        inner = [each.model_fields[str(step)].annotation for each in models if str(step) in each.model_fields]
        models = [found for annotation in inner for found in _models_in(annotation)] or models
    return {name for each in models for name in each.model_fields}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in a type, such as those of a list or of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]


def expand_environment(value: Any, origin: str) -> Any:
    """The same settings with ${NAME} in every text replaced by the environment variable. Raises ConfigError."""
    if isinstance(value, dict):
        return {key: expand_environment(item, origin) for key, item in value.items()}
    if isinstance(value, list):
        return [expand_environment(item, origin) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(f"{origin}: the environment variable {name} is not set")
        return os.environ[name]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", replace, value)
