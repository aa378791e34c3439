"""Images per second of a training step against the floor, and of the process that prepares them.

A step is forward, losses, backward and update of `swinface train`, with its batch in memory. One network is the paper's
with all 43 outputs, 8 faces of each of the four streams and 10,572 persons (CASIA-WebFace), of whom three in ten are
compared with. The other is that of configs/train-small.yaml with its streams and as many persons. The floor is the rate
of a perfect implementation: three times the forward pass's FLOPs (the backward pass has twice as many) at the rate of a
large matrix product, which is measured between the steps. The other numbers are those of one process that decodes JPEG
of 112x112 pixels and augments them. Labels and faces are random. `--device cuda:0` measures on a GPU, in bf16, with 128
faces of each stream.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import ROOT
from workers.research.data.face_set import UNKNOWN, Bytes, FaceSet, Labels
from workers.research.data.images import decode
from workers.research.train.augment import Augmentation
from workers.research.train.config import TrainConfig, load_train_config
from workers.research.train.loader import Batch, Stream, batches
from workers.research.train.mixup import Teachers
from workers.research.train.process import Process
from workers.research.train.sampling import Mix
from workers.research.train.state import State, fresh
from workers.research.train.step import Trainer, take_step
from workers.research.train.stop import StopRequest, exchange_status
from workers.research.train.streams import TaskPlan
from workers.swinface.labels import ATTRIBUTES, EMBEDDING, OUTPUTS

PERSONS = {"paper": 10_572, "small": 405}
PAPER_BATCH = {"cpu": 8, "cuda": 128}  # faces of each stream
ROUNDS = {"cpu": 5, "cuda": 30}
SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices
FACES = 256  # different ones
LOADED = 20  # batches of a measurement
KINDS: tuple[Augmentation, ...] = ("published", "camera", "flip", "none")


def measure(device: str = "cpu", networks: tuple[str, ...] = ("paper", "small"), quick: bool = False) -> dict[str, Any]:
    """Medians of steps and products that take turns; of the loader's batches. `quick`: one small step of each."""
    kind = torch.device(device).type
    batch = PAPER_BATCH[kind]
    paper = {
        name: {"batch": batch, "learns": learns, "mix": [{"sets": ["faces"]}], "augment": "flip"}
        for name, learns in {
            "recognition": ["identity"],
            "age_gender": ["age", "gender"],
            "attributes": ["attributes"],
            "expression": ["expression"],
        }.items()
    }
    config = TrainConfig.model_validate(
        {
            "out": "nowhere",
            "sets": {"faces": {"format": "folders", "path": "nowhere"}},
            "streams": paper,
            "recognition": {"sample_rate": 0.3},
        }
    )
    os.environ.setdefault("FACES", "nowhere")
    os.environ.setdefault("TEACHERS", "nowhere")
    os.environ.setdefault("TEACHER_OUTPUTS", "nowhere")
    small = load_train_config(ROOT / "configs" / "train-small.yaml", {})
    # as the file says that it is done on a CPU
    streams = {name: one.model_copy(update={"batch": one.batch // 8}) for name, one in small.streams.items()}
    small = small.model_copy(update={"streams": streams, "mixup": 0.0, "teachers": type(small.teachers)()})
    results: dict[str, Any] = {"device": device, "threads": torch.get_num_threads()}
    for name in networks:
        one = _with_run({"paper": config, "small": small}[name], kind)
        if quick:
            few = {key: stream.model_copy(update={"batch": 2}) for key, stream in one.streams.items()}
            one = one.model_copy(update={"streams": few})
        results[name] = _steps(one, PERSONS[name], device, 1 if quick else ROUNDS[kind])
        print(row(name, results[name]), file=sys.stderr, flush=True)
    if quick:
        return results
    results["loader"] = {augment: _loaded(augment) for augment in KINDS}
    return results


def _with_run(config: TrainConfig, kind: str) -> TrainConfig:
    run = config.run.model_copy(update={"device": kind, "precision": "fp32" if kind == "cpu" else "bf16"})
    return config.model_copy(update={"run": run})


def _steps(config: TrainConfig, persons: int, device: str, rounds: int) -> dict[str, Any]:
    """Images/s of the training that `config` describes, with faces and labels by chance."""
    process = Process(0, 1, torch.device(device))
    plan = _plan(config, persons)
    state = fresh(config, plan, process)
    trainer = Trainer(config, process, plan, state.model, Teachers(config, plan, process))
    taught = tuple(slug for slug in plan.outputs if slug != EMBEDDING)
    (batch,) = _batches(plan, taught, 1)
    counts = exchange_status(batch, taught, process, StopRequest()).known
    flops = _forward_flops(state, batch.to(process.device))
    side = SIDE[process.device.type]
    kind = torch.float32 if process.device.type == "cpu" else torch.bfloat16
    matrix = torch.rand((side, side), device=device, dtype=kind)
    calls: dict[str, Callable[[], object]] = {
        "step": lambda: take_step(trainer, state, batch, counts),
        "product": lambda: matrix @ matrix,
    }
    seconds = _medians(calls, rounds, process.device)
    gflops = 2e-9 * side**3 / seconds["product"]
    return {
        "batches": [stream.batch for stream in plan.streams],
        "outputs": len(plan.outputs),
        "persons": len(plan.people),
        "sample_rate": config.recognition.sample_rate,
        "precision": config.run.precision,
        "gflop_forward_per_image": 1e-9 * flops / plan.faces,
        "gflops": gflops,
        "ms": 1e3 * seconds["step"],
        "images_per_s": plan.faces / seconds["step"],
        "floor_per_s": gflops / (3e-9 * flops / plan.faces),
        "rounds": rounds,
    }


def _forward_flops(state: State, batch: Batch) -> int:
    """Of the network, and of comparing the embeddings with the persons."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        outputs = state.model(batch.faces)
    flops = int(counter.get_total_flops())
    if state.centres is not None:
        faces = int((batch.persons >= 0).sum())
        compared = int(state.centres.sample_rate * state.centres.persons)
        flops += 2 * faces * compared * outputs[EMBEDDING].shape[1]
    return flops


def _loaded(augment: Augmentation) -> float:
    """Images/s that one process prepares."""
    stream = Stream("faces", 32, (_face_set(0, 1),), Mix((FACES,), (1.0,), (0,)), augment, (0,))
    plan = TaskPlan((stream,), (EMBEDDING,), ("somebody",), 0.0)
    _batches(plan, (), 1)
    start = time.perf_counter()
    loaded = len(_batches(plan, (), LOADED))
    return loaded * stream.batch / (time.perf_counter() - start)


def _batches(plan: TaskPlan, slugs: tuple[str, ...], count: int) -> list[Batch]:
    places = {stream.name: 0 for stream in plan.streams}
    found = batches(plan.streams, slugs, 0, range(count), places, 0, 1, 0, False)
    return [batch for batch in found if isinstance(batch, Batch)]


def _plan(config: TrainConfig, persons: int) -> TaskPlan:
    """Streams as configured, of faces and labels by chance."""
    streams = []
    outputs: set[str] = set()
    for number, (name, stream) in enumerate(config.streams.items()):
        faces = _face_set(number, persons)
        faces = FaceSet(name, faces.images, faces.labels.only(stream.learns), faces.identities)
        first = 0 if "identity" in stream.learns else UNKNOWN
        mix = Mix((FACES,), (1.0,), (number,))
        streams.append(Stream(name, stream.batch, (faces,), mix, stream.augment, (first,)))
        for kind in stream.learns:
            attributes = {task.slug for task in ATTRIBUTES}
            outputs |= attributes if kind == "attributes" else {EMBEDDING if kind == "identity" else kind}
    people = tuple(map(str, range(persons))) if EMBEDDING in outputs else ()
    return TaskPlan(tuple(streams), tuple(slug for slug in OUTPUTS if slug in outputs), people, 35.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """JPEG in memory."""

    images: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> Bytes:
        return decode(self.images[index], self.name(index))

    def name(self, index: int) -> str:
        return str(index)


def _face_set(seed: int, persons: int) -> FaceSet:
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (FACES, 14, 14, 3), np.uint8)
    large = [cv2.resize(image, (112, 112), interpolation=cv2.INTER_CUBIC) for image in small]
    images = _Encoded(tuple(cv2.imencode(".jpg", image)[1].tobytes() for image in large))
    labels = Labels(
        identity=random.integers(0, persons, FACES),
        age=random.uniform(1, 90, FACES).astype(np.float32),
        gender=random.integers(0, 2, FACES),
        attributes=random.integers(0, 2, (FACES, len(ATTRIBUTES))).astype(np.int8),
        expression=random.integers(0, 7, FACES),
    )
    return FaceSet("faces", images, labels, tuple(map(str, range(persons))))


def _medians(calls: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Seconds per call; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number:  # the first one allocates
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def table(results: dict[str, Any]) -> str:
    lines = [row(name, results[name]) for name in ("paper", "small")]
    loader = ", ".join(f"{augment} {speed:.0f}" for augment, speed in results["loader"].items())
    return "\n".join([*lines, f"one process prepares, images/s by augmentation: {loader}"])


def row(name: str, found: dict[str, Any]) -> str:
    """One network's steps as a line of text."""
    faces = "+".join(map(str, found["batches"]))
    return (
        f"{name:5} {found['precision']} {faces} faces, {found['outputs']} outputs, {found['persons']:,} persons at "
        f"{found['sample_rate']:g}, {found['gflop_forward_per_image']:.2f} GFLOP forward: "
        f"{found['images_per_s']:8.2f} images/s {found['ms']:8.0f} ms  "
        f"floor {found['floor_per_s']:8.2f}/s, {found['images_per_s'] / found['floor_per_s']:4.0%}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    print(table(measure(parser.parse_args().device)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
