import threading

import numpy as np

from streamer.handover import BoundedQueue, LatestPerCamera, Picture
from streamer.values import ClockSource, EndReason, Frame, SourceEnd
from tests.support.patience import FOREVER_S, WAIT_S

PIXELS = np.zeros((2, 2, 3), np.uint8)


def frame(camera: str = "a", media_time: float = 0.0) -> Frame:
    return Frame(camera, 1, media_time, None, ClockSource.FILE_PTS, 0.0, PIXELS)


def end(camera: str = "a") -> SourceEnd:
    return SourceEnd(camera, 1, EndReason.SOURCE_LOST)


def test_newest_replaces_a_waiting_frame_of_the_same_camera_and_reports_it() -> None:
    dropped: list[Picture] = []
    newest = LatestPerCamera(dropped.append)
    first, second, other = frame(), frame(media_time=1), frame("b")
    for item in (first, other, second):
        assert newest.put(item)
    assert newest.take(0) == [second, other]
    assert dropped == [first]
    assert newest.take(0) == []


def test_newest_keeps_every_end_but_only_one_frame_however_often_a_camera_reconnects() -> None:
    dropped: list[Picture] = []
    newest = LatestPerCamera(dropped.append)
    frames = [frame(media_time=i) for i in range(100)]
    for each in frames:
        newest.put(each)
        newest.put(end())
    assert newest.take(0) == [end()] * 99 + [frames[-1], end()]
    assert len(dropped) == 99


def test_newest_can_be_emptied_after_closing_and_then_says_so() -> None:
    newest = LatestPerCamera(lambda frame: None)
    waiting = frame()
    newest.put(waiting)
    newest.close()
    assert not newest.put(frame())
    assert newest.take(0) == [waiting]
    assert newest.take(0) is None


def test_closing_wakes_who_takes() -> None:
    for handover in (LatestPerCamera(lambda frame: None), BoundedQueue(1)):
        threading.Timer(0.05, handover.close).start()
        assert handover.take(FOREVER_S) is None


def test_waiting_hands_over_everything_in_order_and_never_holds_more_than_its_capacity() -> None:
    waiting, sent = BoundedQueue(2), [frame(media_time=i) for i in range(20)]
    ahead: list[int] = []
    taken: list[object] = []

    def put_all() -> None:
        for count, each in enumerate(sent, 1):
            assert waiting.put(each)
            ahead.append(count - len(taken))
        waiting.close()

    thread = threading.Thread(target=put_all)
    thread.start()
    while (items := waiting.take(WAIT_S)) is not None:
        assert len(items) == 1
        taken += items
    thread.join(WAIT_S)
    assert taken == sent
    assert max(ahead) <= 3  # two that wait and one that is just being taken


def test_closing_wakes_who_waits_for_room() -> None:
    waiting = BoundedQueue(1)
    waiting.put(frame())
    threading.Timer(0.05, waiting.close).start()
    assert not waiting.put(frame())
    assert len(waiting.take(0) or []) == 1
    assert waiting.take(0) is None


def test_taking_from_an_empty_hand_over_returns_after_the_timeout() -> None:
    for handover in (LatestPerCamera(lambda frame: None), BoundedQueue(1)):
        assert handover.take(0.01) == []
