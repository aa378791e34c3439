"""Log to standard error: as lines of text or of JSON; what repeats in a program that runs for days is summed up."""

import json
import logging
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TypeAlias

FORMATS = ("text", "json")
BURST = 5  # records of one kind that are written within WINDOW_S; the others are summed up
WINDOW_S = 60.0

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127) if code != ord("\t")}
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}  # the rest is given as `extra`

Kind: TypeAlias = tuple[str, str, str]


class TextFormatter(logging.Formatter):
    """Format a record as one line, a traceback below it aside: control characters of others' texts are escaped."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = record.message.translate(_CONTROLS)
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON object: time (UTC), level, logger, message, and fields such as camera."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if str(record.msg).startswith("camera %s"):  # what a message is about is its first argument
            fields["camera"] = _subject(record)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


@dataclass(slots=True)
class _Window:
    """The records of one kind within WINDOW_S."""

    ends: float  # s, monotonic
    written: int = 0
    held: int = 0
    last: logging.LogRecord | None = None  # of those that are held


class Repeats:
    """Decides which records are written. Records are of one kind if only later arguments of their message differ.

    The first argument belongs to the kind if it is a text: it says what the message is about, such as the camera.
    """

    def __init__(self) -> None:
        self._windows: dict[Kind, _Window] = {}

    def admit(self, record: logging.LogRecord, now: float) -> bool:
        """Return whether to write a record at `now` (s, monotonic); otherwise it is held for the sum."""
        window = self._windows.setdefault(_kind(record), _Window(now + WINDOW_S))
        if window.written < BURST:
            window.written += 1
            return True
        window.held, window.last = window.held + 1, record
        return False

    def due(self, now: float) -> list[logging.LogRecord]:
        """Return one record for each kind whose window has ended and of which records were held."""
        sums = []
        for kind, window in [item for item in self._windows.items() if item[1].ends <= now]:
            del self._windows[kind]
            if window.last is not None:
                sums.append(_sum(window.last, window.held))
                self._windows[kind] = _Window(now + WINDOW_S, BURST)  # trouble that goes on: one line per window
        return sums

    def next_due(self) -> float | None:
        """Return when the next window with held records ends (s, monotonic), or None."""
        return min((window.ends for window in self._windows.values() if window.held), default=None)


def _kind(record: logging.LogRecord) -> Kind:
    return record.name, str(record.msg), _subject(record)


def _subject(record: logging.LogRecord) -> str:
    """Return the first argument of a message if it is a text, else nothing."""
    first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
    return first if isinstance(first, str) else ""


def _sum(last: logging.LogRecord, held: int) -> logging.LogRecord:
    """Return the last of the records held, with their number."""
    if held > 1:
        last.msg, last.args = f"{last.getMessage()} ... {held} more times in {WINDOW_S:g} s", ()
    return last


class SummingHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Writes records to standard error, and sums up those that repeat, from INFO on."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._repeats = Repeats()
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or hold it; called with the handler's lock."""
        now = time.monotonic()
        self._write_sums(now)
        if record.levelno < logging.INFO or self._repeats.admit(record, now):
            super().emit(record)
        self._set_timer(now)

    def close(self) -> None:
        """Write the sums of what is held."""
        with self.lock or threading.RLock():
            self._write_sums(float("inf"))
            if self._timer is not None:
                self._timer.cancel()
        super().close()

    def _write_sums(self, now: float) -> None:
        for record in self._repeats.due(now):
            super().emit(record)

    def _set_timer(self, now: float) -> None:
        due = self._repeats.next_due()
        if due is not None and self._timer is None:
            self._timer = threading.Timer(max(0.0, due - now), self._on_time)
            self._timer.daemon = True
            self._timer.start()

    def _on_time(self) -> None:
        with self.lock or threading.RLock():
            self._timer = None
            now = time.monotonic()
            self._write_sums(now)
            self._set_timer(now)


def log_to_stderr(level: int, form: str, sum_up: bool) -> None:
    """Send all records from `level` on to standard error, in one of FORMATS. `sum_up`: see SummingHandler."""
    handler = SummingHandler() if sum_up else logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    if form == "json":
        logging.captureWarnings(True)
        sys.excepthook = _log_exception


def logs_json() -> bool:
    """Return whether the log is JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


def _log_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("faceanalytics").critical("unexpected error: %r", error, exc_info=(kind, error, trace))
