"""The network: its size, its numbers, and that the faster form is the published one."""

from math import isqrt
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.support.published_form import PublishedForm, normalised
from tests.support.swinface_files import Checkpoint
from workers.swinface.checkpoint import load_official
from workers.swinface.labels import OUTPUTS, TASKS
from workers.swinface.model import SwinFace, SwinFaceConfig, reduced

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(seeded_file: Path) -> SwinFace:
    return load_official(seeded_file)


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


def test_the_backbone_is_timms_swin(model: SwinFace, seeded: Checkpoint, faces: Tensor) -> None:
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=112, patch_size=2, num_classes=0, pretrained=False
    ).eval()
    body = {
        _timm_name(name): tensor
        for name, tensor in seeded["state_dict_backbone"].items()
        if not name.startswith(("head", "feature")) and not name.endswith(("attn_mask", "relative_position_index"))
    }
    swin.load_state_dict(body, strict=True)
    images = (faces.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        expected = swin(images)
        levels, _ = model.backbone(images)
        pooled = model.backbone.norm(levels[-1]).mean(1)
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-5)


def _timm_name(name: str) -> str:
    """timm counts a downsampling to the stage after it."""
    words = name.split(".")
    if "downsample" in words:
        words[1] = str(int(words[1]) + 1)
    return ".".join(words)


def test_the_network_is_the_published_one_written_out(
    seeded: Checkpoint, faces: Tensor, outputs: dict[str, Tensor]
) -> None:
    with torch.inference_mode():
        expected = PublishedForm(seeded)(normalised(faces))
    for slug, tensor in zip(OUTPUTS, expected, strict=True):
        torch.testing.assert_close(outputs[slug], tensor, atol=1e-4, rtol=1e-5)


def test_the_subnets_side_by_side_are_the_published_ones_one_by_one(
    model: SwinFace, seeded: Checkpoint, faces: Tensor
) -> None:
    published = PublishedForm(seeded)
    with torch.inference_mode():
        levels, _ = model.backbone(normalised(faces))
        found = model.tss(model.fam(levels))
        maps = [level.transpose(1, 2).unflatten(2, (isqrt(level.shape[1]), -1)) for level in levels]
        pooled = torch.cat([F.avg_pool2d(level, level.shape[2] // 7) for level in maps], 1)
        for subnet in range(11):
            torch.testing.assert_close(found[:, subnet], published.subnet(subnet, pooled), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("wanted", [("age",), ("recognition",), ("goatee", "expression", "recognition"), OUTPUTS])
def test_fewer_outputs_are_the_same_numbers(
    model: SwinFace, faces: Tensor, outputs: dict[str, Tensor], wanted: tuple[str, ...]
) -> None:
    small = reduced(model, wanted)
    found = _run(small, faces)
    assert tuple(found) == wanted
    for slug, output in found.items():
        torch.testing.assert_close(output, outputs[slug], atol=1e-5, rtol=1e-5)


def test_each_subnet_left_out_saves_292_million_operations(model: SwinFace, faces: Tensor) -> None:
    assert _flops(model, faces[:1]) == 12_178_804_864
    assert len(reduced(model, ["age"]).subnets) == 1
    without_one = [task.slug for task in TASKS if task.subnet != 0] + ["recognition"]
    saved = _flops(model, faces[:1]) - _flops(reduced(model, without_one), faces[:1])
    assert saved == pytest.approx(292.6e6, rel=0.001)


def _flops(model: SwinFace, faces: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        _run(model, faces)
    return int(counter.get_total_flops())


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


@pytest.mark.slow
@pytest.mark.shared
def test_the_outputs_are_those_of_the_published_implementation(shared: Path, parity_checkpoint: Path) -> None:
    expected = np.load(shared / "parity" / "expected_seed0.npz")
    found = _run(load_official(parity_checkpoint), torch.from_numpy(expected["images_rgb"]))
    differences = {slug: float(np.abs(output.numpy() - expected[slug]).max()) for slug, output in found.items()}
    assert set(differences) == set(expected.files) - {"images_rgb"}
    assert max(differences.values()) <= 1e-4, differences
