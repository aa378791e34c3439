"""Cameras under test: short timeouts, and a consumer that keeps what they hand over."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamer.config import Reconnect, Stream
from streamer.handover import LatestPerCamera
from streamer.source.cameras import Cameras
from streamer.values import EndReason, Frame, SourceEnd, SourceState, SourceStatus

PATIENCE_S = 15.0  # of a test that waits for something to happen


def stream(name: str, uri: str, **settings: object) -> Stream:
    """A camera that gives up and comes back quickly."""
    quick = {"connect_timeout_s": 2.0, "first_frame_timeout_s": 2.0, "stall_timeout_s": 1.0}
    pause = Reconnect(initial_s=0.1, max_s=0.2)
    return Stream.model_validate({"id": name, "uri": uri, "reconnect": pause, **quick, **settings})


class Watched:
    """Cameras, and all that came out of them."""

    def __init__(self) -> None:
        self.dropped: list[Frame] = []
        self.items: list[Frame | SourceEnd] = []
        self.bugs: list[BaseException] = []
        self.handover = LatestPerCamera(self.dropped.append)
        self.cameras = Cameras(self.handover, self.bugs.append)

    def frames(self, camera: str) -> list[Frame]:
        return [item for item in self.items if isinstance(item, Frame) and item.camera == camera]

    def ends(self, camera: str) -> list[EndReason]:
        return [item.reason for item in self.items if isinstance(item, SourceEnd) and item.camera == camera]

    def status(self, camera: str) -> SourceStatus:
        return self.cameras.get(camera)[1]

    def until(self, done: Callable[[], bool]) -> None:
        """Take what comes until `done`; fails after PATIENCE_S."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, f"did not happen; {[s for _, s in self.cameras.list()]}"
            self.items += self.handover.take(0.05) or []

    def until_state(self, camera: str, state: SourceState) -> SourceStatus:
        self.until(lambda: self.status(camera).state is state)
        return self.status(camera)

    def until_frames(self, camera: str, count: int) -> list[Frame]:
        """At least `count` more frames."""
        have = len(self.frames(camera))
        self.until(lambda: len(self.frames(camera)) >= have + count)
        return self.frames(camera)[have:]


@contextmanager
def watching(*streams: Stream) -> Iterator[Watched]:
    """The cameras run until the block ends; a bug in one of their threads fails the test."""
    watched = Watched()
    for each in streams:
        watched.cameras.add(each)
    try:
        yield watched
    finally:
        watched.cameras.stop_all(5.0)
        watched.handover.close()
    assert watched.bugs == []
