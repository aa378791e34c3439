"""How long a camera is waited for: packets and frames at given times."""

import pytest

from streamer.config import Stream
from streamer.source.waiting import Waiting

STREAM = Stream(
    id="a", uri="rtsp://h/a", first_frame_timeout_s=10, key_frame_timeout_s=60, stall_timeout_s=5, transport="tcp"
)


def with_packets(until: float, key_at: float | None = None, every: float = 1.0) -> Waiting:
    """Connected at 0, a packet every second up to `until`."""
    waiting, now = Waiting(0.0), 0.0
    while now <= until:
        assert waiting.overdue(now, STREAM) == ""
        waiting.packet(now, key_at is not None and now == key_at)
        now += every
    return waiting


def test_silence_is_given_up_after_the_first_frame_timeout() -> None:
    waiting = Waiting(0.0)
    assert waiting.overdue(9.9, STREAM) == ""
    assert waiting.overdue(10.0, STREAM) == "connected, but no packet for 10 s"
    assert "try transport tcp" in waiting.overdue(10.0, STREAM.model_copy(update={"transport": "udp"}))


def test_packets_that_end_are_silence() -> None:
    assert with_packets(20.0).overdue(30.0, STREAM) == "connected, but no packet for 10 s"


def test_a_key_frame_is_waited_for_while_packets_arrive_but_not_for_ever() -> None:
    waiting = with_packets(59.0)
    assert waiting.overdue(59.9, STREAM) == ""
    said = waiting.overdue(60.0, STREAM)
    assert said.startswith(
        "packets arrive, but no key frame for 60 s; shorten the camera's key-frame (I-frame) interval"
    )


def test_a_short_key_frame_timeout_does_not_shorten_the_wait_for_the_first_frame() -> None:
    impatient = STREAM.model_copy(update={"key_frame_timeout_s": 1.0})
    assert with_packets(9.0).overdue(9.9, impatient) == ""
    assert "no key frame for 10 s" in with_packets(9.0).overdue(10.0, impatient)


def test_key_frames_that_cannot_be_decoded_are_given_up() -> None:
    waiting = with_packets(29.0, key_at=20.0)
    assert waiting.overdue(29.9, STREAM) == ""
    assert waiting.overdue(30.0, STREAM) == "key frames arrive, but none could be decoded for 10 s"


@pytest.mark.parametrize(("last_packet", "said"), [(22.0, "no frame for 5 s"), (26.0, ", although packets arrive")])
def test_a_running_camera_is_lost_after_the_stall_timeout(last_packet: float, said: str) -> None:
    waiting = with_packets(21.0, key_at=20.0)
    waiting.frame(21.0)
    waiting.packet(last_packet, False)
    assert waiting.overdue(25.9, STREAM) == ""
    assert waiting.overdue(27.0, STREAM).endswith(said)


def test_a_missing_key_frame_is_noticed_once() -> None:
    waiting = with_packets(1.0)
    assert waiting.notice(1.9, STREAM) == ""
    assert waiting.notice(2.0, STREAM) == "packets arrive, but no key frame yet; waiting at most 60 s"
    assert waiting.notice(3.0, STREAM) == ""
    assert with_packets(3.0, key_at=1.0).notice(3.0, STREAM) == ""
    assert Waiting(0.0).notice(9.0, STREAM) == ""
