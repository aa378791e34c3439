"""Detect the faces of cameras and videos: large and turned ones too, at nearly the cost of one look at a frame.

What was learned of a camera's frames is remembered by place and media time, so that further looks are rare. Where only
parts of a frame are looked at, what is known of the other parts stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nan

import numpy as np

from streamer.boxes import iou
from streamer.detect.detector import FindsFaces
from streamer.detect.large import Shrunk, combined, has_large, large_only, shrunk
from streamer.detect.parts import Sight, look_at_parts
from streamer.detect.roll import EstimatesRolls, RollNetwork
from streamer.detect.turned import (
    LIKELY,
    Doubles,
    Rows,
    look_upright,
    replaced,
    survivors,
    suspects_of,
)
from streamer.values import Bytes, Detections, Flags, Floats, Frame

CHECK_S = 1.0  # a face's roll is checked again after this many seconds of its source's clock
UPRIGHT_S = 0.2  # a turned face is looked at again, turned upright, after this many seconds
LARGE_S = 0.5  # both looks are taken again, or a second look that found nothing is repeated
NOTHING_S = 2.0  # the second look is taken though nothing asks for it, because nothing is found
SAME = 0.4  # IoU of the boxes of one face in two frames
MOST = 32  # faces checked in one frame, highest score first
MIN_PX = 20  # longer side of a box in the frame; smaller faces are not analysed
DOUBTFUL = 0.5  # a face with a lower score is not beyond doubt


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    """What is known of the faces of a camera's last frame, one row each."""

    seen: Detections  # as the detector gives them: the landmarks of a turned face are wrong
    given: Detections  # corrected
    checked: Doubles  # (n,) s, media time; -inf: not yet
    direction: Floats  # (n, 2) of its roll; nan: the landmarks are right, as far as we know
    looked: Doubles  # (n,) s, when a turned face was last looked at upright
    resolved: Flags  # (n,) it was found then

    def rows(self, which: Rows) -> "_Faces":
        return _Faces(
            self.seen.rows(which),
            self.given.rows(which),
            self.checked[which],
            self.direction[which],
            self.looked[which],
            self.resolved[which],
        )

    def joined(self, others: "_Faces") -> "_Faces":
        """Return these faces, then the others."""
        return _Faces(
            self.seen.joined(others.seen),
            self.given.joined(others.given),
            np.concatenate([self.checked, others.checked]),
            np.concatenate([self.direction, others.direction]),
            np.concatenate([self.looked, others.looked]),
            np.concatenate([self.resolved, others.resolved]),
        )

    @classmethod
    def new(cls, seen: Detections) -> "_Faces":
        n = len(seen)
        return cls(
            seen, seen, np.full(n, -inf), np.full((n, 2), nan, np.float32), np.full(n, -inf), np.zeros(n, np.bool_)
        )


@dataclass(slots=True)
class _Camera:
    epoch: int  # media times of different epochs cannot be compared
    faces: _Faces  # of its last frame, and older ones where it was not looked at since
    whole: bool = False  # a frame was looked at as a whole
    large: bool = False  # there are faces that only the second look shows well
    alone: bool = False  # and no others: that look is enough
    both_looks: float = -inf  # s, media time, when both looks were last taken


