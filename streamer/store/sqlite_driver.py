"""Opens connections to SQLite whose end never waits for a thread that has ended.

A connection of aiosqlite 0.22 runs in a thread. When a task is cancelled while SQLAlchemy closes its connection, the
thread is stopped twice: by SQLAlchemy, and by `close`, which then waits for an answer that nobody gives. The end of the
program waits for it, too: https://github.com/wapiti-scanner/wapiti/issues/802.
"""

import asyncio
import sqlite3
from functools import partial
from typing import Any

from aiosqlite import Connection

ROWS_AT_ONCE = 64  # that an iteration reads; the driver's default


class EndingConnection(Connection):
    """A connection that is stopped once."""

    def stop(self) -> asyncio.Future[Any] | None:
        """Close the connection and end its thread. Returns what that sets at last; None: it was stopped before."""
        return super().stop() if self._running else None


def opened(file: str, **options: Any) -> EndingConnection:
    """Return a connection, which opens when it is awaited; `options`: those of sqlite3.connect."""
    connection = EndingConnection(partial(sqlite3.connect, file, **options), ROWS_AT_ONCE)
    connection._thread.daemon = True  # as SQLAlchemy sets it for connections that it makes itself
    return connection


def connect(dialect: Any, _: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Open a connection for SQLAlchemy; a listener of its event `do_connect`."""
    return dialect.dbapi.connect(*arguments, **options, async_creator_fn=opened)
