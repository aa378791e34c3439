"""Detect the faces of cameras and videos however the picture is turned: upside down or on its side, too."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from streamer.detect.detector import FindsFaces
from streamer.detect.mounting import boxes_back, has_upright, turn_of, turned, turned_back, turned_boxes
from streamer.detect.parts import Sight
from streamer.detect.roll import EstimatesRolls
from streamer.detect.watch import Watch
from streamer.values import Bytes, Detections, Floats, Frame

CHECK_S = 2.0  # a picture without an upright face is looked at in all positions after this many seconds
RECHECK_S = 0.5  # a picture that is turned is also looked at as it is
KEPT_S = 10.0  # a position is kept for this long without a face


@dataclass(slots=True)
class _Camera:
    epoch: int  # media times of different epochs cannot be compared
    turn: int = 0  # quarter turns clockwise after which its faces are upright
    checked: float = -inf  # s, media time
    seen: float = -inf  # s, media time, when an upright face was last seen in this position


class MountedWatch:
    """Detects the faces of all cameras of an Observer. For use by one thread. Raises ModelError.

    The picture as it is comes first: another position is taken only while it shows no face that is surely upright.
    """

    def __init__(self, detector: FindsFaces, rolls: EstimatesRolls | None = None) -> None:
        """`rolls`: the network for turned faces; None: one of its own."""
        self._detector, self._watch = detector, Watch(detector, rolls)
        self._rolls = self._watch.rolls
        self._cameras: dict[str, _Camera] = {}

    def detect(self, frames: Sequence[Frame], regions: Sequence[Floats | None] | None = None) -> list[Detections]:
        """Detect the faces of each frame as `look` does."""
        return [sight.faces for sight in self.look(frames, regions)]

    def look(self, frames: Sequence[Frame], regions: Sequence[Floats | None] | None = None) -> list[Sight]:
        """Detect the faces of each frame as `Watch.look` does, all in pixels of the frame. At most one per camera.

        Whether a picture is turned is checked in frames that are looked at as a whole.
        """
        turns = [self._camera(frame).turn for frame in frames]
        if regions:
            regions = [
                turned_boxes(boxes, turn, frame.pixels) if boxes is not None else None
                for frame, turn, boxes in zip(frames, turns, regions, strict=True)
            ]
        views = [_view(frame, turn) for frame, turn in zip(frames, turns, strict=True)]
        sights = self._watch.look(views, regions)
        return [self._settled(frame, sight) for frame, sight in zip(frames, sights, strict=True)]

    def forget(self, camera: str) -> None:
        """Forget a camera whose next frame may show anything."""
        self._cameras.pop(camera, None)
        self._watch.forget(camera)

    def _camera(self, frame: Frame) -> _Camera:
        camera = self._cameras.get(frame.camera)
        if camera is None or camera.epoch != frame.epoch:
            camera = self._cameras[frame.camera] = _Camera(frame.epoch)
        return camera

    def _settled(self, frame: Frame, sight: Sight) -> Sight:
        """Return the faces of a frame, found again if it turns out that they are upright in another position."""
        camera, faces = self._camera(frame), sight.faces
        if sight.looked is not None:
            looked = boxes_back(sight.looked, camera.turn, frame.pixels)
            return Sight(turned_back(faces, camera.turn, frame.pixels), looked)
        if abs(frame.media_time - camera.checked) >= (RECHECK_S if camera.turn else CHECK_S):
            camera.checked = frame.media_time
            turn = self._turn(frame, camera, faces)
            if turn != camera.turn:
                camera.turn, camera.seen = turn, frame.media_time
                self._watch.forget(frame.camera)
                faces = self._watch.detect([_view(frame, turn)])[0]
        return Sight(turned_back(faces, camera.turn, frame.pixels), None)

    def _turn(self, frame: Frame, camera: _Camera, faces: Detections) -> int:
        """Return the position of a camera by a frame and the faces that were found in its present position."""
        pixels, now = frame.pixels, frame.media_time
        upright = faces if not camera.turn else self._look(pixels)
        if has_upright(pixels, upright, self._rolls):
            return 0
        if camera.turn and has_upright(turned(pixels, camera.turn), faces, self._rolls):
            camera.seen = now
            return camera.turn
        turn = turn_of(pixels, self._look, self._rolls, self._detector.config)
        if turn is None:
            return camera.turn if abs(now - camera.seen) < KEPT_S else 0
        return turn

    def _look(self, pixels: Bytes) -> Detections:
        return self._detector.detect([pixels])[0]


def _view(frame: Frame, turn: int) -> Frame:
    return replace(frame, pixels=turned(frame.pixels, turn)) if turn else frame
