"""CosFace over sharded centres: the formula, the sampling, the optimiser, and that shards change nothing."""

from math import exp, log
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tests.support.processes import run_together
from workers.research.train.partial_fc import PartialFC, joined

PERSONS, WIDTH, FACES = 23, 16, 12


def test_the_margin_is_taken_from_the_own_person_before_scaling() -> None:
    head = PartialFC(2, 2, margin=0.4, scale=64.0, sample_rate=1.0)
    head.centres.copy_(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))  # at right angles; their length does not matter
    loss = head(torch.tensor([[0.6, 0.8]]) * 7, torch.tensor([1]))
    own, other = 64 * (0.8 - 0.4), 64 * 0.6
    assert loss.item() == pytest.approx(log(exp(own) + exp(other)) - own, rel=1e-5)


def test_all_centres_are_what_plain_cross_entropy_would_learn_from() -> None:
    embeddings, persons = _faces()
    head = PartialFC(PERSONS, WIDTH, 0.4, 64.0, 1.0)
    embeddings.requires_grad_()
    loss = head(embeddings, persons)
    loss.backward()
    expected, of_embeddings, of_centres = _plain(embeddings.detach(), head.centres, persons)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(embeddings.grad, of_embeddings)
    torch.testing.assert_close(head.gradient(), of_centres)


def test_sampled_are_the_persons_that_are_there_and_a_part_of_the_others() -> None:
    embeddings, persons = _faces()
    head = PartialFC(1000, WIDTH, 0.4, 64.0, sample_rate=0.3)
    chosen = []
    for seed in (1, 2):
        head(embeddings, persons, torch.Generator().manual_seed(seed)).backward()
        chosen.append(set(torch.nonzero(head.gradient().abs().sum(1))[:, 0].tolist()))
        assert set(persons.tolist()) <= chosen[-1]
        assert len(chosen[-1]) == 300
    assert chosen[0] != chosen[1]


def test_more_persons_than_the_rate_allows_are_all_compared_with() -> None:
    embeddings = torch.randn(10, WIDTH)
    head = PartialFC(20, WIDTH, 0.4, 64.0, sample_rate=0.1)
    head(embeddings, torch.arange(10)).backward()
    assert torch.nonzero(head.gradient().abs().sum(1))[:, 0].tolist() == list(range(10))


def test_with_all_centres_the_optimiser_is_torchs_adamw() -> None:
    embeddings, persons = _faces()
    head = PartialFC(PERSONS, WIDTH, 0.4, 64.0, 1.0)
    theirs = torch.nn.Parameter(head.centres.clone())
    adamw = torch.optim.AdamW([theirs], lr=3e-3, weight_decay=0.05)
    for _ in range(5):
        head(embeddings, persons).backward()
        theirs.grad = head.gradient()
        adamw.step()
        assert head.step(3e-3, 0.05, (0.9, 0.999))
    torch.testing.assert_close(head.centres, theirs.detach(), rtol=1e-5, atol=1e-7)


def test_centres_that_were_not_sampled_keep_their_place_and_moments() -> None:
    embeddings, persons = _faces()
    head = PartialFC(1000, WIDTH, 0.4, 64.0, sample_rate=0.1)
    before = head.centres.clone()
    head(embeddings, persons, torch.Generator().manual_seed(5)).backward()
    moved = head.gradient().abs().sum(1) > 0
    head.step(1e-2, 0.05, (0.9, 0.999))
    assert torch.equal(head.centres[~moved], before[~moved])
    assert not head.moment[~moved].any()
    assert (head.centres[moved] != before[moved]).all()


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    embeddings, persons = _faces()
    head = PartialFC(PERSONS, WIDTH, 0.4, 64.0, 1.0)
    before = head.centres.clone()
    (head(embeddings, persons) * float("inf")).backward()
    assert not head.step(1e-2, 0.05, (0.9, 0.999))
    assert torch.equal(head.centres, before)
    assert head.steps == 0


