"""What the network may compute in; here because neither the command line nor the configuration may import torch."""

from typing import Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
