"""Faces laid over each other, and teachers that are asked about them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from faceanalytics.errors import ConfigError, ModelError
from tests.support.training import configured, losses, stream, train
from tests.workers.research.train.test_distillation import taught
from workers.research.data.param_file import HALF, ParamNetwork
from workers.research.train.config import load_train_config
from workers.research.train.loader import Batch, Stream
from workers.research.train.losses import EXPRESSION_DISTILLATION, NO_CLASS, age_loss
from workers.research.train.mixup import mixed, mixed_losses

pytestmark = pytest.mark.usefixtures("one_thread")
PARAM = """7767517
8 9
Input data 0 1 data
BinaryOp less 1 1 data less 0=1 1=1 2=127.5
Split twice 1 2 less a b
Convolution conv 1 1 a conv 0=4 1=3 11=3 3=2 13=2 4=1 14=1 5=1 6=108
BatchNorm norm 1 1 conv norm 0=4
PReLU relu 1 1 norm relu 0=4
ConvolutionDepthWise wise 1 1 relu wise 0=4 1=2 11=2 3=2 13=2 4=0 14=0 5=0 6=16 7=4
InnerProduct out 1 1 wise out 0=5 1=1 2=80
"""


def write_network(folder: Path, text: str = PARAM) -> tuple[Path, dict[str, torch.Tensor]]:
    """A small network in ncnn's format, one of its layers in fp16, and its weights."""
    random = torch.Generator().manual_seed(0)
    sizes = {"conv": (4, 3, 3, 3), "conv_bias": (4,), "slope": (4,), "mean": (4,), "variance": (4,), "bias": (4,)}
    sizes |= {"relu": (4,), "wise": (4, 1, 2, 2), "out": (5, 16), "out_bias": (5,)}
    made = {name: torch.rand(size, generator=random) for name, size in sizes.items()}
    made["wise"] = made["wise"].half().float()
    parts = []
    for name, tensor in made.items():
        if name in {"conv", "out"}:
            parts.append(bytes(4))
        if name == "wise":
            parts.append(np.uint32(HALF).tobytes())
        parts.append(tensor.half().numpy().tobytes() if name == "wise" else tensor.numpy().tobytes())
    path = folder / "net.param"
    path.write_text(text)
    path.with_suffix(".bin").write_bytes(b"".join(parts))
    return path, made


def test_a_network_of_ncnn_computes_what_its_layers_say(tmp_path: Path) -> None:
    path, w = write_network(tmp_path)
    x = torch.rand(2, 3, 8, 8) * 255
    y = torch.nn.functional.conv2d(x - 127.5, w["conv"], w["conv_bias"], 2, 1)
    y = torch.nn.functional.batch_norm(y, w["mean"], w["variance"], w["slope"], w["bias"], eps=0)
    y = torch.nn.functional.conv2d(torch.nn.functional.prelu(y, w["relu"]), w["wise"], None, 2, groups=4)
    expected = torch.nn.functional.linear(y.flatten(1), w["out"], w["out_bias"])
    torch.testing.assert_close(ParamNetwork(path)(x), expected)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda text, content: (text, content[:-4]), "too short"),
        (lambda text, content: (text, content + bytes(4)), "4 bytes of the .bin belong to no layer"),
        (lambda text, content: (text.replace("PReLU", "Swish"), content), "a layer like relu, Swish, is not known"),
        (lambda text, content: ("7767516\n" + text[8:], content), r"no \.param file"),
    ],
)
def test_a_network_that_cannot_be_read_is_refused(tmp_path: Path, broken: Any, message: str) -> None:
    path, _ = write_network(tmp_path)
    text, content = broken(path.read_text(), path.with_suffix(".bin").read_bytes())
    path.write_text(text)
    path.with_suffix(".bin").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        ParamNetwork(path)


def two_streams() -> tuple[Batch, tuple[Stream, ...]]:
    """Faces of one value each, 10 to 60 and 110 to 160; the second stream is taught expressions."""
    values = torch.tensor([10 * n for n in range(1, 7)] + [100 + 10 * n for n in range(1, 7)], dtype=torch.uint8)
    faces = values.view(-1, 1, 1, 1).expand(-1, 112, 112, 3).contiguous()
    targets = {"age": values.float(), "expression": values.long() % 7, EXPRESSION_DISTILLATION: torch.rand(12, 7)}
    labels = [SimpleNamespace(labels=SimpleNamespace(expression_scores=scores)) for scores in (None, 1)]
    streams = [Stream(str(n), 6, (cast(Any, one),), cast(Any, None), "none", (-1,)) for n, one in enumerate(labels)]
    return Batch(faces, targets, torch.full((12,), -1)), tuple(streams)