def test_a_batch_of_faces_can_be_learnt_by_heart() -> None:
    torch.manual_seed(3)
    embeddings = torch.randn(FACES, WIDTH, requires_grad=True)
    persons = torch.arange(FACES) % 5
    head = PartialFC(200, WIDTH, 0.4, 64.0, 0.5)
    optimiser = torch.optim.Adam([embeddings], lr=0.05)
    losses = []
    for step in range(150):
        optimiser.zero_grad()
        loss = head(embeddings, persons, torch.Generator().manual_seed(step))
        loss.backward()
        optimiser.step()
        head.step(0.05, 0.0, (0.9, 0.999))
        losses.append(loss.item())
    assert losses[0] > 20
    assert losses[-1] < 0.01


@pytest.mark.slow
def test_two_processes_with_half_of_the_centres_each_learn_what_one_does(tmp_path: Path) -> None:
    embeddings, persons = _faces()
    head = PartialFC(PERSONS, WIDTH, 0.4, 64.0, 1.0, seed=9)
    head.centres.mul_(100)  # as long as trained ones: gradients of fresh ones are a hundred times as large
    embeddings.requires_grad_()
    loss = head(embeddings, persons)
    loss.backward()
    alone = head.gradient()
    head.step(1e-2, 0.05, (0.9, 0.999))

    script = tmp_path / "shard.py"
    script.write_text(SHARD)
    run_together(2, [str(script)], tmp_path)
    shards = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert embeddings.grad is not None
    for rank, shard in enumerate(shards):
        assert shard["loss"].item() == pytest.approx(loss.item(), abs=1e-5)
        own = slice(rank * FACES // 2, (rank + 1) * FACES // 2)
        # DistributedDataParallel would divide by the number of processes
        torch.testing.assert_close(shard["of_embeddings"] / 2, embeddings.grad[own], rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.cat([s["of_centres"] for s in shards]), alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.cat([s["state"]["centres"] for s in shards]), head.centres, rtol=0, atol=1e-5)

    again = PartialFC(PERSONS, WIDTH, 0.4, 64.0, 1.0)
    again.load_state_dict(joined([shard["state"] for shard in reversed(shards)], again))
    torch.testing.assert_close(again.moment, head.moment, rtol=0, atol=1e-6)
    assert again.steps == 1


def test_shards_of_other_persons_are_refused() -> None:
    shard = PartialFC(PERSONS, WIDTH, 0.4, 64.0, 1.0).state_dict()
    with pytest.raises(ValueError, match=r"centres of 23 persons.*expected all 24"):
        joined([shard], PartialFC(PERSONS + 1, WIDTH, 0.4, 64.0, 1.0))


SHARD = """
import torch, torch.distributed as dist
from tests.workers.research.train.test_partial_fc import FACES, PERSONS, WIDTH, _faces
from workers.research.train.partial_fc import PartialFC

dist.init_process_group("gloo")
rank = dist.get_rank()
embeddings, persons = _faces()
own = slice(rank * FACES // 2, (rank + 1) * FACES // 2)
mine = embeddings[own].clone().requires_grad_()
head = PartialFC(PERSONS, WIDTH, 0.4, 64.0, 1.0, seed=9)
head.centres.mul_(100)
loss = head(mine, persons[own])
loss.backward()
found = {"loss": loss.detach(), "of_embeddings": mine.grad, "of_centres": head.gradient()}
head.step(1e-2, 0.05, (0.9, 0.999))
torch.save({**found, "state": head.state_dict()}, f"{rank}.pt")
dist.destroy_process_group()
"""


def _faces() -> tuple[Tensor, Tensor]:
    """(FACES, WIDTH) embeddings and (FACES,) persons, some of them twice."""
    generator = torch.Generator().manual_seed(4)
    persons = torch.randint(PERSONS, (FACES,), generator=generator)
    persons[0] = persons[1]
    return torch.randn(FACES, WIDTH, generator=generator) * 3, persons


def _plain(embeddings: Tensor, centres: Tensor, persons: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """CosFace written out with torch's own cross-entropy: the loss and both gradients."""
    embeddings, centres = embeddings.clone().requires_grad_(), centres.clone().requires_grad_()
    cosine = F.normalize(embeddings) @ F.normalize(centres).t()
    logits = 64 * (cosine - 0.4 * F.one_hot(persons, len(centres)))
    loss = F.cross_entropy(logits, persons)
    loss.backward()  # type: ignore[no-untyped-call]
    assert embeddings.grad is not None
    assert centres.grad is not None
    return loss.detach(), embeddings.grad, centres.grad
