"""Pictures of frames with the tracks of the very same frame, for those who watch.

While nobody does, one picture of each camera is made now and then, to show what it saw last.

The observe thread offers frames; the thread `pictures` scales and encodes the newest one of each camera, once per size;
the asyncio loop has the viewers. A viewer that does not take its pictures gets no more of them, and asks for none.
"""

import asyncio
import enum
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np

from streamer import metrics
from streamer.handover import Picture
from streamer.lifecycle import in_thread
from streamer.values import Bytes, Floats, Frame, Track, TrackState

WIDTHS = (320, 480, 640, 960, 1280, 1920)  # px, of pictures
STILL_WIDTH = 480  # px
STILL_S = 10.0  # time between two pictures of a camera that nobody watches
EAGER_S = 0.25  # a viewer that has not asked for so long gets no new pictures
QUALITY = 80  # of JPEG
BLOCKS = 7  # squares across a face that is made unrecognisable
WIDER = 0.15  # share by which what is hidden is larger than the box of the face, on each side
LOST_S = 1.0  # lost tracks are shown this long
WAIT_S = 0.5  # longest single wait of the thread


class Concealment(enum.Enum):
    """How much of the faces pictures show."""

    NONE = "NONE"
    BLURRED = "BLURRED"
    BOXES_ONLY = "BOXES_ONLY"


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A frame and what was seen in it."""

    picture: Picture
    tracks: tuple[Track, ...]
    faces: Floats  # (n, 4) x1 y1 x2 y2, frame pixels: all detections of this frame, also those of no track
    searched: bool

    @property
    def received_at(self) -> datetime:
        """When the frame arrived, UTC."""
        return datetime.now(UTC) - timedelta(seconds=time.monotonic() - self.picture.received)

    def shown(self) -> list[Track]:
        """Return the tracks to show: confirmed ones, and those lost a moment ago."""
        now = self.picture.media_time
        states = TrackState.CONFIRMED, TrackState.LOST
        return [one for one in self.tracks if one.state in states and now - one.last_seen <= LOST_S]


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """An encoded picture."""

    seen: Seen
    width: int  # px, one of WIDTHS: what was asked for
    jpeg: bytes  # empty: BOXES_ONLY
    concealment: Concealment
    at: float  # s, monotonic: when it was made


class Viewer:
    """Somebody who watches cameras. It is used from the asyncio loop only."""

    def __init__(self, cameras: Collection[str], width: int, interval_s: float) -> None:
        """`cameras`: empty: all. `interval_s`: least time between two pictures of a camera."""
        self.width = width
        self.interval_s = interval_s
        self._cameras = frozenset(cameras)
        self._newest: dict[str, Shot] = {}  # by camera, not taken yet
        self._taken: dict[str, float] = {}  # by camera: when it was taken last, s, monotonic
        self._wake = asyncio.Event()
        self.asked = float("-inf")  # s, monotonic: when it last waited for a picture
        self.waiting = False

    def wants(self, camera: str) -> bool:
        """Return whether it watches a camera."""
        return not self._cameras or camera in self._cameras

    def eager(self, camera: str, now: float) -> bool:
        """Return whether a new picture of a camera would be taken soon."""
        recent = self.waiting or now - self.asked < EAGER_S
        return recent and self.wants(camera) and now - self._taken.get(camera, 0.0) >= 0.9 * self.interval_s

    def put(self, shot: Shot) -> None:
        """Keep a picture; it replaces one of the same camera that was not taken."""
        self._newest[shot.seen.picture.camera] = shot
        self._wake.set()

    async def next(self) -> Shot:
        """Wait for a picture; of several cameras, that of the one whose turn is longest ago."""
        self.waiting = True
        try:
            while not self._newest:
                self._wake.clear()
                await self._wake.wait()
        finally:
            self.waiting, self.asked = False, time.monotonic()
        camera = min(self._newest, key=lambda name: self._taken.get(name, 0.0))
        shot = self._newest.pop(camera)
        self._taken[camera] = time.monotonic()
        return shot


@dataclass(slots=True)
class _Pace:
    """When a camera was encoded."""

    made: dict[int, float] = field(default_factory=dict)  # by width, s, monotonic
    still: float = float("-inf")  # s, monotonic


class Pictures:
    """The newest pictures of all cameras. `offer` is for the observe thread, `run` is the thread `pictures`."""

    def __init__(
        self,
        per_second: float,
        share: float,
        conceal: Callable[[str], Concealment] | None = None,
    ) -> None:
        """`per_second`: most pictures of a camera. `share`: most of a core. `conceal`: what a camera may
        show; None: all show faces.
        """
        self.interval_s = 1.0 / per_second
        self._share = share
        self._conceal = conceal
        self._changed = threading.Condition()
        self._offered: dict[str, Seen] = {}  # by camera: the newest that was not encoded
        self._closed = False
        self._viewers: tuple[Viewer, ...] = ()  # replaced at each change, so that threads can read it
        self._paces: dict[str, _Pace] = {}
        self._stills: dict[str, Shot] = {}  # by camera; replaced as a whole

    def watch(self, cameras: Collection[str] = (), width: int = 640, interval_s: float = 0.0) -> Viewer:
        """Add a viewer of cameras (empty: all) with pictures at least `width` px wide, as far as the source is."""
        fitting = next((one for one in WIDTHS if one >= width), WIDTHS[-1])
        viewer = Viewer(cameras, fitting, max(interval_s, self.interval_s))
        self._viewers = (*self._viewers, viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer."""
        self._viewers = tuple(one for one in self._viewers if one is not viewer)

    def still(self, camera: str) -> Shot | None:
        """Return the newest picture at hand of a camera; None: there is none."""
        return self._stills.get(camera)

    def forget(self, camera: str) -> None:
        """Forget the pictures of a camera that was removed."""
        self._stills.pop(camera, None)
        self._paces.pop(camera, None)
        with self._changed:
            self._offered.pop(camera, None)

    def wants(self, camera: str, searched: bool = True) -> bool:
        """Return whether a frame that comes now would be used. For the observe thread: it costs next to nothing."""
        viewers = self._viewers
        if not viewers and not searched:
            return False
        now, pace = time.monotonic(), self._paces.get(camera)
        if searched and (pace is None or now - pace.still >= STILL_S):
            return True
        return any(viewer.eager(camera, now) for viewer in viewers)

    def offer(self, seen: Seen) -> None:
        """Take in a frame, which replaces one of the same camera that was not encoded yet. Does not wait."""
        with self._changed:
            self._offered[seen.picture.camera] = seen
            self._changed.notify()

    def close(self) -> None:
        """Make `run` return."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def run(self, deliver: Callable[[list[Shot]], None]) -> None:
        """Encode what is offered until `close`; `deliver` gets the pictures of one frame, and must not wait."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._offered), WAIT_S)
                if self._closed:
                    return
                if not self._offered:
                    continue
                camera = min(self._offered, key=self._turn)
                seen = self._offered.pop(camera)
            began = time.thread_time()
            shots = self._encode(camera, seen)
            if shots:
                deliver(shots)
            self._rest((time.thread_time() - began) * (1 / self._share - 1))

    async def show(self) -> None:
        """Make pictures for those who watch, in a thread of its own, until cancelled."""
        loop = asyncio.get_running_loop()

        def deliver(shots: list[Shot]) -> None:
            loop.call_soon_threadsafe(self.accept, shots)

        await in_thread("pictures", partial(self.run, deliver), self.close)

    def accept(self, shots: Sequence[Shot]) -> None:
        """Give pictures of one frame to those who watch. For the asyncio loop."""
        now = time.monotonic()
        for shot in shots:
            camera = shot.seen.picture.camera
            for viewer in self._viewers:
                if viewer.width == shot.width and viewer.eager(camera, now):
                    viewer.put(shot)

    def _turn(self, camera: str) -> float:
        pace = self._paces.get(camera)
        return max(pace.made.values(), default=pace.still) if pace is not None else float("-inf")

    def _rest(self, seconds: float) -> None:
        """Pause, so that encoding takes no more than its share of a core."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, min(seconds, 1.0))

    def _encode(self, camera: str, seen: Seen) -> list[Shot]:
        """Make the pictures of one frame: one per size that somebody wants."""
        now, pace = time.monotonic(), self._paces.setdefault(camera, _Pace())
        widths = {viewer.width for viewer in self._viewers if viewer.eager(camera, now)}
        wanted = sorted(width for width in widths if now - pace.made.get(width, 0.0) >= 0.9 * self.interval_s)
        is_still = not wanted and now - pace.still >= STILL_S
        if not wanted and not is_still:
            return []
        frame = seen.picture if isinstance(seen.picture, Frame) else seen.picture.frame()
        if frame is None:
            return []
        concealment = self._conceal(camera) if self._conceal is not None else Concealment.NONE
        shots = [
            Shot(seen, width, jpeg_of(frame.pixels, width, seen, concealment), concealment, now)
            for width in (wanted or [STILL_WIDTH])
        ]
        metrics.pictures_encoded.inc(len(shots))
        pace.made |= dict.fromkeys(wanted, now)
        pace.still = now
        self._stills = {**self._stills, camera: shots[-1]}
        return [] if is_still else shots


def jpeg_of(pixels: Bytes, width: int, seen: Seen, concealment: Concealment) -> bytes:
    """Return a frame (h, w, 3) BGR as a JPEG that is at most `width` px wide; empty if it may not be shown."""
    import cv2
    import simplejpeg

    if concealment is Concealment.BOXES_ONLY:
        return b""
    rows, columns = pixels.shape[:2]
    scale = min(1.0, width / columns)
    small = pixels
    if scale < 1:
        size = width, max(1, round(rows * scale))
        small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    if concealment is Concealment.BLURRED:
        small = _without_faces(small if small is not pixels else pixels.copy(), scale, seen)
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(small), quality=QUALITY, colorspace="BGR", colorsubsampling="420", fastdct=True
    )
    return data


def _without_faces(pixels: Bytes, scale: float, seen: Seen) -> Bytes:
    """Cover each face by squares in which nobody can be recognised; also those that are not tracked yet or any more."""
    import cv2

    boxes = [*seen.faces, *(track.box for track in seen.tracks)]
    rows, columns = pixels.shape[:2]
    for box in boxes:
        left, top, right, bottom = (float(side) * scale for side in box)
        across, down = WIDER * (right - left), WIDER * (bottom - top)
        x1, x2 = max(0, int(left - across)), min(columns, int(right + across) + 1)
        y1, y2 = max(0, int(top - down)), min(rows, int(bottom + down) + 1)
        if x2 <= x1 or y2 <= y1:
            continue
        few = cv2.resize(pixels[y1:y2, x1:x2], (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
        pixels[y1:y2, x1:x2] = cv2.resize(few, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST)
    return pixels
