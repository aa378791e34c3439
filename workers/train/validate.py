"""What the best weights are chosen by: how far they are above the best constant guess on faces that are not learnt."""

from collections import Counter

import numpy as np
import torch
from numpy.typing import NDArray

from workers.data.face_set import UNKNOWN, Bytes, FaceSet, Labels
from workers.evaluate.faces import Plan, plan
from workers.evaluate.judge import (
    Judged,
    Outputs,
    judge_age,
    judge_attributes,
    judge_expression,
    judge_gender,
    judge_identity,
)
from workers.evaluate.look import Floats, Looking, look
from workers.swinface.labels import ATTRIBUTES
from workers.swinface.model import SwinFace
from workers.train.config import TrainConfig
from workers.train.process import Process
from workers.train.streams import checked

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
JUDGES = {
    "age": judge_age,
    "gender": judge_gender,
    "attributes": judge_attributes,
    "expression": judge_expression,
    "identity": judge_identity,
}
HEADLINE = {  # the number of each kind that its skill is made of
    "age": "mae_years",
    "gender": "gender_accuracy_percent",
    "attributes": "attributes_mean_percent",
    "expression": "expression_accuracy_percent",
    "identity": "verification_accuracy_percent",
}


class Validation:
    """The sets to validate with. Raises InputError, ModelError if nothing of one can be measured."""

    def __init__(self, config: TrainConfig, process: Process, outputs: tuple[str, ...]) -> None:
        """`outputs`: what the network has."""
        self._config, self._process = config, process
        self.plans: list[Plan] = [plan(checked(name, config), "faces", outputs) for name in config.validate_by.sets]

    def measure(self, model: SwinFace) -> tuple[dict[str, float], float]:
        """The numbers of every set as `set/number`, and the mean skill; in the first process only, else ({}, 0).

        All processes take part, each with its share of the pictures.
        """
        metrics: dict[str, float] = {}
        skills = []
        for planned in self.plans:
            outputs = self._outputs(planned, model)
            if not self._process.leads:
                continue
            labels = planned.faces.labels
            for kind in planned.kinds:
                judged: Judged = JUDGES[kind](labels, outputs)
                metrics |= {f"{planned.faces.name}/{name}": value for name, value in judged.metrics.items()}
                if HEADLINE[kind] in judged.metrics:
                    skills.append(skill(kind, judged.metrics[HEADLINE[kind]], labels))
        return metrics, float(np.mean(skills)) if skills else 0.0

    def _outputs(self, planned: Plan, model: SwinFace) -> Outputs:
        """Of all faces in the first process; nothing in the others."""
        process = self._process
        mine = np.arange(process.rank, len(planned.faces), process.world)
        found: dict[str, Floats] = {}
        if len(mine):
            faces = planned.faces.at(mine)
            looking = Looking(batch=self._config.validate_by.batch, what=f"validating with {faces.name}")
            found = look(faces.pictures, lambda crops: self._compute(model, crops), looking).outputs
        parts = [part for part in process.gathered((mine, found)) if len(part[0])]
        if not parts:
            return {}
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        return {slug: np.concatenate([part[slug] for _, part in parts])[order] for slug in parts[0][1]}

    def _compute(self, model: SwinFace, crops: Bytes) -> dict[str, Floats]:
        device, precision = self._process.device, self._config.run.precision
        model.eval()
        half = HALF.get(precision, torch.bfloat16)
        with torch.inference_mode(), torch.autocast(device.type, half, enabled=precision != "fp32"):
            outputs = model(torch.from_numpy(crops).to(device))
        model.train()
        return {slug: output.float().cpu().numpy() for slug, output in outputs.items()}


def _drawn(faces: FaceSet, config: TrainConfig) -> FaceSet:
    """At most so many faces of the set as the configuration says."""
    most = config.validate_by.most
    if most is None or len(faces) <= most:
        return faces
    return faces.at(np.sort(np.random.default_rng(config.seed).permutation(len(faces))[:most]))


def skill(kind: str, value: float, labels: Labels) -> float:
    """1: always right; 0: no better than the best guess that does not look at the picture; below: worse.

    `value`: the headline number of the kind. The guess is the median age, the most frequent class, half of the pairs.
    """
    if kind == "age":
        ages = labels.age[~np.isnan(labels.age)] if labels.age is not None else np.zeros(1)
        blind = float(np.abs(ages - np.median(ages)).mean())
        return 1 - value / blind if blind else 0.0
    if kind == "attributes":
        blind = _most_frequent_signs(labels)
    else:
        blind = 0.5 if kind == "identity" else _most_frequent(getattr(labels, kind))
    return (value / 100 - blind) / (1 - blind) if blind < 1 else 0.0


def _most_frequent(column: NDArray[np.integer] | None) -> float:
    """Share of the most frequent class."""
    counts = Counter(column[column != UNKNOWN].tolist() if column is not None else [0])
    return max(counts.values()) / sum(counts.values())


def _most_frequent_signs(labels: Labels) -> float:
    """Mean of that over the attributes of which something is known."""
    if labels.attributes is None:
        return 0.5
    shares = [
        _most_frequent(labels.attributes[:, column])
        for column in range(len(ATTRIBUTES))
        if (labels.attributes[:, column] != UNKNOWN).any()
    ]
    return float(np.mean(shares))
