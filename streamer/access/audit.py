"""Writes who did what: one JSON object per line, for changing calls and refused ones."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Protocol, TypeAlias

from faceanalytics.errors import ConfigError
from streamer.access.private_file import appending
from streamer.access.quotas import Bucket

AUDIT = "audit.jsonl"
LARGEST_BYTES = 64 << 20  # the file becomes audit.jsonl.1 then, which replaces the one before
REFUSALS_PER_S, BURST = 1.0, 20.0  # refused calls that are written; the others are counted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did, or was refused."""

    time: datetime
    who: str  # name and id of the token, or `anonymous`, and the address of the client
    method: str
    target: str  # what it was done to, such as the id of a camera
    outcome: str  # OK, or the status of the call
    refused: bool = False


Keep: TypeAlias = Callable[[Entry, int], None]  # and the number of refusals before it that are not listed


class AuditLog(Protocol):
    """Where entries are kept."""

    def write(self, entry: Entry) -> None:
        """Keep an entry; refusals above a rate are only counted. Never blocks for long, never raises."""


class Audit:
    """An AuditLog that limits refusals, writes to the log of the program, and gives entries to what keeps them."""

    def __init__(self, keep: Keep | None, clock: Callable[[], float] = monotonic, logged: bool = True) -> None:
        """`keep`: None: entries are in the log of the program only; `clock`: s, for the limit on refusals.

        `logged`: write entries to the log of the program.
        """
        self._keep = keep
        self._logged = logged
        self._refusals = Bucket(REFUSALS_PER_S, BURST)
        self._clock = clock
        self._suppressed = 0  # refusals since the last one that was written

    def write(self, entry: Entry) -> None:
        if entry.refused and not self._refusals.take(self._clock()):
            self._suppressed += 1
            return
        suppressed = 0
        if entry.refused:
            suppressed, self._suppressed = self._suppressed, 0
        more = f" ({suppressed} more are not listed)" if suppressed else ""
        level = logging.WARNING if entry.refused else logging.INFO
        if self._logged:
            log.log(level, "%s of %s by %s: %s%s", entry.method, entry.target or "-", entry.who, entry.outcome, more)
        if self._keep is not None:
            self._keep(entry, suppressed)


class AuditFile:
    """An AuditLog in a folder, or only in the log of the program without one."""

    def __init__(self, folder: Path | None, clock: Callable[[], float] = monotonic, logged: bool = True) -> None:
        """Raises ConfigError if the file cannot be written; the other arguments are those of Audit."""
        self._path = folder / AUDIT if folder is not None else None
        self.write = Audit(self.keep if folder is not None else None, clock, logged).write
        self._failed = False
        if self._path is not None:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with appending(self._path):
                    pass
            except OSError as error:
                raise ConfigError(f"access.folder: cannot write {self._path}: {error.strerror}") from error

    def keep(self, entry: Entry, not_listed: int) -> None:
        """Append a line. Never raises; what cannot be written is reported once."""
        assert self._path is not None
        record = plain(entry, not_listed)
        line = json.dumps(record, ensure_ascii=True).encode() + b"\n"
        try:
            with appending(self._path) as file:
                os.write(file, line)
                full = os.fstat(file).st_size > LARGEST_BYTES
            if full:
                self._path.replace(self._path.with_name(AUDIT + ".1"))
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.error("audit entries are in this log only: cannot write %s: %s", self._path, error.strerror)
            self._failed = True


def plain(entry: Entry, not_listed: int) -> dict[str, str]:
    """Return an entry as it is written as JSON."""
    record = {
        "time": entry.time.isoformat(timespec="milliseconds"),
        "who": entry.who,
        "method": entry.method,
        "target": entry.target,
        "outcome": entry.outcome,
    }
    return record | ({"not_listed": str(not_listed)} if not_listed else {})


def read_file(folder: Path) -> list[tuple[Entry, int]]:
    """Return what the files of a folder have, oldest first; a cut off line is skipped. Raises ConfigError."""
    found = []
    for path in (folder / (AUDIT + ".1"), folder / AUDIT):
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"access.folder: cannot read {path}: {error}") from error
        for line in lines:
            try:
                one = json.loads(line)
                who, method, target, outcome = (str(one[name]) for name in ("who", "method", "target", "outcome"))
                entry = Entry(datetime.fromisoformat(one["time"]), who, method, target, outcome)
                found.append((entry, int(one.get("not_listed", 0))))
            except (ValueError, KeyError, TypeError):
                log.warning("%s: a line is damaged", path)
    return found
