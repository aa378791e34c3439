"""The results as lines for the screen, and as a page beside the JSON."""

import importlib
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- results: written by `make gpu` -->", "<!-- end of results -->"
NEVER = """\
**Never run on a GPU:** SwinFace's engine for it, the detector by torch, NVDEC, frames that stay on the device, the
pipeline with them, and NCCL. `make gpu` was tried on a CPU only, as far as that goes.
Training has run on one: the bundled weights were partly made there ([face model](models/swinface-small.md),
[detector](models/yolo-face-nano.md))."""


def section_lines(name: str, found: dict[str, Any]) -> list[str]:
    """Return a section as lines of text: its status, its figures, its checks and goals, and what was not measured."""
    lines = [f"{found['status']}, {found['seconds']:.0f} s"]
    lines += [f"! {line}" for line in found.get("error", "").splitlines()]
    if found["figures"]:
        try:
            lines += importlib.import_module(f"tests.gpu.{name}").lines(found["figures"])
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:  # figures of a section that was ended
            lines.append(f"! the figures cannot be shown ({error!r}); the JSON has them")
    for check in found["checks"]:
        word = "ok   " if check["holds"] else "WRONG"
        value = "not a finite number" if check["value"] is None else f"{check['value']:.3g}"
        lines.append(f"{word} {check['what']}: {value} (at most {check['limit']:g})")
    lines += [_goal(goal) for goal in found["goals"]]
    return lines + [f"not measured: {note}" for note in found["notes"]]


def _goal(goal: dict[str, Any]) -> str:
    word = "reached" if goal["reached"] else "missed"
    return f"goal {word}: {goal['what']}: {goal['value']:,.0f} (at least {goal['goal']:,.0f})"


def summary(results: dict[str, Any]) -> str:
    """Return one line about all sections, and one for each goal."""
    counts: dict[str, int] = {}
    for found in results["sections"].values():
        counts[found["status"]] = counts.get(found["status"], 0) + 1
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    goals = [_goal(goal) for found in results["sections"].values() for goal in found["goals"]]
    return "\n".join([f"{len(results['sections'])} sections in {results['seconds']:.0f} s: {said}", *goals])


def results_text(results: dict[str, Any] | None) -> str:
    """Return what a page says between its marks; None: nothing has been measured."""
    if results is None:
        return f"{NEVER}\n"
    tried = ", with tiny sizes to try it" if results["quick"] else ""
    parts = [f"Measured {results['began']} on {results['device']}{tried}.\n\n```\n{summary(results)}\n```\n"]
    for name, found in results["sections"].items():
        text = "\n".join(section_lines(name, found))
        parts.append(f"### {found['title']}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def write_page(out: Path, results: dict[str, Any]) -> Path:
    """Write the results into the page beside a JSON, between its marks if it has them."""
    page = out.with_suffix(".md")
    text = page.read_text() if page.is_file() else f"# GPU\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{results_text(results)}\n{END}{after}")
    return page
