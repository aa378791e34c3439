"""What is kept of each camera, and of each frame on its way through the stages of an Observer."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from streamer.handover import Picture
from streamer.select.selector import Considered, Selection
from streamer.track.face_change import FaceChanges
from streamer.track.shot_change import ShotChangeDetector
from streamer.track.tracker import Tracker
from streamer.values import Bytes, ClockSource, Detections, Floats, Observation, Transition


@dataclass(frozen=True, slots=True)
class Moment:
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
    searched: bool

    @classmethod
    def of(cls, picture: Picture, shot: int, transition: Transition, searched: bool) -> "Moment":
        times = picture.media_time, picture.captured_at, picture.clock_source, picture.received
        estimated = picture.time_estimated
        return cls(picture.camera, picture.epoch, *times, picture.size, estimated, shot, transition, searched)


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """A frame after detection and tracking, before the selection of crops."""

    moment: Moment
    detections: Detections
    considered: Considered
    whole: bool  # all of the frame was searched, or it is the end of the source

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
            searched=moment.searched,
        )


@dataclass(slots=True, eq=False)
class Camera:
    """What is kept of one camera."""

    tracker: Tracker
    shots: ShotChangeDetector  # of the present epoch
    faces: FaceChanges  # the same
    began: Transition | None = None  # a new shot that no search has followed yet
    difference: Floats | None = None  # (48, 64) of the pictures since the last search, see ShotChangeDetector
    last: Moment | None = None  # the last frame of the present epoch
    stirred: float = 0.0  # s, media time, when something last happened: motion, a face

    def shot(self) -> tuple[int, Transition]:
        """Return the number of the present shot, from 1, and how it began."""
        return (self.last.shot, self.last.transition) if self.last is not None else (1, Transition.START)

    def see(self, media_time: float, picture: Bytes) -> None:
        """Take in the picture of the next frame, BGR or luma."""
        began = self.shots.see(media_time, picture)
        if began is Transition.CUT or (began is Transition.FADE and self.began is None):
            self.began = began
        newest = self.shots.difference
        both = self.difference is not None and newest is not None
        self.difference = np.maximum(self.difference, newest) if both else newest  # type: ignore[arg-type]

    def begin(self, min_change: float) -> None:
        """Forget the pictures of an epoch that has ended. The tracker goes on counting."""
        self.began = self.difference = None
        self.shots, self.faces, self.last = ShotChangeDetector(min_change), FaceChanges(min_change), None
