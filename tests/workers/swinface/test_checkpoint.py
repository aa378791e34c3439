"""Weights from files: what is loaded where, and what is refused with which words."""

import json
import logging
import os
import pickle
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.support.swinface_files import Checkpoint, hollow_checkpoint, published_shapes, save, save_small
from workers.cli import main
from workers.swinface.card import card_path
from workers.swinface.checkpoint import load, load_official, load_own, save_own, sha256, untrained
from workers.swinface.labels import TASKS
from workers.swinface.model import SwinFace, SwinFaceConfig
from workers.swinface.state import CheckpointError


@pytest.fixture(scope="module")
def official(seeded: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save({"global_step": 79999, **seeded}, tmp_path_factory.mktemp("official") / "checkpoint.pt")


@pytest.fixture(scope="module")
def model(official: Path) -> SwinFace:
    return load_official(official)


def test_the_published_layout_has_473_tensors() -> None:
    counts = {part: len(shapes) for part, shapes in published_shapes().items()}
    assert counts == {"backbone": 202, "fam": 143, "tss": 44, "om": 84}


@pytest.mark.shared
def test_our_description_of_the_published_layout_is_right(shared: Path) -> None:
    parts = json.loads((shared / "parity" / "swinface_keys.json").read_text())["parts"]
    published = {part: {entry["name"]: tuple(entry["shape"]) for entry in entries} for part, entries in parts.items()}
    assert published_shapes() == published


def test_every_head_gets_its_own_weights(model: SwinFace, seeded: Checkpoint) -> None:
    ours, published = model.state_dict(), seeded["state_dict_om"]
    for task in TASKS:
        assert torch.equal(ours[f"heads.{task.slug}.weight"], published[f"output_fcs.{task.head}.weight"])


def test_the_tensors_of_the_eleven_subnets_lie_one_below_the_other(model: SwinFace, seeded: Checkpoint) -> None:
    ours, fam, tss = model.state_dict(), seeded["state_dict_fam"], seeded["state_dict_tss"]
    assert torch.equal(ours["fam.convs.1.weight"][93 * 4 : 93 * 5], fam["nets.4.conv.convs.1.weight"])
    assert torch.equal(ours["fam.gate.2.bias"][512 * 10 :], fam["nets.10.channel_attention.mlp.3.bias"])
    assert torch.equal(ours["tss.3.weight"][:512], tss["nets.0.feature.3.weight"])


def test_the_id_of_the_weights_follows_from_the_file(official: Path) -> None:
    loaded, model_id = load(str(official))
    assert model_id == f"swinface-{sha256(official)[:12]}"
    assert not loaded.training


def test_prefixes_of_data_parallel_training_do_not_matter(tmp_path: Path) -> None:
    hollow = {part: {f"module.{name}": t for name, t in state.items()} for part, state in hollow_checkpoint().items()}
    loaded = load_official(save(hollow, tmp_path / "prefixed.pt"))
    assert float(loaded.state_dict()["backbone.norm.weight"].abs().max()) == 0


def test_what_is_no_weight_may_be_absent(tmp_path: Path) -> None:
    hollow = hollow_checkpoint()
    for name in ("head.weight", "head.bias", "layers.0.blocks.1.attn_mask"):
        del hollow["state_dict_backbone"][name]
    assert isinstance(load_official(save(hollow, tmp_path / "lean.pt")), SwinFace)


def test_an_optimizer_beside_the_weights_does_not_matter(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.ones(3)
    optimizer = torch.optim.AdamW([parameter])
    optimizer.step()
    full = {
        **hollow_checkpoint(),
        "epoch": 1,
        "state_optimizer": optimizer.state_dict(),
        "state_lr_scheduler": {"t": 1.0},
    }
    assert isinstance(load_official(save(full, tmp_path / "full.pt")), SwinFace)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda number, name: f"_orig_mod.{name}",
        lambda number, name: f"module._orig_mod.{name}",
        lambda number, name: f"_orig_mod.module.{name}" if number % 2 else name,
        lambda number, name: name.replace(".", "._orig_mod.", 1),
    ],
    ids=["compiled", "both", "mixed", "a part"],
)
def test_prefixes_of_wrappers_do_not_matter(
    wrapped: Callable[[int, str], str], seeded: Checkpoint, official: Path, tmp_path: Path
) -> None:
    content = {
        part: {wrapped(number, name): tensor for number, (name, tensor) in enumerate(state.items())}
        for part, state in seeded.items()
    }
    plain, loaded = load_official(official).state_dict(), load_official(save(content, tmp_path / "wrapped.pt"))
    assert all(torch.equal(tensor, plain[name]) for name, tensor in loaded.state_dict().items())
    own = save_small(tmp_path / "own.safetensors", "age")
    expected = load_own(own)[0].state_dict()
    rewrite(own, {wrapped(number, name): tensor for number, (name, tensor) in enumerate(load_file(own).items())})
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load_own(own)[0].state_dict().items())


