"""Pass the faces that are good enough to the scheduler, and add the crops it sends to the observations."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from streamer import metrics
from streamer.config import StreamerConfig
from streamer.select.align import align
from streamer.select.gain import ModelOutputs
from streamer.select.quality import finish, geometry
from streamer.select.scheduler import Scheduler
from streamer.values import (
    Choice,
    Detections,
    FaceCrop,
    Frame,
    Model,
    Observation,
    Reason,
    SendDecision,
    Track,
    TrackEnd,
    TrackKey,
    TrackState,
)


class CropSelector:
    """Selects the crops of all cameras. Call it from the observe thread, except `settled` and `workers`."""

    def __init__(self, config: StreamerConfig, live: bool) -> None:
        self._config = config.crop
        self._live = live
        self._scheduler = Scheduler(config.schedule, live)
        self._alive = 0  # workers
        self._outputs = ModelOutputs()
        self._settled: deque[tuple[str, bool, float]] = deque()  # track id, answered, s monotonic

    def settled(self, track_id: str, answered: bool) -> None:
        """Live: record that a crop was answered or given up. Any thread may call this."""
        self._settled.append((track_id, answered, time.monotonic()))

    def workers(self, models: Mapping[Model, int]) -> None:
        """Set the number of workers per model. Any thread may call this."""
        self._alive, self._outputs = sum(models.values()), ModelOutputs.union(models)

    def consider(self, frame: Frame, detections: Detections, tracks: Sequence[Track]) -> tuple[Choice, ...]:
        """Decide on each face of a confirmed track, independently of the other cameras.

        A crop that waits from now on is BUDGET until `choose` decides.
        """
        return tuple(
            self._consider(frame, detections, track, track.detection)
            for track in tracks
            if track.state is TrackState.CONFIRMED and track.detection is not None
        )

    def choose(self, observations: Sequence[Observation]) -> list[Observation]:
        """Return the observations with the crops to send now and with the final decisions."""
        self._scheduler.outputs = self._outputs
        if self._live:
            self._scheduler.budget.workers(self._alive)
            metrics.face_budget.set(self._scheduler.budget.rate if self._alive else 0)
            while self._settled:
                track_id, answered, when = self._settled.popleft()
                (self._scheduler.answered if answered else self._scheduler.lost)(track_id, when)
        if not observations:
            return []
        crops: list[list[tuple[FaceCrop, float]]] = [[] for _ in observations]
        now = self._now(observations[-1].media_time)
        for crop, expected_gain in self._scheduler.choose(now):
            crops[_place(observations, crop.key)].append((crop, expected_gain))
        return [self._complete(each, sent, now) for each, sent in zip(observations, crops, strict=True)]

    def forget(self, ended: Sequence[TrackEnd]) -> None:
        """Drop tracks that have ended, after the crops of their last frames were chosen."""
        for end in ended:
            self._scheduler.forget(end.key.id)

    def _now(self, media_time: float) -> float:
        return time.monotonic() if self._live else media_time

    def _consider(self, frame: Frame, detections: Detections, track: Track, row: int) -> Choice:
        track_id, at, now = track.key.id, frame.media_time, self._now(frame.media_time)
        landmarks, score = detections.landmarks[row], float(detections.scores[row])
        quality = geometry(score, landmarks, frame.size, self._config)
        # the geometry bounds the quality from above, so most faces never need their pixels
        decision = self._scheduler.consider(track_id, at, now, quality.value)
        if decision is None and not quality.reasons:
            pixels = align(frame.pixels, landmarks)
            quality = finish(quality, pixels, self._config)
            if not quality.reasons:
                crop = FaceCrop(track.key, at, frame.received, score, quality, pixels)
                decision = self._scheduler.keep(crop, now) or SendDecision.BUDGET
        if quality.reasons or decision is None:
            return Choice(track.key, at, SendDecision.UNUSABLE, quality, 0.0)
        return Choice(track.key, at, decision, quality, self._scheduler.expected_gain(track_id, at, quality.value))

    def _complete(self, observation: Observation, crops: Sequence[tuple[FaceCrop, float]], now: float) -> Observation:
        sent = {(crop.key.id, crop.media_time): (crop, expected_gain) for crop, expected_gain in crops}
        choices, skipped = [], {}
        for choice in observation.choices:
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
                    metrics.face_inference_skipped.labels(observation.camera, name).inc()
        for crop, expected_gain in sent.values():  # those that have waited
            choices.append(Choice(crop.key, crop.media_time, SendDecision.SENT, crop.quality, expected_gain))
        return replace(observation, crops=tuple(crop for crop, _ in crops), skipped=skipped, choices=tuple(choices))


def _place(observations: Sequence[Observation], key: TrackKey) -> int:
    """Return the index of the observation that contains a track, or 0: a crop must precede the end of its track."""
    for index, observation in enumerate(observations):
        if observation.camera == key.camera and (
            any(track.key == key for track in observation.tracks) or any(end.key == key for end in observation.ended)
        ):
            return index
    return 0
