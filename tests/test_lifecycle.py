import asyncio
import concurrent.futures
import threading
from functools import partial

import pytest

from streamer.lifecycle import Delivery, in_thread
from tests.support.patience import WAIT_S


async def test_the_result_of_a_thread_can_be_awaited_and_it_has_the_given_name() -> None:
    assert await in_thread("worker-bee", lambda: threading.current_thread().name, lambda: None) == "worker-bee"


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3)])
async def test_the_failure_of_a_thread_is_the_failure_of_its_task(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await in_thread("failing", fail, lambda: None)
    assert caught.value is error


async def test_a_stray_stop_iteration_in_a_thread_does_not_hang_its_task() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(in_thread("empty", lambda: next(iter(())), lambda: None), WAIT_S)


async def test_cancelling_the_task_asks_the_thread_to_stop_and_waits_for_it() -> None:
    asked, returned = threading.Event(), threading.Event()

    def work() -> None:
        assert asked.wait(WAIT_S)
        returned.set()

    task = asyncio.create_task(in_thread("stoppable", work, asked.set))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert returned.is_set()


async def test_a_delivery_waits_until_the_value_before_is_taken_in() -> None:
    taken: list[int] = []

    async def accept(value: int) -> None:
        await asyncio.sleep(0.01)
        taken.append(value)

    delivery = Delivery(asyncio.get_running_loop(), accept)
    seen: list[list[int]] = []

    def work() -> None:
        for value in range(3):
            delivery(value)
            seen.append(taken[:value])

    await in_thread("delivering", lambda: delivery.all_of(work), delivery.close)
    assert seen == [[], [0], [0, 1]]
    assert taken == [0, 1, 2]


async def test_the_thread_works_on_while_a_value_is_taken_in() -> None:
    worked = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def accept(value: int) -> None:
        await asyncio.wait_for(worked.wait(), WAIT_S)

    delivery = Delivery(loop, accept)

    def work() -> None:
        delivery(1)
        loop.call_soon_threadsafe(worked.set)

    await in_thread("delivering", lambda: delivery.all_of(work), delivery.close)


@pytest.mark.parametrize("others", [0, 1])
async def test_what_goes_wrong_with_a_value_is_raised_in_the_thread(others: int) -> None:
    async def refuse(value: int) -> None:
        raise ValueError(f"not {value}")

    delivery = Delivery(asyncio.get_running_loop(), refuse)

    def work() -> None:
        for value in range(7, 8 + others):
            delivery(value)

    with pytest.raises(ValueError, match="not 7"):
        await in_thread("delivering", lambda: delivery.all_of(work), delivery.close)


async def test_closing_a_delivery_frees_a_thread_that_waits_and_refuses_later_ones() -> None:
    entered = asyncio.Event()

    async def accept(value: int) -> None:
        entered.set()
        await asyncio.Event().wait()

    delivery = Delivery(asyncio.get_running_loop(), accept)
    one = partial(delivery.all_of, lambda: delivery(1))
    task = asyncio.create_task(in_thread("delivering", one, delivery.close))
    await asyncio.wait_for(entered.wait(), WAIT_S)
    delivery.close()
    with pytest.raises(concurrent.futures.CancelledError):
        await asyncio.wait_for(task, WAIT_S)
    with pytest.raises(concurrent.futures.CancelledError):
        await in_thread("late", lambda: delivery(2), delivery.close)
