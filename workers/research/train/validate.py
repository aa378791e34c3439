"""What the best weights are chosen by: how far they are above the best constant guess on faces that are not learnt."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from faceanalytics.errors import InputError
from workers.research.data.face_set import UNKNOWN, Bytes, FaceSet, Labels
from workers.research.evaluate.draw_pairs import draw_pairs
from workers.research.evaluate.faces import Plan, make_plan
from workers.research.evaluate.inference import Floats, InferenceOptions, infer
from workers.research.evaluate.score import (
    Outputs,
    Scores,
    score_age,
    score_attributes,
    score_expression,
    score_gender,
    score_identity,
)
from workers.research.train.config import TrainConfig
from workers.research.train.process import Process
from workers.research.train.step import HALF
from workers.research.train.stop import StopRequest
from workers.research.train.streams import TaskPlan, checked
from workers.swinface.labels import ATTRIBUTES, OUTPUTS
from workers.swinface.model import SwinFace

SCORERS = {
    "age": score_age,
    "gender": score_gender,
    "attributes": score_attributes,
    "expression": score_expression,
    "identity": score_identity,
}
HEADLINE = {  # the number of each kind that its skill is made of
    "age": "mae_years",
    "gender": "gender_accuracy_percent",
    "attributes": "attributes_mean_percent",
    "expression": "expression_accuracy_percent",
    "identity": "verification_accuracy_percent",
}


class _Stopped(Exception):
    """A signal came while a set was looked at."""


class Validation:
    """The sets to validate with."""

    def __init__(self, config: TrainConfig, process: Process, plan: TaskPlan, stop_request: StopRequest) -> None:
        """Raises InputError for sets that tell nothing or that are trained on, ModelError if no output is trained."""
        self._config, self._process, self._stop_request = config, process, stop_request
        self.plans: list[Plan] = []
        for name in config.validate_by.sets:
            faces = checked(name, config)
            check_held_out(faces, plan, config)
            planned = make_plan(_drawn(faces, config), "faces", plan.outputs)
            _check(planned)
            self.plans.append(planned)

    def measure(self, model: SwinFace) -> tuple[dict[str, float], float] | None:
        """The numbers of every set as `set/number`, {} but in the first process, and the mean skill, in all of them.

        All processes take part, each with its share of the images. None, in all, if a signal to any came before the
        end: what asks a training to stop does not wait for long.
        """
        metrics: dict[str, float] = {}
        skills = []
        for planned in self.plans:
            outputs = self._outputs(planned, model)
            if outputs is None:
                return None
            if not self._process.leads:
                continue
            labels = planned.faces.labels
            for kind in planned.kinds:
                judged: Scores = SCORERS[kind](labels, outputs)
                metrics |= {f"{planned.faces.name}/{name}": value for name, value in judged.metrics.items()}
                skills.append(skill(kind, judged.metrics[HEADLINE[kind]], labels, planned.heads))
        return metrics, self._process.told(float(np.mean(skills)) if skills else 0.0)

    def _outputs(self, planned: Plan, model: SwinFace) -> Outputs | None:
        """Of all faces in the first process, {} in the others; None in all if a signal came."""
        process = self._process
        mine = np.arange(process.rank, len(planned.faces), process.world)
        found: dict[str, Floats] = {}
        stopped = False
        if len(mine):
            faces = planned.faces.at(mine)
            options = InferenceOptions(batch=self._config.validate_by.batch, what=f"validating with {faces.name}")
            try:
                found = infer(faces.images, lambda crops: self._compute(model, crops), options).outputs
            except _Stopped:
                stopped = True
        if process.sums([float(stopped)])[0]:
            return None
        parts = [part for part in process.gathered((mine, found)) if len(part[0])]
        if not parts:
            return {}
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        return {slug: np.concatenate([part[slug] for _, part in parts])[order] for slug in parts[0][1]}

    def _compute(self, model: SwinFace, crops: Bytes) -> dict[str, Floats]:
        if self._stop_request.signal:
            raise _Stopped
        device, precision = self._process.device, self._config.run.precision
        model.eval()
        half = HALF.get(precision, torch.bfloat16)
        with torch.inference_mode(), torch.autocast(device.type, half, enabled=precision != "fp32"):
            outputs = model(torch.from_numpy(crops).to(device))
        model.train()
        return {slug: output.float().cpu().numpy() for slug, output in outputs.items()}


def check_held_out(held: FaceSet, plan: TaskPlan, config: TrainConfig) -> None:
    """Raise InputError if a face to validate with is trained on, by the names of images in the same place."""
    names: set[str] | None = None
    for trained in {faces.name: faces for stream in plan.streams for faces in stream.sets}.values():
        if config.sets[trained.name].path.resolve() != config.sets[held.name].path.resolve():
            continue
        if names is None:
            names = {held.images.name(index) for index in range(len(held))}
        both = [name for name in map(trained.images.name, range(len(trained))) if name in names]
        if both:
            raise InputError(
                f"{held.name} validates with {len(both)} faces that {trained.name} trains on, such as {both[0]}: give "
                "both the same `keep`, one the part `train` and the other `validation`"
            )


def _check(planned: Plan) -> None:
    """Raise InputError for a kind of label that would have no number to choose by."""
    name, labels = planned.faces.name, planned.faces.labels
    advice = "Hold out more, or say by the set's `labels` what it validates"
    if "identity" in planned.kinds:
        try:
            draw_pairs(_column(labels.identity))
        except ValueError as error:
            raise InputError(f"validate: {name}: {error}. {advice}") from error
    if "attributes" in planned.kinds and not _judged_signs(_column(labels.attributes), planned.heads):
        raise InputError(f"validate: {name}: it says nothing of the attributes that are trained. {advice}")


def _drawn(faces: FaceSet, config: TrainConfig) -> FaceSet:
    """At most so many faces of the set as the configuration says."""
    most = config.validate_by.most
    if most is None or len(faces) <= most:
        return faces
    return faces.at(np.sort(np.random.default_rng(config.seed).permutation(len(faces))[:most]))


def skill(kind: str, value: float, labels: Labels, heads: Sequence[str] = OUTPUTS) -> float:
    """1: always right; 0: no better than the best guess that does not look at the image; below: worse.

    `value`: the headline number of the kind. The guess is the median age, the most frequent class, half of the pairs;
    of attributes those among `heads`. 0 where that guess is always right.
    """
    if kind == "age":
        ages = _column(labels.age)
        ages = ages[~np.isnan(ages)]
        blind = float(np.abs(ages - np.median(ages)).mean())
        return 1 - value / blind if blind else 0.0
    if kind == "attributes":
        blind = _most_frequent_signs(_column(labels.attributes), heads)
    else:
        blind = 0.5 if kind == "identity" else _most_frequent(_column(getattr(labels, kind)))
    return (value / 100 - blind) / (1 - blind) if blind < 1 else 0.0


def _column(values: NDArray[Any] | None) -> NDArray[Any]:
    if values is None:
        raise ValueError("the set has no such labels")
    return values


def _most_frequent(column: NDArray[np.integer]) -> float:
    """Share of the most frequent class among those that are known."""
    counts = np.unique(column[column != UNKNOWN], return_counts=True)[1]
    return float(counts.max() / counts.sum())


def _judged_signs(attributes: NDArray[np.integer], heads: Sequence[str]) -> list[int]:
    """Columns of the attributes with an output and a label."""
    known = (attributes != UNKNOWN).any(0)
    return [column for column, task in enumerate(ATTRIBUTES) if task.slug in heads and known[column]]


def _most_frequent_signs(attributes: NDArray[np.integer], heads: Sequence[str]) -> float:
    """Mean of that over the attributes that are judged."""
    shares = [_most_frequent(attributes[:, column]) for column in _judged_signs(attributes, heads)]
    return float(np.mean(shares))
