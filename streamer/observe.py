"""Passes the frames of all cameras through detect, track and select, and returns Observations."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from streamer import metrics
from streamer.config import StreamerConfig
from streamer.detect.detector import FindsFaces
from streamer.detect.mounted import MountedWatch
from streamer.detect.region import LimitedWatch
from streamer.handover import Handover, Item
from streamer.select.selector import Considered, CropSelector, Selection
from streamer.track.face_change import FaceChanges
from streamer.track.keys import KeyMaker
from streamer.track.shot_change import ShotChangeDetector
from streamer.track.tracker import Tracker
from streamer.values import (
    ClockSource,
    Detections,
    EndReason,
    Frame,
    Model,
    Observation,
    SourceEnd,
    TrackEnd,
    TrackState,
    Transition,
)

TAKE_S = 0.5  # longest single wait for frames


@dataclass(frozen=True, slots=True)
class _Moment:
    """A frame without its pixels. The fields are those of Observation."""

    camera: str
    epoch: int
    media_time: float
    captured_at: datetime | None
    clock_source: ClockSource
    received: float
    frame_size: tuple[int, int]
    time_estimated: bool
    shot: int
    transition: Transition

    @classmethod
    def of(cls, frame: Frame, shot: int, transition: Transition) -> "_Moment":
        moment = frame.camera, frame.epoch, frame.media_time, frame.captured_at, frame.clock_source, frame.received
        return cls(*moment, frame.size, frame.time_estimated, shot, transition)


@dataclass(frozen=True, slots=True, eq=False)
class _Tracked:
    """A frame after detection and tracking, before the selection of crops."""

    moment: _Moment
    detections: Detections
    considered: Considered

    def observation(self, selection: Selection) -> Observation:
        moment, considered = self.moment, self.considered
        return Observation(
            camera=moment.camera,
            epoch=moment.epoch,
            media_time=moment.media_time,
            captured_at=moment.captured_at,
            clock_source=moment.clock_source,
            received=moment.received,
            frame_size=moment.frame_size,
            detections=self.detections,
            tracks=considered.tracks,
            crops=selection.crops,
            skipped=selection.skipped,
            choices=selection.choices,
            ended=considered.ended,
            time_estimated=moment.time_estimated,
            shot=moment.shot,
            transition=moment.transition,
        )


class Observer:
    """Detects, tracks and selects faces for all cameras of this process.

    Only `on_result` and `set_workers` may be called from any thread; `observe` is for one thread.
    """

    def __init__(
        self, config: StreamerConfig, faces: FindsFaces | LimitedWatch, new_key: KeyMaker, live: bool = False
    ) -> None:
        """`faces`: a detector, or one that is watched already. `new_key` makes the keys of tracks.

        `live`: crops are scheduled by the monotonic clock, not by media time.
        """
        self._config = config
        self._watch = faces if isinstance(faces, LimitedWatch) else MountedWatch(faces)
        self._new_key = new_key
        self._trackers: dict[str, Tracker] = {}
        self._shots: dict[str, ShotChangeDetector] = {}  # of the present epoch
        self._faces: dict[str, FaceChanges] = {}  # the same
        self._last: dict[str, _Moment] = {}  # the last frame of the present epoch
        self._selector = CropSelector(config, live)

    def on_result(self, track_id: str, answered: bool, waits: bool = False) -> None:
        """Note that a live crop was answered or given up, and whether its track waits for the next one to decide.

        Any thread may call this.
        """
        self._selector.on_result(track_id, answered, waits)

    def set_workers(self, models: Mapping[Model, int]) -> None:
        """Set the number of workers alive for each model. Any thread may call this."""
        self._selector.set_workers(models)

    def observe(self, items: Sequence[Item]) -> list[Observation]:
        """Process frames (at most one per camera) and ends of sources in order. All frames are one detector batch."""
        frames = [item for item in items if isinstance(item, Frame)]
        started = time.monotonic()
        found = iter(self._watch.detect(frames) if frames else [])
        if frames:
            metrics.inference_seconds.labels("detect").observe(time.monotonic() - started)
        tracked: list[_Tracked] = []
        for item in items:
            if isinstance(item, SourceEnd):
                tracked += self._end(item.camera, item.reason)
                continue
            metrics.frame_age_seconds.labels(item.camera).observe(started - item.received)
            metrics.frames_analysed.labels(item.camera).inc()
            last = self._last.get(item.camera)
            if last is not None and last.epoch != item.epoch:
                tracked += self._end(item.camera, EndReason.SOURCE_LOST)
            tracked.append(self._track(item, next(found)))
        selections = self._selector.choose([each.considered for each in tracked])
        return [each.observation(selection) for each, selection in zip(tracked, selections, strict=True)]

    def _track(self, frame: Frame, detections: Detections) -> _Tracked:
        camera = frame.camera
        metrics.detections.labels(camera).inc(len(detections))
        if camera not in self._trackers:
            self._trackers[camera] = Tracker(self._config.track, lambda number: self._new_key(camera, number))
        if camera not in self._shots:
            self._shots[camera] = ShotChangeDetector(self._config.track.shot_change_levels)
            self._faces[camera] = FaceChanges(self._config.track.shot_change_levels)
        shots, last = self._shots[camera], self._last.get(camera)
        began = shots.see(frame.media_time, frame.pixels)
        shot, transition = (last.shot, last.transition) if last is not None else (0, Transition.START)
        if began is not None:
            shot, transition = shot + 1, began
        new_shot = began is not None and last is not None
        if new_shot:
            metrics.shot_changes.labels(camera).inc()
        tracks, ended = self._trackers[camera].update(frame.media_time, detections, frame.size, new_shot)
        doubtful = self._faces[camera].see(tracks, frame.size, shots.difference)
        if began is Transition.FADE:  # what waits may be of a mixed picture
            doubtful |= {end.key.id for end in ended}
        for track_id in doubtful:
            self._selector.doubt(track_id)
        choices = self._selector.consider(frame, detections, tracks, shots.blended)
        metrics.tracks_active.labels(camera).set(sum(t.state is not TrackState.TENTATIVE for t in tracks))
        _count(ended)
        self._last[camera] = _Moment.of(frame, shot, transition)
        considered = Considered(camera, frame.media_time, tuple(tracks), tuple(ended), choices)
        return _Tracked(self._last[camera], detections, considered)

    def _end(self, camera: str, reason: EndReason) -> list[_Tracked]:
        last, tracker = self._last.pop(camera, None), self._trackers.get(camera)
        self._shots.pop(camera, None)
        self._faces.pop(camera, None)
        self._watch.forget(camera)
        if reason is EndReason.SOURCE_REMOVED:
            self._trackers.pop(camera, None)
        if last is None or tracker is None:
            return []
        ended = tracker.end_all(reason)
        metrics.tracks_active.labels(camera).set(0)
        _count(ended)
        return [_Tracked(last, Detections.none(), Considered(camera, last.media_time, (), tuple(ended), ()))]


def _count(ended: Sequence[TrackEnd]) -> None:
    for end in ended:
        if end.confirmed:
            metrics.tracks_ended.labels(end.key.camera, end.reason.value).inc()


def observe_all(observer: Observer, frames: Handover, deliver: Callable[[Observation], None]) -> None:
    """Observe frames until the hand-over is closed and empty: the loop of the observe thread. `deliver` may wait."""
    while (items := frames.take(TAKE_S)) is not None:
        for observation in observer.observe(items):
            deliver(observation)
