"""Report the progress of a training: a log line, TensorBoard scalars, and the same as JSON lines."""

import json
import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from faceanalytics.files import writing
from workers.research.train.process import Process
from workers.swinface.labels import ATTRIBUTES

SCALARS = "scalars.jsonl"

log = logging.getLogger(__name__)


class Monitor:
    """Accumulates losses between two reports. Only the main process writes."""

    def __init__(
        self,
        out: Path,
        process: Process,
        slugs: tuple[str, ...],
        steps: int,
        done: int,
        unreported: Mapping[str, tuple[float, int]],
    ) -> None:
        """`done`: steps taken before; scalars of later steps, written before an interruption, are removed.

        `unreported`: losses accumulated before. Raises ConfigError if the scalars cannot be written.
        """
        self._process, self._slugs, self._steps = process, slugs, steps
        before = {slug: unreported.get(slug, (0.0, 0)) for slug in slugs}
        self._sums = {slug: total if process.is_main else 0.0 for slug, (total, _) in before.items()}
        self._counts = {slug: count for slug, (_, count) in before.items()}
        self._out = out
        self._faces, self._since, self._step = 0, time.monotonic(), done
        self._writer: Any = None
        if process.is_main:
            from torch.utils.tensorboard import SummaryWriter

            with writing(out):
                out.mkdir(parents=True, exist_ok=True)
                self._file = _continued(out / SCALARS, done)
                self._writer = SummaryWriter(out / "tensorboard", purge_step=done + 1)

    def add(self, losses: Mapping[str, float], labelled: set[str], faces: int) -> None:
        """Add a step: this process's losses, the tasks that had labels, the faces of all processes."""
        for slug, loss in losses.items():
            if slug in labelled:
                self._sums[slug] += loss
                self._counts[slug] += 1
        self._faces += faces

    def report(self, step: int, rates: Mapping[str, float]) -> None:
        """Report the losses since the last report; `rates`: learning rates by group. All processes must call it."""
        gathered = self.unreported()
        means = {slug: total / self._process.world / count for slug, (total, count) in gathered.items() if count}
        seconds = max(time.monotonic() - self._since, 1e-9)
        speed, pace = self._faces / seconds, seconds / max(step - self._step, 1)
        self._sums, self._counts = dict.fromkeys(self._slugs, 0.0), dict.fromkeys(self._slugs, 0)
        self._faces, self._since, self._step = 0, time.monotonic(), step
        if not self._process.is_main:
            return
        left = timedelta(seconds=round(pace * (self._steps - step)))
        log.info("step %d of %d: %s; %.1f images/s, %s left", step, self._steps, _described(means), speed, left)
        scalars = {f"loss/{slug}": loss for slug, loss in means.items()}
        scalars |= {f"learning_rate/{name}": rate for name, rate in rates.items()}
        self.write(step, {**scalars, "images_per_second": speed})

    def unreported(self) -> dict[str, tuple[float, int]]:
        """Return by slug the losses since the last report, summed over processes and steps, and the number of steps.

        All processes must call it.
        """
        sums = self._process.sums([self._sums[slug] for slug in self._slugs])
        return {slug: (total, self._counts[slug]) for slug, total in zip(self._slugs, sums, strict=True)}

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the scalars of a step; does nothing in other processes than the main one."""
        if not self._process.is_main:
            return
        with writing(self._out):
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()
            self._file.write(json.dumps({"step": step, **scalars}) + "\n")
            self._file.flush()

    def restart_clock(self, step: int) -> None:
        """Exclude the time since this step from the speed, as for validating or saving."""
        self._faces, self._since, self._step = 0, time.monotonic(), step

    def close(self) -> None:
        if self._process.is_main:
            with writing(self._out):
                self._writer.close()
                self._file.close()


def _described(means: Mapping[str, float]) -> str:
    """Return the losses as text, with one mean for all attributes but gender."""
    shown = {slug: loss for slug, loss in means.items() if slug not in _ATTRIBUTES}
    rest = [loss for slug, loss in means.items() if slug in _ATTRIBUTES]
    if rest:
        shown["attributes"] = sum(rest) / len(rest)
    return "loss " + ", ".join(f"{slug} {loss:.4g}" for slug, loss in shown.items())


_ATTRIBUTES = {task.slug for task in ATTRIBUTES} - {"gender"}


def _continued(path: Path, done: int) -> Any:
    """Open the file to append, after removing lines of steps after `done` and a truncated last one. Raises OSError."""
    kept = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= done:
                    kept.append(line + "\n")
            except ValueError:  # truncated
                break
    path.write_text("".join(kept))
    return path.open("a")
