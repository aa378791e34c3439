"""Load and save weights: the published checkpoint, and our own form, safetensors with a JSON card beside it."""

import hashlib
import json
import logging
import os
import pickle
import re
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from faceanalytics.errors import ConfigError
from faceanalytics.files import complete_or_absent
from workers.swinface.card import SCHEMA, card_path, read_card
from workers.swinface.labels import OUTPUTS, SUBNETS, TASKS
from workers.swinface.model import SwinFace, SwinFaceConfig, output_slugs
from workers.swinface.state import CheckpointError, check_finite, compare, unwrapped

log = logging.getLogger(__name__)

UNTRAINED = "untrained"  # instead of a path: random weights, for tests without real ones
IMPOSTOR_SCORES = "impostor_scores"  # key of the card
HOW_TO_GET = (
    "`swinface weights list` shows the names that --weights takes, such as swinface-official, the published "
    f"checkpoint, and where to get them. --weights {UNTRAINED} is for tests only."
)
PARTS = ("backbone", "fam", "tss", "om")  # state_dict_<part> in the published file

# Ours -> published. A name with {i} stands for eleven tensors, one per subnet; ours is their concatenation.
RENAMED = {
    "fam.convs.0.weight": "fam.nets.{i}.conv.convs.0.weight",
    "fam.convs.1.weight": "fam.nets.{i}.conv.convs.1.weight",
    "fam.convs.2.weight": "fam.nets.{i}.conv.convs.2.weight",
    "fam.convs.3.weight": "fam.nets.{i}.conv.convs.3.weight",
    "fam.gate.0.weight": "fam.nets.{i}.channel_attention.mlp.1.weight",
    "fam.gate.0.bias": "fam.nets.{i}.channel_attention.mlp.1.bias",
    "fam.gate.2.weight": "fam.nets.{i}.channel_attention.mlp.3.weight",
    "fam.gate.2.bias": "fam.nets.{i}.channel_attention.mlp.3.bias",
    "fam.norm.weight": "fam.nets.{i}.norm.weight",
    "fam.norm.bias": "fam.nets.{i}.norm.bias",
    "fam.norm.running_mean": "fam.nets.{i}.norm.running_mean",
    "fam.norm.running_var": "fam.nets.{i}.norm.running_var",
    "fam.norm.num_batches_tracked": "fam.nets.0.norm.num_batches_tracked",  # the same in all eleven
    "tss.0.weight": "tss.nets.{i}.feature.0.weight",
    "tss.0.bias": "tss.nets.{i}.feature.0.bias",
    "tss.3.weight": "tss.nets.{i}.feature.3.weight",
    "tss.3.bias": "tss.nets.{i}.feature.3.bias",
    **{f"heads.{task.slug}.weight": f"om.output_fcs.{task.head}.weight" for task in TASKS},
    **{f"heads.{task.slug}.bias": f"om.output_fcs.{task.head}.bias" for task in TASKS},
}  # all other names, backbone.*, are the published ones

# Published tensors that this network does not need: an unused head, constants, counters (see RENAMED).
IGNORED = re.compile(
    r"backbone\.head\.(weight|bias)"
    r"|backbone\.layers\.\d+\.blocks\.\d+\.(attn_mask|attn\.relative_position_index)"
    r"|fam\.nets\.([1-9]|10)\.norm\.num_batches_tracked"
)

# Errors that torch.load raises for files that are not checkpoints: which one depends on the bytes.
_NOT_A_CHECKPOINT = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ImportError,
    OverflowError,
    MemoryError,
    OSError,
    struct.error,
)


def load(weights: str) -> tuple[SwinFace, str]:
    """Load the network for inference, and the id of its weights. Raises CheckpointError.

    `weights`: path of a published checkpoint or of our own form (.safetensors), or "untrained".
    """
    if weights == UNTRAINED:
        log.warning("SwinFace is UNTRAINED: its weights are random, so ages, expressions and identities mean nothing")
        return untrained(), UNTRAINED
    path = Path(weights)
    if path.suffix == ".safetensors":
        model, card = load_own(path)
        return model, model_id(card["sha256"])
    return load_official(path), model_id(sha256(path))


