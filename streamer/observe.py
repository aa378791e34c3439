"""Passes the frames of all cameras through attention, detect, track and select, and returns Observations."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamer import metrics
from streamer.attention.attention import Attention
from streamer.attention.looks import Candidate, Look, LookReason, Skip, SkipReason
from streamer.config import StreamerConfig
from streamer.detect.detector import FindsFaces
from streamer.detect.mounted import MountedWatch
from streamer.detect.region import LimitedWatch
from streamer.handover import Handover, Item
from streamer.observed import Camera, Moment, Tracked
from streamer.pictures import Pictures, Seen
from streamer.select.selector import Considered, CropSelector, Selection
from streamer.tracer import Tracer
from streamer.track.face_change import FaceChanges
from streamer.track.filling import Filling
from streamer.track.keys import KeyMaker
from streamer.track.shot_change import ShotChangeDetector
from streamer.track.tracker import Tracker
from streamer.values import (
    Bytes,
    Detections,
    EndReason,
    Floats,
    Frame,
    Model,
    Observation,
    Outlook,
    Preview,
    SourceEnd,
    TrackEnd,
    TrackState,
    Transition,
)

CALM_S = 3.0  # after this many seconds without motion or a face, a camera is calm
TAKE_S = 0.5  # longest single wait for frames


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """A frame and where to look for faces in it."""

    frame: Frame
    look: Look | None  # None: everywhere, without attention
    luma: Bytes | None = None  # with attention


class Observer:
    """Detects, tracks and selects faces for all cameras of this process.

    Frames are always searched; for previews, attention decides. Only `on_result`, `set_workers` and
    `note_replaced` may be called from any thread; `observe` is for one thread.
    """

    def __init__(
        self,
        config: StreamerConfig,
        faces: FindsFaces | LimitedWatch,
        new_key: KeyMaker,
        live: bool = False,
        relax: Callable[[frozenset[str]], None] | None = None,
        tracer: Tracer | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        """`faces`: a detector, or one that is watched already. `new_key` makes the keys of tracks.

        `live`: crops and searches are scheduled by the monotonic clock, not by media time. Otherwise, observations of
        frames that are not searched wait for the next search, and are filled in. `relax` receives the cameras in which
        nothing happens, whenever they change. `tracer`: makes spans; None: nothing is traced.
        `pictures`: for those who watch; None: nobody does.
        """
        self._config = config
        self._watch = faces if isinstance(faces, LimitedWatch) else MountedWatch(faces)
        self._new_key = new_key
        self._live = live
        self._relax = relax
        self._tracer = tracer
        self._pictures = pictures
        self._calm: frozenset[str] = frozenset()
        self._replacing = threading.Lock()
        self._replaced: Counter[str] = Counter()  # by camera, since its last frame that was taken
        self._cameras: dict[str, Camera] = {}
        self._filling: dict[str, Filling] = {}  # recorded
        self._attention = Attention(config.detect.attention, live)
        self._selector = CropSelector(config, live)

    def on_result(self, track_id: str, answered: bool, waits: bool = False, undecided: bool = False) -> None:
        """Note that a live crop was answered or given up, and why the next one of its track is needed soon, if it is.

        `waits`: it decides whether the track shows somebody else; `undecided`: whom it shows. Any thread may call this.
        """
        self._selector.on_result(track_id, answered, waits, undecided)

    def set_workers(self, models: Mapping[Model, int]) -> None:
        """Set the number of workers alive for each model. Any thread may call this."""
        self._selector.set_workers(models)

    def note_replaced(self, camera: str) -> None:
        """Note that a frame was replaced by a newer one before it could be taken. Any thread may call this."""
        with self._replacing:
            self._replaced[camera] += 1

    def observe(self, items: Sequence[Item]) -> list[Observation]:
        """Process pictures (at most one per camera) and ends of sources in order. All frames are one detector batch."""
        searches = self._searches(items)
        frames = [search.frame for search in searches.values()]
        started = time.monotonic()
        found = self._watch.look(frames, [_regions(search) for search in searches.values()]) if frames else []
        seconds = time.monotonic() - started
        if frames:
            metrics.inference_seconds.labels("detect").observe(seconds)
            if self._tracer is not None:
                self._tracer.detected(frames, started, started + seconds)
        faces = dict(zip(searches, found, strict=True))
        tracked: list[Tracked] = []
        for item in items:
            if isinstance(item, SourceEnd):
                tracked += self._end(item.camera, item.reason)
                continue
            last = self._camera(item.camera).last
            if last is not None and last.epoch != item.epoch:
                tracked += self._end(item.camera, EndReason.SOURCE_LOST)
            if isinstance(item, Preview) and item.camera not in searches:
                tracked.append(self._coast(item))
                continue
            metrics.frame_age_seconds.labels(item.camera).observe(started - item.received)
            metrics.frames_analysed.labels(item.camera).inc()
            search, seen = searches[item.camera], faces[item.camera]
            began = time.monotonic()
            tracked.append(self._track(search, seen.faces, seen.looked))
            if self._tracer is not None:
                self._tracer.tracked(search.frame, began)
            if search.look is not None:
                self._learn(search, tracked[-1], seconds / len(frames))
        if self._relax is not None:
            self._note_calm(items, self._relax)
        selections = self._selector.choose([each.considered for each in tracked])
        return list(self._given(tracked, selections))

    def _camera(self, name: str) -> Camera:
        if name not in self._cameras:
            tracker = Tracker(self._config.track, lambda number: self._new_key(name, number))
            levels = self._config.track.shot_change_levels
            self._cameras[name] = Camera(tracker, ShotChangeDetector(levels), FaceChanges(levels))
        return self._cameras[name]

    def _searches(self, items: Sequence[Item]) -> dict[str, _Search]:
        """Return by camera what is searched for faces: all frames, and the previews that attention chooses."""
        searches, candidates, ended = dict[str, _Search](), list[Candidate](), set[str]()
        for item in items:
            if isinstance(item, SourceEnd):
                ended.add(item.camera)
            elif isinstance(item, Frame):
                searches[item.camera] = _Search(item, None)
            else:
                candidates.append(self._candidate(item, item.camera in ended))
        if not candidates:
            return searches
        now = time.monotonic() if self._live else candidates[-1].preview.media_time
        for candidate, look in zip(candidates, self._attention.choose(candidates, now), strict=True):
            preview, quiet = candidate.preview, look.reason in (SkipReason.QUIET, LookReason.FULL_LOOK)
            if len(candidate.outlook.boxes) or not quiet:
                self._camera(preview.camera).stirred = preview.media_time
            self._count(preview.camera, look)
            if isinstance(look, Skip):
                continue
            frame = preview.frame()
            if frame is not None:
                metrics.searches.labels(preview.camera, look.reason.value.lower()).inc()
                searches[preview.camera] = _Search(frame, look, preview.luma)
        return searches

    def _count(self, name: str, look: Look | Skip) -> None:
        """Count a frame that is not searched, and those that it has replaced: they showed as much or as little."""
        with self._replacing:
            replaced = self._replaced.pop(name, 0)
        if isinstance(look, Skip) and look.reason is not SkipReason.BUDGET:
            metrics.frames_unsearched.labels(name, look.reason.value.lower()).inc(1 + replaced)
            return
        dropped = replaced + isinstance(look, Skip)
        if dropped:
            metrics.frames_dropped.labels(name, "overload").inc(dropped)

    def _note_calm(self, items: Sequence[Item], relax: Callable[[frozenset[str]], None]) -> None:
        """Find the cameras in which nothing has happened for CALM_S."""
        calm = self._calm
        for name in {item.camera for item in items}:
            camera = self._cameras.get(name)
            last = camera.last if camera is not None else None
            at_rest = camera is not None and last is not None and last.media_time - camera.stirred >= CALM_S
            calm = calm | {name} if at_rest else calm - {name}
        if calm != self._calm:
            self._calm = calm
            relax(calm)

    def _candidate(self, preview: Preview, ended: bool) -> Candidate:
        """Return a preview with what is known of the tracks in it; nothing, if its source has ended in between."""
        camera = self._camera(preview.camera)
        if ended or camera.last is None or camera.last.epoch != preview.epoch:
            self._attention.forget(preview.camera)
            return Candidate(preview, Outlook.none(), np.zeros(0, np.float32))
        camera.see(preview.media_time, preview.luma)
        wanted = self._selector.wanted(camera.tracker.ids, preview.media_time)
        return Candidate(preview, camera.tracker.outlook(preview.media_time), wanted, camera.began is not None)

    def _learn(self, search: _Search, tracked: Tracked, seconds: float) -> None:
        """Report to attention what a search found and cost."""
        assert search.look is not None
        frame, tracks = search.frame, tracked.considered.tracks
        new = sum(track.first_seen == frame.media_time for track in tracks)
        outlook = self._camera(frame.camera).tracker.outlook(frame.media_time)
        self._attention.looked(frame.camera, search.look, outlook, new, seconds)

    def _track(self, search: _Search, detections: Detections, area: Floats | None) -> Tracked:
        frame = search.frame
        name, camera = frame.camera, self._camera(frame.camera)
        metrics.detections.labels(name).inc(len(detections))
        if search.luma is None:
            camera.see(frame.media_time, frame.pixels)
        elif camera.last is None:
            camera.see(frame.media_time, search.luma)
        shot, transition = camera.shot()
        began, difference = camera.began, camera.difference
        camera.began = camera.difference = None
        if began is not None:
            shot, transition = shot + 1, began
            metrics.shot_changes.labels(name).inc()
        tracks, ended = camera.tracker.update(frame.media_time, detections, frame.size, began is not None, area)
        doubtful = camera.faces.see(tracks, frame.size, difference)
        if began is Transition.FADE:  # what waits may be of a mixed picture
            doubtful |= {end.key.id for end in ended}
        for track_id in doubtful:
            self._selector.doubt(track_id)
        choices = self._selector.consider(frame, detections, tracks, camera.shots.blended)
        metrics.tracks_active.labels(name).set(sum(t.state is not TrackState.TENTATIVE for t in tracks))
        _count_ends(ended)
        camera.last = Moment.of(frame, shot, transition, True)
        considered = Considered(name, frame.media_time, tuple(tracks), tuple(ended), choices)
        if self._pictures is not None and self._pictures.wants(name):
            self._pictures.offer(Seen(frame, considered.tracks, detections.boxes, True))
        return Tracked(camera.last, detections, considered, area is None)

    def _coast(self, preview: Preview) -> Tracked:
        """Pass over a frame that is not searched: tracks are where they are expected to be."""
        camera = self._camera(preview.camera)
        if camera.last is None:
            camera.see(preview.media_time, preview.luma)
        still = self._attention.still(preview.camera)
        tracks = camera.tracker.coast(preview.media_time, preview.size, still)
        camera.last = Moment.of(preview, *camera.shot(), False)
        considered = Considered(preview.camera, preview.media_time, tuple(tracks), (), ())
        if self._pictures is not None and self._pictures.wants(preview.camera, searched=False):
            self._pictures.offer(Seen(preview, considered.tracks, Detections.none().boxes, False))
        return Tracked(camera.last, Detections.none(), considered, False)

    def _end(self, name: str, reason: EndReason) -> list[Tracked]:
        self._attention.forget(name)
        self._watch.forget(name)
        camera = self._cameras.get(name)
        if camera is None:
            return []
        last = camera.last
        camera.begin(self._config.track.shot_change_levels)
        if reason is EndReason.SOURCE_REMOVED:
            self._cameras.pop(name)
            self._attention.remove(name)
            with self._replacing:
                self._replaced.pop(name, None)
            if self._pictures is not None:
                self._pictures.forget(name)
        if last is None:
            return []
        ended = camera.tracker.end_all(reason)
        metrics.tracks_active.labels(name).set(0)
        _count_ends(ended)
        return [Tracked(last, Detections.none(), Considered(name, last.media_time, (), tuple(ended), ()), True)]

    def _given(self, tracked: Iterable[Tracked], selections: Iterable[Selection]) -> Iterable[Observation]:
        """Yield observations; live, those of frames without a track that were not searched are left out."""
        for each, selection in zip(tracked, selections, strict=True):
            observation = each.observation(selection)
            if self._attention.every_frame and not self._live:
                yield observation
            elif self._live:
                # crops of another camera's track that have waited may go with it
                if observation.searched or observation.tracks or observation.ended or observation.crops:
                    yield observation
            else:
                filling = self._filling.setdefault(observation.camera, Filling(self._config.track.confirm_hits))
                yield from filling.add(observation, each.whole)


def _regions(search: _Search) -> Floats | None:
    return None if search.look is None or search.look.whole else search.look.regions


def _count_ends(ended: Sequence[TrackEnd]) -> None:
    for end in ended:
        if end.confirmed:
            metrics.tracks_ended.labels(end.key.camera, end.reason.value).inc()


def observe_all(observer: Observer, frames: Handover, deliver: Callable[[Observation], None]) -> None:
    """Observe frames until the hand-over is closed and empty: the loop of the observe thread. `deliver` may wait."""
    while (items := frames.take(TAKE_S)) is not None:
        for observation in observer.observe(items):
            deliver(observation)
