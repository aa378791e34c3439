"""Faces laid over each other, and what teachers say of them: labels and people are few, mixtures of them are not.

mixup: Zhang et al. 2018, arXiv 1710.09412. A teacher that is asked about the very mixture that the network sees shows
it its function also between the faces that there are: Beyer et al. 2022, arXiv 2106.05237. Half of what they are asked
about is put together by soft random masks instead (as in FMix, Harris et al. 2020, arXiv 2002.12047): aligned faces
give faces of nobody in that way, with the eyes of one and the mouth of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from faceanalytics.errors import ConfigError
from workers.research.data.face_set import FACE_SIZE
from workers.research.data.teachers import TeacherNetwork, open_teacher
from workers.research.train.config import TrainConfig
from workers.research.train.loader import Batch, Stream, teacher_width
from workers.research.train.losses import (
    DISTILLATION,
    EXPRESSION_DISTILLATION,
    NO_CLASS,
    AgeLoss,
    distillation,
    is_known,
    soft_cross_entropy,
    task_losses,
)
from workers.research.train.process import Process
from workers.research.train.streams import TaskPlan, check_width
from workers.swinface.labels import EMBEDDING

MASK_CELLS = 4  # a side: the coarse noise that masks are made of
MASK_SHARPNESS = 12.0  # of their borders


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Faces of a step laid over others of the same stream."""

    faces: Tensor  # (m, 112, 112, 3) float32 pixel values
    share: float  # of the first in each that has labels; the other has the rest
    first: dict[str, Tensor]  # targets by slug of the first faces, without those of teachers; unknown under masks
    other: dict[str, Tensor]
    expressions: Tensor  # (k,) int64: which of them are of streams that learn expression_scores


def mixed(batch: Batch, streams: Sequence[Stream], amount: float, masks: bool, seed: int) -> Mixture | None:
    """As many mixtures as `amount` says for each face of a stream, with a share drawn from 0..1; None for 0.

    `masks`: every second one by a mask, for teachers alone.
    """
    if not amount:
        return None
    random = torch.Generator().manual_seed(seed)
    first, other, expressions = [], [], []
    start = taken = 0
    for stream in streams:
        order = start + torch.randperm(stream.batch, generator=random)
        count = round(amount * stream.batch)
        first.append(order[:count])
        other.append(order.roll(1)[:count])
        if any(faces.labels.expression_scores is not None for faces in stream.sets):
            expressions.append(torch.arange(taken, taken + count))
        start, taken = start + stream.batch, taken + count
    share = float(torch.rand((), generator=random))
    where = batch.faces.device
    one, two = torch.cat(first).to(where), torch.cat(other).to(where)
    under_mask = torch.zeros(len(one), dtype=torch.bool, device=where)
    shares = torch.full((len(one), FACE_SIZE, FACE_SIZE, 1), share, device=where)
    if masks:
        under_mask[1::2] = True
        coarse = torch.rand(len(one), 1, MASK_CELLS, MASK_CELLS, generator=random).to(where)
        smooth = F.interpolate(coarse, (FACE_SIZE, FACE_SIZE), mode="bicubic").permute(0, 2, 3, 1)
        shares[1::2] = torch.sigmoid(MASK_SHARPNESS * (smooth[1::2] - 0.5))
    return Mixture(
        torch.lerp(batch.faces[two].float(), batch.faces[one].float(), shares.expand(-1, -1, -1, 3)),
        share,
        _labels(batch, one, under_mask),
        _labels(batch, two, under_mask),
        torch.cat(expressions or [torch.arange(0)]).to(where),
    )


def _labels(batch: Batch, rows: Tensor, unknown: Tensor) -> dict[str, Tensor]:
    """Targets by slug of these rows, without those of teachers; unknown where it is said so, (m,)."""
    labels = {slug: target[rows] for slug, target in batch.targets.items() if target.dim() == 1}
    return {
        slug: target.masked_fill(unknown, float("nan") if target.is_floating_point() else NO_CLASS)
        for slug, target in labels.items()
    }


class Teachers:
    """Those that the configuration names, on the device of this process."""

    def __init__(self, config: TrainConfig, plan: TaskPlan, process: Process) -> None:
        """Raises ModelError, ConfigError; also if what they teach is not among the outputs."""
        self._networks: dict[str, TeacherNetwork] = {}
        named = config.teachers
        if named.recogniser is not None:
            if EMBEDDING not in plan.outputs:
                raise ConfigError("teachers.recogniser: no stream learns embedding or identity")
            network = open_teacher("recogniser", named.recogniser).to(process.device)
            width, stored = _width(network, process.device), teacher_width(plan.streams)
            if stored not in {0, width}:
                raise ConfigError(
                    f"teachers.recogniser gives {width} numbers, the sets' `teacher` {stored}: it must be the same"
                )
            check_width("teachers.recogniser", width)
            self._networks[DISTILLATION] = network
        if named.expressions is not None:
            if EXPRESSION_DISTILLATION not in plan.distilled:
                raise ConfigError("teachers.expressions: no stream learns expression_scores")
            self._networks[EXPRESSION_DISTILLATION] = open_teacher("expressions", named.expressions).to(process.device)

    @property
    def slugs(self) -> tuple[str, ...]:
        """Of the losses against them."""
        return tuple(self._networks)

    def teach(self, mixture: Mixture) -> dict[str, Tensor]:
        """Embeddings (m, width), probabilities (k, 7) of the faces `mixture.expressions`, by slug of their loss."""
        found = {}
        for slug, network in self._networks.items():
            faces = mixture.faces if slug == DISTILLATION else mixture.faces[mixture.expressions]
            found[slug] = network(faces).float()
        return found


def mixed_losses(
    outputs: dict[str, Tensor], mixture: Mixture, teacher_outputs: dict[str, Tensor], progress: float, ages: AgeLoss
) -> dict[str, Tensor]:
    """By slug the mean over the mixtures of this process whose label is known.

    A label's loss is that of the first face times its share and that of the other times the rest.
    """
    found: dict[str, Tensor] = {}
    for share, targets in ((mixture.share, mixture.first), (1 - mixture.share, mixture.other)):
        for slug, loss in task_losses(outputs, targets, progress, ages).items():
            found[slug] = found.get(slug, 0) + share * loss / is_known(targets[slug]).sum().clamp(min=1)
    if DISTILLATION in teacher_outputs:
        found[DISTILLATION] = distillation(outputs[EMBEDDING].float(), teacher_outputs[DISTILLATION]).mean()
    if EXPRESSION_DISTILLATION in teacher_outputs:
        logits = outputs["expression"].float()[mixture.expressions]
        total = soft_cross_entropy(logits, teacher_outputs[EXPRESSION_DISTILLATION]).sum()
        found[EXPRESSION_DISTILLATION] = total / max(len(logits), 1)
    return found


def _width(network: TeacherNetwork, device: torch.device) -> int:
    return int(network(torch.zeros(1, FACE_SIZE, FACE_SIZE, 3, device=device)).shape[1])
