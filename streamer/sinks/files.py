"""The sink that writes files: one event per line, on the disk before the place in the log moves on."""

import contextlib
import fcntl
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from faceanalytics.errors import ConfigError
from streamer.lifecycle import in_thread
from streamer.sink_settings import FilesSink
from streamer.sinks.delivery import SinkEvent, Undelivered
from streamer.sinks.envelope import as_bytes, cloud_event

BLOCK = 1 << 16  # bytes read at once while looking for the end of the last whole line

log = logging.getLogger(__name__)


class Files:
    """Writes NAME.jsonl in a folder. A full file gets the time and sequence of its last event into its name."""

    def __init__(self, settings: FilesSink, store_id: str) -> None:
        """Raises ConfigError if the folder cannot be used."""
        self.name = settings.name
        self._settings = settings
        self._store_id = store_id
        self._folder = Path(settings.folder)
        self._path = self._folder / f"{settings.name}.jsonl"
        self._descriptor: int | None = None
        self._size = 0  # bytes of the file, all whole lines
        self._last: tuple[datetime, int] | None = None  # time and sequence of the event in the last line
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # events say who was where
        except OSError as error:
            raise ConfigError(f"sink {self.name}: cannot use the folder {self._folder}: {error.strerror}") from error

    async def open(self) -> None:
        """Open the file behind its last whole line; what a crash has left of a further one is cut off."""
        await self._on_disk(self._open)

    async def deliver(self, events: Sequence[SinkEvent]) -> None:
        """Append events, and wait until they are on the disk."""
        await self._on_disk(partial(self._write, events))

    async def close(self) -> None:
        """Close the file."""
        self._close()

    async def _on_disk(self, work: Callable[[], None]) -> None:
        """Do `work` in a thread: a disk may be slow. Raises Undelivered."""
        try:
            await in_thread(f"sink-{self.name}", work, stop=lambda: None)
        except OSError as error:
            raise Undelivered(f"cannot write {self._path}: {error.strerror or error}") from error

    def _open(self) -> None:
        self._close()
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise OSError("another streamer writes it; give each its own folder") from error
        self._descriptor = descriptor
        size = os.fstat(descriptor).st_size
        self._size = _whole_lines(descriptor, size)
        if self._size < size:
            log.warning("sink %s: cut %d bytes of an unfinished line off %s", self.name, size - self._size, self._path)
            os.ftruncate(descriptor, self._size)
        self._last = _last_event(descriptor, self._size)
        _sync_folder(self._folder)

    def _write(self, events: Sequence[SinkEvent]) -> None:
        if self._descriptor is None or not self._is_ours():
            self._open()
        waiting = bytearray()
        for event in events:
            line = as_bytes(cloud_event(event, self._store_id)) + b"\n"
            if self._is_full(len(waiting) + len(line), event.at):
                self._append(waiting)
                waiting = bytearray()
                self._rotate()
            waiting += line
            self._last = event.at, event.sequence
        self._append(waiting)

    def _is_ours(self) -> bool:
        """Return whether the file still has its name; others may move it away."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return there.st_ino == os.fstat(self._file).st_ino

    def _is_full(self, more: int, at: datetime) -> bool:
        """Return whether an event of this time, with which `more` bytes wait, belongs into a new file."""
        if self._last is None:
            return False  # the file is empty
        another_day = self._settings.daily and at.astimezone(UTC).date() != self._last[0].astimezone(UTC).date()
        return another_day or self._size + more > self._settings.max_mb * 1e6

    def _append(self, lines: bytes | bytearray) -> None:
        """Write whole lines to the disk; after an error the file is as before."""
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError:
            view.release()
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(lines)

    def _rotate(self) -> None:
        """Give the file its final name, begin a new one, and delete the oldest ones."""
        assert self._last is not None
        at, sequence = self._last
        stem = f"{self.name}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{sequence}"
        final, number = self._folder / f"{stem}.jsonl", 1
        while final.exists():  # the same events once more, after a crash
            number += 1
            final = self._folder / f"{stem}-{number}.jsonl"
        self._path.rename(final)
        self._open()
        if self._settings.keep is not None:
            form = re.compile(re.escape(self.name) + r"-(\d{8}T\d{6}Z)-(\d+)(?:-(\d+))?\.jsonl")
            found = [match for path in self._folder.iterdir() if (match := form.fullmatch(path.name))]
            found.sort(key=lambda match: (match[1], int(match[2]), int(match[3] or 1)))
            for match in found[: -self._settings.keep]:
                (self._folder / match[0]).unlink(missing_ok=True)

    @property
    def _file(self) -> int:
        assert self._descriptor is not None
        return self._descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _whole_lines(descriptor: int, size: int) -> int:
    """Return the size of a file without what follows its last line end."""
    end = size
    while end > 0:
        start = max(0, end - BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _last_event(descriptor: int, size: int) -> tuple[datetime, int] | None:
    """Return time and sequence of the event in the last line of a file; None: it is empty."""
    if size == 0:
        return None
    start = _whole_lines(descriptor, size - 1)
    try:
        envelope = json.loads(os.pread(descriptor, size - start, start))
        return datetime.fromisoformat(envelope["time"]), int(envelope["sequence"])
    except (ValueError, KeyError, TypeError) as error:
        raise OSError("its last line is no event of a sink; move the file away") from error


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
