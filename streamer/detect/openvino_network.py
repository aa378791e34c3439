"""Compute the network of a detector in bf16 or int8 on a CPU, with OpenVINO.

It is compiled for each size of image: with open sizes OpenVINO 2026.4 takes longer, and computes int8 wrongly.
"""

import logging
from collections import OrderedDict
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, Literal

import numpy as np

from faceanalytics.errors import ModelError
from faceanalytics.extras import require
from streamer.detect.offline import import_openvino
from streamer.detect.session import threads
from streamer.values import Bytes, Floats

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # int8: of the layers that the file does not quantise
VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}  # without them, sums of products of int8 overflow, and take longer
MOST = 32  # networks in memory, at most about 20 MB each

log = logging.getLogger(__name__)


class OpenVinoNetwork:
    """An ONNX file computed in bf16 or, if it is quantised, in int8.

    Raises MissingPackage, and ModelError if the CPU or the file is not for this precision: there is no fallback.
    """

    by_size = True

    def __init__(self, path: Path, precision: Literal["fp32", "bf16", "int8"]) -> None:
        require("openvino", "openvino", use=f"detect.precision {precision}")
        self._openvino = import_openvino()
        self._core = self._openvino.Core()
        self._path, self._precision = path, precision
        self._compiled: OrderedDict[tuple[int, int, int], _Compiled] = OrderedDict()
        self._compiling = Lock()
        self.lanes = threads()
        capabilities: list[str] = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision.upper() not in capabilities or (precision == "int8" and not multiplies_int8()):
            raise ModelError(f"this CPU does not compute in {precision}: set detect.precision to fp32")
        kinds = {node.get_type_name() for node in self._core.read_model(path).get_ops()}
        if (precision == "int8") != ("FakeQuantize" in kinds):
            raise ModelError(
                f"{path} is not quantised, so it cannot be computed in int8: quantise it with "
                f"`swinface quantise-detector`, or set detect.precision to fp32 or bf16"
                if precision == "int8"
                else f"{path} is quantised: set detect.precision to int8"
            )

    def compute(self, image: Bytes) -> Floats:
        """See Network."""
        return self._for(image, 1).compute(image)

    def compute_beside(self, image: Bytes) -> Floats:
        """See Network."""
        return self._for(image, self.lanes).compute(image)

    def _for(self, image: Bytes, lanes: int) -> "_Compiled":
        """Return the network for images of this size, of which `lanes` are computed at a time."""
        key = lanes, *image.shape[:2]
        with self._compiling:
            if key not in self._compiled:
                log.debug("compiling the detector for %dx%d, %d at a time", image.shape[1], image.shape[0], lanes)
                self._compiled[key] = _Compiled(self._compile(image, lanes))
                if len(self._compiled) > MOST:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(key)
            return self._compiled[key]

    def _compile(self, image: Bytes, lanes: int) -> Any:
        model = self._core.read_model(self._path)
        model.reshape([1, 3, *image.shape[:2]])
        steps = self._openvino.preprocess.PrePostProcessor(model)
        given, colours = steps.input(), self._openvino.preprocess.ColorFormat
        given.tensor().set_element_type(self._openvino.Type.u8).set_layout(self._openvino.Layout("NHWC"))
        given.tensor().set_color_format(colours.BGR)
        given.model().set_layout(self._openvino.Layout("NCHW"))
        given.preprocess().convert_element_type(self._openvino.Type.f32).convert_color(colours.RGB).scale(255.0)
        options = {
            "NUM_STREAMS": lanes,
            "INFERENCE_NUM_THREADS": threads(),
            "INFERENCE_PRECISION_HINT": HINTS[self._precision],
            "ENABLE_CPU_PINNING": False,  # decoders and workers share the same cores
        }
        try:
            return self._core.compile_model(steps.build(), "CPU", options)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot compute {self._path} in {self._precision}: {error}") from error


class _Compiled:
    """A compiled network with its requests, one per thread that uses it at the same time."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._idle: SimpleQueue[Any] = SimpleQueue()

    def compute(self, image: Bytes) -> Floats:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._model.create_infer_request()
        request.infer({0: np.ascontiguousarray(image)[None]}, share_inputs=True)
        output = np.array(request.get_output_tensor(0).data[0], np.float32)
        self._idle.put(request)
        return output


def multiplies_int8(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the CPU multiplies and sums int8 in one instruction; also True where its flags are not known."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return True
    flags = [set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")]
    return not flags or bool(flags[0] & VNNI)
