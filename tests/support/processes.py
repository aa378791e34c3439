"""Several real processes that compute together over gloo, as torchrun starts them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.support.patience import WAIT_S


def run_together(world: int, command: list[str], folder: Path) -> list[str]:
    """Run `python -m torch.distributed.run ... command`; what each of the `world` processes printed is joined.

    Raises AssertionError with the output if it fails.
    """
    process = start_together(world, command, folder)
    try:
        output, errors = process.communicate(timeout=2 * WAIT_S)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun then ends the others, which a kill of it would leave behind
        raise AssertionError(process.communicate(timeout=WAIT_S)[1][-4000:]) from None
    assert process.returncode == 0, errors[-4000:]
    return output.splitlines()


def start_together(world: int, command: list[str], folder: Path) -> "subprocess.Popen[str]":
    """torchrun with `command` behind its own options."""
    return subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(world), "--master-addr",
            "127.0.0.1", "--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", *command,
        ],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
