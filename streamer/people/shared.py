"""Keeps the people of several streamers on one PostgreSQL database the same.

A change is made by one streamer at a time, which first takes in what the others have written. Each commit notifies the
others, who take in the entries that they lack, in their order: entries are numbered under the lock, so one that comes
later has a higher number. Whoever was not connected finds them by looking, every POLL_S seconds.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any

from sqlalchemy import Executable, func, select, text

from streamer.people.entries import Entry
from streamer.store.database import Database
from streamer.store.schemas import PEOPLE
from streamer.store.values import StoreUnavailable

CHANNEL = "faceanalytics_people"
POLL_S = 2.0
LOCK_S = 10.0  # longest wait for another streamer that changes people
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 10.0
# a connection whose other end has vanished gives its lock back within half a minute
ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
ALIVE_THERE = " ".join(f"-ctcp_{name}={value}" for name, value in ALIVE.items())

TakeIn = Callable[[], Awaitable[Sequence[Entry]]]

log = logging.getLogger(__name__)


def notifying(database: Database) -> list[Executable]:
    """Return what a transaction that changes people says to the other streamers."""
    return [select(func.pg_notify(CHANNEL, ""))] if database.dialect == "postgresql" else []


class Changing:
    """Lets people be changed by one call at a time, of all streamers of a store. Used with `async with`.

    Entering raises StoreUnavailable if the database does not answer, or another streamer holds it for too long.
    """

    def __init__(self, database: Database, take_in: TakeIn) -> None:
        """`take_in` takes in what others have written."""
        self._database = database
        self._take_in = take_in
        self._local = asyncio.Lock()
        self._connection: Any = None  # of psycopg

    async def __aenter__(self) -> None:
        await self._local.acquire()
        try:
            if self._database.dialect == "postgresql":
                await self._lock()
                await self._take_in()
        except BaseException:
            await self._drop()
            self._local.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._connection is not None:
                await self._unlock()
        finally:
            self._local.release()

    async def take_in(self) -> Sequence[Entry]:
        """Take in what others have written, between two changes of this streamer. Raises StoreUnavailable."""
        async with self._local:
            return await self._take_in()

    async def close(self) -> None:
        """Close the connection."""
        await self._drop()

    async def _lock(self) -> None:
        import psycopg

        for attempt in (1, 2):  # a connection that was closed since the last change is made again
            try:
                async with asyncio.timeout(LOCK_S + 5):
                    if self._connection is None:
                        self._connection = await connected(self._database)
                        await self._connection.execute(f"SET lock_timeout = '{LOCK_S:g}s'")
                    await self._connection.execute(f"SELECT pg_advisory_lock({PEOPLE})")
                return
            except psycopg.errors.LockNotAvailable:
                raise StoreUnavailable("another streamer is changing people; try again") from None
            except (psycopg.Error, OSError) as error:
                await self._drop()
                if attempt == 2:
                    raise StoreUnavailable(" ".join(str(error).split())) from error
            except TimeoutError:
                await self._drop()
                raise StoreUnavailable("no answer in time") from None

    async def _unlock(self) -> None:
        import psycopg

        try:
            async with asyncio.timeout(LOCK_S):
                await self._connection.execute(f"SELECT pg_advisory_unlock({PEOPLE})")
        except (psycopg.Error, OSError, TimeoutError):
            await self._drop()  # the server gives the lock back

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await close(connection)


class Following:
    """Hears of the changes that other streamers make."""

    def __init__(self, database: Database, take_in: Callable[[bool], Awaitable[None]]) -> None:
        """`take_in` takes in what is new. It is given whether there was a notification, or may have been."""
        self._database = database
        self._take_in = take_in
        self._problem = ""

    async def run(self) -> None:
        """Follow until cancelled. Without a database for several streamers there is nothing to follow."""
        delay = FIRST_RETRY_S
        while self._database.dialect == "postgresql":
            try:
                await self._listen()
            except StoreUnavailable as error:
                if not self._problem:
                    log.warning("people: changes of other streamers are not heard of now: %s", error)
                self._problem = str(error) or "no answer"
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY_S)
            else:
                delay = FIRST_RETRY_S

    async def _listen(self) -> None:
        """Take in what is new, now and whenever the database says so, or nothing was heard for a while."""
        import psycopg

        try:
            async with AsyncExitStack() as closing:
                async with asyncio.timeout(LOCK_S):
                    connection = await connected(self._database)
                    closing.push_async_callback(close, connection)
                    await connection.execute(f"LISTEN {CHANNEL}")
                heard = True
                while True:
                    await self._take_in(heard)
                    if self._problem:
                        log.warning("people: changes of other streamers are heard of again")
                        self._problem = ""
                    heard = bool([one async for one in connection.notifies(timeout=POLL_S, stop_after=1)])
                    async with asyncio.timeout(LOCK_S):
                        await connection.execute("SELECT 1")  # it may be lost
        except (psycopg.Error, OSError) as error:
            raise StoreUnavailable(" ".join(str(error).split())) from error
        except TimeoutError:
            raise StoreUnavailable("no answer in time") from None


async def connected(database: Database) -> Any:
    """Open a connection of psycopg of its own, which commits each statement."""
    import psycopg

    name = f"faceanalytics people {database.streamer}".strip()
    settings: dict[str, Any] = {**ALIVE, "connect_timeout": 5, "application_name": name, "options": ALIVE_THERE}
    return await psycopg.AsyncConnection.connect(database.conninfo(), autocommit=True, **settings)


async def close(connection: Any) -> None:
    """Close a connection that may be lost."""
    import psycopg

    with suppress(psycopg.Error, OSError):
        await connection.close()


async def holders(database: Database, names: Sequence[str], lock_of: Callable[[str], int]) -> set[str]:
    """Return which of these streamers run now, by the locks that they hold. Raises StoreUnavailable."""
    wanted = "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted "
    wanted += "AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    async with database.reading() as connection:
        held = {int(number) for number in await connection.scalars(text(wanted))}
    return {name for name in names if lock_of(name) in held}
