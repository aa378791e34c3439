"""Detect the faces of single images: large and turned ones too, at the cost of further looks."""

from collections.abc import Sequence

import numpy as np

from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.detect.large import combined, has_large, shrunk
from streamer.detect.mounting import has_upright, turn_of, turned, turned_back
from streamer.detect.roll import RollNetwork
from streamer.detect.turned import look_upright, replaced, survivors, suspects_of
from streamer.values import Bytes, Detections

WEAK = 0.1  # least score of a face that another look may raise
DOUBTFUL = 0.5  # without a face of this score, the image is looked at again at a smaller scale


class StillDetector:
    """A detector for images, for use by one thread. Raises ModelError if a bundled network cannot be used."""

    def __init__(self, detector: Detector, min_score: float) -> None:
        """Use a loaded detector; drop faces below `min_score` at the end. Its own should be WEAK at most."""
        self._detector, self._config, self._min_score = detector, detector.config, min_score
        self._rolls = RollNetwork()
        self.model_id = detector.model_id

    @classmethod
    def load(cls, config: Detect) -> "StillDetector":
        """Load a detector. Raises ModelError if its weights or the device cannot be used."""
        weak = config.model_copy(update={"min_score": min(WEAK, config.min_score)})
        return cls(Detector(weak), config.min_score)

    def detect(self, images: Sequence[Bytes]) -> list[Detections]:
        """Detect the faces of each BGR image (h, w, 3), highest score first, boxes clipped to it. Sizes may differ.

        `turned` are those whose landmarks are wrong because the face is turned and was not found again upright.
        """
        looks = self._detector.detect(images)
        return [self._mounted(image, self._closely(image, found)) for image, found in zip(images, looks, strict=True)]

    def _mounted(self, image: Bytes, found: Detections) -> Detections:
        """Return the faces of an image, found again if they are upright in another position of the image."""
        if not has_upright(image, found, self._rolls):
            turn = turn_of(image, self._look, self._rolls, self._config)
            if turn:
                view = turned(image, turn)
                found = turned_back(self._closely(view, self._look(view)), turn, image)
        return found.rows(np.flatnonzero(found.scores >= self._min_score))

    def _closely(self, image: Bytes, found: Detections) -> Detections:
        if has_large(found, image, self._config) or not (found.scores >= DOUBTFUL).any():
            small = shrunk(image, self._config)
            found = combined(found, small.to_frame(self._look(small.pixels), image), image, self._config)
        directions = self._rolls.directions(image, found.boxes)
        suspects = np.flatnonzero(suspects_of(directions, found))
        if len(suspects):
            upright, seen = look_upright(image, found.rows(suspects), directions[suspects], self._look)
            found = replaced(found, suspects, upright)
            resolved = np.zeros(len(found), np.bool_)
            resolved[suspects] = seen
            found = found.rows(survivors(found, resolved))
        return found

    def _look(self, pixels: Bytes) -> Detections:
        return self._detector.detect([pixels])[0]
