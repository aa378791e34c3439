"""Augment training images."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from workers.research.data.face_set import Bytes, fitted
from workers.research.train.camera import camera

Augmentation: TypeAlias = Literal["published", "camera", "flip", "none"]
# timm's arguments as published. Effectively: mirroring; two of fifteen RandAugment operations, each applied half of the
# time; a rectangle of noise in a quarter of the images. The published settings include colour jitter, which timm skips
# beside RandAugment, and a crop that does nothing to square images.
PUBLISHED: dict[str, Any] = {
    "input_size": 112,
    "is_training": True,
    "scale": (1.0, 1.0),
    "ratio": (1.0, 1.0),
    "color_jitter": None,
    "auto_augment": "rand-m9-mstd0.5-inc1",
    "interpolation": "bicubic",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "re_prob": 0.25,
    "re_mode": "pixel",
    "re_count": 1,
}
RAND_AUGMENT = 2  # its index among timm's transforms
Key: TypeAlias = Sequence[int]  # seeds all random numbers of an image
# RGB of any size -> (112, 112, 3) in pixel values, uint8 or float32
Augment: TypeAlias = Callable[[Bytes, Key], Tensor]


def augmentation(kind: Augmentation) -> Augment:
    """Return the augmentation of this kind."""
    if kind == "published":
        return _Published()
    if kind == "camera":
        return _camera
    return _flipped if kind == "flip" else _unchanged


class _Published:
    def __init__(self) -> None:
        from timm.data.transforms_factory import create_transform  # takes a second to import

        self._transform: Any = create_transform(**PUBLISHED)
        for operation in self._transform.transforms[RAND_AUGMENT].ops:
            if operation.name == "PosterizeIncreasing":
                operation.level_fn = _posterize_bits

    def __call__(self, image: Bytes, key: Key) -> Tensor:
        with seeding(key):
            changed: Tensor = self._transform(Image.fromarray(fitted(image)))  # (3, 112, 112), -1..1, noise beyond that
        return changed.permute(1, 2, 0).mul(127.5).add(127.5)  # the noise is not clipped to 0..255, as published


def _posterize_bits(level: float, _: Any) -> tuple[int]:
    """Return timm's 4 - 4 * level / 10, but at least 1: Pillow refuses 0 bits, a black image."""
    return (max(1, 4 - int(level / 10 * 4)),)


def _flipped(image: Bytes, key: Key) -> Tensor:
    face = fitted(image)
    return torch.from_numpy(face[:, ::-1].copy() if np.random.default_rng(key).random() < 0.5 else face)


def _camera(image: Bytes, key: Key) -> Tensor:
    return torch.from_numpy(camera(fitted(image), np.random.default_rng(key)))


def _unchanged(image: Bytes, _: Key) -> Tensor:
    return torch.from_numpy(fitted(image))


@contextmanager
def seeding(key: Key) -> Iterator[None]:
    """Seed the global random generators with this key, and restore their states afterwards."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seeds = np.random.SeedSequence(list(key)).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(int(seeds[1]))
    torch.default_generator.manual_seed(int(seeds[2]))  # torch.manual_seed would also look for GPUs
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
