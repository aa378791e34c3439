"""How exactly torch computes on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Keep fp32 products from being rounded to TF32 while kernels are chosen."""
    import torch  # here, because most programs do without it

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
