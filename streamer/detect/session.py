"""ONNX Runtime sessions, as every detector of the streamer opens them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceanalytics.errors import ModelError
from streamer.detect.offline import import_onnxruntime
from streamer.detect.ultralytics_pose import threads

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(path: Path, device: str) -> "InferenceSession":
    """Load an ONNX file on cpu or cuda:N. Raises ModelError; there is no fallback to another device."""
    onnxruntime = import_onnxruntime()
    state = onnxruntime.capi.onnxruntime_pybind11_state

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the decoders need the CPUs too
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ModelError(
                f"detect.device {device} is not usable for .onnx: onnxruntime has no CUDAExecutionProvider here,\n"
                f"only {', '.join(onnxruntime.get_available_providers())}. Install onnxruntime-gpu in its place."
            )
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(device.removeprefix("cuda:"))}))
    broken = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except broken as error:
        raise ModelError(f"{path} is not an ONNX model that can be run: {error}") from error
    if device != "cpu" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise ModelError(f"detect.device {device} is not usable: onnxruntime could not start CUDA on it")
    return session
