"""Learning from what other networks say of the faces, and the average of the weights."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from faceanalytics.errors import ConfigError, InputError
from tests.support.patience import WAIT_S, until
from tests.support.training import SWINFACE, configured, draw_people, losses, settings, stream, train, weights
from workers.cli import main
from workers.research.data.embed_progress import progress as progress_of
from workers.research.data.sets import load_sets, open_set
from workers.research.data.teacher import TeacherOutputs, read, write
from workers.research.train.config import load_train_config
from workers.research.train.losses import distillation, embedding_map, soft_cross_entropy
from workers.research.train.streams import open_plan
from workers.swinface.checkpoint import load_own
from workers.swinface.labels import EMBEDDING

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTH = 16  # of the teacher's embeddings


def taught(folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a training that learns embeddings and expressions from a teacher, besides ages and persons."""
    base = settings(folder)
    names = [f"labelled/{row:06d}" for row in range(24)]
    random = np.random.default_rng(3)
    scores = random.dirichlet(np.ones(7), 24).astype(np.float32)
    write(folder / "ages.npz", TeacherOutputs(names, "noise", random.standard_normal((24, WIDTH), np.float32), scores))
    ages = {**base["sets"]["ages"], "teacher": str(folder / "ages.npz")}
    one = {**stream("age", "ages", augment="camera"), "learns": ["age", "embedding", "expression_scores"]}
    return {"sets": {**base["sets"], "ages": ages}, "streams": {"one": one}, **changes}


def test_the_fixed_map_keeps_every_cosine_and_the_loss_is_one_minus_it() -> None:
    random = torch.Generator().manual_seed(1)
    teacher = torch.nn.functional.normalize(torch.randn(20, 128, generator=random))
    mapped = teacher @ embedding_map(128, 512)
    torch.testing.assert_close(mapped @ mapped.T, teacher @ teacher.T, rtol=0, atol=1e-6)
    assert torch.equal(embedding_map(512, 512), torch.eye(512))
    with pytest.raises(ValueError, match="600 numbers"):
        embedding_map(600, 512)
    unknown = teacher.clone()
    unknown[3] = float("nan")
    student = (7 * mapped).requires_grad_()
    found = distillation(student, unknown.roll(1, 0))
    cosines = (teacher * teacher.roll(1, 0)).sum(1)
    expected = torch.where(torch.arange(20) == 4, 0, 1 - cosines)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), student)
    assert gradient.isfinite().all()
    assert not gradient[4].any()


def test_soft_expressions_cost_the_cross_entropy_and_unknown_ones_nothing() -> None:
    scores = torch.tensor([[1.0, 0.0], [0.5, 0.5], [float("nan")] * 2])
    found = soft_cross_entropy(torch.tensor([[0.0, 0.0], [3.0, 1.0], [9.0, 1.0]]), scores)
    torch.testing.assert_close(found, torch.tensor([np.log(2), np.log1p(np.exp(-2)) + 1, 0.0], dtype=torch.float32))


def test_a_training_learns_from_teachers_and_goes_on_exactly_with_its_average(tmp_path: Path) -> None:
    changes = {"optimiser": {"average": 0.9}, "run": {"checkpoint_steps": 3}}
    config, out = configured(tmp_path, **taught(tmp_path, **changes)), tmp_path / "run"
    assert train(config) == 0
    assert {"age", "distillation", "expression_distillation"} == set(losses(out))
    folder = out / "checkpoints" / "step-000000006"
    averaged, raw = load_file(folder / "averaged.safetensors"), weights(out, 6)
    assert load_own(folder / "averaged.safetensors")[1]["outputs"] == ["age", "expression", EMBEDDING]
    assert any(not torch.equal(tensor, averaged[name]) for name, tensor in raw.items())
    shutil.rmtree(folder)
    assert train(config, "--resume", "last") == 0
    again = load_file(folder / "averaged.safetensors")
    assert all(torch.equal(tensor, again[name]) for name, tensor in averaged.items())


