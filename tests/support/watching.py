"""Cameras under test: quick to come back, and a consumer that keeps what they hand over."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from streamer import metrics
from streamer.config import Reconnect, Sources, Stream
from streamer.handover import Item, LatestPerCamera, Picture
from streamer.source.cameras import Cameras
from streamer.values import EndReason, Frame, Preview, SourceEnd, SourceState, SourceStatus
from tests.support.patience import WAIT_S


def stream(name: str, uri: str, **settings: object) -> Stream:
    """A camera that comes back quickly; it gives up only if `settings` holds shorter timeouts."""
    patient = {"connect_timeout_s": WAIT_S, "first_frame_timeout_s": WAIT_S, "stall_timeout_s": WAIT_S}
    pause = Reconnect(initial_s=0.1, max_s=0.2)
    return Stream.model_validate({"id": name, "uri": uri, "reconnect": pause, **patient, **settings})


class Watched:
    """Cameras, and all that came out of them."""

    def __init__(self, sources: Sources | None = None) -> None:
        self.dropped: list[Frame] = []
        self.items: list[Frame | SourceEnd] = []
        self.bugs: list[BaseException] = []
        self.handover = LatestPerCamera(self._drop)
        self.cameras = Cameras(self.handover, self.bugs.append, sources)

    def _drop(self, picture: Picture) -> None:
        self.dropped += [item for item in converted([picture]) if isinstance(item, Frame)]
        metrics.frames_dropped.labels(picture.camera, "overload").inc()

    def frames(self, camera: str) -> list[Frame]:
        return [item for item in self.items if isinstance(item, Frame) and item.camera == camera]

    def ends(self, camera: str) -> list[EndReason]:
        return [item.reason for item in self.items if isinstance(item, SourceEnd) and item.camera == camera]

    def status(self, camera: str) -> SourceStatus:
        return self.cameras.get(camera)[1]

    def until(self, done: Callable[[], bool]) -> None:
        """Take what comes until `done`; fails after WAIT_S."""
        deadline = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < deadline, f"did not happen; {[s for _, s in self.cameras.list()]}"
            self.items += converted(self.handover.take(0.05) or [])

    def all_frames(self, camera: str, after: int = 0) -> list[Frame]:
        """Those of the epochs after this one in their order, also those that were not taken in time."""
        frames = [frame for frame in [*self.frames(camera), *self.dropped] if frame.camera == camera]
        return sorted((f for f in frames if f.epoch > after), key=lambda frame: (frame.epoch, frame.media_time))

    def until_state(self, camera: str, state: SourceState) -> SourceStatus:
        self.until(lambda: self.status(camera).state is state)
        return self.status(camera)

    def until_frames(self, camera: str, count: int) -> list[Frame]:
        """At least `count` more frames."""
        have = len(self.frames(camera))
        self.until(lambda: len(self.frames(camera)) >= have + count)
        return self.frames(camera)[have:]


def converted(items: Iterable[Item]) -> list[Frame | SourceEnd]:
    """The frames of previews, without those that cannot be converted, and everything else."""
    found = (item.frame() if isinstance(item, Preview) else item for item in items)
    return [item for item in found if item is not None]


@contextmanager
def watching(*streams: Stream, sources: Sources | None = None) -> Iterator[Watched]:
    """The cameras run until the block ends; a bug in one of their threads fails the test."""
    watched = Watched(sources)
    for each in streams:
        watched.cameras.add(each)
    hide = metrics.show_streams(lambda: [(each.id, status) for each, status in watched.cameras.list()])
    try:
        yield watched
    finally:
        hide()
        watched.cameras.stop_all(5.0)
        watched.handover.close()
    assert watched.bugs == []
