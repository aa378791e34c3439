"""Teacher networks, recognisers and classifiers of expressions, run by torch on any device."""

# mypy: disable-error-code=no-any-return
# (calling a module gives Any)

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from faceanalytics.errors import ConfigError, ModelError
from workers.research.data.param_file import ParamNetwork
from workers.swinface.checkpoint import chosen_heads, load
from workers.swinface.labels import EMBEDDING
from workers.swinface.model import reduced

Kind = Literal["recogniser", "expressions"]
FORMS = {
    "recogniser": "SwinFace's own .safetensors or .pt, or a .param of ncnn beside its .bin; for `swinface data embed` "
    "an .onnx, too",
    "expressions": "SwinFace's own .safetensors or .pt, or the .hdf5 of mini-XCEPTION",
}


class TeacherNetwork(nn.Module):
    """Maps faces (n, 112, 112, 3) RGB 0..255 to embeddings (n, width) of any length, or to probabilities (n, 7)."""

    def __init__(self, kind: Kind, network: nn.Module, own: bool) -> None:
        """Wrap a network; `own`: it is a SwinFace."""
        super().__init__()
        self._kind, self._network, self._own = kind, network, own
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, faces: Tensor) -> Tensor:
        if not self._own:
            return self._network(faces.permute(0, 3, 1, 2).float())
        if self._kind == "recogniser":
            return self._network(faces)[EMBEDDING]
        return self._network(faces)["expression"].softmax(1)


def open_teacher(kind: Kind, path: Path) -> TeacherNetwork:
    """Open a teacher by its suffix. Raises ModelError for unusable weights, ConfigError for an unknown suffix."""
    if not path.is_file():
        raise ModelError(f"no teacher ({kind}) at {path}: there is no such file")
    if path.suffix in {".safetensors", ".pt"}:
        model, _ = load(str(path))
        slug = EMBEDDING if kind == "recogniser" else "expression"
        return TeacherNetwork(kind, reduced(model, chosen_heads(str(path), model, [slug])), own=True)
    if kind == "recogniser" and path.suffix == ".param":
        return TeacherNetwork(kind, ParamNetwork(path), own=False)
    if kind == "expressions" and path.suffix == ".hdf5":
        from workers.research.data.mini_xception import MiniXception

        return TeacherNetwork(kind, MiniXception(path), own=False)
    raise ConfigError(f"{path}: a teacher ({kind}) is {FORMS[kind]}")
