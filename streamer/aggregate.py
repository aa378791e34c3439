"""What is known of each track: Observation and FaceAnalysis in, TrackSummary out. No clock, no socket.

A track is published from its confirmation on. What its analyses add up to is in estimate.py.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from streamer.config import Aggregate
from streamer.estimate import Estimates
from streamer.values import (
    AgeEstimate,
    AttributeEstimate,
    ClockSource,
    EndReason,
    FaceAnalysis,
    FaceCrop,
    Floats,
    IdentityEstimate,
    Model,
    Observation,
    Reason,
    Track,
    TrackEnd,
    TrackKey,
    TrackState,
    TrackSummary,
)

log = logging.getLogger(__name__)

MODEL_SILENT_S = 10.0  # a track returns to a model it had left only after its present model was silent for so long


@dataclass(slots=True, eq=False)
class _Record:
    """One confirmed track that has not ended; the fields are those of TrackSummary."""

    key: TrackKey
    epoch: int
    state: TrackState
    first_seen: float
    last_seen: float
    first_captured_at: datetime | None
    last_captured_at: datetime | None
    clock_source: ClockSource
    box: Floats
    landmarks: Floats | None
    frame_size: tuple[int, int]
    score: float
    received: float
    quality: float = 0.0
    reasons: tuple[Reason, ...] = ()
    revision: int = 1
    estimates: Estimates | None = None
    age: AgeEstimate | None = None  # these three change with an analysis only, the expression also with time
    attributes: AttributeEstimate | None = None
    identity: IdentityEstimate | None = None
    left_models: set[Model] = field(default_factory=set)


class Aggregator:
    """All tracks of all cameras: opened when confirmed, forgotten when finished."""

    def __init__(self, config: Aggregate) -> None:
        self._config = config
        self._records: dict[str, _Record] = {}
        self._told: set[tuple[str, str]] = set()  # changes of model that are in the log

    def observe(self, observation: Observation) -> list[TrackSummary]:
        """The summaries of the confirmed and lost tracks of this frame. Tentative tracks are passed over."""
        qualities = {crop.key.id: crop.quality.value for crop in observation.crops}
        summaries = []
        for track in observation.tracks:
            record = self._records.get(track.key.id)
            if record is None and track.state is TrackState.CONFIRMED:
                record = self._records[track.key.id] = _open(observation, track)
            if record is None:
                continue
            _see(record, observation, track)
            record.quality = max(record.quality, qualities.get(track.key.id, 0.0))
            summaries.append(_summary(record))
        return summaries

    def add(self, crop: FaceCrop, analysis: FaceAnalysis) -> TrackSummary | None:
        """The summary with this analysis in it; its `received` is the crop's. None: the analysis is not used, because
        the track is unknown or finished, or because it comes from a model that the track has left."""
        record = self._records.get(crop.key.id)
        if record is None or not self._same_model(record, crop, analysis.model):
            return None
        if record.estimates is None:
            record.estimates = Estimates(self._config, analysis.model)
        record.estimates.add(crop, analysis)
        record.age, record.attributes = record.estimates.age(), record.estimates.attributes()
        record.identity = record.estimates.identity()
        record.quality = max(record.quality, crop.quality.value)
        record.reasons = ()
        record.revision += 1
        return _summary(record, received=crop.received)

    def finish(self, end: TrackEnd) -> TrackSummary | None:
        """The final summary; the track is forgotten. None if it was never confirmed. To be called when all of the
        track's crops are answered or lost."""
        record = self._records.pop(end.key.id, None)
        if record is None:
            return None
        record.state = TrackState.ENDED
        record.revision += 1
        return _summary(record, end_reason=end.reason)

    def open_ends(self, reason: EndReason) -> list[TrackEnd]:
        """An end for each track that has none yet."""
        return [TrackEnd(record.key, reason, record.last_seen, confirmed=True) for record in self._records.values()]

    def _same_model(self, record: _Record, crop: FaceCrop, model: Model) -> bool:
        """Estimates of two models are never mixed: another model starts them anew. Late answers of the model before it,
        or of a worker that still has the old weights, are not used, so that two models do not take turns."""
        present = record.estimates
        if present is None or present.model == model:
            return True
        if model in record.left_models and crop.media_time - present.last_inferred <= MODEL_SILENT_S:
            return False
        record.left_models.add(present.model)
        record.left_models.discard(model)
        record.estimates = None
        if (present.model.id, model.id) not in self._told:
            self._told.add((present.model.id, model.id))
            log.warning("model changed from %s to %s: open tracks start anew with it", present.model.id, model.id)
        return True


def _open(observation: Observation, track: Track) -> _Record:
    return _Record(
        key=track.key,
        epoch=observation.epoch,
        state=track.state,
        first_seen=track.first_seen,
        last_seen=track.last_seen,
        first_captured_at=_wall_clock(observation, track.first_seen),
        last_captured_at=_wall_clock(observation, track.last_seen),
        clock_source=observation.clock_source,
        box=track.box,
        landmarks=None,
        frame_size=observation.frame_size,
        score=track.score,
        received=observation.received,
    )


def _see(record: _Record, observation: Observation, track: Track) -> None:
    """Take over what this frame says of the track. Box, landmarks and score stay those of the last detection."""
    if track.state is not record.state:
        record.state = track.state
        record.revision += 1
    record.received = observation.received
    if observation.clock_source is not record.clock_source:  # both times by the same clock
        record.clock_source = observation.clock_source
        record.first_captured_at = _wall_clock(observation, track.first_seen)
        record.last_captured_at = _wall_clock(observation, track.last_seen)
    if track.detection is None:
        return
    record.last_seen = track.last_seen
    record.last_captured_at = observation.captured_at
    record.box, record.score, record.frame_size = track.box, track.score, observation.frame_size
    record.landmarks = observation.detections.landmarks[track.detection]
    if record.estimates is None:
        record.reasons = observation.skipped.get(track.key.id, ())


def _wall_clock(observation: Observation, time: float) -> datetime | None:
    """The wall clock at a media time (s) shortly before the observation."""
    if observation.captured_at is None:
        return None
    return observation.captured_at - timedelta(seconds=observation.media_time - time)


def _summary(record: _Record, received: float | None = None, end_reason: EndReason | None = None) -> TrackSummary:
    estimates = record.estimates
    return TrackSummary(
        key=record.key,
        epoch=record.epoch,
        state=record.state,
        first_seen=record.first_seen,
        last_seen=record.last_seen,
        first_captured_at=record.first_captured_at,
        last_captured_at=record.last_captured_at,
        clock_source=record.clock_source,
        box=record.box,
        landmarks=record.landmarks,
        frame_size=record.frame_size,
        score=record.score,
        quality=record.quality,
        reasons=record.reasons,
        age=record.age,
        expression=estimates.expression(record.last_seen) if estimates else None,
        attributes=record.attributes,
        identity=record.identity,
        samples=estimates.samples if estimates else 0,
        model_id=estimates.model.id if estimates else "",
        revision=record.revision,
        final=end_reason is not None,
        end_reason=end_reason,
        received=record.received if received is None else received,
    )
