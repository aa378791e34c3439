"""Keeps the audit log in the store. Entries wait in memory for a transaction, or for a lost database."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any

from streamer import metrics
from streamer.access.audit import Entry, Keep
from streamer.store.tables import audit
from streamer.store.values import Row, StoreUnavailable

WAITING = 10_000  # most entries that wait; beyond it the oldest are given up
BATCH = 500  # entries in one transaction
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 10.0

log = logging.getLogger(__name__)


class StoredAudit:
    """Takes in entries at once and writes them soon. It is used from the asyncio loop only.

    Each entry is in the log of the program, too. What cannot be stored is counted and goes to `spill`, if there is one.
    """

    def __init__(self, execute: Callable[..., Awaitable[None]], spill: Keep | None = None) -> None:
        """`execute` runs statements in one transaction; it raises StoreUnavailable."""
        self.spill = spill
        self._execute = execute
        self._waiting: deque[tuple[Entry, int]] = deque()
        self._wake = asyncio.Event()
        self._problem = False

    def keep(self, entry: Entry, not_listed: int) -> None:
        """Take in an entry, with the number of refusals before it that are not listed."""
        self._waiting.append((entry, not_listed))
        if len(self._waiting) > WAITING:
            self._give_up(1)
        metrics.audit_backlog.set(len(self._waiting))
        self._wake.set()

    async def repeat(self) -> None:
        """Write what comes, until cancelled."""
        delay = FIRST_RETRY_S
        while True:
            await self._wake.wait()
            try:
                await self._write()
            except StoreUnavailable as error:
                if not self._problem:
                    log.error("audit entries wait for the store, and are in this log: %s", error)
                self._problem = True
                self._wake.set()
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY_S)
            else:
                delay, self._problem = FIRST_RETRY_S, False

    async def close(self) -> None:
        """Write what waits, a last time. `repeat` must have ended."""
        try:
            await self._write()
        except StoreUnavailable as error:
            log.error("%d audit entries are not in the store: %s", len(self._waiting), error)
            self._give_up(len(self._waiting))

    async def _write(self) -> None:
        """Store what waits. An entry whose commit got no answer may be there twice, but is not missing."""
        self._wake.clear()
        while batch := list(islice(self._waiting, BATCH)):
            await self._execute(audit.insert().values([row_of(entry, count) for entry, count in batch]))
            for one in batch:  # what was given up meanwhile is no longer among them
                if self._waiting and self._waiting[0] is one:
                    self._waiting.popleft()
            metrics.audit_backlog.set(len(self._waiting))

    def _give_up(self, count: int) -> None:
        for _ in range(count):
            entry, not_listed = self._waiting.popleft()
            metrics.audit_unstored.inc()
            if self.spill is not None:
                self.spill(entry, not_listed)
        metrics.audit_backlog.set(len(self._waiting))


def row_of(entry: Entry, not_listed: int) -> Row:
    """Return the row of an entry."""
    return {
        "time": entry.time,
        "who": _storable(entry.who),
        "method": _storable(entry.method),
        "target": _storable(entry.target),
        "outcome": _storable(entry.outcome),
        "not_listed": not_listed or None,
    }


def entry_of(row: Any) -> tuple[Entry, int]:
    """Return the entry of a row, and the number of refusals before it that are not listed."""
    return Entry(row.time, row.who, row.method, row.target, row.outcome), row.not_listed or 0


def _storable(text: str) -> str:
    """Return a text without what PostgreSQL does not take: NUL and halves of surrogate pairs."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