def test_a_teacher_must_know_every_face_that_is_used(tmp_path: Path) -> None:
    base = taught(tmp_path)
    outputs = read(tmp_path / "ages.npz")
    write(tmp_path / "ages.npz", TeacherOutputs(outputs.names[:-2], "noise", outputs.embedding[:-2]))  # type: ignore[index]
    with pytest.raises(ConfigError, match=r"lacks 2 of 24 images, such as labelled/000022.*data embed"):
        open_plan(load_train_config(configured(tmp_path, **base), {}))
    (tmp_path / "ages.npz").unlink()
    with pytest.raises(InputError, match=r"no such file; `swinface data embed` writes it"):
        open_plan(load_train_config(configured(tmp_path, **base), {}))


def test_faces_that_are_held_out_cannot_be_learnt_through_a_teacher(tmp_path: Path) -> None:
    """The same file without the same `keep` is refused, although one set has a teacher and the other has none."""
    base = taught(tmp_path)
    base["sets"]["held"] = {**base["sets"]["ages"], "teacher": None}
    with pytest.raises(ConfigError, match="held validates with faces that ages trains on"):
        load_train_config(configured(tmp_path, **base, validate={"sets": ["held"]}), {})


def test_embeddings_are_those_of_the_network_for_the_kept_people_only(tmp_path: Path) -> None:
    draw_people(tmp_path / "people", persons=8, each=2)
    run = configured(
        tmp_path, streams={"one": stream("identity", "people"), "two": stream("expression", "moods")}, steps=1
    )
    assert train(run) == 0
    weights_file = tmp_path / "run" / "checkpoints" / "step-000000001" / "weights.safetensors"
    kept = {"format": "folders", "path": str(tmp_path / "people"), "split": {"part": "train", "share": 0.5}}
    sets = configured(tmp_path, "sets.yaml", sets={"some": kept})
    faces = open_set("some", load_sets(sets)["some"])
    assert 0 < len(faces) < 16
    out = tmp_path / "some.npz"
    options = ["--recogniser", str(weights_file), "--expressions", str(weights_file)]
    assert main(["data", "embed", str(sets), "--set", "some", *options, str(out)]) == 0
    outputs = read(out)
    assert outputs.names == [faces.images.name(row) for row in range(len(faces))]
    assert outputs.embedding is not None
    assert outputs.embedding.shape == (len(faces), 512)
    assert outputs.expression_scores is not None
    np.testing.assert_allclose(outputs.expression_scores.astype(np.float32).sum(1), 1, atol=0.01)
    assert main(["data", "embed", str(sets), "--set", "some", str(out)]) == 2
    assert main(["data", "embed", str(sets), "--set", "some", "--recogniser", "none.onnx", str(out)]) == 4


def test_an_embedding_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    draw_people(tmp_path / "people", persons=8, each=250)
    run = configured(tmp_path, streams={"one": stream("identity", "people")}, steps=1)
    assert train(run) == 0
    weights_file = tmp_path / "run" / "checkpoints" / "step-000000001" / "weights.safetensors"
    sets = configured(
        tmp_path, "sets.yaml", sets={"all": {"format": "folders", "path": str(tmp_path / "people")}}, streams={}
    )
    command = ["data", "embed", str(sets), "--set", "all", "--recogniser", str(weights_file)]
    out, other = tmp_path / "all.npz", tmp_path / "other.npz"
    progress = tmp_path / "all.npz.progress"
    with subprocess.Popen([*SWINFACE, *command, str(out)]) as process:
        until(lambda: progress.exists() and progress.stat().st_size > 200_000, "some batches")
        process.kill()
    assert not out.exists()
    with progress.open("ab") as file:
        file.write(b"\x93NUMPY\x01")  # a batch that was being written
    done = subprocess.run([*SWINFACE, *command, str(out)], capture_output=True, text=True, check=True, timeout=WAIT_S)
    assert "all: going on after " in done.stderr
    assert not progress.exists()
    assert main([*command, str(other)]) == 0
    assert out.read_bytes() == other.read_bytes()


def test_the_progress_with_another_teacher_is_of_no_use(tmp_path: Path) -> None:
    batch = [np.ones((2, 3), np.float32)]

    def interrupted(part: str) -> int:
        with progress_of(tmp_path / "a.npz", [part], 1) as done:
            found = len(done.batches)
            done.add(batch)
            raise InterruptedError(found)

    found = []
    for part in ("one", "one", "two", "two"):
        with pytest.raises(InterruptedError) as caught:
            interrupted(part)
        found.append(caught.value.args[0])
    assert found == [0, 1, 0, 1]
