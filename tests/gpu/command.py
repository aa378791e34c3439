"""Run the sections one after the other, and keep what they found."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from faceanalytics.errors import PARTIAL_RESULT, ModelError
from faceanalytics.files import write_json
from tests.gpu.page import section_lines, summary, write_page
from tests.gpu.run import read
from tests.gpu.sections import ROOT, Section

FINE = ("ok", "needs a GPU")
SLOWER = 5  # times the limits on a CPU, where it is tried
SHORTEST_S = 3.0  # with less time left a section is not begun
TO_END_S = 3.0  # from the signal that ends a section to the one that kills it
ERROR_LINES = 16  # of what a section that failed has printed


def run_all(sections: list[Section], device: str, quick: bool, out: Path, total_s: float) -> int:
    """Run these sections; write `out` after each and the page beside it at the end. Returns the exit code."""
    began = time.monotonic()
    results: dict[str, Any] = {
        "device": device,
        "quick": quick,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "sections": {},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        for section in sections:
            print(f"\n{section.title}", flush=True)
            left = total_s - (time.monotonic() - began)
            found = _run(section, device, quick, Path(folder), left)
            if found.pop("exit_code", 0) == ModelError.exit_code and section.name == "machine":
                print(f"{found['error']}\nTo try the sections without a GPU: make gpu DEVICE=cpu", file=sys.stderr)
                return ModelError.exit_code
            results["sections"][section.name] = {"title": section.title, **found}
            results["seconds"] = round(time.monotonic() - began, 1)
            write_json(out, results)
            print("\n".join(section_lines(section.name, found)), flush=True)
    page = write_page(out, results)
    print(f"\n{summary(results)}\nwritten: {out}, {page}", flush=True)
    fine = all(found["status"] in FINE for found in results["sections"].values())
    return 0 if fine else PARTIAL_RESULT


def _run(section: Section, device: str, quick: bool, folder: Path, left_s: float) -> dict[str, Any]:
    """Return the figures of a section, its status, and how long it took."""
    nothing: dict[str, Any] = {"figures": {}, "checks": [], "goals": [], "notes": [], "seconds": 0.0}
    if device == "cpu" and section.needs_gpu:
        return {**nothing, "status": "needs a GPU", "error": section.needs_gpu}
    if missing := [name for name in section.packages if not _is_installed(name)]:
        return {**nothing, "status": "missing package", "error": f"not installed: {', '.join(missing)}"}
    if left_s < SHORTEST_S:
        return {**nothing, "status": "no time left", "error": "the sections before it took all the time"}
    limit, out = min(section.limit_s * (SLOWER if device == "cpu" else 1), left_s), folder / f"{section.name}.json"
    command = [sys.executable, "-m", "tests.gpu", "--section", section.name, "--device", device]
    command += ["--folder", str(folder), "--out", str(out), "--total-s", str(limit), *(["--quick"] if quick else [])]
    began, log = time.monotonic(), folder / f"{section.name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},  # as the programs do
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)  # with the programs that it may have started
    found = {**nothing, **read(out), "seconds": round(time.monotonic() - began, 1)}
    return status_of(found, code, limit, log.read_text(errors="replace"))


def status_of(found: dict[str, Any], code: int | None, limit_s: float, said: str) -> dict[str, Any]:
    """Return what a section has found with its status, by its exit code (None: it was ended) and what it has said."""
    wrong = [each for each in found["checks"] if not each["holds"]]
    if code is None:
        return {**found, "status": "timed out", "error": f"ended after {limit_s:.0f} s; the figures so far are kept"}
    if code:
        last = said.strip().splitlines()[-ERROR_LINES:] or [f"exit code {code}"]
        return {**found, "status": "failed", "exit_code": code, "error": "\n".join(last)}
    if wrong:
        return {**found, "status": "wrong", "error": f"{len(wrong)} of {len(found['checks'])} checks do not hold"}
    return {**found, "status": "ok"}


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a section's process group."""
    for number, wait_s in ((signal.SIGTERM, TO_END_S), (signal.SIGKILL, TO_END_S)):
        try:
            os.killpg(process.pid, number)
            process.wait(wait_s)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
