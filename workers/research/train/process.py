"""One training process among those that torchrun started, or alone."""

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from faceanalytics.errors import ConfigError, ModelError

PATIENCE = timedelta(minutes=30)  # for a process that validates or reads slowly; a dead one is noticed by torchrun


@dataclass(frozen=True, slots=True)
class Process:
    """Which process this is and what it computes on. Small numbers are exchanged on the CPU, beside the gradients."""

    rank: int
    world: int
    device: torch.device
    group: Any = None  # gloo, for numbers on the CPU; None: alone

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes files."""
        return self.rank == 0

    def sums(self, numbers: list[float]) -> list[float]:
        """Each number summed over all processes."""
        if self.world == 1:
            return numbers
        found = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(found, group=self.group)
        return found.tolist()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier(group=self.group)

    def gathered(self, value: Any) -> list[Any]:
        """The values of all processes, in the first one; [] in the others."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world if self.leads else []
        dist.gather_object(value, found if self.leads else None, group=self.group)
        return found

    def told(self, value: Any) -> Any:
        """The value that the first process has."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, group=self.group)
        return box[0]

    def average(self, tensors: list[torch.Tensor]) -> None:
        """Replace tensors by their means over all processes."""
        if self.world == 1:
            return
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor /= self.world


def join(device: str, threads: int | None) -> Process:
    """Join the processes that torchrun started. Raises ModelError if the device is not usable, ConfigError."""
    rank, world = _number("RANK", 0), _number("WORLD_SIZE", 1)
    local, here = _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1)
    where = _device(device, local)
    if where.type == "cpu":
        torch.set_num_threads(threads or max(1, _cores() // here))
    else:
        torch.cuda.set_device(where)
    if world == 1:
        return Process(0, 1, where)
    dist.init_process_group("gloo" if where.type == "cpu" else "nccl", timeout=PATIENCE)
    return Process(rank, world, where, dist.new_group(backend="gloo", timeout=PATIENCE))


def leave() -> None:
    """Say goodbye to the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _device(kind: str, local: int) -> torch.device:
    if kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local >= count:
        raise ModelError(
            f"process {local} of {socket.gethostname()} needs its own GPU, but torch finds {count} here. Start fewer "
            "processes, check the driver (nvidia-smi), or set `run: {device: cpu}`"
        )
    return torch.device("cuda", local)


def _number(name: str, default: int) -> int:
    try:
        return int(os.environ.get(name, default))
    except ValueError:
        raise ConfigError(f"the environment variable {name} is no number; torchrun sets it") from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
