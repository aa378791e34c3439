"""`swinface export`: the network as ONNX, run by ONNX Runtime."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from streamer.detect.offline import import_onnxruntime
from tests.conftest import ROOT
from tests.support.made_once import made_once
from workers import cli
from workers.cli import main
from workers.swinface import export
from workers.swinface.checkpoint import load, load_official, save_own, untrained
from workers.swinface.labels import OUTPUTS, TASKS

Arrays = dict[str, NDArray[np.float32]]
WIDTHS = [*(task.width for task in TASKS), 512]
LICENCE = "research only"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def weights(seeded_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own form, of weights that all matter."""

    def make(folder: Path) -> None:
        card = {"source": {"name": "seeded"}, "licence": LICENCE, "metrics": {}}
        save_own(load_official(seeded_file), folder / "seeded.safetensors", card)

    return made_once(tmp_path_factory, "own-form", make) / "seeded.safetensors"


@pytest.fixture(scope="module")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the command writes: the only export of these tests that is complete."""

    def make(folder: Path) -> None:
        out = folder / "swinface.onnx"
        assert main(["export", "--format", "onnx", "--weights", str(weights), str(out)]) == 0
        assert list(folder.iterdir()) == [out]

    return made_once(tmp_path_factory, "exported", make) / "swinface.onnx"


@pytest.fixture(scope="module")
def session(exported: Path) -> Any:
    options = import_onnxruntime().SessionOptions()
    options.intra_op_num_threads = 1
    return import_onnxruntime().InferenceSession(str(exported), options, providers=["CPUExecutionProvider"])


def noise(batch: int) -> NDArray[np.uint8]:
    return np.random.default_rng(batch).integers(0, 256, (batch, 112, 112, 3), np.uint8)


def run(session: Any, faces: NDArray[np.uint8]) -> Arrays:
    return dict(zip(OUTPUTS, session.run(None, {"faces": faces}), strict=True))


def test_the_file_is_valid_and_of_the_opset_that_help_names(exported: Path) -> None:
    onnx.checker.check_model(str(exported), full_check=True)
    model = onnx.load(exported, load_external_data=False)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", cli.OPSETS[-1])]


def test_inputs_and_outputs_have_names_types_and_shapes(session: Any) -> None:
    (faces,) = session.get_inputs()
    assert (faces.name, faces.type, faces.shape) == ("faces", "tensor(uint8)", ["batch", 112, 112, 3])
    outputs = session.get_outputs()
    assert tuple(output.name for output in outputs) == OUTPUTS
    assert [output.shape for output in outputs] == [["batch", width] for width in WIDTHS]
    assert {output.type for output in outputs} == {"tensor(float)"}


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_gives_what_torch_gives(batch: int, session: Any, weights: Path) -> None:
    faces = noise(batch)
    found = run(session, faces)
    with torch.inference_mode():
        expected = load(str(weights))[0](torch.from_numpy(faces))
    differences = {slug: float(np.abs(found[slug] - expected[slug].numpy()).max()) for slug in OUTPUTS}
    assert max(differences.values()) <= export.TOLERANCE, differences
    assert float(np.abs(found["recognition"]).max()) > 0.1  # or the agreement would say nothing


def test_the_metadata_say_what_it_is(session: Any, weights: Path) -> None:
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["model_id"] == load(str(weights))[1]
    assert metadata["heads"] == ",".join(OUTPUTS)
    assert metadata["licence"] == LICENCE
    assert "uint8 (batch, 112, 112, 3)" in metadata["input"]


def test_nothing_of_this_machine_is_in_the_file(exported: Path) -> None:
    model = onnx.load(exported)
    assert not [node.name for node in model.graph.node if node.metadata_props or node.doc_string]
    assert str(ROOT).encode() not in exported.read_bytes()


def test_heads_asked_for_are_outputs_in_the_order_of_all() -> None:
    model = untrained()
    chosen = export.ChosenHeads(model, ["recognition", "gender", "age"])
    assert chosen.heads == ("age", "gender", "recognition")
    faces = torch.from_numpy(noise(1))
    with torch.inference_mode():
        found, every = chosen(faces), model(faces)
    assert all(torch.equal(output, every[slug]) for output, slug in zip(found, chosen.heads, strict=True))


def test_a_file_of_other_numbers_is_seen(exported: Path) -> None:
    other = export.ChosenHeads(untrained(), OUTPUTS)
    assert export.largest_difference(exported, other) > export.TOLERANCE


@pytest.mark.parametrize("difference", [2e-4, float("nan")])
def test_a_network_that_differs_leaves_no_file(
    difference: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "swinface.onnx"
    out.write_text("older")
    monkeypatch.setattr(export, "_write", lambda chosen, path, opset, metadata: path.write_text("new"))
    monkeypatch.setattr(export, "largest_difference", lambda path, chosen: difference)
    assert main(["export", "--format", "onnx", "--weights", "untrained", str(out)]) == 4
    assert f"differs from torch by up to {difference:.2g}, more than 0.0001" in capsys.readouterr().err
    assert (out.read_text(), list(tmp_path.iterdir())) == ("older", [out])


def test_a_file_that_onnx_runtime_cannot_run_is_an_error_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = onnx.helper.make_node("Gelu", ["faces"], ["age"])  # there is no Gelu before opset 20
    faces, age = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("faces", "age"))
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "broken", [faces], [age]), opset_imports=[opset], ir_version=10
    )
    monkeypatch.setattr(export, "_write", lambda chosen, path, opset, metadata: onnx.save(model, path))
    assert main(["export", "--format", "onnx", "--weights", "untrained", str(tmp_path / "x.onnx")]) == 4
    assert "cannot run it, try a smaller --opset" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", "--format", "onnx", "--weights", "untrained", str(tmp_path / "x.onnx")]) == 2
    assert "onnxscript is not installed: pip install 'faceanalytics[export]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["x.pt"], 2, "must be a name ending in .onnx"),
        (["no/such/folder/x.onnx"], 2, "in a folder that exists"),
        (["x.onnx", "--heads", "beauty"], 2, "there is no output 'beauty'"),
        (["x.onnx", "--weights", "none.pt"], 4, "there is no such file"),
    ],
)
def test_what_cannot_be_exported_is_said_before_any_work(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--format", "onnx", "--weights", "untrained", *arguments]) == code
    assert message in capsys.readouterr().err
    assert not Path("x.onnx").exists()


@pytest.mark.parametrize("opset", ["17", "26", "new"])
def test_an_opset_that_cannot_be_written_is_a_usage_error(opset: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--format", "onnx", "--weights", "untrained", "x.onnx", "--opset", opset])
    assert "--opset" in capsys.readouterr().err
