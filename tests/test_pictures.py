"""Pictures are made for those who watch, once per size, and hold nobody up."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import cv2
import numpy as np
import pytest

from streamer.pictures import STILL_WIDTH, Concealment, Pictures, Seen, Shot, jpeg_of
from streamer.values import Bytes, ClockSource, Detections, Frame, Track, TrackKey, TrackState
from tests.support.patience import FOREVER_S, WAIT_S, until

BOX = np.array([100, 60, 180, 140], np.float32)


def seen(camera: str = "door", when: float = 0.0, state: TrackState = TrackState.CONFIRMED, last: float = 0.0) -> Seen:
    """A frame of 640x360 with stripes of one pixel, and one track."""
    pixels = np.zeros((360, 640, 3), np.uint8)
    pixels[:, ::2] = 255
    frame = Frame(camera, 1, when, None, ClockSource.FILE_PTS, time.monotonic(), pixels)
    track = Track(TrackKey("t", camera, 1), state, BOX, 0.9, 0, 0.0, last)
    return Seen(frame, (track,), Detections.none().boxes, True)


class Running:
    """Pictures with their thread, which deliver to the loop of the test at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.pictures = Pictures(per_second=1e9, share=1.0)
        self.made: list[Shot] = []
        self._loop = loop
        self._thread = threading.Thread(target=self.pictures.run, args=(self._deliver,))
        self._thread.start()

    def _deliver(self, shots: list[Shot]) -> None:
        self.made += shots
        self._loop.call_soon_threadsafe(self.pictures.accept, shots)

    def close(self) -> None:
        self.pictures.close()
        self._thread.join()


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr("streamer.pictures.EAGER_S", FOREVER_S)  # a slow machine does not look like a stalled viewer
    found = Running(asyncio.get_running_loop())
    yield found
    found.close()


async def wait_for(condition: "asyncio.Future[Shot]") -> Shot:
    async with asyncio.timeout(WAIT_S):
        return await condition


async def test_while_nobody_watches_only_a_still_is_made_now_and_then(running: Running) -> None:
    assert running.pictures.wants("door")
    assert not running.pictures.wants("door", searched=False)
    running.pictures.offer(seen())
    until(lambda: running.pictures.still("door") is not None, "a still")
    assert not running.pictures.wants("door")
    assert running.made == []
    still = running.pictures.still("door")
    assert still is not None
    assert decoded(still.jpeg).shape == (270, STILL_WIDTH)


async def test_viewers_share_one_picture_per_size(running: Running) -> None:
    viewers = [running.pictures.watch(["door"], width) for width in [300] * 25 + [640] * 25]
    waiting = [asyncio.ensure_future(viewer.next()) for viewer in viewers]
    await asyncio.sleep(0)
    assert running.pictures.wants("door")
    frame = seen()
    running.pictures.offer(frame)
    shots = [await wait_for(one) for one in waiting]
    assert len({id(shot) for shot in shots}) == len(running.made) == 2
    assert all(shot.seen is frame for shot in shots)
    assert {shot.width for shot in shots} == {320, 640}


async def test_a_viewer_that_takes_nothing_gets_the_newest_and_then_causes_no_work(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = running.pictures.watch(["door"])
    first = asyncio.ensure_future(viewer.next())
    await asyncio.sleep(0)
    running.pictures.offer(seen(when=1.0))
    assert (await wait_for(first)).seen.picture.media_time == 1.0
    running.pictures.offer(seen(when=2.0))  # it may come back soon
    until(lambda: len(running.made) == 2, "the second picture")
    running.pictures.offer(seen(when=3.0))
    until(lambda: len(running.made) == 3, "the third picture")
    await asyncio.sleep(0)
    assert (await viewer.next()).seen.picture.media_time == 3.0
    assert running.pictures.wants("door")
    monkeypatch.setattr("streamer.pictures.EAGER_S", 0.0)
    assert not running.pictures.wants("door")


async def test_cameras_take_turns_and_others_are_not_made(running: Running) -> None:
    viewer = running.pictures.watch(["a", "b"])
    waiting = asyncio.ensure_future(viewer.next())
    await asyncio.sleep(0)
    assert not running.pictures.wants("c", searched=False)
    for name in ("a", "b"):
        running.pictures.offer(seen(name))
    first = (await wait_for(waiting)).seen.picture.camera
    second = (await wait_for(asyncio.ensure_future(viewer.next()))).seen.picture.camera
    assert {first, second} == {"a", "b"}
    running.pictures.leave(viewer)
    assert not running.pictures.wants("a", searched=False)


def detail(jpeg: bytes, rows: slice, columns: slice) -> float:
    """How much neighbouring pixels differ."""
    return float(np.abs(np.diff(decoded(jpeg)[rows, columns].astype(float), axis=1)).mean())


def decoded(jpeg: bytes) -> Bytes:
    """The picture, grey."""
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


def test_faces_can_be_made_unrecognisable_or_left_out() -> None:
    frame = seen()
    assert isinstance(frame.picture, Frame)
    shown = jpeg_of(frame.picture.pixels, 640, frame, Concealment.NONE)
    blurred = jpeg_of(frame.picture.pixels, 640, frame, Concealment.BLURRED)
    face, beside = (slice(60, 140), slice(100, 180)), (slice(200, 300), slice(300, 500))
    assert detail(shown, *face) > 100
    assert detail(blurred, *face) < 10
    assert detail(blurred, *beside) > 100
    assert jpeg_of(frame.picture.pixels, 640, frame, Concealment.BOXES_ONLY) == b""
    assert (frame.picture.pixels[:, ::2] == 255).all()  # the frame of the pipeline is untouched


def test_tentative_tracks_are_not_shown_and_lost_ones_for_a_second() -> None:
    assert seen(state=TrackState.TENTATIVE).shown() == []
    assert len(seen(when=0.9, state=TrackState.LOST).shown()) == 1
    assert seen(when=1.1, state=TrackState.LOST).shown() == []
