"""Mix faces of a batch, and learn from the mixtures' labels and from teachers.

mixup: Zhang et al. 2018, arXiv 1710.09412. A teacher that sees the same mixture as the network also teaches its
function between the real faces: Beyer et al. 2022, arXiv 2106.05237. With teachers, half of the mixtures use soft
random masks (as in FMix, Harris et al. 2020, arXiv 2002.12047): on aligned faces they create new people, with the eyes
of one and the mouth of another.
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

MASK_CELLS = 4  # side of the coarse noise that masks are made from
MASK_SHARPNESS = 12.0  # steepness of the borders of masks


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Mixed faces of a step; both faces of a mixture are of the same stream."""

    faces: Tensor  # (m, 112, 112, 3) float32 pixel values
    share: float  # weight of the first face's labels; the other face has the rest
    first: dict[str, Tensor]  # targets by slug of the first faces, without teachers' outputs; unknown with a mask
    other: dict[str, Tensor]  # the same of the other faces
    expressions: Tensor  # (k,) int64: rows of the streams that learn expression_scores


def mixed(batch: Batch, streams: Sequence[Stream], amount: float, masks: bool, seed: int) -> Mixture | None:
    """Return `amount` mixtures per face of each stream, with a share drawn from 0..1; None if `amount` is 0.

    `masks`: make every second one with a mask; only teachers give targets for those.
    """
    if not amount:
        return None
    random = torch.Generator().manual_seed(seed)
    first, other, expressions = [], [], []
    start = mixtures = 0
    for stream in streams:
        order = start + torch.randperm(stream.batch, generator=random)
        count = round(amount * stream.batch)
        first.append(order[:count])
        other.append(order.roll(1)[:count])
        if any(faces.labels.expression_scores is not None for faces in stream.sets):
            expressions.append(torch.arange(mixtures, mixtures + count))
        start, mixtures = start + stream.batch, mixtures + count
    share = float(torch.rand((), generator=random))
    device = batch.faces.device
    first_rows, other_rows = torch.cat(first).to(device), torch.cat(other).to(device)
    masked = torch.zeros(len(first_rows), dtype=torch.bool, device=device)
    shares = torch.full((len(first_rows), FACE_SIZE, FACE_SIZE, 1), share, device=device)
    if masks:
        masked[1::2] = True
        coarse = torch.rand(len(first_rows), 1, MASK_CELLS, MASK_CELLS, generator=random).to(device)
        smooth = F.interpolate(coarse, (FACE_SIZE, FACE_SIZE), mode="bicubic").permute(0, 2, 3, 1)
        shares[1::2] = torch.sigmoid(MASK_SHARPNESS * (smooth[1::2] - 0.5))
    return Mixture(
        torch.lerp(batch.faces[other_rows].float(), batch.faces[first_rows].float(), shares.expand(-1, -1, -1, 3)),
        share,
        _labels(batch, first_rows, masked),
        _labels(batch, other_rows, masked),
        torch.cat(expressions or [torch.arange(0)]).to(device),
    )


def _labels(batch: Batch, rows: Tensor, unknown: Tensor) -> dict[str, Tensor]:
    """Return the targets of these rows by slug, without teachers' outputs; unknown where `unknown` (m,) is set."""
    labels = {slug: target[rows] for slug, target in batch.targets.items() if target.dim() == 1}
    return {
        slug: target.masked_fill(unknown, float("nan") if target.is_floating_point() else NO_CLASS)
        for slug, target in labels.items()
    }


class Teachers:
    """The configured teachers, on the device of this process."""

    def __init__(self, config: TrainConfig, plan: TaskPlan, process: Process) -> None:
        """Load the teachers. Raises ModelError, and ConfigError if no stream learns from one."""
        self._networks: dict[str, TeacherNetwork] = {}
        configured = config.teachers
        if configured.recogniser is not None:
            if EMBEDDING not in plan.outputs:
                raise ConfigError("teachers.recogniser: no stream learns embedding or identity")
            network = open_teacher("recogniser", configured.recogniser).to(process.device)
            width, stored = _width(network, process.device), teacher_width(plan.streams)
            if stored not in {0, width}:
                raise ConfigError(
                    f"teachers.recogniser: its embeddings have {width} numbers, those of the sets' `teacher` {stored}; "
                    "use the same network for both"
                )
            check_width("teachers.recogniser", width)
            self._networks[DISTILLATION] = network
        if configured.expressions is not None:
            if EXPRESSION_DISTILLATION not in plan.distilled:
                raise ConfigError("teachers.expressions: no stream learns expression_scores")
            network = open_teacher("expressions", configured.expressions).to(process.device)
            self._networks[EXPRESSION_DISTILLATION] = network

    @property
    def slugs(self) -> tuple[str, ...]:
        """The slugs of the losses against them."""
        return tuple(self._networks)

    def outputs(self, mixture: Mixture) -> dict[str, Tensor]:
        """Return embeddings (m, width), and probabilities (k, 7) of `mixture.expressions`, by slug of their loss."""
        outputs = {}
        for slug, network in self._networks.items():
            faces = mixture.faces if slug == DISTILLATION else mixture.faces[mixture.expressions]
            outputs[slug] = network(faces).float()
        return outputs


def mixed_losses(
    outputs: dict[str, Tensor], mixture: Mixture, teacher_outputs: dict[str, Tensor], progress: float, ages: AgeLoss
) -> dict[str, Tensor]:
    """Return by slug the mean loss over the mixtures of this process with a known label.

    The loss of a mixture is that of the first face's label times its share plus that of the other's times the rest.
    """
    losses: dict[str, Tensor] = {}
    for share, targets in ((mixture.share, mixture.first), (1 - mixture.share, mixture.other)):
        for slug, loss in task_losses(outputs, targets, progress, ages).items():
            losses[slug] = losses.get(slug, 0) + share * loss / is_known(targets[slug]).sum().clamp(min=1)
    if DISTILLATION in teacher_outputs:
        losses[DISTILLATION] = distillation(outputs[EMBEDDING].float(), teacher_outputs[DISTILLATION]).mean()
    if EXPRESSION_DISTILLATION in teacher_outputs:
        logits = outputs["expression"].float()[mixture.expressions]
        total = soft_cross_entropy(logits, teacher_outputs[EXPRESSION_DISTILLATION]).sum()
        losses[EXPRESSION_DISTILLATION] = total / max(len(logits), 1)
    return losses


def _width(network: TeacherNetwork, device: torch.device) -> int:
    return int(network(torch.zeros(1, FACE_SIZE, FACE_SIZE, 3, device=device)).shape[1])