def test_a_tensor_with_and_without_a_prefix_is_refused(tmp_path: Path) -> None:
    hollow = hollow_checkpoint()
    hollow["state_dict_backbone"]["module.norm.weight"] = hollow["state_dict_backbone"]["norm.weight"]
    with pytest.raises(CheckpointError, match=r"holds backbone\.norm\.weight twice"):
        load_official(save(hollow, tmp_path / "twice.pt"))


def rewrite(path: Path, state: dict[str, torch.Tensor], **card: object) -> Path:
    """Replace the tensors of our own form, and values of its card."""
    save_file(state, path)
    old = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps({**old, **card, "sha256": sha256(path)}))
    return path


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("half", [False, True])
def test_weights_with_nan_or_infinity_are_refused_by_name(number: float, half: bool, tmp_path: Path) -> None:
    path = save_small(tmp_path / "own.safetensors", "age", "expression")
    state = {name: tensor.half() if half and tensor.dim() > 1 else tensor for name, tensor in load_file(path).items()}
    state["heads.age.weight"][0, 3:5] = number
    rewrite(path, state)
    with pytest.raises(CheckpointError, match=r"NaN or infinity in 1 tensors:\n  heads\.age\.weight: 2 of \d+ numbers"):
        load(str(path))
    hollow = hollow_checkpoint()
    hollow["state_dict_om"]["output_fcs.2.bias"] = torch.tensor([0.0, number])
    hollow["state_dict_backbone"]["head.bias"] = torch.full((512,), number)  # which this network does not need
    with pytest.raises(CheckpointError, match=r"infinity in 1 tensors:\n  om\.output_fcs\.2\.bias: 1 of 2 numbers"):
        load_official(save(hollow, tmp_path / "spoilt.pt"))


def test_every_command_refuses_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_small(tmp_path / "own.safetensors", "age", "expression")
    state = load_file(path)
    state["heads.age.bias"][0] = float("nan")
    rewrite(path, state)
    Image.new("RGB", (112, 112)).save(tmp_path / "face.png")
    for command in (
        ["infer", "--weights", str(path), str(tmp_path / "face.png")],
        ["export", "--format", "onnx", "--weights", str(path), str(tmp_path / "out.onnx")],
        ["convert", str(path), str(tmp_path / "out.safetensors")],
        ["worker", "--weights", str(path), "--connect", f"ipc://{tmp_path}/w"],
    ):
        assert main(command) == 4, command
        assert "NaN or infinity in 1 tensors:\n  heads.age.bias: 1 of 1 numbers" in capsys.readouterr().err


