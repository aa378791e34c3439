"""Follows people and visitors from camera to camera, and publishes each step."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from streamer.people.appearances import Appearance, order
from streamer.store.store import Store
from streamer.store.visitors import tracks_of_people
from streamer.values import JourneyStep, TrackSummary
from streamer.visitor_settings import Visitors as Settings


@dataclass(frozen=True, slots=True)
class _Trace:
    """Where somebody was last."""

    at: Appearance
    steps: int  # of this journey so far


class Travel:
    """Where each person and visitor was last."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._last: dict[str, _Trace] = {}

    async def open(self, appearances: Iterable[Appearance], identified: Collection[str]) -> None:
        """Read where everybody was before the start. Raises StoreUnavailable."""
        if not self._settings.journeys:
            return
        since = datetime.now(UTC) - timedelta(seconds=self._settings.visit_gap_s)
        recent = [one for one in appearances if one.visitor_id and one.track_id not in identified]
        recent = [one for one in recent if one.last_seen >= since]
        for each in await tracks_of_people(self._store, (), since, None):
            one = Appearance(
                *(each.track_id, each.camera, "", "", each.first_seen, each.last_seen, each.clock, None, "", ()),
                person_id=each.person_id,
            )
            recent.append(one)
        for one in sorted(recent, key=order):
            self._step(one)

    def follow(self, summary: TrackSummary, one: Appearance) -> None:
        """Publish the step to the camera of a track, if it is one."""
        step = self._step(one)
        if step is not None:
            self._store.travel(summary, step)

    def _step(self, one: Appearance) -> JourneyStep | None:
        """Note where somebody is; return the step if this is another camera than before."""
        subject = one.person_id or one.visitor_id
        before = self._last.get(subject)
        if before is not None and before.at.track_id == one.track_id:
            self._last[subject] = replace(before, at=one)
            return None
        if before is not None and one.first_seen < before.at.first_seen:
            return None  # an older track that goes on beside the newest one
        gap = (one.first_seen - before.at.last_seen).total_seconds() if before is not None else 0.0
        if before is None or gap >= self._settings.visit_gap_s:
            self._last[subject] = _Trace(one, 0)
            return None
        if before.at.camera == one.camera:
            self._last[subject] = _Trace(one, before.steps)
            return None
        self._last[subject] = _Trace(one, before.steps + 1)
        parts = (before.at.uncertainty_s, one.uncertainty_s)
        unsure = None if None in parts else sum(part for part in parts if part is not None)
        return JourneyStep(before.steps + 1, before.at.track_id, before.at.camera, gap, unsure)
