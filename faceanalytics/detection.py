"""Faces in images: boxes, scores and five landmarks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from faceanalytics.errors import ConfigError
from faceanalytics.images import Channels, Image, to_bgr
from faceanalytics.settings import explain
from streamer import config
from streamer.detect.stills import StillDetector
from streamer.values import Detections


class Detector:
    """Finds faces. Use one in one thread."""

    def __init__(
        self,
        weights: Path | str = "default",
        device: str = "cpu",
        *,
        precision: Literal["fp32", "bf16", "int8"] = "fp32",
        min_score: float = 0.5,
        input_size: int = 640,
        max_faces: int = 300,
    ) -> None:
        """Load a detector.

        `weights`: a file (.onnx, .pt), or "default" for what $FACEANALYTICS_DETECTOR names, else the bundled one;
        `device`: cpu or cuda:N, without fallback; `precision`: fp32 or, on a CPU that has it, bf16 or int8, which are
        faster and need the extra `openvino`; `min_score`: drop weaker detections, 0..1; `input_size`: side of the
        square that the image is scaled into, pixels, a multiple of 32; `max_faces`: keep at most this many per image,
        highest score first.

        Raises ModelError if the weights or the device cannot be used, ConfigError for other wrong arguments.
        """
        given = {"precision": precision, "min_score": min_score, "input_size": input_size, "max_faces": max_faces}
        try:
            section = config.Detect.model_validate({"weights": str(weights), "device": device, **given})
        except ValidationError as error:
            raise ConfigError("\n".join(["Detector:", *explain(error)])) from error
        self._detector = StillDetector.load(section)
        self.model_id = self._detector.model_id  # name of the file, and the beginning of its SHA-256

    def __call__(self, image: Image, *, channels: Channels = "BGR") -> Detections:
        """Find the faces of one image, highest score first, turned ones and those that fill the image included.

        The landmarks of faces that are `turned` are wrong: they were not found again after turning them upright.

        `image`: uint8 (h, w, 3) in the order `channels`, a Frame, or the path of an image. OpenCV and `read_video` give
        BGR; Pillow, scikit-image and Matplotlib give RGB. Raises InputError for a file that cannot be read.
        """
        return self._detector.detect([to_bgr(image, channels)])[0]

    def detect_batch(self, images: Sequence[Image], *, channels: Channels = "BGR") -> list[Detections]:
        """Find the faces of several images, whose sizes may differ: the same as one by one."""
        return self._detector.detect([to_bgr(image, channels) for image in images])