def test_missing_and_unexpected_tensors_are_shown_side_by_side(tmp_path: Path) -> None:
    path = save_small(tmp_path / "own.safetensors", "age")
    rewrite(path, {name.replace("backbone", "trunk"): tensor for name, tensor in load_file(path).items()})
    with pytest.raises(CheckpointError) as caught:
        load_own(path)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert "missing: backbone.patch_embed.proj.weight" in lines
    assert sum(line.startswith("unexpected: trunk.") for line in lines) == 10
    assert "and" in [line.split()[0] for line in lines]
    assert len(lines) < 30


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"source": 5}, "source is 5, expected an object or text"),
        ({"licence": ["none"]}, r'licence is \["none"\], expected text'),
        ({"metrics": "good"}, 'metrics is "good", expected an object'),
        ({"outputs": "age"}, 'outputs is "age", expected a list'),
        ({"config": []}, r"config is \[\], expected an object"),
    ],
)
def test_a_card_with_the_wrong_kind_of_value_is_refused(wrong: dict[str, object], message: str, tmp_path: Path) -> None:
    path = save_small(tmp_path / "own.safetensors", "age")
    with pytest.raises(CheckpointError, match=rf"own\.json: {message}"):
        load(str(rewrite(path, load_file(path), **wrong)))


