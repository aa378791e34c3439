"""Check and measure everything that has a GPU path: `make gpu`, or `python -m tests.gpu`.

Writes one JSON after each section and a page with its tables beside it, and prints them. Sections run one after the
other, each in a process of its own with a time limit; one that fails does not stop the others. Exit codes: 0 all is
right; 4 there is no GPU; 5 a section failed, was not in time, lacks a package, or has a wrong result.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.gpu.command import SLOWER, run_all
from tests.gpu.run import Run, run_section
from tests.gpu.sections import BY_NAME, ROOT, TOTAL_S

PAGE = ROOT / "docs" / "gpu.json"
TRIED = ROOT / "bench-output" / "gpu.json"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda:0", help="cpu or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, always on a CPU: to try that every section runs"
    )
    parser.add_argument(
        "--out", type=Path, help=f"JSON to write (default: docs/{PAGE.name}; on a CPU and with --quick bench-output)"
    )
    parser.add_argument("--only", metavar="NAMES", help=f"these sections, with commas: {', '.join(BY_NAME)}")
    parser.add_argument("--total-s", type=float, help=f"for all sections (default: {TOTAL_S:g}; on a CPU longer)")
    parser.add_argument("--section", help=argparse.SUPPRESS)  # run it here; --out and --folder are its files
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.section:
        deadline = time.monotonic() + given.total_s
        return run_section(given.section, Run(given.device, given.quick, given.folder, given.out, deadline))
    quick = given.quick or given.device == "cpu"
    names = given.only.split(",") if given.only else list(BY_NAME)
    if unknown := sorted(set(names) - set(BY_NAME)):
        parser.error(f"--only: unknown {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    total_s = given.total_s or TOTAL_S * (SLOWER if given.device == "cpu" else 1)
    out = given.out or (PAGE if not quick and not given.only else TRIED)
    return run_all([BY_NAME[name] for name in BY_NAME if name in names], given.device, quick, out, total_s)


if __name__ == "__main__":
    sys.exit(main())
