"""The network: its size, its numbers, and that the faster form is the published one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from tests.swinface_files import Checkpoint, save, seeded_checkpoint
from workers.swinface.checkpoint import load_official
from workers.swinface.labels import ATTRIBUTES, OUTPUTS
from workers.swinface.model import SwinFace, SwinFaceConfig, scores


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in the same order each time, and no waiting for other programs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return seeded_checkpoint()


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> SwinFace:
    return load_official(save(checkpoint, tmp_path_factory.mktemp("model") / "checkpoint.pt"))


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return torch.randint(0, 256, (3, 112, 112, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def outputs(model: SwinFace, faces: Tensor) -> dict[str, Tensor]:
    return _run(model, faces)


@torch.inference_mode()
def _run(model: SwinFace, faces: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = model(faces)
    return found


def test_each_part_has_as_many_parameters_as_published(model: SwinFace) -> None:
    parts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in model.named_children()}
    unused_head = 512 * 768 + 512
    expected = {"backbone": 28_895_226 - unused_head, "fam": 33_090_464, "tss": 5_778_432, "heads": 45_144}
    assert parts == expected


def test_the_outputs_come_in_their_order_and_shapes(outputs: dict[str, Tensor]) -> None:
    assert tuple(outputs) == OUTPUTS
    widths = {"age": 1, "expression": 7, "recognition": 512}
    assert {slug: tuple(output.shape) for slug, output in outputs.items()} == {
        slug: (3, widths.get(slug, 2)) for slug in OUTPUTS
    }


def test_a_face_gets_the_same_numbers_alone_and_in_a_batch(
    model: SwinFace, faces: Tensor, outputs: dict[str, Tensor]
) -> None:
    for row in range(len(faces)):
        alone = _run(model, faces[row : row + 1])
        for slug, output in alone.items():
            torch.testing.assert_close(output[0], outputs[slug][row], atol=1e-5, rtol=1e-5)


def test_the_backbone_is_timms_swin(model: SwinFace, checkpoint: Checkpoint, faces: Tensor) -> None:
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=112, patch_size=2, num_classes=0, pretrained=False
    ).eval()
    body = {
        _timm_name(name): tensor
        for name, tensor in checkpoint["state_dict_backbone"].items()
        if not name.startswith(("head", "feature")) and not name.endswith(("attn_mask", "relative_position_index"))
    }
    swin.load_state_dict(body, strict=True)
    images = (faces.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        expected = swin(images)
        levels, _ = model.backbone(images)
        pooled = model.backbone.norm(levels[-1].permute(0, 2, 3, 1)).mean((1, 2))
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-5)


def _timm_name(name: str) -> str:
    """timm counts a downsampling to the stage after it."""
    words = name.split(".")
    if "downsample" in words:
        words[1] = str(int(words[1]) + 1)
    return ".".join(words)


def test_the_subnets_side_by_side_are_the_published_ones_one_by_one(
    model: SwinFace, checkpoint: Checkpoint, faces: Tensor
) -> None:
    images = (faces.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        levels, _ = model.backbone(images)
        found = model.tss(model.fam(levels))
        pooled = torch.cat([F.avg_pool2d(level, level.shape[2] // 7) for level in levels], 1)
        for subnet in range(11):
            expected = _published_subnet(checkpoint, subnet, pooled)
            torch.testing.assert_close(found[:, subnet], expected, atol=1e-4, rtol=1e-5)


def _published_subnet(checkpoint: Checkpoint, subnet: int, x: Tensor) -> Tensor:
    """One subnet in the published order of operations: the gate on the map, ReLU, maximum, batch norm, two layers."""
    fam = _part(checkpoint["state_dict_fam"], f"nets.{subnet}.")
    tss = _part(checkpoint["state_dict_tss"], f"nets.{subnet}.feature.")
    slices = torch.split(x, [192, 384, 768, 768], 1)
    x = torch.cat([F.conv2d(part, fam[f"conv.convs.{i}.weight"], padding=1) for i, part in enumerate(slices)], 1)
    gate = torch.sigmoid(_gate(fam, x.mean((2, 3))) + _gate(fam, x.amax((2, 3))))
    x = F.relu(x * gate[:, :, None, None]).amax((2, 3))
    mean, variance = fam["norm.running_mean"], fam["norm.running_var"]
    x = F.batch_norm(x, mean, variance, fam["norm.weight"], fam["norm.bias"], eps=2e-5)
    x = F.relu(F.linear(x, tss["0.weight"], tss["0.bias"]))
    return F.relu(F.linear(x, tss["3.weight"], tss["3.bias"]))


def _gate(fam: dict[str, Tensor], x: Tensor) -> Tensor:
    x = F.relu(F.linear(x, fam["channel_attention.mlp.1.weight"], fam["channel_attention.mlp.1.bias"]))
    return F.linear(x, fam["channel_attention.mlp.3.weight"], fam["channel_attention.mlp.3.bias"])


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def test_scores_are_softmax_and_the_embedding_has_unit_length(outputs: dict[str, Tensor]) -> None:
    found = scores(outputs)
    torch.testing.assert_close(found.age, outputs["age"][:, 0])
    torch.testing.assert_close(found.expression.sum(1), torch.ones(3))
    torch.testing.assert_close(found.embedding.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(found.embedding * found.embedding_norm[:, None], outputs["recognition"])
    for column, task in enumerate(ATTRIBUTES):
        no, yes = outputs[task.slug].unbind(1)
        torch.testing.assert_close(found.attributes[:, column], torch.sigmoid(yes - no))


def test_in_training_every_weight_gets_a_gradient(faces: Tensor) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SwinFace(SwinFaceConfig(drop_path=0.0)).train()
        sum(output.square().sum() for output in model(faces).values()).backward()
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert still == []


def test_a_new_network_starts_as_published() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = SwinFace(SwinFaceConfig()).state_dict()
    assert not fresh["heads.age.bias"].any()
    assert float(fresh["backbone.layers.3.blocks.0.attn.qkv.weight"].std()) == pytest.approx(0.02, rel=0.01)
    widest = (1 / (192 * 9)) ** 0.5  # of the uniform distribution that convolutions start from
    assert float(fresh["fam.convs.0.weight"].abs().max()) == pytest.approx(widest, rel=0.01)


@pytest.mark.shared
def test_the_outputs_are_those_of_the_published_implementation(shared: Path, tmp_path: Path) -> None:
    parity = shared / "parity"
    path = tmp_path / "seed0.pt"
    maker = [sys.executable, str(parity / "make_checkpoint.py"), str(path), "--seed", "0"]
    subprocess.run(maker, check=True, capture_output=True, timeout=120)
    expected = np.load(parity / "expected_seed0.npz")
    found = _run(load_official(path), torch.from_numpy(expected["images_rgb"]))
    path.unlink()
    differences = {slug: float(np.abs(output.numpy() - expected[slug]).max()) for slug, output in found.items()}
    assert set(differences) == set(expected.files) - {"images_rgb"}
    assert max(differences.values()) <= 1e-4, differences
