"""Pass the faces that are good enough to the scheduler, and add the crops it sends to the observations."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer import metrics
from streamer.config import StreamerConfig
from streamer.handover import Mailbox
from streamer.select.align import align
from streamer.select.gain import ModelOutputs
from streamer.select.quality import finish, geometry
from streamer.select.scheduler import Scheduler
from streamer.values import (
    Choice,
    Detections,
    FaceCrop,
    Floats,
    Frame,
    Model,
    Reason,
    SendDecision,
    Track,
    TrackEnd,
    TrackKey,
    TrackState,
)


@dataclass(frozen=True, slots=True, eq=False)
class Considered:
    """One frame (or the end of a source) whose faces were considered."""

    camera: str
    media_time: float  # s
    tracks: tuple[Track, ...]
    ended: tuple[TrackEnd, ...]
    choices: tuple[Choice, ...]  # what `consider` gave; a crop that waits is BUDGET


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What is sent with one frame; the fields are those of Observation."""

    crops: tuple[FaceCrop, ...]
    skipped: Mapping[str, tuple[Reason, ...]]
    choices: tuple[Choice, ...]


class CropSelector:
    """Selects the crops of all cameras. Call it from the observe thread, except `on_result` and `set_workers`."""

    def __init__(self, config: StreamerConfig, live: bool) -> None:
        self._config = config.crop
        self._live = live
        self._scheduler = Scheduler(config.schedule, live)
        self._alive = 0  # workers
        self._outputs = ModelOutputs()
        self._qualities: dict[str, float] = {}  # by track id, of the face when it was last seen; 0: it cannot be used
        # track id, answered, when (s, monotonic), whether the track waits for another crop, and is undecided
        self._results: Mailbox[tuple[str, bool, float, bool, bool]] = Mailbox()

    def on_result(self, track_id: str, answered: bool, waits: bool = False, undecided: bool = False) -> None:
        """Live: record that a crop was answered or given up. Any thread may call this.

        `waits`: it may show another person than its track, so that the next crop is needed soon. `undecided`: whom its
        track shows will be decided by its next crops.
        """
        self._results.put((track_id, answered, time.monotonic(), waits, undecided))

    def set_workers(self, models: Mapping[Model, int]) -> None:
        """Set the number of workers per model. Any thread may call this."""
        self._alive, self._outputs = sum(models.values()), ModelOutputs.union(models)

    def doubt(self, track_id: str) -> None:
        """Note that a face may be another one from now on."""
        self._scheduler.doubt(track_id)

    def consider(
        self, frame: Frame, detections: Detections, tracks: Sequence[Track], blended: bool = False
    ) -> tuple[Choice, ...]:
        """Decide on each face of a confirmed track in view. A crop that waits from now on is BUDGET until `choose`.

        `blended`: the frame may show two pictures at once, so no face in it is used.
        """
        return tuple(
            self._consider(frame, detections, track, track.detection, blended)
            for track in tracks
            if track.state is TrackState.CONFIRMED and track.detection is not None
        )

    def wanted(self, track_ids: Sequence[str], media_time: float) -> Floats:
        """Return how much a crop of each track at this media time (s) is wanted (n,), 0..1; see Scheduler.wanted.

        It is expected to be as good as the last one. One that could not be used is not wanted again: the face must be
        seen to have changed first.
        """
        now, known = self._now(media_time), self._qualities
        each = (
            self._scheduler.wanted(one, media_time, now, known[one]) if known.get(one) else 0.0 for one in track_ids
        )
        return np.fromiter(each, np.float32, len(track_ids))

    def choose(self, considered: Sequence[Considered]) -> list[Selection]:
        """Return for each of these frames the crops to send now, and the final decisions."""
        self._scheduler.outputs = self._outputs
        if self._live:
            self._scheduler.budget.workers(self._alive)
            metrics.face_budget.set(self._scheduler.budget.rate if self._alive else 0)
            for track_id, answered, when, waits, undecided in self._results.take_all():
                (self._scheduler.answered if answered else self._scheduler.lost)(track_id, when)
                self._scheduler.decide(track_id, undecided)
                if waits:
                    self._scheduler.hurry(track_id)
        if not considered:
            return []
        crops: list[list[tuple[FaceCrop, float]]] = [[] for _ in considered]
        now = self._now(considered[-1].media_time)
        for crop, expected_gain in self._scheduler.choose(now):
            crops[_place(considered, crop.key)].append((crop, expected_gain))
        selections = [self._select(each, sent, now) for each, sent in zip(considered, crops, strict=True)]
        for end in (end for each in considered for end in each.ended):
            self._scheduler.forget(end.key.id)
            self._qualities.pop(end.key.id, None)
        return selections

    def _now(self, media_time: float) -> float:
        return time.monotonic() if self._live else media_time

    def _consider(self, frame: Frame, detections: Detections, track: Track, row: int, blended: bool) -> Choice:
        track_id, at, now = track.key.id, frame.media_time, self._now(frame.media_time)
        landmarks, score = detections.landmarks[row], float(detections.scores[row])
        quality = geometry(score, landmarks, frame.size, self._config, bool(detections.turned[row]))
        if blended:
            return Choice(track.key, at, SendDecision.BLENDED, quality, 0.0)
        # the geometry bounds the quality from above, so most faces never need their pixels
        decision = self._scheduler.consider(track_id, at, now, quality.value)
        if decision is None and not quality.reasons:
            pixels = align(frame.pixels, landmarks)
            quality = finish(quality, pixels, self._config)
            if not quality.reasons:
                crop = FaceCrop(track.key, at, frame.received, score, quality, pixels)
                decision = self._scheduler.keep(crop, now) or SendDecision.BUDGET
        self._qualities[track_id] = 0.0 if quality.reasons else quality.value
        if quality.reasons or decision is None:
            return Choice(track.key, at, SendDecision.UNUSABLE, quality, 0.0)
        return Choice(track.key, at, decision, quality, self._scheduler.expected_gain(track_id, at, quality.value))

    def _select(self, considered: Considered, crops: Sequence[tuple[FaceCrop, float]], now: float) -> Selection:
        sent = {(crop.key.id, crop.media_time): (crop, expected_gain) for crop, expected_gain in crops}
        choices: list[Choice] = []
        skipped: dict[str, tuple[Reason, ...]] = {}
        for choice in considered.choices:
            track_id, decision = choice.key.id, choice.decision
            if sent.pop((track_id, choice.media_time), None) is not None:
                decision = SendDecision.SENT
            elif decision is SendDecision.BUDGET:
                decision = self._scheduler.why_not(track_id, now)
            choices.append(replace(choice, decision=decision))
            reasons = (Reason.BUDGET,) if decision is SendDecision.BUDGET else choice.quality.reasons
            if reasons:
                skipped[track_id] = reasons
            if decision is not SendDecision.SENT:
                for name in [reason.value for reason in reasons] or [decision.value]:
                    metrics.face_inference_skipped.labels(considered.camera, name).inc()
        for crop, expected_gain in sent.values():  # those that have waited
            choices.append(Choice(crop.key, crop.media_time, SendDecision.SENT, crop.quality, expected_gain))
        return Selection(tuple(crop for crop, _ in crops), skipped, tuple(choices))


def _place(considered: Sequence[Considered], key: TrackKey) -> int:
    """Return the index of the frame that shows or ends a track, or 0: a crop must precede the end of its track."""
    for index, each in enumerate(considered):
        if each.camera == key.camera and (
            any(track.key == key for track in each.tracks) or any(end.key == key for end in each.ended)
        ):
            return index
    return 0