class Watch:
    """Detects the faces of all cameras of an Observer. For use by one thread. Raises ModelError."""

    def __init__(self, detector: FindsFaces, rolls: EstimatesRolls | None = None) -> None:
        self._detector, self._config = detector, detector.config
        self.rolls = rolls or RollNetwork()
        self._cameras: dict[str, _Camera] = {}

    def detect(self, frames: Sequence[Frame], regions: Sequence[Floats | None] | None = None) -> list[Detections]:
        """Detect the faces of each frame as `look` does."""
        return [sight.faces for sight in self.look(frames, regions)]

    def look(self, frames: Sequence[Frame], regions: Sequence[Floats | None] | None = None) -> list[Sight]:
        """Detect the faces of each frame, highest score first, boxes clipped to it. All frames are one batch.

        There is at most one frame per camera. `turned` are faces whose landmarks are wrong because the face is turned
        and has not been looked at upright in this frame.

        `regions` (n, 4) x1 y1 x2 y2, px, of each frame are where to look; None: everywhere. A frame is looked at as a
        whole in spite of its regions if that costs no more, if nothing is known of its camera yet, if the camera shows
        large faces, or if a region cuts a face that no other region shows: a cut face is never given.
        """
        cameras = [self._camera(frame) for frame in frames]
        sights = self._look_at_parts(frames, cameras, regions) if regions else [None] * len(frames)
        rest = [number for number, sight in enumerate(sights) if sight is None]
        whole = iter(self._look_at_all([frames[number] for number in rest], [cameras[number] for number in rest]))
        return [Sight(next(whole), None) if sight is None else sight for sight in sights]

    def forget(self, camera: str) -> None:
        """Forget a camera whose next frame may show anything."""
        self._cameras.pop(camera, None)

    def _look_at_parts(
        self, frames: Sequence[Frame], cameras: Sequence[_Camera], regions: Sequence[Floats | None]
    ) -> list[Sight | None]:
        """Look at the regions of frames; None in place of those that must be looked at as a whole."""
        sights: list[Sight | None] = [None] * len(frames)
        asked = {
            number: boxes
            for number, (camera, boxes) in enumerate(zip(cameras, regions, strict=True))
            if boxes is not None and camera.whole and not camera.large
        }
        if not asked:
            return sights
        known = [_beyond_doubt(cameras[number].faces.seen) for number in asked]
        found = look_at_parts(self._detector, [frames[number].pixels for number in asked], list(asked.values()), known)
        for number, sight in zip(asked, found, strict=True):
            if sight is not None:
                faces = self._upright(frames[number], cameras[number], sight.faces, sight.looked)
                sights[number] = Sight(faces, sight.looked)
        return sights

    def _look_at_all(self, frames: Sequence[Frame], cameras: Sequence[_Camera]) -> list[Detections]:
        """Look at whole frames."""
        if not frames:
            return []
        second = [self._second_is_enough(frame, camera) for frame, camera in zip(frames, cameras, strict=True)]
        views = [one.pixels if one else frame.pixels for one, frame in zip(second, frames, strict=True)]
        given = []
        for frame, camera, one, found in zip(frames, cameras, second, self._detector.detect(views), strict=True):
            large = large_only(one.to_frame(found, frame.pixels), frame.pixels, self._config) if one else None
            if not large:  # the first look, or a second one in vain
                first = self._detector.detect([frame.pixels])[0] if one else found
                large = self._closely(frame, camera, first)
            given.append(self._upright(frame, camera, large))
            camera.whole = True
        return given

    def _camera(self, frame: Frame) -> _Camera:
        camera = self._cameras.get(frame.camera)
        if camera is None or camera.epoch != frame.epoch:
            camera = self._cameras[frame.camera] = _Camera(frame.epoch, _Faces.new(Detections.none()))
        return camera

    def _second_is_enough(self, frame: Frame, camera: _Camera) -> Shrunk | None:
        recent = 0 <= frame.media_time - camera.both_looks < LARGE_S
        return shrunk(frame.pixels, self._config) if camera.alone and recent else None

    def _closely(self, frame: Frame, camera: _Camera, found: Detections) -> Detections:
        """Take the second look at a frame, too, if the first one may have missed or broken a large face."""
        waited = abs(frame.media_time - camera.both_looks)
        nothing = not (found.scores >= DOUBTFUL).any()
        doubt = LARGE_S if has_large(found, frame.pixels, self._config) else NOTHING_S if nothing else inf
        if not camera.large and waited < doubt:
            return found
        view = shrunk(frame.pixels, self._config)
        second = view.to_frame(self._detector.detect([view.pixels])[0], frame.pixels)
        both = combined(found, second, frame.pixels, self._config)
        others = (both.scores >= DOUBTFUL).sum() - (
            large_only(both, frame.pixels, self._config).scores >= DOUBTFUL
        ).sum()
        camera.both_looks, camera.large = frame.media_time, both is not found
        camera.alone = camera.large and not others
        return both

    def _upright(self, frame: Frame, camera: _Camera, found: Detections, looked: Floats | None = None) -> Detections:
        """Correct the faces that are turned: look at them upright from time to time, move what was seen in between.

        `looked` (n, 4) is the part of the frame in which they were found; None: all of it.
        """
        faces = self._checked(frame, _followed(camera.faces, found), frame.media_time)
        is_turned = ~np.isnan(faces.direction[:, 0])
        if is_turned.any():
            due = is_turned & (np.abs(frame.media_time - faces.looked) >= UPRIGHT_S)
            rows = np.flatnonzero(due)
            upright, seen = look_upright(frame.pixels, faces.seen.rows(rows), faces.direction[rows], self._look)
            faces.resolved[rows], faces.looked[rows] = seen, frame.media_time
            faces.direction[rows[~seen & ~upright.turned]] = nan  # a doubt that was not confirmed
            given = replaced(faces.given, rows, upright)
            faces = replace(faces, given=given).rows(survivors(given, faces.resolved))
        camera.faces = faces if looked is None else faces.joined(_unseen(camera.faces, found, looked))
        return faces.given

    def _checked(self, frame: Frame, faces: _Faces, now: float) -> _Faces:
        """Ask the roll network about faces that it has not seen for some time."""
        side = (faces.seen.boxes[:, 2:] - faces.seen.boxes[:, :2]).max(axis=1, initial=0)
        rows = np.flatnonzero((side >= MIN_PX) & (np.abs(now - faces.checked) >= CHECK_S))[:MOST]
        if not len(rows):
            return faces
        directions = self.rolls.directions(frame.pixels, faces.seen.boxes[rows])
        wrong = suspects_of(directions, faces.seen.rows(rows))
        right = ~wrong & (np.hypot(*directions.T) >= LIKELY)
        faces.checked[rows] = now
        faces.direction[rows[wrong]] = directions[wrong]
        faces.direction[rows[right]] = nan
        believed = np.isnan(faces.direction[:, 0])
        faces.resolved[believed], faces.looked[believed] = False, -inf
        return faces

    def _look(self, pixels: Bytes) -> Detections:
        return self._detector.detect([pixels])[0]


