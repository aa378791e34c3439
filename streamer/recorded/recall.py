"""The models of a recorded analysis behind its journal: a call that was answered before is not made again."""

import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import numpy as np

from streamer.detect.detector import Detector
from streamer.detect.roll import RollNetwork
from streamer.recorded.journal import Array, Journal, Kind
from streamer.values import Bytes, Detections, FaceAnalysis, Floats, Model

Analyse: TypeAlias = Callable[[Sequence[Bytes]], Awaitable[list[FaceAnalysis | None]]]

STEP = 8  # one pixel in this many, in each direction, makes the checksum of a frame: that is cheap
_NOTHING: Array = np.zeros(0)  # an output that the model does not have


class RecallingDetector:
    """A detector, for use by one thread."""

    def __init__(self, detector: Detector, journal: Journal) -> None:
        self.config, self.model_id, self.inputs = detector.config, detector.model_id, detector.inputs
        self._detector, self._journal = detector, journal
        self._calls = 0

    def detect(self, frames: Sequence[Bytes], unscaled: bool = False) -> list[Detections]:
        """Detect as `Detector.detect` does."""
        self._calls, number = self._calls + 1, self._calls
        checksum = _checksum(*(frame[::STEP, ::STEP] for frame in frames))
        arrays = self._journal.recall(Kind.FACES, number, checksum)
        if arrays is None:
            found = self._detector.detect(frames, unscaled)
            parts = [part for one in found for part in (one.boxes, one.scores, one.landmarks, one.turned)]
            arrays = self._journal.keep(Kind.FACES, number, checksum, parts)
        return [Detections(*arrays[at : at + 4]) for at in range(0, len(arrays), 4)]


class RecallingRolls:
    """The network for turned faces, for use by one thread."""

    def __init__(self, rolls: RollNetwork, journal: Journal) -> None:
        self._rolls, self._journal = rolls, journal
        self._calls = 0

    def directions(self, frame: Bytes, boxes: Floats) -> Floats:
        """Return what `RollNetwork.directions` does."""
        self._calls, number = self._calls + 1, self._calls
        checksum = _checksum(frame[::STEP, ::STEP], boxes)
        arrays = self._journal.recall(Kind.ROLLS, number, checksum)
        if arrays is None:
            arrays = self._journal.keep(Kind.ROLLS, number, checksum, [self._rolls.directions(frame, boxes)])
        return arrays[0]


class RecallingWorkers:
    """The workers, for use on the event loop. The crops of a video come in the same batches in each of its runs."""

    def __init__(self, analyse: Analyse, journal: Journal, model: Model) -> None:
        self._analyse, self._journal, self._model = analyse, journal, model
        self._crops = 0

    async def analyse(self, crops: Sequence[Bytes]) -> list[FaceAnalysis | None]:
        """Return the analyses of a batch. A batch with a lost crop is sent again in a later run."""
        self._crops, number = self._crops + len(crops), self._crops
        checksum = _checksum(*crops)
        arrays = self._journal.recall(Kind.ANALYSES, number, checksum)
        if arrays is None:
            analyses = await self._analyse(crops)
            given = [one for one in analyses if one is not None]
            if len(given) < len(crops):
                return analyses
            parts = [part for one in given for part in _parts(one)]
            arrays = self._journal.keep(Kind.ANALYSES, number, checksum, parts)
        return [_analysis(self._model, arrays[at : at + 5]) for at in range(0, len(arrays), 5)]


def _parts(analysis: FaceAnalysis) -> list[Array]:
    single = analysis.age, analysis.embedding_norm
    age, norm = (_NOTHING if value is None else np.array(value, np.float64) for value in single)
    several = analysis.expression, analysis.embedding
    expression, embedding = (_NOTHING if value is None else value for value in several)
    return [age, expression, analysis.attributes, embedding, norm]


def _analysis(model: Model, parts: Sequence[Array]) -> FaceAnalysis:
    age, expression, attributes, embedding, norm = parts
    return FaceAnalysis(
        model=model,
        age=float(age) if age.size else None,
        expression=expression if expression.size else None,
        attributes=attributes,
        embedding=embedding if embedding.size else None,
        embedding_norm=float(norm) if norm.size else None,
    )


def _checksum(*arrays: Array) -> int:
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(repr(array.shape).encode(), checksum)
        checksum = zlib.crc32(array.tobytes(), checksum)
    return checksum
