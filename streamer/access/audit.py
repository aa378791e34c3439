"""Writes who did what: one JSON object per line, for changing calls and refused ones."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Protocol

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


class AuditLog(Protocol):
    """Where entries are kept."""

    def write(self, entry: Entry) -> None:
        """Keep an entry; refusals above a rate are only counted. Never blocks for long, never raises."""


class AuditFile:
    """An AuditLog in a folder, or only in the log of the program without one."""

    def __init__(self, folder: Path | None, clock: Callable[[], float] = monotonic, logged: bool = True) -> None:
        """Raises ConfigError if the file cannot be written.

        `clock`: s, for the limit on refusals; `logged`: also write entries to the log of the program.
        """
        self._logged = logged
        self._path = folder / AUDIT if folder is not None else None
        self._refusals = Bucket(REFUSALS_PER_S, BURST)
        self._clock = clock
        self._suppressed = 0  # refusals since the last one that was written
        self._failed = False
        if self._path is not None:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with appending(self._path):
                    pass
            except OSError as error:
                raise ConfigError(f"access.folder: cannot write {self._path}: {error.strerror}") from error

    def write(self, entry: Entry) -> None:
        if entry.refused and not self._refusals.take(self._clock()):
            self._suppressed += 1
            return
        record = {
            "time": entry.time.isoformat(timespec="milliseconds"),
            "who": entry.who,
            "method": entry.method,
            "target": entry.target,
            "outcome": entry.outcome,
        }
        more = ""
        if entry.refused and self._suppressed:
            record["not_listed"] = str(self._suppressed)  # refusals before this one
            more, self._suppressed = f" ({self._suppressed} more are not listed)", 0
        level = logging.WARNING if entry.refused else logging.INFO
        if self._logged:
            log.log(level, "%s of %s by %s: %s%s", entry.method, entry.target or "-", entry.who, entry.outcome, more)
        if self._path is not None:
            self._keep(json.dumps(record, ensure_ascii=True).encode() + b"\n")

    def _keep(self, line: bytes) -> None:
        assert self._path is not None
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
