"""Communicate with the other training processes that torchrun started, if any."""

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from faceanalytics.errors import ConfigError, ModelError

TIMEOUT = timedelta(minutes=30)  # for a process that validates or reads slowly; torchrun notices a dead one


@dataclass(frozen=True, slots=True)
class Process:
    """This process and its device. Small values are exchanged on the CPU, apart from the gradients."""

    rank: int
    world: int
    device: torch.device
    group: Any = None  # gloo group for values on the CPU; None: a single process

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def sums(self, numbers: list[float]) -> list[float]:
        """Return each number summed over all processes."""
        if self.world == 1:
            return numbers
        totals = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(totals, group=self.group)
        return totals.tolist()

    def wait(self) -> None:
        """Wait until all processes have called it."""
        if self.world > 1:
            dist.barrier(group=self.group)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes in the main one, [] in the others."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world if self.is_main else []
        dist.gather_object(value, values if self.is_main else None, group=self.group)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return the value of the main process."""
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
    """Join the processes that torchrun started. Raises ModelError if the device cannot be used, ConfigError."""
    rank, world = _number("RANK", 0), _number("WORLD_SIZE", 1)
    local_rank, local_world = _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1)
    own = _device(device, local_rank)
    if own.type == "cpu":
        torch.set_num_threads(threads or max(1, _cores() // local_world))
    else:
        torch.cuda.set_device(own)
    if world == 1:
        return Process(0, 1, own)
    dist.init_process_group("gloo" if own.type == "cpu" else "nccl", timeout=TIMEOUT)
    return Process(rank, world, own, dist.new_group(backend="gloo", timeout=TIMEOUT))


def leave() -> None:
    """Leave the group of processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _device(kind: str, local_rank: int) -> torch.device:
    if kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise ModelError(
            f"process {local_rank} of {socket.gethostname()} needs its own GPU, but torch finds {count} here. Start "
            "fewer processes, check the driver (nvidia-smi), or set `run: {device: cpu}`"
        )
    return torch.device("cuda", local_rank)


def _number(name: str, default: int) -> int:
    try:
        return int(os.environ.get(name, default))
    except ValueError:
        raise ConfigError(f"the environment variable {name} is not a number; torchrun sets it") from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
