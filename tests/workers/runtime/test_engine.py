"""The engine: crops in, the numbers of the network out, whatever computes them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from faceanalytics.errors import ConfigError, ModelError
from tests.support.patience import WAIT_S
from tests.support.published_form import PublishedForm, normalised
from tests.support.swinface_files import Checkpoint
from workers.runtime.engine import Bytes, Engine, Floats, softmax
from workers.runtime.offline import openvino
from workers.runtime.on_cpu import computes_in
from workers.runtime.on_gpu import GpuNetwork, prepared
from workers.swinface.checkpoint import load_official
from workers.swinface.labels import ATTRIBUTES, OUTPUTS
from workers.swinface.model import SwinBlock, SwinFace, WindowAttention
from workers.swinface.precisions import Precision

THREADS = 1
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def engine(seeded_file: Path) -> Engine:
    return Engine(str(seeded_file), threads=THREADS)


@pytest.fixture(scope="module")
def crops() -> Bytes:
    return np.random.default_rng(2).integers(0, 256, (5, 112, 112, 3), np.uint8)


@pytest.fixture(scope="module")
def outputs(engine: Engine, crops: Bytes) -> dict[str, Floats]:
    return engine.outputs(crops)


def test_the_outputs_are_those_of_the_published_form(
    seeded: Checkpoint, crops: Bytes, outputs: dict[str, Floats]
) -> None:
    with torch.inference_mode():
        expected = PublishedForm(seeded)(normalised(torch.from_numpy(crops)))
    assert tuple(outputs) == OUTPUTS
    for slug, tensor in zip(OUTPUTS, expected, strict=True):
        np.testing.assert_allclose(outputs[slug], tensor.numpy(), atol=1e-4, rtol=1e-5, err_msg=slug)


def test_a_crop_gets_the_same_numbers_in_every_batch(engine: Engine, crops: Bytes, outputs: dict[str, Floats]) -> None:
    for chosen in ([0], [4, 0], [2, 2, 2, 1, 0, 4, 3]):
        found = engine.outputs(crops[chosen])
        for slug, output in found.items():
            np.testing.assert_allclose(output, outputs[slug][chosen], atol=1e-5, rtol=1e-5, err_msg=slug)


@pytest.mark.parametrize("heads", [("recognition",), ("age", "gender"), ("expression", "no_beard", "recognition")])
def test_some_heads_give_the_numbers_of_all(
    seeded_file: Path, crops: Bytes, outputs: dict[str, Floats], heads: tuple[str, ...]
) -> None:
    found = Engine(str(seeded_file), threads=THREADS, heads=heads).outputs(crops)
    assert set(found) == set(heads)
    assert list(found) == [slug for slug in OUTPUTS if slug in heads]
    for slug, output in found.items():
        np.testing.assert_allclose(output, outputs[slug], atol=1e-5, rtol=1e-5, err_msg=slug)


def test_several_batches_may_be_under_way(engine: Engine, crops: Bytes, outputs: dict[str, Floats]) -> None:
    pending = [engine.submit(crops[:3]), engine.submit(crops[3:]), engine.submit(crops)]
    for found, rows in zip(reversed(pending), (slice(5), slice(3, 5), slice(3)), strict=True):
        np.testing.assert_allclose(found.outputs()["age"], outputs["age"][rows], atol=1e-5, rtol=1e-5)
        np.testing.assert_array_equal(found.outputs()["age"], found.outputs()["age"])


def test_analyses_are_scores_and_embeddings_of_unit_length(
    engine: Engine, crops: Bytes, outputs: dict[str, Floats]
) -> None:
    found = engine.analyse(crops)
    assert found.age is not None
    assert found.expression is not None
    assert found.embeddings is not None
    assert found.norms is not None
    np.testing.assert_allclose(found.age, outputs["age"][:, 0])
    np.testing.assert_allclose(found.expression, softmax(outputs["expression"]))
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found.embeddings * found.norms[:, None], outputs["recognition"], atol=1e-5)
    for column, task in enumerate(ATTRIBUTES):
        np.testing.assert_allclose(found.attributes[:, column], softmax(outputs[task.slug])[:, 1])


def test_the_model_is_known_by_its_weights(engine: Engine, seeded_file: Path) -> None:
    again = Engine(str(seeded_file), threads=THREADS, heads=["age"])
    assert re.fullmatch(r"swinface-[0-9a-f]{12}", engine.model_id)
    assert again.model_id == engine.model_id


@pytest.mark.parametrize("heads", [(), ("age", "shoe_size")])
def test_heads_that_do_not_exist_are_refused_with_the_known_ones(heads: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"known are age, attractive"):
        Engine("untrained", heads=heads)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_on_a_cpu_is_computed_or_refused_but_never_replaced(
    precision: Precision, seeded_file: Path, crops: Bytes, outputs: dict[str, Floats]
) -> None:
    can = precision.upper() in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert computes_in(precision) == can
    if not can:
        with pytest.raises(ModelError, match=f"does not compute in {precision}"):
            Engine(str(seeded_file), precision=precision, heads=["age"])
        return
    found = Engine(str(seeded_file), precision=precision, threads=THREADS).outputs(crops)
    for slug, output in found.items():
        assert 0 < np.abs(output - outputs[slug]).max() <= 0.1 * np.abs(outputs[slug]).max(), slug


# a CPU that computes in fp16 itself rounds more often than one that only stores it: 1.01 % was seen there
@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_half_precision_stays_near_and_ends_in_full_precision(
    dtype: torch.dtype, bound: float, seeded_file: Path, crops: Bytes, outputs: dict[str, Floats]
) -> None:
    model: SwinFace = prepared(load_official(seeded_file), dtype)
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        found = model(torch.from_numpy(crops[:2]))
    for slug, output in found.items():
        assert output.dtype == torch.float32
        spread = np.abs(outputs[slug]).max()
        assert np.abs(output.numpy() - outputs[slug][:2]).max() <= bound * spread, slug


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_the_residual_stream_stays_in_full(
    dtype: torch.dtype, seeded_file: Path, crops: Bytes
) -> None:
    model = prepared(load_official(seeded_file), dtype)
    seen: list[torch.dtype] = []

    def look(_: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        seen.extend([inputs[0].dtype, output.dtype])

    for module in model.modules():
        if isinstance(module, SwinBlock):
            module.register_forward_hook(look)
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        model(torch.from_numpy(crops[:1]))
    assert seen == [torch.float32] * 24


def test_the_rows_of_a_prepared_bias_are_aligned(seeded_file: Path) -> None:
    biases = [
        module.fixed_bias
        for module in prepared(load_official(seeded_file), torch.bfloat16).modules()
        if isinstance(module, WindowAttention)
    ]
    assert [bias is not None and bias.stride(-2) % 8 for bias in biases] == [0] * 12


class PartsOfAGpuNetwork(GpuNetwork):
    """What of it needs no GPU: the results of a batch are the means of its crops, from slots that are used again."""

    def __init__(self) -> None:
        self._sizes, self._widths = (1, 2, 4), {"age": 1, "recognition": 2}
        self.begun: list[int] = []

    def _begin(self, faces: Bytes) -> Callable[[], Floats]:
        self.begun.append(len(faces))
        return lambda: np.repeat(faces.mean((1, 2, 3))[:, None], 3, 1).astype(np.float32)


@pytest.mark.parametrize(("count", "parts"), [(1, [1]), (4, [4]), (5, [4, 1]), (11, [4, 4, 3])])
def test_a_batch_that_is_too_large_for_the_gpu_is_computed_in_parts(count: int, parts: list[int]) -> None:
    network = PartsOfAGpuNetwork()
    faces = np.random.default_rng(count).integers(0, 256, (count, 112, 112, 3), np.uint8)
    found = network.start(faces)()
    assert network.begun == parts
    assert {slug: array.shape for slug, array in found.items()} == {"age": (count, 1), "recognition": (count, 2)}
    np.testing.assert_allclose(found["age"][:, 0], faces.mean((1, 2, 3)), rtol=1e-6)


NOTHING_SENT = """
import json, os, sys
seen = []
def guard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "os.mkdir"):
        seen.append([event, str(arguments[1:] if event.startswith("socket") else arguments[0])])
sys.addaudithook(guard)
from workers.runtime.engine import CROP_SHAPE, Engine
import numpy
Engine("untrained", threads=1, heads=["age"]).outputs(numpy.zeros((2, *CROP_SHAPE), numpy.uint8))
links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
sockets = [target for target in map(os.readlink, filter(os.path.islink, links)) if target.startswith("socket")]
print(json.dumps([seen, sockets]))
"""


@pytest.mark.slow
def test_the_engine_opens_no_socket_and_writes_no_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", NOTHING_SENT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[], []]
    assert list(tmp_path.iterdir()) == []