def test_two_faces_of_a_stream_are_laid_over_each_other_with_the_labels_of_both() -> None:
    batch, streams = two_streams()
    mixture = mixed(batch, streams, 1.0, masks=False, seed=4)
    assert mixture is not None
    first, other = mixture.first["age"], mixture.other["age"]
    assert sorted(first.tolist()) == sorted(other.tolist()) == sorted(batch.targets["age"].tolist())
    assert ((first < 100) == (other < 100)).all()
    assert (first != other).all()
    expected = mixture.share * first + (1 - mixture.share) * other
    torch.testing.assert_close(mixture.faces, expected.view(-1, 1, 1, 1).expand(-1, 112, 112, 3))
    assert mixture.expressions.tolist() == [6, 7, 8, 9, 10, 11]
    assert EXPRESSION_DISTILLATION not in mixture.first
    outputs = {"age": torch.zeros(12, 1), "expression": torch.zeros(12, 7)}
    found = mixed_losses(outputs, mixture, {EXPRESSION_DISTILLATION: torch.full((6, 7), 1 / 7)}, 0, "absolute")
    torch.testing.assert_close(found["age"], (first.mean() * mixture.share + other.mean() * (1 - mixture.share)) - 0.5)
    torch.testing.assert_close(found["expression"], torch.tensor(7.0).log())
    torch.testing.assert_close(found[EXPRESSION_DISTILLATION], torch.tensor(7.0).log())


def test_every_second_mixture_is_put_together_by_a_mask_and_has_no_labels() -> None:
    batch, streams = two_streams()
    mixture = mixed(batch, streams, 0.5, masks=True, seed=4)
    assert mixture is not None
    assert len(mixture.faces) == 6
    one_value = mixture.faces.flatten(1).std(1) < 1e-3
    assert one_value.tolist() == [True, False] * 3
    assert mixture.first["age"].isnan().tolist() == (~one_value).tolist()
    assert (mixture.other["expression"] == NO_CLASS).tolist() == (~one_value).tolist()
    assert mixed(batch, streams, 0.0, masks=True, seed=4) is None


def test_the_absolute_loss_of_ages_is_hubers_of_one_year() -> None:
    found = age_loss(torch.tensor([30.0, 30.5, 20.0]), torch.full((3,), 30.0), 0.5, "absolute")
    torch.testing.assert_close(found, torch.tensor([0.0, 0.125, 9.5]))


def test_a_training_asks_its_teachers_about_mixtures(tmp_path: Path) -> None:
    first = configured(
        tmp_path, streams={"one": stream("identity", "people"), "two": stream("expression", "moods")}, steps=1
    )
    assert train(first) == 0
    teacher = str(tmp_path / "run" / "checkpoints" / "step-000000001" / "weights.safetensors")
    network, _ = write_network(tmp_path)
    changes = taught(tmp_path, out=str(tmp_path / "second"), steps=2, mixup=1.0, age_loss="absolute")
    changes["streams"]["one"]["learns"] = ["age", "expression_scores"]
    changes["streams"]["two"] = stream("identity", "people")
    changes["streams"]["three"] = stream("expression", "moods")
    teachers = {"recogniser": teacher, "expressions": teacher}
    assert train(configured(tmp_path, **{**changes, "teachers": teachers})) == 0
    learnt = {"age", "expression", "recognition", "distillation", "expression_distillation"}
    assert learnt == set(losses(tmp_path / "second"))
    nothing = {**changes, "mixup": 0.0, "teachers": teachers}
    with pytest.raises(ConfigError, match="set `mixup`, such as 1"):
        load_train_config(configured(tmp_path, **nothing), {})
    del changes["streams"]["two"]
    unlearnt = {**changes, "out": str(tmp_path / "third"), "teachers": {"recogniser": str(network)}}
    assert train(configured(tmp_path, **unlearnt)) == 2
