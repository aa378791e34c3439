"""One section in a process of its own: the results are written after each of them, so that a kill loses none."""

import importlib
import json
import sys
import time
import traceback
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from faceanalytics.errors import UserError
from faceanalytics.files import write_json


@dataclass(slots=True)
class Run:
    """What a section is asked to do, and what it has found so far."""

    device: str  # cpu or cuda:N
    quick: bool  # tiny sizes: to try that it runs
    folder: Path  # for files that the sections share
    out: Path
    deadline: float  # s, time.monotonic(), after which the process is ended
    figures: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    goals: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    @property
    def left_s(self) -> float:
        """Return the seconds that are left to this section."""
        return self.deadline - time.monotonic()

    def add(self, name: str, value: Any) -> None:
        """Keep a figure, and write all of them."""
        self.figures[name] = value
        self.save()

    def check(self, what: str, value: float, limit: float) -> None:
        """Keep whether a value is at most its limit. The section is wrong if one is not (or is NaN)."""
        shown = float(value) if isfinite(value) else None  # JSON has no other numbers
        self.checks.append({"what": what, "value": shown, "limit": limit, "holds": bool(value <= limit)})
        self.save()

    def goal(self, what: str, value: float, least: float) -> None:
        """Keep a value beside the goal for it on an H200. A goal that is missed is not an error."""
        self.goals.append({"what": what, "value": float(value), "goal": least, "reached": bool(value >= least)})
        self.save()

    def note(self, text: str) -> None:
        """Keep a line that says what could not be measured here, and why."""
        self.notes.append(text)
        self.save()

    def save(self) -> None:
        found = {"figures": self.figures, "checks": self.checks, "goals": self.goals, "notes": self.notes}
        write_json(self.out, found)


def run_section(name: str, run: Run) -> int:
    """Run a section in this process. Returns the exit code; the error goes to stderr, as its last lines."""
    run.save()
    try:
        importlib.import_module(f"tests.gpu.{name}").measure(run)
    except UserError as error:
        print(f"{error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:  # the border of this process
        traceback.print_exc(limit=-3)
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def read(path: Path) -> dict[str, Any]:
    """Return what a section has written; nothing if it did not come to that."""
    empty: dict[str, Any] = {"figures": {}, "checks": [], "goals": [], "notes": []}
    return {**empty, **json.loads(path.read_text())} if path.is_file() else empty