def _beyond_doubt(faces: Detections) -> Floats:
    """Return the boxes of the faces that are surely some."""
    return faces.boxes[faces.scores >= DOUBTFUL]


def _unseen(before: _Faces, found: Detections, looked: Floats) -> _Faces:
    """Return the faces known before that lie where it was not looked, and were not found from there either."""
    centres = (before.seen.boxes[:, :2] + before.seen.boxes[:, 2:]) / 2
    inside = ((centres[:, None] >= looked[:, :2]) & (centres[:, None] < looked[:, 2:])).all(axis=2)  # (faces, regions)
    found_there = iou(before.seen.boxes, found.boxes) >= SAME
    return before.rows(np.flatnonzero(~np.any(inside, axis=1) & ~np.any(found_there, axis=1)))


def _followed(before: _Faces, found: Detections) -> _Faces:
    """Return the faces found now with what is known of them from the frame before."""
    faces = _Faces.new(found)
    if not len(found) or not len(before.checked):
        return faces
    table = iou(found.boxes, before.seen.boxes)
    match = table.argmax(axis=1)
    rows = np.flatnonzero(table.max(axis=1) >= SAME)
    same = before.rows(match[rows])
    faces.checked[rows], faces.direction[rows], faces.looked[rows] = same.checked, same.direction, same.looked
    faces.resolved[rows] = same.resolved
    turned = rows[~np.isnan(faces.direction[rows, 0])]
    if not len(turned):
        return faces
    moved = _moved(before.rows(match[turned]), found.rows(turned))
    return replace(faces, given=replaced(found, turned, moved))


def _moved(before: _Faces, found: Detections) -> Detections:
    """Return the corrected faces of the frame before, moved and scaled as their boxes were; all are `turned`."""
    old, new, given = before.seen.boxes, found.boxes, before.given
    zoom = ((new[:, 2:] - new[:, :2]).max(axis=1) / (old[:, 2:] - old[:, :2]).max(axis=1))[:, None]
    shift = (new[:, :2] + new[:, 2:]) / 2 - zoom * (old[:, :2] + old[:, 2:]) / 2
    boxes = given.boxes * np.tile(zoom, 4) + np.tile(shift, 2)
    landmarks = given.landmarks * zoom[:, None] + shift[:, None]
    scores = np.where(before.resolved, np.maximum(found.scores, given.scores), found.scores)
    return Detections(boxes, scores, landmarks, np.ones(len(found), np.bool_))
