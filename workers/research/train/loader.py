"""Load batches of faces from all streams in other processes."""

import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from faceanalytics.errors import ConfigError, InputError
from workers.research.data.face_set import UNKNOWN, FaceSet, Labels
from workers.research.train.augment import Augmentation, augmentation
from workers.research.train.losses import DISTILLATION, EXPRESSION_DISTILLATION
from workers.research.train.sampling import Mix, place
from workers.swinface.labels import ATTRIBUTES, EMBEDDING, EXPRESSIONS

Integers = NDArray[np.int64]
GENDER = next(column for column, task in enumerate(ATTRIBUTES) if task.slug == "gender")
PREFETCH = 3  # batches ready per process
WAIT_S = 300  # time limit for one batch: a slower disk is broken


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Faces for some tasks: a fixed number of each batch, from several concatenated sets."""

    name: str
    batch: int  # faces per process and step
    sets: tuple[FaceSet, ...]
    mix: Mix  # its rows are those of the concatenated sets
    augment: Augmentation
    persons: tuple[int, ...]  # offset of each set's identities among all persons; UNKNOWN: they are not learnt

    @property
    def recognition(self) -> bool:
        return any(first != UNKNOWN for first in self.persons)


RawBatch: TypeAlias = dict[str, Any]  # tensors by name, or `error`


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The faces and targets of one process in one step."""

    faces: Tensor  # (n, 112, 112, 3) uint8 or float32 pixel values, RGB
    targets: dict[str, Tensor]  # by slug, in the form of losses.task_losses, unknown ones included
    persons: Tensor  # (n,) number of the person among all persons; UNKNOWN in other streams

    def to(self, device: torch.device) -> "Batch":
        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        targets = {slug: moved(target) for slug, target in self.targets.items()}
        return Batch(moved(self.faces), targets, moved(self.persons))


def batches(
    streams: tuple[Stream, ...],
    slugs: tuple[str, ...],
    seed: int,
    steps: range,
    places: Mapping[str, int],
    rank: int,
    world: int,
    processes: int,
    pinned: bool,
) -> Generator[Batch | InputError]:
    """Yield this process's batch of each step, or an error if one of its images cannot be read.

    `slugs`: losses that need targets. `places`: number of faces of each stream before the first of `steps`.
    """
    dataset = _StepDataset(streams, seed, [places[stream.name] for stream in streams], steps.start, rank, world)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")  # the user may configure many
        loader: DataLoader[RawBatch] = DataLoader(
            dataset,
            batch_size=None,
            sampler=steps,
            num_workers=processes,
            prefetch_factor=PREFETCH if processes else None,
            pin_memory=pinned,
            timeout=WAIT_S if processes else 0,
            multiprocessing_context=_forkserver() if processes else None,
            worker_init_fn=_init_worker if processes else None,
        )
        prepared = iter(loader)
    for raw in prepared:
        yield InputError(raw["error"]) if "error" in raw else _to_batch(raw, slugs)


def _forkserver() -> ForkServerContext:
    """Return a context that forks from a process without threads: forking ours could deadlock on one of its locks."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "timm.data.transforms_factory"])
    return context


class _StepDataset(Dataset[RawBatch]):
    """A dataset whose item n is the batch of step n."""

    def __init__(
        self, streams: tuple[Stream, ...], seed: int, places: list[int], first_step: int, rank: int, world: int
    ) -> None:
        self._streams, self._seed, self._rank, self._world = streams, seed, rank, world
        self._places, self._first_step = places, first_step
        self._augment = [augmentation(stream.augment) for stream in streams]
        self._width = teacher_width(streams)

    def __getitem__(self, step: int) -> RawBatch:
        try:
            parts = [self._part(number, step) for number in range(len(self._streams))]
        except InputError as error:  # torch would hide it in a traceback
            return {"error": str(error)}
        columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0] if name != "faces"}
        faces = [part["faces"] for part in parts]
        dtype = torch.float32 if any(part.dtype == torch.float32 for part in faces) else torch.uint8
        return {**columns, "faces": torch.cat([part.to(dtype) for part in faces])}

    def _part(self, number: int, step: int) -> RawBatch:
        stream = self._streams[number]
        first = self._places[number] + place(step - self._first_step, self._rank, self._world, stream.batch)
        starts = np.cumsum([0, *(len(faces) for faces in stream.sets)])
        faces, labels = [], []
        for position, row in enumerate(stream.mix.rows(first, stream.batch).tolist(), start=first):
            set_number = int(np.searchsorted(starts, row, "right")) - 1
            face_set, index = stream.sets[set_number], row - int(starts[set_number])
            image = face_set.images.read(index)
            faces.append(self._augment[number](image, [self._seed, number, position]))
            labels.append(_targets(face_set.labels, index, stream.persons[set_number], self._width))
        columns = {name: torch.from_numpy(np.stack([label[name] for label in labels])) for name in labels[0]}
        return {**columns, "faces": torch.stack(faces)}


def teacher_width(streams: Sequence[Stream]) -> int:
    """Return the width of the teacher's embeddings, 0 without a teacher. Raises ConfigError if teachers differ."""
    embeddings = {faces.name: faces.labels.embedding for stream in streams for faces in stream.sets}
    widths = {name: values.shape[1] for name, values in embeddings.items() if values is not None}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{width} of {name}" for name, width in widths.items())
        raise ConfigError(f"teacher: all embeddings of a training must have the same width, these have {listed}")
    return next(iter(widths.values()), 0)


def _targets(labels: Labels, index: int, first_person: int, width: int) -> dict[str, NDArray[Any]]:
    """Return `age` (), `classes` (41,) attributes and expression, `person` (), `embedding` (width,), `scores` (7,)."""
    classes = np.full(len(ATTRIBUTES) + 1, UNKNOWN, np.int64)
    if labels.attributes is not None:
        classes[:-1] = labels.attributes[index]
    if labels.gender is not None and labels.gender[index] != UNKNOWN:
        classes[GENDER] = labels.gender[index]
    if labels.expression is not None:
        classes[-1] = labels.expression[index]
    known = first_person != UNKNOWN and labels.identity is not None and labels.identity[index] != UNKNOWN
    person = first_person + int(labels.identity[index]) if known and labels.identity is not None else UNKNOWN
    age = np.float32(np.nan) if labels.age is None else labels.age[index]
    embedding = np.full(width, np.nan) if labels.embedding is None else labels.embedding[index]
    unknown = np.full(len(EXPRESSIONS), np.nan)
    scores = unknown if labels.expression_scores is None else labels.expression_scores[index]
    return {
        "age": np.asarray(age, np.float32),
        "classes": classes,
        "person": np.asarray(person, np.int64),
        "embedding": np.asarray(embedding, np.float32),
        "scores": np.asarray(scores, np.float32),
    }


def _to_batch(raw: Mapping[str, Tensor], slugs: tuple[str, ...]) -> Batch:
    columns = {task.slug: raw["classes"][:, column] for column, task in enumerate(ATTRIBUTES)}
    columns |= {"age": raw["age"], "expression": raw["classes"][:, -1], DISTILLATION: raw["embedding"]}
    columns |= {EXPRESSION_DISTILLATION: raw["scores"]}
    targets = {slug: columns[slug].contiguous() for slug in slugs if slug != EMBEDDING}
    return Batch(raw["faces"], targets, raw["person"])


def _init_worker(_: int) -> None:
    """Use one thread, as several processes share the cores, and leave signals to the trainer, which ends us."""
    import signal

    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
