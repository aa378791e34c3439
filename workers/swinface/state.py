"""The tensors of a weights file, by name: wrappers' prefixes removed, compared with the network, all numbers finite."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from faceanalytics.errors import ModelError

SHOWN = 20  # names in one error message
# what torch.compile, DataParallel and DistributedDataParallel add, around the network or around a part of it
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod)\.")


class CheckpointError(ModelError):
    """A weights file is missing or does not fit this network; the message says which."""


def unwrapped(path: Path, items: Iterable[tuple[Any, Any]]) -> dict[str, Tensor]:
    """Return tensors by their names without wrappers' prefixes.

    Raises CheckpointError for anything but a tensor, and for two tensors that get the same name.
    """
    tensors: dict[str, Tensor] = {}
    for stored, tensor in items:
        name = WRAPPERS.sub("", str(stored))
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{path}: {name} is a {type(tensor).__name__}, expected a tensor")
        if name in tensors:
            raise CheckpointError(f"{path} holds {name} twice, with and without the prefix of a wrapper: {stored}")
        tensors[name] = tensor
    return tensors


def compare(path: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise CheckpointError that lists missing and unexpected tensors side by side, and those of another shape."""
    shapes = [
        f"wrong shape: {name} is {found[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    missing = [f"missing: {name}" for name in expected if name not in found]
    unexpected = [f"unexpected: {name}" for name in found if name not in expected]
    kinds = [kind for kind in (missing, unexpected, shapes) if kind]
    if not kinds:
        return
    lines = []
    for kind in kinds:
        shown = kind[: SHOWN // len(kinds)]
        lines += shown + (
            [f"and {len(kind) - len(shown)} more that are {kind[0].partition(':')[0]}"] if kind[len(shown) :] else []
        )
    listed = "".join(f"\n  {line}" for line in lines)
    count = sum(map(len, kinds))
    raise CheckpointError(f"{path} does not fit this network, {count} tensors differ:{listed}")


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError that lists the tensors with NaN or infinity, which would spoil results silently."""
    spoilt = [
        f"{name}: {int((~tensor.isfinite()).sum())} of {tensor.numel()} numbers"
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if spoilt:
        listed = "".join(f"\n  {line}" for line in spoilt[:SHOWN])
        more = f"\n  and {len(spoilt) - SHOWN} more" if len(spoilt) > SHOWN else ""
        raise CheckpointError(f"{path} holds NaN or infinity in {len(spoilt)} tensors:{listed}{more}")
