"""Searches people and past tracks for a face."""

import heapq
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from streamer.people.curator import Curator, Problem, Refused
from streamer.people.past import Past, TrackFace
from streamer.values import Candidate, Floats


@dataclass(frozen=True, slots=True)
class Found:
    """What resembles a face."""

    people: tuple[Candidate, ...]  # best first
    tracks: tuple[tuple[float, TrackFace], ...]  # cosine and track, best first
    threshold: float  # cosine from which a person is named


class Searching:
    """Searches by exact comparison."""

    def __init__(self, curator: Curator, past: Past) -> None:
        self._curator = curator
        self._past = past

    def check_model(self, model_id: str) -> None:
        """Refuse an embedding that cannot be compared with those of the gallery."""
        model = self._curator.live.model
        if model is None:
            raise Refused(Problem.NOT_NOW, "no worker has been connected yet, so nothing can be compared")
        if model_id != model.id:
            raise Refused(Problem.INVALID, f"embedding.model_id: the workers have {model.id}; only its can be compared")

    async def search(self, vector: Floats, limit: int, past: bool, cameras: Collection[str]) -> Found:
        """Return the people and, if `past`, the past tracks of these cameras (empty: all) that resemble a face most.

        `vector`: its embedding (512,) of any length.
        """
        length = float(np.linalg.norm(vector))
        if vector.shape != (512,) or not np.isfinite(vector).all() or not length > 0:
            raise Refused(Problem.INVALID, "embedding.values: expected 512 finite numbers that are not all 0")
        probe = np.asarray(vector / length, np.float32)
        known = self._curator.live.known
        people: tuple[Candidate, ...] = ()
        if known is not None:
            people = tuple(
                Candidate((self._curator.shown(one.person) or ("", ""))[1], one.similarity, one.person)
                for one in known.gallery.search(probe, limit)
            )
        best = list[tuple[float, str, TrackFace]]()
        model = self._curator.live.model
        if past and model is not None:
            await self._past.flush()
            async for some in self._past.all():
                usable = [one for one in some if one.template is not None and one.model_id == model.id]
                usable = [one for one in usable if not cameras or one.camera in cameras]
                scored = [
                    (float(one.template @ probe), one.track_id, one) for one in usable if one.template is not None
                ]
                best = heapq.nlargest(limit, [*best, *scored], key=lambda each: each[:2])
        return Found(people, tuple((score, face) for score, _, face in best), known.threshold if known else 0.0)
