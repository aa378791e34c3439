"""Batches of scenes, composed in other processes; scene number n is always the same one."""

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
    """Scenes and their faces, as ultralytics' losses take them."""

    images: torch.Tensor  # (b, 3, side, side) uint8, RGB, channels last in memory
    owners: torch.Tensor  # (n,) float, which image a face is in
    boxes: torch.Tensor  # (n, 4) centre x y, width, height; shares of the side
    landmarks: torch.Tensor  # (n, 5, 3) x y, shares of the side, and 2 inside the image, else 0


class Scenes(Dataset[Scene]):
    """All scenes of a training. The labelled images are read by the process that asks for the first scene."""

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
    """The batches of the steps from `first_step` on, of images that are labelled already."""
    numbers = range(first_step * config.batch, config.steps * config.batch)
    loaders = config.run.loaders
    if loaders:  # numpy would take all cores in each of them, and they would stand in each other's way
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")
    return iter(
        DataLoader(
            Scenes(config),
            batch_size=config.batch,
            sampler=numbers,
            num_workers=loaders,
            collate_fn=collate,
            worker_init_fn=_alone,
            multiprocessing_context="forkserver" if loaders else None,  # a fork of a process with threads can hang
            prefetch_factor=4 if loaders else None,
            pin_memory=config.run.device == "cuda",
        )
    )


def collate(scenes: Sequence[Scene]) -> Batch:
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


def _alone(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
