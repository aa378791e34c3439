"""Combines the Observations and FaceAnalyses of each track into a TrackSummary. Pure: no clock, no socket.

A track is published from its confirmation on. The estimates are made in estimates.py, and described.py decides whether
they are published. If the analyses turn out to be of two persons, the track is split: the old track ends, and a new
track gets the analyses of the second person.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from streamer.aggregate.described import Seen, Tally, undescribed
from streamer.aggregate.estimates import Samples
from streamer.aggregate.samples import sample_of
from streamer.aggregate.suspects import Verdict
from streamer.boxes import iou_of_pairs
from streamer.config import Aggregate
from streamer.values import (
    ClockSource,
    EndReason,
    FaceAnalysis,
    FaceCrop,
    Floats,
    Model,
    Observation,
    Reason,
    Sighting,
    Track,
    TrackEnd,
    TrackEstimates,
    TrackKey,
    TrackState,
    TrackSummary,
    Undescribed,
)

log = logging.getLogger(__name__)

MODEL_SILENT_S = 10.0  # a track returns to an earlier model only if its present one gave nothing for this long
SIGHTINGS = 64  # number of newest crops per track whose sightings are kept; a split looks back no further
FRAMES = 90  # the same for the newest frames
JUMP = 0.5  # IoU of the boxes of two frames below which another face may have taken over between them


@dataclass(slots=True, eq=False)
class _Record:
    """One confirmed track that has not ended. The fields are those of TrackSummary unless commented."""

    key: TrackKey
    epoch: int
    state: TrackState
    first_seen: float
    first_captured_at: datetime | None
    clock_source: ClockSource
    last: Sighting
    received: float
    media_time: float  # s, of the newest frame
    crops_seen: deque[Sighting] = field(default_factory=lambda: deque(maxlen=SIGHTINGS))
    frames_seen: deque[tuple[Sighting, Floats]] = field(default_factory=lambda: deque(maxlen=FRAMES))  # and raw boxes
    seen: Seen = field(default_factory=Seen)
    split_from: str = ""
    quality: float = 0.0
    reasons: tuple[Reason, ...] = ()
    revision: int = 1
    samples: Samples | None = None
    estimates: TrackEstimates = field(default_factory=TrackEstimates)  # changes only with an analysis
    undescribed: tuple[Undescribed, ...] = (Undescribed.NOT_ANALYSED,)  # changes with the estimates and at the end
    left_models: set[Model] = field(default_factory=set)  # models of earlier estimates

    def estimate(self, samples: Samples) -> None:
        """Take over the estimates from `samples` as a new revision."""
        self.revision += 1
        self.samples, self.reasons = samples, ()
        self.estimates = samples.estimates(self.revision)

    def judge(self, settings: Aggregate, blank: Floats | None) -> None:
        """Decide whether the estimates are published; `blank` (512,): see described.py."""
        tally = Tally() if self.samples is None else self.samples.tally
        self.undescribed = undescribed(settings, self.seen, tally, self.estimates, self.reasons, blank)


class Aggregator:
    """The confirmed tracks of all cameras, until they are finished."""

    def __init__(self, config: Aggregate, new_key: Callable[[TrackKey], TrackKey]) -> None:
        """`new_key` makes the key of a track that is split off another one."""
        self._config = config
        self._new_key = new_key
        self._records: dict[str, _Record] = {}  # by track id
        self._logged_changes: set[tuple[str, str]] = set()  # (from, to) changes of model that were logged
        self._blanks: dict[str, Floats] = {}  # by model id: (512,) embedding of images without content

    def use_blank(self, model_id: str, embedding: Floats) -> None:
        """Recognise crops that show nothing by this embedding (512,), of unit length, of images without content."""
        self._blanks[model_id] = embedding

    def waits(self, track_id: str) -> bool:
        """Return whether the newest crops of a track may show another person, which the next one must decide."""
        record = self._records.get(track_id)
        return record is not None and record.samples is not None and record.samples.waits

    def observe(self, observation: Observation) -> list[TrackSummary]:
        """Take in a frame; return the summaries of its confirmed and lost tracks, except where it was not searched.

        Tentative tracks are ignored.
        """
        qualities = {crop.key.id: crop.quality.value for crop in observation.crops}
        summaries = []
        for track in observation.tracks:
            record = known = self._records.get(track.key.id)
            if record is None and track.state is TrackState.CONFIRMED:
                record = self._records[track.key.id] = _new_record(observation, track)
            if record is None:
                continue
            unchanged = known is not None and track.state is record.state and track.last_seen == record.last.time
            _update(record, observation, track)
            if track.key.id in qualities:
                record.quality = max(record.quality, qualities[track.key.id])
                record.crops_seen.append(record.last)
            if not (unchanged and track.detection is None and track.state is TrackState.CONFIRMED):
                summaries.append(self._summary(record))
        return summaries

    def add_analysis(self, crop: FaceCrop, analysis: FaceAnalysis) -> list[TrackSummary]:
        """Take in an analysis; return the summaries that it changes. Their `received` is that of the crop.

        Usually that is the summary of its track. If the analysis shows that the track has changed persons, it is the
        final summary of the old track and the first of the new track, under whose key the tracker's track continues.
        The list is empty if the analysis is not used: its track is unknown or finished, or it is older than the track,
        much older than the other analyses, or by a model that the track no longer uses. While it waits because it may
        show another person, the summary is the one before.
        """
        record = self._records.get(crop.key.id)
        if record is None or (record.split_from and crop.media_time < record.first_seen):
            return []
        if not self._same_model(record, crop, analysis.model):
            return []
        samples = record.samples or Samples(self._config, analysis.model)
        verdict, place = samples.take(sample_of(crop, analysis))
        if verdict is Verdict.TOO_OLD:
            return []
        if verdict is Verdict.OTHER:
            before, after, time = samples.split_waiting()
            return self._split(record, before, after, self._start(record, before.last_inferred, time), crop.received)
        if place is None:
            return [self._summary(record, received=crop.received)]
        swapped = samples.swapped_at(place)
        if swapped is not None:
            before, after = samples.split(swapped)
            return self._split(record, before, after, swapped, crop.received)
        self._estimate(record, samples)
        record.quality = max(record.quality, crop.quality.value)
        return [self._summary(record, received=crop.received)]

    def finish(self, end: TrackEnd) -> TrackSummary | None:
        """Forget a track and return its final summary; None if it was never confirmed.

        Call this when all crops of the track are answered or lost.
        """
        record = self._records.pop(end.key.id, None)
        return None if record is None else self._final_summary(record, end.reason)

    def revise(self, track_id: str) -> int:
        """Count a change of an open track that was not made here, and return its new revision."""
        record = self._records[track_id]
        record.revision += 1
        return record.revision

    def open_ends(self, reason: EndReason) -> list[TrackEnd]:
        """Return an end for each track that has not ended."""
        return [TrackEnd(record.key, reason, record.last.time, confirmed=True) for record in self._records.values()]

    def _estimate(self, record: _Record, samples: Samples) -> None:
        record.estimate(samples)
        record.judge(self._config, self._blanks.get(samples.model.id))

    def _split(self, old: _Record, before: Samples, after: Samples, time: float, received: float) -> list[TrackSummary]:
        """End a track at the media time (s) at which another person appeared, and begin a new track there.

        `before` and `after` are the samples of the two persons.
        """
        new = replace(
            old,
            key=self._new_key(old.key),
            first_seen=time,
            first_captured_at=_earlier(old.last.captured_at, old.last.time - time),
            crops_seen=deque((one for one in old.crops_seen if one.time >= time), SIGHTINGS),
            frames_seen=deque((one for one in old.frames_seen if one[0].time >= time), FRAMES),
            seen=_seen_since(old, time),
            split_from=old.key.id,
            revision=0,
            left_models=set(old.left_models),
        )
        del self._records[old.key.id]
        self._records[new.key.id] = new
        self._estimate(new, after)
        new.quality = after.best_quality
        sightings = [*old.crops_seen, *(one for one, _ in old.frames_seen)]
        earlier = [one for one in sightings if one.time < time]
        last = max(earlier, key=lambda one: one.time, default=None)
        old.last = last or _at_earlier_time(old.last, before.last_inferred)
        self._estimate(old, before)
        old.quality = before.best_quality
        log.info("track %s shows two persons: %s continues it from %.2f s", old.key.id, new.key.id, time)
        return [self._final_summary(old, EndReason.SPLIT), self._summary(new, received)]

    def _start(self, record: _Record, after: float, until: float) -> float:
        """Return the media time (s) of the first frame of another person, who was noticed at `until`.

        It is after the jump of the box since the last crop of the person before, at `after`, if there is one.
        """
        frames = [one for one in record.frames_seen if after <= one[0].time <= until]
        if len(frames) < 2:
            return until
        boxes = np.stack([box for _, box in frames]).T
        overlaps = iou_of_pairs(boxes[:, :-1], boxes[:, 1:])
        place = int(overlaps.argmin())
        return frames[place + 1][0].time if overlaps[place] < JUMP else until

    def _final_summary(self, record: _Record, reason: EndReason) -> TrackSummary:
        if record.samples is not None and record.samples.waits:  # nothing decides any more: they count as outliers
            record.estimate(record.samples)
        record.judge(self._config, self._blanks.get(record.estimates.model_id))
        record.state = TrackState.ENDED
        record.revision += 1
        return self._summary(record, end_reason=reason)

    def _same_model(self, record: _Record, crop: FaceCrop, model: Model) -> bool:
        """Return whether an analysis by `model` may be used. A new model resets the estimates: models are never mixed.

        Analyses by an earlier model are not used while the present one is active. They are late, or from a worker that
        still has the old weights; without this rule two models would alternate.
        """
        present = record.samples
        if present is None or present.model == model:
            return True
        if model in record.left_models and crop.media_time - present.last_inferred <= MODEL_SILENT_S:
            return False
        record.left_models.add(present.model)
        record.left_models.discard(model)
        record.samples = None
        if (present.model.id, model.id) not in self._logged_changes:
            self._logged_changes.add((present.model.id, model.id))
            log.warning(
                "the model changed from %s to %s: the estimates of open tracks are reset", present.model.id, model.id
            )
        return True

    def _summary(
        self, record: _Record, received: float | None = None, end_reason: EndReason | None = None
    ) -> TrackSummary:
        estimates = record.estimates
        expression = estimates.expression
        if expression is not None and expression.current is not None:
            since_analysis = record.media_time - expression.evidence.last_inferred
            if since_analysis > self._config.expression_gap_s:
                estimates = replace(estimates, expression=replace(expression, current=None))
        if record.undescribed:
            estimates = replace(estimates, age=None, expression=None, attributes=None)
        return TrackSummary(
            key=record.key,
            epoch=record.epoch,
            state=record.state,
            first_seen=record.first_seen,
            first_captured_at=record.first_captured_at,
            clock_source=record.clock_source,
            last=record.last,
            quality=record.quality,
            reasons=record.reasons,
            estimates=estimates,
            revision=record.revision,
            split_from=record.split_from,
            final=end_reason is not None,
            end_reason=end_reason,
            received=record.received if received is None else received,
            undescribed=record.undescribed,
        )


def _new_record(observation: Observation, track: Track) -> _Record:
    return _Record(
        key=track.key,
        epoch=observation.epoch,
        state=track.state,
        first_seen=track.first_seen,
        first_captured_at=_wall_clock(observation, track.first_seen),
        clock_source=observation.clock_source,
        last=Sighting(
            time=track.last_seen,
            captured_at=_wall_clock(observation, track.last_seen),
            box=track.box,
            landmarks=None,
            frame_size=observation.frame_size,
            score=track.score,
        ),
        received=observation.received,
        media_time=observation.media_time,
    )


def _update(record: _Record, observation: Observation, track: Track) -> None:
    """Update a track from a frame. Box, landmarks and score stay those of the last detection."""
    if track.state is not record.state:
        record.state = track.state
        record.revision += 1
    record.received, record.media_time = observation.received, observation.media_time
    if observation.clock_source is not record.clock_source:  # both wall-clock times must be of one clock
        record.clock_source = observation.clock_source
        record.first_captured_at = _wall_clock(observation, record.first_seen)
        record.last = replace(record.last, captured_at=_wall_clock(observation, track.last_seen))
    if track.detection is None:
        return
    record.last = Sighting(
        time=track.last_seen,
        captured_at=observation.captured_at,
        box=track.box,
        landmarks=observation.detections.landmarks[track.detection],
        frame_size=observation.frame_size,
        score=track.score,
    )
    found, row = observation.detections, track.detection
    record.frames_seen.append((record.last, found.boxes[row]))
    landmarks = None if found.turned[row] else found.landmarks[row]
    record.seen.add(float(found.scores[row]), found.boxes[row], landmarks, observation.frame_size)
    if record.samples is None:
        record.reasons = observation.skipped.get(track.key.id, ())


def _seen_since(record: _Record, time: float) -> Seen:
    """Return what the detections of a track say from a media time (s) on, as far as they are kept."""
    seen = Seen()
    for sighting, box in record.frames_seen:
        if sighting.time >= time:
            seen.add(sighting.score, box, sighting.landmarks, sighting.frame_size)
    return seen


def _at_earlier_time(last: Sighting, time: float) -> Sighting:
    """Return the sighting with an earlier media time (s), for a time at which the box is unknown."""
    return replace(last, time=time, captured_at=_earlier(last.captured_at, last.time - time))


def _wall_clock(observation: Observation, time: float) -> datetime | None:
    """Return the wall-clock time of a media time (s) shortly before the observation."""
    return _earlier(observation.captured_at, observation.media_time - time)


def _earlier(moment: datetime | None, by_s: float) -> datetime | None:
    return None if moment is None else moment - timedelta(seconds=by_s)
