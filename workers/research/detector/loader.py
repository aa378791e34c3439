"""Load batches of scenes, composed in other processes; a scene depends only on the seed and its number."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from workers.research.detector.compose import compose
from workers.research.detector.config import DetectorConfig
from workers.research.detector.geometry import Scene
from workers.research.detector.library import Library, open_library


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes and their faces in the form of ultralytics' losses."""

    images: torch.Tensor  # (b, 3, side, side) uint8, RGB, channels last in memory
    owners: torch.Tensor  # (n,) float, index of each face's image
    boxes: torch.Tensor  # (n, 4) centre x y, width, height, as shares of the side
    landmarks: torch.Tensor  # (n, 5, 3) x y, as shares of the side; 2 inside the image, else 0


class Scenes(Dataset[Scene]):
    """All scenes of a training. Each process reads the labelled images when it needs its first scene."""

    def __init__(self, config: DetectorConfig) -> None:
        self._library: Library | None = None
        self._config = config

    def __len__(self) -> int:
        return self._config.steps * self._config.batch

    def __getitem__(self, number: int) -> Scene:
        if self._library is None:
            self._library = open_library(self._config)
        draw = np.random.default_rng((self._config.seed, number))
        return compose(self._library, self._config.scenes, draw)


def batches(config: DetectorConfig, first_step: int) -> Iterator[Batch]:
    """Yield the batches of all steps from `first_step` on. The images must be labelled."""
    numbers = range(first_step * config.batch, config.steps * config.batch)
    loaders = config.run.loaders
    if loaders:  # otherwise numpy uses all cores in each process, and they slow each other down
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")
    return iter(
        DataLoader(
            Scenes(config),
            batch_size=config.batch,
            sampler=numbers,
            num_workers=loaders,
            collate_fn=collate,
            worker_init_fn=_single_threaded,
            multiprocessing_context="forkserver" if loaders else None,  # a fork of a process with threads can hang
            prefetch_factor=4 if loaders else None,
            pin_memory=config.run.device == "cuda",
        )
    )


def collate(scenes: Sequence[Scene]) -> Batch:
    """Combine scenes of the same side into a batch."""
    side = scenes[0].image.shape[0]
    images = torch.from_numpy(np.stack([scene.image[:, :, ::-1] for scene in scenes])).permute(0, 3, 1, 2)
    owners = np.repeat(np.arange(len(scenes), dtype=np.float32), [len(scene.boxes) for scene in scenes])
    corners = np.concatenate([scene.boxes for scene in scenes]) / side
    points = np.concatenate([scene.landmarks for scene in scenes]) / side
    boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    inside = ((points > 0) & (points < 1)).all(axis=-1, keepdims=True) * np.float32(2)
    landmarks = np.concatenate([points, inside], axis=-1)
    return Batch(
        images,
        torch.from_numpy(owners),
        torch.from_numpy(boxes.astype(np.float32)),
        torch.from_numpy(landmarks.astype(np.float32)),
    )


def _single_threaded(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