def test_a_card_with_a_text_as_source_can_be_converted(tmp_path: Path) -> None:
    path = save_small(tmp_path / "own.safetensors", "age")  # its source is the text "tests"
    assert main(["convert", str(path), str(tmp_path / "a.safetensors")]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["source"] == {"name": "tests"}
    card = json.loads(card_path(path).read_text())
    for key in ("source", "licence", "metrics"):
        del card[key]
    card_path(path).write_text(json.dumps(card))
    assert main(["convert", str(path), str(tmp_path / "b.safetensors")]) == 0
    assert json.loads((tmp_path / "b.json").read_text())["licence"] == "not stated"


def _without_a_key(hollow: Checkpoint) -> None:
    del hollow["state_dict_fam"]["nets.7.norm.bias"]


def _with_a_strange_key(hollow: Checkpoint) -> None:
    hollow["state_dict_om"]["output_fcs.42.bias"] = torch.zeros(2)


def _with_a_wrong_shape(hollow: Checkpoint) -> None:
    hollow["state_dict_backbone"]["norm.weight"] = torch.zeros(512)


def _without_a_part(hollow: Checkpoint) -> None:
    del hollow["state_dict_tss"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_a_key, r"missing: fam\.nets\.7\.norm\.bias"),
        (_with_a_strange_key, r"unexpected: om\.output_fcs\.42\.bias"),
        (_with_a_wrong_shape, r"wrong shape: backbone\.norm\.weight is \(512,\), expected \(768,\)"),
        (_without_a_part, "has no state_dict_tss"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_with_the_names(
    spoil: Callable[[Checkpoint], None], message: str, tmp_path: Path
) -> None:
    hollow = hollow_checkpoint()
    spoil(hollow)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_official(save(hollow, tmp_path / "spoilt.pt"))
    assert caught.value.exit_code == 4


def test_an_entry_that_is_not_a_tensor_is_refused(tmp_path: Path) -> None:
    content: dict[str, dict[str, object]] = {part: dict(state) for part, state in hollow_checkpoint().items()}
    content["state_dict_om"]["output_fcs.0.bias"] = [0.0, 0.0]
    with pytest.raises(CheckpointError, match=r"om\.output_fcs\.0\.bias is a list, expected a tensor"):
        load_official(save(content, tmp_path / "list.pt"))


class _Code:
    """What a malicious pickle does: it names a function to be called when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    content = {"state_dict_backbone": _Code(tmp_path / "owned")}
    save(content, tmp_path / "torch.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=r"it holds \w+\.mkdir, which is refused"):
        load(str(tmp_path / "torch.pt"))
    with pytest.raises(CheckpointError, match="is not a PyTorch checkpoint, or is damaged"):
        load(str(tmp_path / "plain.pt"))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "content", [b"", b"these are no weights\n" * 50, b"PK\x03\x04 no zip either", bytes(range(256)) * 9, b"\x80\x04]."]
)
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        load(str(path))


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = save(hollow_checkpoint(), tmp_path / "weights.pt")
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(CheckpointError, match="damaged"):
            load(str(path))


def test_a_missing_file_is_refused_with_the_way_to_get_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no such file\. `swinface weights list` .* untrained"):
        load(str(tmp_path / "none.pt"))


def test_untrained_weights_warn_and_are_the_same_each_time(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        first, model_id = load("untrained")
    assert model_id == "untrained"
    assert "UNTRAINED" in caplog.text
    before = torch.random.get_rng_state()
    second = untrained().state_dict()
    assert torch.equal(torch.random.get_rng_state(), before), "the random numbers of the caller go on as they were"
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.state_dict().items())


def test_our_own_form_brings_back_the_same_weights_and_card(model: SwinFace, tmp_path: Path) -> None:
    path = tmp_path / "swinface.safetensors"
    save_own(model, path, {"source": "a test", "licence": "none", "metrics": {"lfw": 0.5}})
    loaded, card = load_own(path)
    ours = model.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in loaded.state_dict().items())
    assert (card["source"], card["licence"], card["sha256"]) == ({"name": "a test"}, "none", sha256(path))
    assert card["metrics"] == {"lfw": 0.5}
    with pytest.raises(ValueError, match="lacks licence, metrics"):
        save_own(model, path, {"source": "a test"})
    assert load(str(path))[1] == f"swinface-{card['sha256'][:12]}"
    assert not list(tmp_path.glob("*.partial"))
    _spoil(path)
    with pytest.raises(CheckpointError, match="does not belong to its card"):
        load(str(path))


def _spoil(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\1\2\3\4")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "cannot read the card"),
        ("no json", "cannot read the card"),
        ("[]", "is not a card of weights"),
        ('{"schema": 2, "config": {}, "sha256": ""}', "schema 2"),
        ('{"schema": 1, "config": {}, "sha256": "0"}', "sha256 differ"),
        ('{"schema": 1, "config": {}, "sha256": "SHA"}', "is not a safetensors file"),
    ],
)
def test_our_own_form_with_a_wrong_card_or_content_is_refused(card: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "swinface.safetensors"
    path.write_bytes(b"no weights")
    if card is not None:
        card_path(path).write_text(card.replace("SHA", sha256(path)))
    with pytest.raises(CheckpointError, match=message):
        load(str(path))


def test_our_own_form_that_does_not_fit_is_refused_with_the_names(model: SwinFace, tmp_path: Path) -> None:
    path = tmp_path / "swinface.safetensors"
    save_own(model, path, {"source": "a test", "licence": "none", "metrics": {}})
    state = load_file(path)
    state["heads.age.weight"] = torch.zeros(2, 512)
    state["heads.shoe_size.bias"] = state.pop("backbone.norm.bias")
    save_file(state, path)
    card = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps({**card, "sha256": sha256(path)}))
    with pytest.raises(CheckpointError) as caught:
        load(str(path))
    problems = str(caught.value).splitlines()[1:]
    assert [problem.strip() for problem in problems] == [
        "missing: backbone.norm.bias",
        "unexpected: heads.shoe_size.bias",
        "wrong shape: heads.age.weight is (2, 512), expected (1, 512)",
    ]


def test_the_card_holds_the_whole_configuration(model: SwinFace, tmp_path: Path) -> None:
    path = tmp_path / "swinface.safetensors"
    save_own(model, path, {"source": "a test", "licence": "none", "metrics": {}})
    described = json.loads(card_path(path).read_text())["config"]
    assert described == json.loads(json.dumps(asdict(SwinFaceConfig())))


@torch.inference_mode()
def test_a_converted_checkpoint_gives_the_numbers_of_the_official_one(official: Path, tmp_path: Path) -> None:
    out = tmp_path / "swinface.safetensors"
    assert main(["convert", str(official), str(out)]) == 0
    faces = torch.randint(0, 256, (2, 112, 112, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    expected, found = load(str(official))[0](faces), load(str(out))[0](faces)
    assert all(torch.equal(found[slug], output) for slug, output in expected.items())
