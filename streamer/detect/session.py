"""Open ONNX Runtime sessions, and decide how many CPU threads a detector gets."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceanalytics.errors import ModelError
from streamer.detect.finite import check_onnx
from streamer.detect.offline import import_onnxruntime

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MAX_THREADS = 8  # networks of this size gain nothing from more
SPIN_US = 50  # between two layers, threads wait this long without sleeping: waking them takes longer


def threads() -> int:
    """Return the number of threads for a network on the CPU."""
    return min(MAX_THREADS, len(os.sched_getaffinity(0)))


def open_session(path: Path, device: str, count: int | None = None) -> "InferenceSession":
    """Load an ONNX file on cpu or cuda:N. Raises ModelError; nothing falls back to another device.

    `count`: of CPU threads; None: `threads()`.
    """
    onnxruntime = import_onnxruntime()
    state = onnxruntime.capi.onnxruntime_pybind11_state

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = count or threads()
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))  # the decoders need the CPUs
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ModelError(
                f"detect.device {device} is not usable for .onnx: onnxruntime has no CUDAExecutionProvider here,\n"
                f"only {', '.join(onnxruntime.get_available_providers())}. Replace onnxruntime by onnxruntime-gpu,\n"
                "or for pose models exported by ultralytics install torch: pip install 'faceanalytics[worker]'"
            )
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(device.removeprefix("cuda:"))}))
    broken = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except broken as error:
        raise ModelError(f"{path} is not an ONNX model that onnxruntime can run: {error}") from error
    check_onnx(path)
    if device != "cpu" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise ModelError(
            f"detect.device {device} is not usable: onnxruntime could not start CUDA on it; check the driver"
        )
    return session