def licence(weights: str) -> str:
    """Return the licence from the card of the weights, empty if there is none. Raises CheckpointError."""
    path = Path(weights)
    if weights == UNTRAINED or path.suffix != ".safetensors":
        return ""
    return str(read_card(card_path(path)).get("licence", ""))


def impostor_scores(weights: str) -> dict[str, Any] | None:
    """Return how similar strangers are for these weights, from their card; None if it was not measured.

    See evaluate/impostors.py. Raises CheckpointError for an invalid table.
    """
    path = Path(weights)
    if weights == UNTRAINED or path.suffix != ".safetensors":
        return None
    table = read_card(card_path(path)).get(IMPOSTOR_SCORES)
    if table is None:
        return None
    wanted = {"pairs": int, "people": int, "source": str, "shares": list, "cosines": list}
    if not isinstance(table, dict) or any(not isinstance(table.get(key), kind) for key, kind in wanted.items()):
        raise CheckpointError(f"{card_path(path)}: {IMPOSTOR_SCORES} must have {', '.join(wanted)}")
    return {key: table[key] for key in wanted}


def chosen_heads(weights: str, model: SwinFace, heads: Sequence[str] | None) -> tuple[str, ...]:
    """Return the slugs of `heads` in the order of labels.OUTPUTS; None: all that the network has.

    Raises ConfigError for unknown names, CheckpointError for outputs that the weights were not trained for.
    """
    available = output_slugs(model)
    if heads is None:
        return available
    if not heads:
        raise ConfigError(f"no heads to compute: known are {', '.join(OUTPUTS)}")
    if unknown := sorted(set(heads) - set(OUTPUTS)):
        raise ConfigError(f"unknown heads {', '.join(unknown)}: known are {', '.join(OUTPUTS)}")
    if absent := [slug for slug in OUTPUTS if slug in heads and slug not in available]:
        raise CheckpointError(f"{weights} was not trained for {', '.join(absent)}. It has {', '.join(available)}")
    return tuple(slug for slug in OUTPUTS if slug in heads)


def untrained(seed: int = 0) -> SwinFace:
    """Return the network with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SwinFace(SwinFaceConfig()).eval()


def load_official(path: Path) -> SwinFace:
    """Load the network from a published checkpoint. Raises CheckpointError."""
    _check_readable(path)
    published = _published_tensors(_read_pickle(path), path)
    model = _without_weights(SwinFaceConfig())
    expected = {name: shape for ours, tensor in model.state_dict().items() for name, shape in _published(ours, tensor)}
    used = {name: tensor for name, tensor in published.items() if not IGNORED.fullmatch(name)}
    compare(path, {name: tuple(tensor.shape) for name, tensor in used.items()}, expected)
    check_finite(path, used)
    return _assign(
        model,
        {
            ours: _join([published[name] for name, _ in _published(ours, tensor)])
            for ours, tensor in model.state_dict().items()
        },
    )


def save_own(model: SwinFace, path: Path, card: Mapping[str, Any], half: bool = False) -> None:
    """Write `path` (.safetensors) and its card (.json); `card` must have `source`, `licence` and `metrics`.

    `metrics`: results of these weights by benchmark, possibly empty. `half`: store matrices in fp16, biases and
    statistics unchanged; `load_own` returns fp32. Raises ValueError for numbers too large for fp16, OSError if the disk
    fails.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} must end in .safetensors")
    if absent := {"source", "licence", "metrics"} - set(card):
        raise ValueError(f"the card lacks {', '.join(sorted(absent))}")
    tensors = {name: _stored(name, tensor, half).contiguous() for name, tensor in model.state_dict().items()}
    described = {"config": asdict(model.config), "outputs": output_slugs(model)}
    with complete_or_absent(path) as weights, complete_or_absent(card_path(path)) as described_in:
        weights.write_bytes(serialise(tensors))  # not save_file: only the owner may read the file it writes
        full = {"schema": SCHEMA, **card, "sha256": sha256(weights), **described}
        described_in.write_text(json.dumps(full, indent=2) + "\n")


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    if not half or tensor.dim() < 2:
        return tensor
    small = tensor.half()
    if not small.isfinite().all():
        raise ValueError(f"{name} has numbers that are too large for fp16")
    return small


