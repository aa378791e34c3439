"""List the network's precisions, apart from it so that command line and configuration need not import torch."""

from typing import Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
