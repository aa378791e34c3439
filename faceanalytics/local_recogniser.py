"""What embeds faces in this process in the way in which a streamer's workers do."""

from collections.abc import Callable, Sequence

import numpy as np

from faceanalytics.analyzer import FaceAnalyzer
from faceanalytics.errors import ModelError
from streamer.config import StreamerConfig
from streamer.detect.detector import Detector
from streamer.identity.references import Judgement, image_reader
from streamer.recorded.people_of_video import Recognising
from streamer.values import Bytes, FaceAnalysis, Floats, ImpostorScores, Model

Read = Callable[[bytes, str, int, Judgement], tuple[float, Bytes]]


class LocalRecogniser:
    """A detector and SwinFace, for use by one thread at a time. Further detectors are loaded when they are needed."""

    def __init__(self, analyzer: FaceAnalyzer, config: StreamerConfig) -> None:
        """Raises ModelError if the weights do not tell people apart."""
        engine = analyzer.engine
        self._engine = engine
        self._config = config
        table = engine.impostor_scores
        impostors = None
        if table is not None:
            shares, cosines = np.array(table["shares"], np.float64), np.array(table["cosines"], np.float64)
            impostors = ImpostorScores(table["pairs"], table["people"], shares, cosines, table["source"])
        if impostors is None:
            raise ModelError(
                f"the card of {engine.model_id} does not say how similar strangers are: take other weights"
            )
        self.model = Model(engine.model_id, False, False, (), True, "", impostors)
        self.known = Recognising(self.analyse, self.model, impostors)
        self._read: Read | None = None
        self._detector: Detector | None = None

    @property
    def detector(self) -> Detector:
        """The detector of videos. Raises ModelError."""
        if self._detector is None:
            self._detector = Detector(self._config.detect)
        return self._detector

    def read(self, data: bytes, name: str, max_pixels: int, judgement: Judgement) -> tuple[float, Bytes]:
        """Return quality and aligned pixels of the face in an encoded image. Raises Unusable and ModelError."""
        if self._read is None:
            self._read = image_reader(self._config.detect, self._config.crop)
        return self._read(data, name, max_pixels, judgement)

    def embed(self, crops: Sequence[Bytes]) -> list[Floats]:
        """Return the embeddings (512,) of aligned crops, each with its mirror image, before normalisation."""
        both = np.stack([one for crop in crops for one in (crop, crop[:, ::-1])])
        found = self._engine.analyse(both)
        assert found.embeddings is not None
        assert found.norms is not None
        whole = found.embeddings * found.norms[:, None]
        return [np.asarray(whole[at] + whole[at + 1], np.float32) for at in range(0, len(whole), 2)]

    async def analyse(self, crops: Sequence[Bytes]) -> list[FaceAnalysis | None]:
        """Return the analyses of crops, as the dispatcher does: only what identifies somebody."""
        if not crops:
            return []
        found = self._engine.analyse(np.stack(crops))
        assert found.embeddings is not None
        assert found.norms is not None
        nothing = np.zeros(0, np.float32)
        return [
            FaceAnalysis(self.model, None, None, nothing, embedding, float(norm))
            for embedding, norm in zip(found.embeddings, found.norms, strict=True)
        ]
