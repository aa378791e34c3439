"""Compute the recognition loss: CosFace over the centres of all persons, sharded over processes (Partial FC).

CosFace: Wang et al. 2018, arXiv 1801.09414. Partial FC: An et al. 2022, arXiv 2203.15565. A step compares the faces of
all processes with the centres of their own persons and a random part of the others.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

CENTRE_SPREAD = 0.01  # standard deviation of initial centres
CHUNK = 4096  # persons whose centres are drawn together, so that they do not depend on the sharding


class PartialFC(nn.Module):
    """The centres of persons first..last-1, and AdamW for those that a step sampled.

    It has its own optimiser because only sampled rows have gradients and moments. In the published code the sampled
    rows replaced a parameter of the joint optimiser, the gender head, which therefore never learnt.
    """

    def __init__(
        self, persons: int, width: int, margin: float, scale: float, sample_rate: float, seed: int = 0
    ) -> None:
        """Create this process's centres. Raises ValueError if there are fewer persons than processes."""
        super().__init__()
        if persons < _world():
            raise ValueError(f"{persons} persons cannot be divided among {_world()} processes")
        self.margin, self.scale, self.sample_rate = margin, scale, sample_rate
        rank, world = _rank(), _world()
        self.persons = persons
        self.first, self.last = persons * rank // world, persons * (rank + 1) // world
        self.centres: Tensor  # (own persons, width)
        self.moment: Tensor
        self.square: Tensor
        self.register_buffer("centres", _fresh_centres(self.first, self.last, width, seed))
        self.register_buffer("moment", torch.zeros_like(self.centres))
        self.register_buffer("square", torch.zeros_like(self.centres))
        self.steps = 0  # taken by the optimiser
        self._rows: Tensor | None = None
        self._sampled: Tensor | None = None  # leaf, (sampled, width): its gradient is what `step` uses

    def forward(self, embeddings: Tensor, persons: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the mean loss over the faces of all processes.

        `embeddings` (n, width) and `persons` (n,) are those of this process. Every process has the same number of faces
        and gets the same value. Gradients of embeddings are multiplied by the number of processes, because
        DistributedDataParallel divides those of the parameters by it.
        `generator` samples this process's other persons, on the device of the embeddings.
        """
        all_persons = _gather(persons)  # (N,)
        mine = (all_persons >= self.first) & (all_persons < self.last)
        rows, target = self._sample(torch.where(mine, all_persons - self.first, -1), generator)
        self._rows, self._sampled = rows, self.centres[rows].requires_grad_()
        with torch.autocast(embeddings.device.type, enabled=False):  # in bf16 logits of 64 would have errors of 0.2
            all_embeddings = _Gather.apply(F.normalize(embeddings.float()))  # (N, width)
            logits = (all_embeddings @ F.normalize(self._sampled).t()).clamp(-1, 1)  # (N, sampled), cosines
            positive = torch.nonzero(target >= 0)[:, 0]
            margins = torch.zeros_like(logits)
            margins[positive, target[positive]] = self.margin
            logits = self.scale * (logits - margins)
        loss: Tensor = _ShardedCrossEntropy.apply(logits, target)
        return loss

    @torch.no_grad()
    def step(
        self, rate: float, decay: float, betas: tuple[float, float], scale: float = 1.0, eps: float = 1e-8
    ) -> bool:
        """Update the sampled centres by AdamW (Loshchilov and Hutter 2019); return whether their gradient was finite.

        `scale`: factor of the loss. Rows that were not sampled keep centre and moments, without decay. All rows share
        the number of steps of the bias correction, as published.
        """
        rows, gradient = self._used()
        gradient = gradient / scale
        self._sampled = self._rows = None
        if not bool(gradient.isfinite().all()):
            return False
        self.steps += 1
        moment = self.moment[rows].lerp_(gradient, 1 - betas[0])
        square = self.square[rows].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        self.moment[rows], self.square[rows] = moment, square
        root = (square / (1 - betas[1] ** self.steps)).sqrt_().add_(eps)
        centres = self.centres[rows] * (1 - rate * decay)
        self.centres[rows] = centres.addcdiv_(moment, root, value=-rate / (1 - betas[0] ** self.steps))
        return True

    def has_finite_gradient(self) -> bool:
        """Return whether the gradient is finite, after backward()."""
        return bool(self._used()[1].isfinite().all())

    def gradient(self) -> Tensor:
        """Return the gradient of all own centres, (own persons, width), after backward(); zero if not sampled."""
        rows, gradient = self._used()
        full = torch.zeros_like(self.centres)
        full[rows] = gradient
        return full

    def _used(self) -> tuple[Tensor, Tensor]:
        """Return the sampled rows and their gradient."""
        if self._rows is None or self._sampled is None or self._sampled.grad is None:
            raise RuntimeError("the centres have no gradient: call forward() and backward() first")
        return self._rows, self._sampled.grad

    def get_extra_state(self) -> dict[str, Any]:
        return {"steps": self.steps, "first": self.first, "last": self.last, "persons": self.persons}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.steps = int(state["steps"])

    def _sample(self, target: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return the sampled rows, ascending, and the targets (N,) among them; -1: a person of another process."""
        own = self.last - self.first
        count = max(1, int(self.sample_rate * own))
        positive = torch.unique(target[target >= 0])
        if count >= own:
            return torch.arange(own, device=target.device), target
        if len(positive) >= count:
            rows = positive
        else:
            order = torch.rand(own, device=target.device, generator=generator)
            order[positive] = 2.0
            rows = order.topk(count).indices.sort().values
        position = torch.searchsorted(rows, target.clamp(min=0))
        return rows, torch.where(target >= 0, position, -1)


def joined(shards: list[dict[str, Any]], centres: PartialFC, rows: Tensor | None = None) -> dict[str, Any]:
    """Return the state for `centres` from the shards of an earlier run with any number of processes.

    `rows`: the index of each current person among the persons of the shards, -1 for a new person, who keeps the initial
    centre; None: they are the same. Raises ValueError if the shards are incomplete or hold other persons.
    """
    if not shards:
        raise ValueError("the checkpoint has no centres of persons")
    shards = sorted(shards, key=lambda shard: int(shard["_extra_state"]["first"]))
    ends = [(int(shard["_extra_state"]["first"]), int(shard["_extra_state"]["last"])) for shard in shards]
    persons = int(shards[0]["_extra_state"]["persons"])
    whole = [first for first, _ in ends] == [0, *(last for _, last in ends[:-1])] and ends[-1][1] == persons
    if not whole or (rows is None and persons != centres.persons):
        raise ValueError(f"the shards hold centres of {persons} persons as {ends}, expected all {centres.persons}")
    rows = torch.arange(persons) if rows is None else rows
    own = rows[centres.first : centres.last]
    known = own >= 0
    state: dict[str, Any] = {}
    for name in ("centres", "moment", "square"):
        state[name] = getattr(centres, name).cpu().clone()
        state[name][known] = torch.cat([shard[name] for shard in shards])[own[known]]
    steps = shards[0]["_extra_state"]["steps"]
    return {**state, "_extra_state": {**centres.get_extra_state(), "steps": steps}}


class _Gather(torch.autograd.Function):
    """Gathers (n, width) of each process to (N, width) of all; PartialFC.forward explains the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.count = len(x)
        return _gather(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        if _world() == 1:
            return gradient
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[_rank() * ctx.count : (_rank() + 1) * ctx.count] * _world()


class _ShardedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of logits (N, own); other processes hold the other columns, and the targets that are -1."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        highest = logits.amax(1)
        _reduce(highest, dist.ReduceOp.MAX)
        powers = (logits - highest[:, None]).exp_()
        total = powers.sum(1)
        _reduce(total, dist.ReduceOp.SUM)
        positive = torch.nonzero(target >= 0)[:, 0]
        own_logit = torch.zeros_like(total)
        own_logit[positive] = logits[positive, target[positive]]
        _reduce(own_logit, dist.ReduceOp.SUM)
        probabilities = powers.div_(total[:, None])
        ctx.save_for_backward(probabilities, target, positive)
        return (highest + total.log() - own_logit).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        probabilities, target, positive = ctx.saved_tensors
        logits = probabilities.clone()
        logits[positive, target[positive]] -= 1
        return logits * (gradient / len(logits)), None


def _fresh_centres(first: int, last: int, width: int, seed: int) -> Tensor:
    """Return rows first..last-1 of one long table that does not depend on the sharding, (last - first, width)."""
    parts = []
    for chunk in range(first // CHUNK, -(-last // CHUNK)):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + chunk)
        rows = torch.randn(CHUNK, width, generator=generator) * CENTRE_SPREAD
        parts.append(rows[max(first - chunk * CHUNK, 0) : last - chunk * CHUNK])
    return torch.cat(parts) if parts else torch.empty(0, width)


def _gather(x: Tensor) -> Tensor:
    """Concatenate the tensors of all processes."""
    if _world() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(_world())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def _reduce(x: Tensor, operation: Any) -> None:
    if _world() > 1:
        dist.all_reduce(x, operation)


def _world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0
