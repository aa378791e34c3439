"""Export SwinFace to ONNX: `swinface export`."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faceanalytics.errors import ConfigError, ModelError
from faceanalytics.extras import require
from faceanalytics.files import replacing
from workers.swinface.card import card_path
from workers.swinface.checkpoint import chosen_heads, load
from workers.swinface.labels import OUTPUTS
from workers.swinface.model import SwinFace, reduced

TOLERANCE = 1e-4  # largest allowed difference from torch
CHECKED_BATCHES = (1, 3)
INPUT = "faces"
INPUT_DESCRIPTION = "faces: uint8 (batch, 112, 112, 3), aligned faces in RGB, 0..255, without any normalisation"
OUTPUT_DESCRIPTION = (
    "age (batch, 1): years; expression (batch, 7) and attributes (batch, 2: no, yes): logits; "
    "recognition (batch, 512): embedding, not normalised"
)


class ChosenHeads(nn.Module):
    """SwinFace with some of its outputs, as a tuple."""

    def __init__(self, model: SwinFace, heads: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.heads = tuple(slug for slug in OUTPUTS if slug in heads)

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(faces)
        return tuple(outputs[slug] for slug in self.heads)


def export_onnx(weights: str, out: Path, heads: Sequence[str] | None, opset: int) -> tuple[tuple[str, ...], float]:
    """Write the network as ONNX and check it against torch; return its outputs and their largest difference.

    `heads`: slugs, None for all that the weights were trained for. Raises ConfigError if the file cannot be written,
    ModelError if its results differ from torch's.
    """
    _check_out(out)
    _prepare()
    model, model_id = load(weights)
    written = chosen_heads(weights, model, heads)
    chosen = ChosenHeads(model, written).eval()
    small = ChosenHeads(reduced(model, written), written).eval()  # without weights that these heads do not need
    with replacing(out) as partial:
        _write(small, partial, opset, _metadata(weights, model_id, written))
        difference = largest_difference(partial, chosen)
        if not difference <= TOLERANCE:  # also true for NaN
            raise ModelError(
                f"the exported network differs from torch by up to {difference:.2g}, more than {TOLERANCE:g}: "
                f"{out} was not written. Try another --opset, or other versions of torch and onnxruntime"
            )
    return written, difference


def largest_difference(path: Path, chosen: ChosenHeads) -> float:
    """Return the largest difference of ONNX Runtime from torch on the CPU for batches of noise. Raises ModelError."""
    session = _open_session(path)
    noise = np.random.default_rng(0)
    return max(
        _difference(session, chosen, noise.integers(0, 256, (batch, 112, 112, 3), np.uint8))
        for batch in CHECKED_BATCHES
    )


def _open_session(path: Path) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (state.Fail, state.InvalidGraph, state.NotImplemented) as error:
        version = onnxruntime.__version__
        raise ModelError(f"ONNX Runtime {version} cannot run it, try a smaller --opset: {error}") from error


def _difference(session: Any, chosen: ChosenHeads, faces: NDArray[np.uint8]) -> float:
    with torch.inference_mode():
        expected = [output.numpy() for output in chosen(torch.from_numpy(faces))]
    found = session.run(list(chosen.heads), {INPUT: faces})
    return float(np.max([np.abs(a - b).max() for a, b in zip(found, expected, strict=True)]))


def _check_out(out: Path) -> None:
    if out.suffix != ".onnx" or not out.parent.is_dir():
        raise ConfigError(f"{out}: must be a name ending in .onnx, in a folder that exists")


def _prepare() -> None:
    """Turn off ONNX Runtime's telemetry. Raises ConfigError if a package is missing."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is imported
    require("export", "onnx", "onnxscript", use="ONNX files are written with other packages")


def _write(chosen: ChosenHeads, path: Path, opset: int, metadata: dict[str, str]) -> None:
    """Write one file that includes the weights. Raises ModelError if it cannot be written for this opset."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    faces = torch.zeros((2, 112, 112, 3), dtype=torch.uint8)
    with torch.no_grad():
        program = torch.onnx.export(
            chosen,
            (faces,),
            input_names=[INPUT],
            output_names=list(chosen.heads),
            opset_version=opset,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
    assert program is not None
    if program.model.opset_imports[""] != opset:  # the exporter keeps its own when it cannot convert
        raise ModelError(f"the installed onnxscript cannot write opset {opset}: choose another with --opset")
    ClearMetadataAndDocStringPass()(program.model)  # source lines and paths of this machine
    program.model.metadata_props.update(metadata)
    program.save(path, external_data=False)


def _metadata(weights: str, model_id: str, heads: Sequence[str]) -> dict[str, str]:
    metadata = {
        "model_id": model_id,
        "heads": ",".join(heads),
        "input": INPUT_DESCRIPTION,
        "outputs": OUTPUT_DESCRIPTION,
    }
    if weights.endswith(".safetensors"):
        metadata["licence"] = str(json.loads(card_path(Path(weights)).read_text()).get("licence", "not stated"))
    return metadata
