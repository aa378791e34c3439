"""Validate weights on held-out faces: the mean skill, relative to the best constant guess, chooses the best ones."""

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
from workers.research.train.streams import TaskPlan, open_checked
from workers.swinface.labels import ATTRIBUTES, OUTPUTS
from workers.swinface.model import SwinFace

SCORERS = {
    "age": score_age,
    "gender": score_gender,
    "attributes": score_attributes,
    "expression": score_expression,
    "identity": score_identity,
}
HEADLINE = {  # the metric that the skill of each kind is computed from
    "age": "mae_years",
    "gender": "gender_accuracy_percent",
    "attributes": "attributes_mean_percent",
    "expression": "expression_accuracy_percent",
    "identity": "verification_accuracy_percent",
}


class _Stopped(Exception):
    """A signal interrupted the validation."""


class Validation:
    """The validation sets."""

    def __init__(self, config: TrainConfig, process: Process, plan: TaskPlan, stop_request: StopRequest) -> None:
        """Open the sets. Raises InputError if one has no usable labels or is trained on, ModelError without outputs."""
        self._config, self._process, self._stop_request = config, process, stop_request
        self.plans: list[Plan] = []
        for name in config.validate_by.sets:
            faces = open_checked(name, config)
            check_held_out(faces, plan, config)
            set_plan = make_plan(_sample(faces, config), "faces", plan.outputs)
            _check(set_plan)
            self.plans.append(set_plan)

    def measure(self, model: SwinFace) -> tuple[dict[str, float], float] | None:
        """Return the metrics as `set/metric`, only in the main process, and the mean skill, in all processes.

        Each process infers its share of the images. A signal to any process interrupts the validation, so that
        stopping does not take long; then all return None.
        """
        metrics: dict[str, float] = {}
        skills = []
        for plan in self.plans:
            outputs = self._outputs(plan, model)
            if outputs is None:
                return None
            if not self._process.is_main:
                continue
            labels = plan.faces.labels
            for kind in plan.kinds:
                scores: Scores = SCORERS[kind](labels, outputs)
                metrics |= {f"{plan.faces.name}/{name}": value for name, value in scores.metrics.items()}
                skills.append(skill(kind, scores.metrics[HEADLINE[kind]], labels, plan.heads))
        return metrics, self._process.broadcast(float(np.mean(skills)) if skills else 0.0)

    def _outputs(self, plan: Plan, model: SwinFace) -> Outputs | None:
        """Return the outputs of all faces in the main process, {} in the others; None in all after a signal."""
        process = self._process
        mine = np.arange(process.rank, len(plan.faces), process.world)
        own: dict[str, Floats] = {}
        stopped = False
        if len(mine):
            faces = plan.faces.at(mine)
            options = InferenceOptions(batch=self._config.validate_by.batch, what=f"validating with {faces.name}")
            try:
                own = infer(faces.images, lambda crops: self._compute(model, crops), options).outputs
            except _Stopped:
                stopped = True
        if process.sums([float(stopped)])[0]:
            return None
        parts = [part for part in process.gather((mine, own)) if len(part[0])]
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
    """Raise InputError if a validation face is also trained on, judged by the names of images in the same path."""
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
                "both the same `split`, one the part `train` and the other `validation`"
            )


def _check(plan: Plan) -> None:
    """Raise InputError if the headline metric of a kind of label could not be computed."""
    name, labels = plan.faces.name, plan.faces.labels
    advice = "Hold out more faces, or name the labels to validate in the set's `labels`"
    if "identity" in plan.kinds:
        try:
            draw_pairs(_column(labels.identity))
        except ValueError as error:
            raise InputError(f"validate: {name}: {error}. {advice}") from error
    if "attributes" in plan.kinds and not _labelled_attributes(_column(labels.attributes), plan.heads):
        raise InputError(f"validate: {name}: it has no labels of the attributes that are trained. {advice}")


def _sample(faces: FaceSet, config: TrainConfig) -> FaceSet:
    """Draw at most `max_faces` faces of the set."""
    limit = config.validate_by.max_faces
    if limit is None or len(faces) <= limit:
        return faces
    return faces.at(np.sort(np.random.default_rng(config.seed).permutation(len(faces))[:limit]))


def skill(kind: str, value: float, labels: Labels, heads: Sequence[str] = OUTPUTS) -> float:
    """Return the skill of a headline metric: 1 is perfect, 0 the best constant guess, below 0 worse than that.

    `value`: the headline metric of the kind. The guess is the median age, the most frequent class (for attributes those
    among `heads`), or one answer for all pairs. The skill is 0 if the guess is always right.
    """
    if kind == "age":
        ages = _column(labels.age)
        ages = ages[~np.isnan(ages)]
        blind = float(np.abs(ages - np.median(ages)).mean())
        return 1 - value / blind if blind else 0.0
    if kind == "attributes":
        blind = _mean_most_frequent(_column(labels.attributes), heads)
    else:
        blind = 0.5 if kind == "identity" else _most_frequent(_column(getattr(labels, kind)))
    return (value / 100 - blind) / (1 - blind) if blind < 1 else 0.0


def _column(values: NDArray[Any] | None) -> NDArray[Any]:
    if values is None:
        raise ValueError("the set has no such labels")
    return values


def _most_frequent(column: NDArray[np.integer]) -> float:
    """Return the share of the most frequent class among known labels."""
    counts = np.unique(column[column != UNKNOWN], return_counts=True)[1]
    return float(counts.max() / counts.sum())


def _labelled_attributes(attributes: NDArray[np.integer], heads: Sequence[str]) -> list[int]:
    """Return the columns of the attributes that have an output and a label."""
    known = (attributes != UNKNOWN).any(0)
    return [column for column, task in enumerate(ATTRIBUTES) if task.slug in heads and known[column]]


def _mean_most_frequent(attributes: NDArray[np.integer], heads: Sequence[str]) -> float:
    """Return the mean share of the most frequent class over the labelled attributes."""
    shares = [_most_frequent(attributes[:, column]) for column in _labelled_attributes(attributes, heads)]
    return float(np.mean(shares))
