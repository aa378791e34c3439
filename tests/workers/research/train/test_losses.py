"""The losses against values computed by hand from their formulas."""

from math import exp, log

import pytest
import torch

from workers.research.train.losses import NO_CLASS, age_loss, count_known, task_losses


@pytest.mark.parametrize(
    ("predicted", "age", "progress", "loss"),
    [
        (33.0, 30.0, 0.0, 4.5),  # d^2 / 2
        (33.0, 30.0, 1.0, 1 - exp(-0.5)),  # d is one sigma
        (33.0, 30.0, 0.25, 0.75 * 4.5 + 0.25 * (1 - exp(-0.5))),
        (20.0, 50.0, 1.0, 1.0),  # bounded: ten sigmas cost no more
        (20.0, 50.0, 0.5, 225.5),
        (41.0, 41.0, 0.5, 0.0),
    ],
)
def test_the_age_loss_goes_from_the_square_to_a_bounded_one(
    predicted: float, age: float, progress: float, loss: float
) -> None:
    found = age_loss(torch.tensor([predicted]), torch.tensor([age]), progress)
    assert found.item() == pytest.approx(loss, rel=1e-6, abs=1e-9)


def test_classes_cost_their_cross_entropy_and_unknown_ones_nothing() -> None:
    logits = torch.tensor([[0.0, log(3.0)], [0.0, log(3.0)], [5.0, -5.0]])  # probabilities 1/4 3/4, twice
    found = task_losses({"gender": logits}, {"gender": torch.tensor([1, 0, NO_CLASS])}, 0.5)
    assert found["gender"].item() == pytest.approx(log(4 / 3) + log(4))


def test_unknown_ages_cost_nothing_and_teach_nothing() -> None:
    predicted = torch.tensor([[30.0], [40.0]], requires_grad=True)
    found = task_losses({"age": predicted}, {"age": torch.tensor([float("nan"), 44.0])}, 0.0)
    found["age"].backward()  # type: ignore[no-untyped-call]
    assert found["age"].item() == 8.0
    assert predicted.grad is not None
    assert predicted.grad.tolist() == [[0.0], [-4.0]]


def test_a_task_without_any_label_still_has_gradients_of_zero() -> None:
    outputs = {"age": torch.zeros(2, 1, requires_grad=True), "expression": torch.zeros(2, 7, requires_grad=True)}
    targets = {"age": torch.full((2,), float("nan")), "expression": torch.full((2,), NO_CLASS)}
    losses = task_losses(outputs, targets, 0.3)
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert {slug: loss.item() for slug, loss in losses.items()} == {"age": 0.0, "expression": 0.0}
    for output in outputs.values():
        assert output.grad is not None
        assert not output.grad.any()


def test_labels_are_counted_by_task() -> None:
    targets = {"age": torch.tensor([1.0, float("nan")]), "smiling": torch.tensor([NO_CLASS, 0])}
    assert count_known(targets) == {"age": 1, "smiling": 1}


@pytest.mark.parametrize(("slug", "width"), [("age", 1), ("gender", 2), ("expression", 7)])
def test_each_loss_can_be_driven_to_zero(slug: str, width: int) -> None:
    torch.manual_seed(0)
    output = torch.randn(16, width, requires_grad=True)
    target = torch.rand(16) * 90 if slug == "age" else torch.randint(width, (16,))
    optimiser = torch.optim.Adam([output], lr=1.0 if slug == "age" else 0.3)
    for step in range(400):
        optimiser.zero_grad()
        loss = task_losses({slug: output}, {slug: target}, step / 400)[slug]
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.05
