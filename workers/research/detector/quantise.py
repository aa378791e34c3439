"""Quantise the trained detector to int8, by the ranges that its layers have on images of the training."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceanalytics.errors import ConfigError
from faceanalytics.files import hash_file, replacing
from faceanalytics.names import printable
from streamer.config import Detect
from streamer.detect.letterbox import letterboxed
from streamer.detect.offline import import_openvino
from streamer.source.images import decode_image
from streamer.values import Bytes, Floats
from workers.research.detector.config import DetectorConfig
from workers.research.detector.labels import encoded_images

PER_SOURCE = 20  # images of each source, spread evenly
# Of the last part, `N` in the file: what turns the outputs of its convolutions into boxes, scores and landmarks, and
# the last convolution of each branch, whose outputs are positions and need more than 256 steps.
IN_FLOATS = (r".*model\.{last}/(?!cv).*", r".*model\.{last}/cv[234]\.[012]/cv[234]\.[012]\.2/.*")

log = logging.getLogger(__name__)


def quantise_detector(config: DetectorConfig, weights: Path, out: Path) -> int:
    """Write the ONNX file `weights` as `out`, with most layers in int8. Return 0. Raises ConfigError, InputError."""
    if not weights.is_file():
        raise ConfigError(f"there is no {printable(weights)}")
    images = list(calibration_images(config))
    if not images:
        raise ConfigError("none of the sources is shown as it is (`show` above 0, without `tile`)")
    inputs = [letterboxed(image, Detect(), square=False)[0] for image in images]
    log.info("%d images", len(inputs))
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as partial:
        partial.write_bytes(quantised(weights, inputs))
    log.info("wrote %s, sha256 %s", printable(out), hash_file(out))
    return 0


def calibration_images(config: DetectorConfig) -> Iterator[Bytes]:
    """Yield images (h, w, 3) BGR of the sources that are shown whole in the training. Raises ConfigError, InputError.

    Held-out images are not among them.
    """
    for name, source in config.sources.items():
        if not source.path.exists():
            raise ConfigError(f"{name}: {source.path} does not exist")
        if source.show and not source.tile:
            items = list(encoded_images(source))
            step = max(1, len(items) // PER_SOURCE)
            yield from (decode_image(encoded, where) for where, encoded in items[::step][:PER_SOURCE])


def quantised(weights: Path, inputs: list[Floats]) -> bytes:
    """Return an ONNX file with the layers in int8, for inputs (1, 3, h, w) like these. Raises ConfigError."""
    import_openvino()  # without its usage reports, which nncf shares
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    model = onnx.load(weights)
    parts = [node.name.split("/")[1] for node in model.graph.node if node.name.startswith("/model.")]
    if not parts:
        raise ConfigError(f"{printable(weights)} is not a detector exported by ultralytics")
    last = max(int(part.removeprefix("model.")) for part in parts)
    feed = model.graph.input[0].name
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        result: Any = nncf.quantize(
            model,
            nncf.Dataset([{feed: image} for image in inputs]),
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(patterns=[pattern.format(last=last) for pattern in IN_FLOATS]),
            advanced_parameters=AdvancedQuantizationParameters(
                overflow_fix=OverflowFix.DISABLE,  # it is for CPUs without VNNI, which the streamer refuses
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )
    encoded: bytes = result.SerializeToString()
    return encoded