def load_own(path: Path) -> tuple[SwinFace, dict[str, Any]]:
    """Load the network and the card from our own form. Raises CheckpointError."""
    _check_readable(path)
    card = read_card(card_path(path))
    if card["sha256"] != sha256(path):
        raise CheckpointError(f"{path} does not belong to its card {card_path(path).name}: their sha256 differ")
    try:
        state = unwrapped(path, load_file(path).items())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error
    model = _described(card["config"], card.get("outputs", OUTPUTS), path)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    compare(path, {name: tuple(tensor.shape) for name, tensor in state.items()}, expected)
    check_finite(path, state)
    return _assign(model, state), card


def model_id(sha: str) -> str:
    """Return the id of weights in results; it changes whenever their file does."""
    return f"swinface-{sha[:12]}"


def sha256(path: Path) -> str:
    """Return the checksum of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _published(ours: str, tensor: Tensor) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and shape of the published tensors that make up one of ours."""
    name, shape = RENAMED.get(ours, ours), tuple(tensor.shape)
    if "{i}" not in name:
        return [(name, shape)]
    return [(name.format(i=index), (shape[0] // SUBNETS, *shape[1:])) for index in range(SUBNETS)]


def _join(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0]


def _assign(model: SwinFace, state: Mapping[str, Tensor]) -> SwinFace:
    """Put the weights into the network in its own precision, whatever they were stored in."""
    wanted = model.state_dict()
    model.load_state_dict({n: t.to(wanted[n].dtype).contiguous() for n, t in state.items()}, assign=True)
    return model


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}: there is no such file. {HOW_TO_GET}")
    if not os.access(path, os.R_OK):
        raise CheckpointError(f"no permission to read the weights {path}")


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # guesses about the file; the outcome decides
            return torch.load(path, map_location="cpu", weights_only=True)
    except _NOT_A_CHECKPOINT as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds {foreign[1]}, which is refused" if foreign else type(error).__name__
        raise CheckpointError(f"{path} is not a PyTorch checkpoint, or is damaged ({reason}). {HOW_TO_GET}") from error


def _published_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Return all tensors of the four parts as `part.name`. Raises CheckpointError for another kind of file."""
    parts = [f"state_dict_{part}" for part in PARTS]
    absent = [part for part in parts if not isinstance(content, dict) or not isinstance(content.get(part), dict)]
    if absent:
        raise CheckpointError(f"{path} is not a SwinFace checkpoint: it has no {', '.join(absent)}. {HOW_TO_GET}")
    return unwrapped(
        path, ((f"{part}.{name}", tensor) for part in PARTS for name, tensor in content[f"state_dict_{part}"].items())
    )


def _described(config: Any, outputs: Any, path: Path) -> SwinFace:
    """Build the network that a card describes, with only the outputs that were trained."""
    if not isinstance(outputs, list | tuple) or not outputs or not set(outputs) <= set(OUTPUTS):
        raise CheckpointError(f"{card_path(path)}: its outputs are {outputs!r}, expected names of {', '.join(OUTPUTS)}")
    try:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in config.items()
        }
        return _without_weights(SwinFaceConfig(**values), outputs)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"{card_path(path)}: invalid config: {error}") from error


def _without_weights(config: SwinFaceConfig, outputs: Sequence[str] = OUTPUTS) -> SwinFace:
    """Build the network for inference on the meta device: its weights are still to be assigned."""
    with torch.device("meta"):
        return SwinFace(config, outputs).eval()
