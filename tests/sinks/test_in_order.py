"""Sending many events at a time keeps the order of each track, whatever the broker refuses."""

import asyncio
from collections import defaultdict

import pytest

from streamer.sinks.delivery import Refused, SinkEvent, Undelivered
from streamer.sinks.in_order import send_in_order
from tests.sinks.events import event, visit


class Receiver:
    """Takes events after some turns of the loop, which differ, and refuses some."""

    def __init__(self, refused: tuple[int, ...] = (), lost: tuple[int, ...] = ()) -> None:
        self.sent: list[int] = []
        self.acknowledged: list[int] = []
        self.waiting = self.most = 0
        self._refused, self._lost = refused, lost

    async def send(self, one: SinkEvent) -> None:
        self.sent.append(one.sequence)
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        for _ in range(one.sequence * 7 % 5):
            await asyncio.sleep(0)
        self.waiting -= 1
        if one.sequence in self._refused:
            raise Refused(f"not {one.sequence}")
        if one.sequence in self._lost:
            raise Undelivered("gone")
        self.acknowledged.append(one.sequence)


def events(count: int, tracks: int) -> list[SinkEvent]:
    return [event(number, track=f"t{number % tracks}") for number in range(count)]


async def test_all_events_are_sent_in_order_and_many_at_a_time() -> None:
    receiver = Receiver()
    await send_in_order(events(100, 50), receiver.send, at_once=8)
    assert receiver.sent == list(range(100))
    assert 2 <= receiver.most <= 8


async def test_an_event_waits_for_the_one_before_it_of_its_track() -> None:
    receiver = Receiver()
    await send_in_order(events(90, 3), receiver.send)
    order = defaultdict(list)
    for number in receiver.acknowledged:
        order[number % 3].append(number)
    assert receiver.most <= 3
    assert all(numbers == sorted(numbers) for numbers in order.values())


async def test_what_comes_before_a_refused_event_is_acknowledged_and_what_follows_in_its_track_is_not_sent() -> None:
    receiver = Receiver(refused=(5, 7))
    with pytest.raises(Refused, match="not 5") as raised:
        await send_in_order(events(40, 10), receiver.send)
    assert raised.value.place == 5
    assert {0, 1, 2, 3, 4} <= set(receiver.acknowledged)
    assert 15 not in receiver.sent


async def test_a_lost_connection_ends_all_and_the_first_acknowledged_events_are_counted() -> None:
    receiver = Receiver(lost=(20,))
    with pytest.raises(Undelivered, match="gone") as raised:
        await send_in_order(events(60, 60), receiver.send, at_once=4)
    assert set(range(raised.value.delivered)) <= set(receiver.acknowledged)
    assert raised.value.delivered <= 20
    assert receiver.sent[-1] < 25


async def test_an_event_that_was_refused_before_the_connection_was_lost_does_not_count_as_delivered() -> None:
    receiver = Receiver(refused=(2,), lost=(3,))
    with pytest.raises(Undelivered) as raised:
        await send_in_order(events(4, 4), receiver.send)
    assert raised.value.delivered <= 2


async def test_nothing_is_sent_of_nothing() -> None:
    await send_in_order([], Receiver().send)
    await send_in_order(visit(1, "a"), Receiver().send)
