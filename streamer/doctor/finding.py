"""What a check finds, as a value that the command line prints and others can show."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from faceanalytics.commandline import hide_passwords
from streamer.config import StreamerConfig


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "OK"
    WARN = "WARN"  # it works, but not as it should, or not for long
    FAIL = "FAIL"  # the streamer does not start, or does not do what the configuration asks for


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Texts hold no passwords, tokens and keys."""

    check: str  # what was examined, such as store
    level: Level
    found: str  # a sentence
    advice: str = ""  # what to do, a sentence; empty for OK

    def as_dict(self) -> dict[str, str]:
        """Return plain data."""
        return {"check": self.check, "level": self.level.value, "found": self.found, "advice": self.advice}


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined."""

    config: StreamerConfig
    path: Path | None  # of the configuration; None: all defaults
    running: bool  # a streamer answers at publish.listen


def fine(check: str, found: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(check, Level.OK, _clean(found))


def warn(check: str, found: str, advice: str) -> Finding:
    """Return a finding to look after."""
    return Finding(check, Level.WARN, _clean(found), _clean(advice))


def fail(check: str, found: str, advice: str) -> Finding:
    """Return a finding to mend."""
    return Finding(check, Level.FAIL, _clean(found), _clean(advice))


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level; OK without findings."""
    order = list(Level)
    return max((one.level for one in findings), key=order.index, default=Level.OK)


def _clean(text: str) -> str:
    return hide_passwords(" ".join(text.split()))
