"""Tiny trainings: drawn faces on disk, a network of two blocks, steps of some milliseconds."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from torch import Tensor

from tests.conftest import ROOT
from tests.support.face_files import write
from workers.cli import main
from workers.research.data.celeba import COLUMNS as CELEBA

SWINFACE = (sys.executable, "-c", "import sys; from workers.cli import main; sys.exit(main())")
TINY: dict[str, Any] = {
    "patch_size": 8, "channels": [32, 64], "depths": [1, 1], "fused_channels": [8, 16], "gate_reduction": 4,
}  # fmt: skip
SIDE = 12  # px of the drawn images
STILL: dict[str, Any] = {"dropout": 0.0, "drop_path": 0.0}  # of a network that computes the same each time


def image(seed: int) -> bytes:
    """An encoded image of noise; the same for the same seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def draw_people(folder: Path, persons: int, each: int, seed: int = 0) -> Path:
    """Write a folder for each person with `each` images."""
    for person in range(persons):
        for number in range(each):
            path = folder / f"person-{person:03d}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image(seed + person * 1000 + number))
    return folder


def draw_table(path: Path, count: int, seed: int = 0, **columns: list[Any]) -> Path:
    """A Parquet file of images with the columns given; by default with an age, a gender and an expression each."""
    import pyarrow as pa
    from pyarrow import parquet

    random = np.random.default_rng(seed)
    found: dict[str, list[Any]] = columns or {
        "age": random.integers(1, 90, count).tolist(),
        "gender": random.integers(0, 2, count).tolist(),
        "expression": random.integers(0, 7, count).tolist(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": [image(seed + number) for number in range(count)], **found})
    parquet.write_table(table, path)
    return path


def draw_celeba(folder: Path, count: int, seed: int = 0, held_out: int = 0) -> Path:
    """CelebA's official files with attributes by chance; the last `held_out` images are its validation part."""
    random = np.random.default_rng(seed)
    names = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    rows = [" ".join([name, *random.choice(["1", "-1"], len(CELEBA))]) for name in names]
    write(folder / "list_attr_celeba.txt", str(count), " ".join(CELEBA), *rows)
    parts = [f"{name} {int(place >= count - held_out)}" for place, name in enumerate(names)]
    write(folder / "list_eval_partition.txt", *parts)
    for number, name in enumerate(names):
        path = folder / "img_align_celeba" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image(seed + number))
    return folder


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """A training of all 43 outputs from sets in `folder`, which are drawn if they are not there yet.

    `changes` take the place of whole sections; of `model`, `run` and `optimiser` only what they name.
    """
    data = folder / "data"
    if not data.exists():
        draw_people(data / "people", persons=8, each=3)
        draw_table(data / "labelled.parquet", 24)
        draw_celeba(data / "celeba", 16)
    table = {"format": "parquet", "path": str(data / "labelled.parquet")}
    base: dict[str, Any] = {
        "out": str(folder / "run"),
        "seed": 5,
        "steps": 6,
        "model": TINY,
        "sets": {
            "people": {"format": "folders", "path": str(data / "people")},
            "ages": {**table, "columns": {"age": "age", "gender": "gender"}},
            "celeba": {"format": "celeba", "path": str(data / "celeba")},
            "moods": {**table, "columns": {"expression": "expression"}},
        },
        "streams": {
            "recognition": stream("identity", "people", augment="flip"),
            "age_gender": {**stream("age", "ages"), "learns": ["age", "gender"]},
            "attributes": stream("attributes", "celeba"),
            "expression": stream("expression", "moods"),
        },
        "recognition": {"sample_rate": 0.6},
        "optimiser": {"learning_rate": 0.03, "warmup_steps": 2},
        "run": {
            "device": "cpu", "precision": "fp32", "threads": 1, "loaders": 0, "log_steps": 1, "checkpoint_steps": 100,
        },
    }  # fmt: skip
    for section in ("model", "run", "optimiser"):
        changes[section] = {**base[section], **changes.get(section, {})}
    return {**base, **changes}


def stream(learns: str, *sets: str, batch: int = 4, augment: str = "published") -> dict[str, Any]:
    return {"batch": batch, "learns": [learns], "mix": [{"sets": list(sets)}], "augment": augment}


def configured(folder: Path, name: str = "train.yaml", **changes: Any) -> Path:
    """The file of such settings."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings(folder, **changes), sort_keys=False))
    return path


def train(config: Path, *options: str) -> int:
    """`swinface train` in this process; its exit code."""
    return main(["train", str(config), *options])


def start(config: Path, *options: str, **how: Any) -> "subprocess.Popen[str]":
    """`swinface train` in a process of its own."""
    return subprocess.Popen(
        [*SWINFACE, "train", str(config), *options],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, **how,
    )  # fmt: skip


def scalars(out: Path) -> dict[str, dict[int, float]]:
    """By name and step."""
    found: dict[str, dict[int, float]] = {}
    for line in (out / "scalars.jsonl").read_text().splitlines():
        record = json.loads(line)
        for name, value in record.items():
            if name != "step":
                assert record["step"] not in found.setdefault(name, {}), f"{name} of {record['step']} stands twice"
                found[name][record["step"]] = value
    return found


def losses(out: Path) -> dict[str, dict[int, float]]:
    """By slug and step."""
    return {name[5:]: values for name, values in scalars(out).items() if name.startswith("loss/")}


def steps_saved(out: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (out / "checkpoints").iterdir())


def weights(out: Path, step: int) -> dict[str, Tensor]:
    """Those of a checkpoint, with the centres of the persons as `persons.NAME`."""
    import torch
    from safetensors.torch import load_file

    folder = out / "checkpoints" / f"step-{step:09d}"
    shards = [torch.load(path, weights_only=True) for path in sorted(folder.glob("persons-*.pt"))]
    shards.sort(key=lambda shard: int(shard["_extra_state"]["first"]))
    people = {
        f"persons.{name}": torch.cat([shard[name] for shard in shards]) for name in ("centres", "moment", "square")
    } if shards else {}  # fmt: skip
    return {**load_file(folder / "weights.safetensors"), **people}
