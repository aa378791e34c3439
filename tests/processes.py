"""Several real processes that compute together over gloo, as torchrun starts them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def run_together(world: int, command: list[str], folder: Path, timeout_s: float = 150) -> list[str]:
    """Run `python -m torch.distributed.run ... command`; what each of the `world` processes printed is joined.

    Raises AssertionError with the output if it fails.
    """
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(world), "--master-addr",
            "127.0.0.1", "--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", *command,
        ],
        cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.splitlines()
