"""Plot the losses and validation results of a training."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import replacing
from workers.research.train.monitor import SCALARS

# headline numbers of the validation, in the order of the panels: suffix, title
PANELS = (
    ("verification_accuracy_percent", "same person or not, % right"),
    ("mae_years", "age, mean error in years"),
    ("gender_accuracy_percent", "gender, % right"),
    ("expression_accuracy_percent", "expression, % right"),
    ("attributes_mean_percent", "attributes, % right"),
)
Series = dict[str, list[tuple[int, float]]]


def draw(run: Path, out: Path) -> None:
    """Plot a training's folder as PNG. Raises InputError if it has no scalars, ConfigError for a bad `out`."""
    if out.suffix != ".png":
        raise ConfigError(f"{out}: the name must end in .png")
    series = read(run / SCALARS)
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    panels = _panels(series)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(4.6 * columns, 3.2 * rows), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        _plot(axis, title, lines)
    figure.tight_layout()
    with replacing(out) as partial:
        figure.savefig(partial, dpi=110, format="png", metadata={"Software": None})
    pyplot.close(figure)


def read(path: Path) -> Series:
    """Return the steps and values of each scalar. Raises InputError."""
    try:
        records = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"no scalars of a training in {path}: {error}") from error
    series: Series = defaultdict(list)
    for record in records:
        for name, value in record.items():
            if name != "step":
                series[name].append((record["step"], value))
    if not series:
        raise InputError(f"{path} is empty: the training has not logged anything yet")
    return series


def _panels(series: Series) -> dict[str, Series]:
    """Group the series into panels by title."""
    losses = {name.removeprefix("loss/"): values for name, values in series.items() if name.startswith("loss/")}
    panels: dict[str, Series] = {"losses in training": losses} if losses else {}
    for suffix, title in PANELS:
        found = {
            name.removeprefix("validation/").removesuffix(f"/{suffix}"): values
            for name, values in series.items()
            if name.startswith("validation/") and name.endswith(f"/{suffix}")
        }
        if found:
            panels[title] = found
    if skill := series.get("validation/skill"):
        panels["skill: 0 blind guess, 1 perfect"] = {"mean": skill}
    return panels


def _plot(axis: Any, title: str, lines: Series) -> None:
    for name, values in sorted(lines.items()):
        steps, numbers = zip(*values, strict=True)
        axis.plot(steps, numbers, label=name, linewidth=1.2, marker="." if len(values) < 40 else None)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("step", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    if title.startswith("losses"):
        axis.set_yscale("log")
    if len(lines) <= 12:
        axis.legend(fontsize=7)
