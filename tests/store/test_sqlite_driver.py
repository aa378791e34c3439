"""Connections to SQLite end, whenever what uses them is cancelled."""

import asyncio
from pathlib import Path

from sqlalchemy import text

from streamer.config import Store
from streamer.store.sqlite_driver import opened
from tests.support.patience import WAIT_S
from tests.support.stored import running

# turns of the loop, within which a question is asked, answered, and its connection closed
FIRST, SECOND = 60, 6


async def test_a_connection_that_is_stopped_while_it_closes_is_closed(tmp_path: Path) -> None:
    connection = await opened(str(tmp_path / "a.sqlite"))
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    connection.stop()
    async with asyncio.timeout(WAIT_S):
        await closing


async def test_questions_that_are_cancelled_at_any_moment_leave_nothing_that_does_not_end(tmp_path: Path) -> None:
    async with running(Store(folder=str(tmp_path / "store"))) as one:
        before = asyncio.all_tasks()

        async def ask() -> None:
            async with one.store.database.reading() as connection:
                await connection.execute(text("SELECT count(*) FROM tracks"))
                await connection.invalidate()

        for first in range(FIRST):
            for second in range(SECOND):
                asking = asyncio.create_task(ask())
                for turns in (first, second):
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    asking.cancel()
                await asyncio.wait([asking])
                left = asyncio.all_tasks() - before
                for task in left:  # as the end of a program does
                    task.cancel()
                if left:
                    _, pending = await asyncio.wait(left, timeout=WAIT_S)
                    assert not pending
