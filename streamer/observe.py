"""Frames through detect, track and choose (crop, schedule): Observations. The only stage made of stages."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from streamer import metrics
from streamer.config import StreamerConfig
from streamer.detect.detector import Detector
from streamer.handover import Handover, Item
from streamer.select.selector import CropSelector
from streamer.track.keys import KeyMaker
from streamer.track.shot_change import ShotChangeDetector
from streamer.track.tracker import Tracker
from streamer.values import (
    Detections,
    EndReason,
    Frame,
    Observation,
    SourceEnd,
    TrackEnd,
    TrackState,
)

TAKE_S = 0.5  # longest wait for frames before looking at the clock again


class Observer:
    """All cameras of this process; called from one thread."""

    def __init__(self, config: StreamerConfig, detector: Detector, new_key: KeyMaker, live: bool = False) -> None:
        self._config = config
        self._detector = detector
        self._new_key = new_key
        self._trackers: dict[str, Tracker] = {}
        self._shots: dict[str, ShotChangeDetector] = {}  # of the running epoch
        self._last: dict[str, Observation] = {}  # of the running epoch, without its faces
        self.selector = CropSelector(config, live)

    def observe(self, items: Sequence[Item]) -> list[Observation]:
        """The frames (at most one per camera) and ends of sources, in order; the detector sees all frames at once."""
        frames = [item for item in items if isinstance(item, Frame)]
        started = time.monotonic()
        found = iter(self._detector.detect([frame.pixels for frame in frames]) if frames else [])
        if frames:
            metrics.inference_seconds.labels("detect").observe(time.monotonic() - started)
        observations: list[Observation] = []
        for item in items:
            if isinstance(item, SourceEnd):
                observations += self._end(item.camera, item.reason)
                continue
            metrics.frame_age_seconds.labels(item.camera).observe(started - item.received)
            last = self._last.get(item.camera)
            if last is not None and last.epoch != item.epoch:
                observations += self._end(item.camera, EndReason.SOURCE_LOST)
            observations.append(self._observe_frame(item, next(found)))
        chosen = self.selector.choose(observations)
        for observation in observations:
            self.selector.forget(observation.ended)
        return chosen

    def _observe_frame(self, frame: Frame, detections: Detections) -> Observation:
        metrics.detections.labels(frame.camera).inc(len(detections))
        tracker = self._trackers.get(frame.camera)
        if tracker is None:
            camera = frame.camera
            tracker = Tracker(self._config.track, lambda number: self._new_key(camera, number))
            self._trackers[camera] = tracker
        if frame.camera not in self._shots:
            self._shots[frame.camera] = ShotChangeDetector(self._config.track.min_shot_change)
        new_shot = self._shots[frame.camera].is_shot_change(frame.media_time, frame.pixels)
        tracks, ended = tracker.update(frame.media_time, detections, frame.size, new_shot)
        choices = self.selector.consider(frame, detections, tracks)
        metrics.tracks_active.labels(frame.camera).set(sum(t.state is not TrackState.TENTATIVE for t in tracks))
        _count(ended)
        empty = Observation(
            camera=frame.camera,
            epoch=frame.epoch,
            media_time=frame.media_time,
            captured_at=frame.captured_at,
            clock_source=frame.clock_source,
            received=frame.received,
            frame_size=frame.size,
            detections=Detections.none(),
            tracks=(),
        )
        self._last[frame.camera] = empty
        return replace(empty, detections=detections, tracks=tuple(tracks), choices=choices, ended=tuple(ended))

    def _end(self, camera: str, reason: EndReason) -> list[Observation]:
        last, tracker = self._last.pop(camera, None), self._trackers.get(camera)
        self._shots.pop(camera, None)
        if reason is EndReason.SOURCE_REMOVED:
            self._trackers.pop(camera, None)
        if last is None or tracker is None:
            return []
        ended = tracker.end_all(reason)
        if reason is not EndReason.SOURCE_REMOVED:  # then the camera and its labels are gone
            metrics.tracks_active.labels(camera).set(0)
        _count(ended)
        return [replace(last, ended=tuple(ended))]


def _count(ended: Sequence[TrackEnd]) -> None:
    for end in ended:
        if end.confirmed:
            metrics.tracks_ended.labels(end.key.camera, end.reason.value).inc()


def observe_all(observer: Observer, frames: Handover, deliver: Callable[[Observation], None]) -> None:
    """The loop of the observe thread: until the hand-over is closed and empty. `deliver` may wait."""
    while (items := frames.take(TAKE_S)) is not None:
        for observation in observer.observe(items):
            deliver(observation)
