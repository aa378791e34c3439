"""Searches people and past tracks for a face."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from streamer.people.curator import Curator, Problem, Refused
from streamer.people.past import Past
from streamer.people.past_index import Match
from streamer.values import Candidate, Floats


@dataclass(frozen=True, slots=True)
class Found:
    """What resembles a face."""

    people: tuple[Candidate, ...]  # best first
    tracks: tuple[Match, ...]  # past ones, best first
    threshold: float  # cosine from which a person is named
    not_compared: int  # people who have references, but none by the present weights


class Searching:
    """Searches; what it finds is what an exact comparison with all finds."""

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
        model, found = self._curator.live.model, list[Match]()
        if past and model is not None:
            await self._past.waiting.flush()
            found = await self._past.index.search(probe, limit, model.id, cameras)
        return Found(people, tuple(found), known.threshold if known else 0.0, self._not_compared())

    def _not_compared(self) -> int:
        """Return how many people have no reference by the present weights. Refuses if nobody has and nobody will."""
        live, curator = self._curator.live, self._curator
        if live.model is None or not (live.waiting or live.unusable):
            return 0
        with_face = [one for one in curator.book.people.people.values() if one.references]
        without = [one for one in with_face if not any(curator.is_used(one, name) for name in one.references)]
        if without and len(without) == len(with_face) and not live.waiting and not live.folder.names:
            raise Refused(
                Problem.NOT_NOW,
                f"nobody can be compared: all references were made by other weights than {live.model.id}, and no "
                "pictures of them were kept; enrol again, or use the earlier weights",
            )
        return len(without)
