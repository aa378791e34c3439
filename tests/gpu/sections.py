"""The sections of `make gpu`: what each measures, how long it may take, and what it needs."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOTAL_S = 460.0  # for all sections: eight minutes with the start of Python around them
WORKER = ("torch", "safetensors")


@dataclass(frozen=True, slots=True)
class Section:
    """A section is the module of its name in this folder, with `measure(run)` and `lines(figures)`."""

    name: str
    title: str
    limit_s: float  # on a GPU; after it the section is ended, and keeps the figures that it has
    packages: tuple[str, ...]  # to import, beside numpy
    needs_gpu: str = ""  # why it cannot run on a CPU; empty: it can


SECTIONS = (
    Section("machine", "Machine", 25, ("torch",)),
    Section("parity", "SwinFace: all 43 outputs", 50, (*WORKER, "cv2")),
    Section(
        "graphs", "CUDA graphs against single kernels", 40, WORKER, "CUDA graphs exist on GPUs only"
    ),
    Section("swinface", "SwinFace: faces per second", 70, WORKER),
    Section("detector", "Detector", 55, ("torch", "cv2", "onnxruntime", "pydantic")),
    Section("decoding", "Decoding", 35, ("av", "cv2", "pydantic")),
    Section("chain", "Decode, scale, detect and crop on the GPU", 40, ("torch", "av", "cv2", "pydantic")),
    Section("pipeline", "Whole pipeline with cameras", 100, ("torch", "av", "zmq", "grpc_health", "psutil")),
    Section("training", "Training step, NCCL", 45, (*WORKER, "cv2", "pydantic")),
)  # fmt: skip
BY_NAME = {section.name: section for section in SECTIONS}
