"""Lets through what the privacy modes of cameras allow: the one place that all tracks pass before they are stored."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from streamer.camera_aggregates import Intervals, Record
from streamer.decision_times import DecisionTimes
from streamer.privacy import Mode, Modes, Privacy, strictest
from streamer.pseudonyms import Pseudonyms
from streamer.values import (
    FaceCrop,
    IdentityDecision,
    IdentityStatus,
    Model,
    TrackEstimates,
    TrackKey,
    TrackSummary,
)


class PrivacyFilter:
    """Decides what of each track is published. It is used from the asyncio loop only.

    A track has the strictest mode that its camera has had in its life.
    """

    def __init__(
        self, settings: Privacy, modes: Modes, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.modes = modes
        self.pseudonyms = Pseudonyms(settings.rotation_hours)
        self._now = now
        self._times = DecisionTimes()
        self._intervals = Intervals(settings, now().timestamp())
        self._open: dict[str, tuple[Mode, bool]] = {}  # by track id: its mode, and whether it was published
        self._given: dict[str, dict[str, str]] = {}  # by track id: pseudonym by id of the person

    def crop(self, crop: FaceCrop) -> FaceCrop:
        """Return a crop for the workers, which keep its embedding if only counts are published."""
        if self.modes.of(crop.key.camera) is Mode.AGGREGATE_ONLY:
            return replace(crop, with_embedding=False)
        return crop

    def models(self, models: dict[Model, int]) -> dict[Model, int]:
        """Return the workers' models as far as their outputs are used: the choice of crops depends on them."""
        if self.modes.general is not Mode.AGGREGATE_ONLY:
            return models
        return {replace(model, identity=False): workers for model, workers in models.items()}

    def keeps_face(self, key: TrackKey) -> bool:
        """Return whether a picture of a track may be stored."""
        return strictest(self.modes.of(key.camera), self._open.get(key.id, (Mode.IDENTITY, False))[0]) is Mode.IDENTITY

    def shown(self, summaries: Sequence[TrackSummary]) -> Iterator[TrackSummary]:
        """Yield what is published of these summaries, and count those of which nothing is."""
        for summary in summaries:
            before, published = self._open.get(summary.key.id, (Mode.IDENTITY, False))
            mode = strictest(before, self.modes.of(summary.key.camera))
            shown = self._of(summary, mode, published)
            if summary.final:
                self._open.pop(summary.key.id, None)
                self._given.pop(summary.key.id, None)
            else:
                self._open[summary.key.id] = mode, published or shown is not None
            if shown is not None:
                self._times.see(shown, time.monotonic())
                yield shown

    def counts(self, stopping: bool = False) -> list[tuple[str, Record]]:
        """Return the counts of intervals that have ended, by camera. Call it every second, and at the end."""
        now = self._now()
        self.pseudonyms.destroy_old(now)
        return self._intervals.ended(now.timestamp(), self.modes.counted, stopping)

    def _of(self, summary: TrackSummary, mode: Mode, published: bool) -> TrackSummary | None:
        if mode is Mode.IDENTITY:
            return summary
        if mode is Mode.PSEUDONYMOUS:
            decision = self._pseudonymous(summary.key.id, summary.decision) if summary.decision else None
            return replace(summary, estimates=replace(summary.estimates, identity=None), decision=decision)
        if summary.final and not summary.merged_into:  # else it counts with the track that it was merged into
            self._intervals.add(summary)
        if not (summary.final and published):
            return None
        return replace(summary, estimates=TrackEstimates(), decision=None)  # its NEW was published in another mode

    def _pseudonymous(self, track_id: str, decision: IdentityDecision) -> IdentityDecision:
        """Return a decision without names. A track keeps a pseudonym, because a second one of it would join the two."""
        pseudonym, person = "", decision.person_id or decision.person
        if decision.status is IdentityStatus.IDENTIFIED and person:
            given = self._given.setdefault(track_id, {})
            if person not in given:
                given[person] = self.pseudonyms.of(person, self._now())
            pseudonym = given[person]
        bare = replace(decision, person="", person_id="", candidates=(), margin=None, threshold=None, confirmed=False)
        return replace(bare, pseudonym=pseudonym)
