"""Write a result as a table and as JSON; the same inputs give the same JSON byte by byte."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceanalytics.errors import ConfigError
from faceanalytics.files import replacing
from workers.research.evaluate.result import Result

SCHEMA = 1
VERSION = 1  # of the protocols: raised when a change alters a result
DIGITS = 6  # decimal places
UNITS = {"percent": "%", "years": "years"}


@dataclass(frozen=True, slots=True)
class Measured:
    """A result, how it was measured, and the paper's result."""

    protocol: str
    part: str | None  # part of the protocol, such as val or test of clap2015
    weights: Mapping[str, str | None]  # sha256 (None: untrained), model_id
    device: str
    precision: str
    result: Result
    paper: Mapping[str, float]
    degraded: str | None = None  # how the faces were degraded


def check_out(out: Path | None) -> None:
    """Raise ConfigError for a file that cannot be written, before any work is done."""
    if out is None:
        return
    if out.suffix != ".json":
        raise ConfigError(f"--out {out}: the name must end in .json")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")


def write(measured: Measured, out: Path) -> None:
    """Write the JSON file. Raises ConfigError if it cannot be written."""
    with replacing(out) as partial:
        partial.write_text(json.dumps(as_json(measured), indent=2, allow_nan=False) + "\n")


def as_json(measured: Measured) -> dict[str, Any]:
    """Return the content of the JSON file, without a date, so that it is reproducible; nan becomes null."""
    result = measured.result
    return {
        "schema": SCHEMA,
        "protocol": measured.protocol,
        **({"part": measured.part} if measured.part else {}),
        **({"degraded": measured.degraded} if measured.degraded else {}),
        "protocol_version": VERSION,
        "weights": dict(measured.weights),
        "data": {"sha256": result.data, "hashed": result.hashed},
        "device": measured.device,
        "precision": measured.precision,
        "metrics": _plain(result.metrics),
        "paper": dict(measured.paper),
        "counts": {**result.counts, "unreadable": len(result.unreadable)},
        "absent": list(result.absent),
        "unreadable": list(result.unreadable),
        "details": _plain(result.details),
    }


def table(measured: Measured) -> str:
    """Return the table for standard output, with the paper's results beside ours."""
    result = measured.result
    name = f"{measured.protocol} ({measured.part})" if measured.part else measured.protocol
    if measured.degraded:
        name += f", {measured.degraded}"
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.counts.items())
    lines = [f"{name}: {counts}; {measured.weights['model_id']} in {measured.precision} on {measured.device}"]
    rows = [("", "measured", "paper", "")]
    for metric, value in result.metrics.items():
        title, unit = _titled(metric)
        rows.append((title, _number(value, unit), _number(measured.paper.get(metric), unit), unit))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for title, ours, theirs, unit in rows:
        lines.append(f"  {title:<{widths[0]}}  {ours:>{widths[1]}}  {theirs:>{widths[2]}}  {unit}".rstrip())
    lines += [f"not measured: {line}" for line in result.absent]
    for grouping, parts in result.details.get("groups", {}).items():
        lines.append(f"by {grouping}:")
        lines += [f"  {group}: {_in_words(numbers)}" for group, numbers in parts.items()]
    return "\n".join(lines) + "\n"


def _in_words(numbers: Mapping[str, float]) -> str:
    words = []
    for name, value in numbers.items():
        title, unit = _titled(name)
        words.append(f"{value} {title}" if name == "faces" else f"{title} {_number(value, unit)} {unit}".rstrip())
    return ", ".join(words)


def _titled(metric: str) -> tuple[str, str]:
    name, _, last = metric.rpartition("_")
    title, unit = (name, UNITS[last]) if last in UNITS else (metric, "")
    return title.replace("_", " "), unit


def _number(value: float | None, unit: str) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2f}" if unit else f"{value:.3f}"


def _plain(value: Any) -> Any:
    """Convert to plain Python values, with rounded numbers and None for nan."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(float(value), DIGITS)
    return value
