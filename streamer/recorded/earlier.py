"""What an earlier analysis has left in a folder, and whether a new one goes on there, has nothing to do, or refuses."""

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from faceanalytics.errors import ConfigError
from faceanalytics.files import exclusive, writing
from streamer.recorded.filenames import JOURNAL, SUMMARY, TRACKS
from streamer.recorded.journal import journal_header

CHOICES = "choose another folder, or replace them with --overwrite"
# fields of the header that decide results, and how a difference is said
DECIDING = {
    "schema_version": "the form of the files",
    "version": "the version of this program",
    "source": "the content of the video",
    "start_time": "the time of day at which the video begins (--start-time)",
    "part": "the part of the video (--start, --end, --sample-fps, --region, --min-face)",
    "options": "the options --embeddings or --explain",
    "detector": "the detector",
    "model_id": "the face model",
    "gallery": "the gallery",
    "config_hash": "the settings of the configuration",
}

log = logging.getLogger(__name__)


class Plan(Enum):
    """What to do in a folder without the finished results."""

    BEGIN = "begin"
    GO_ON = "go on"  # the journal has the beginning


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other analyses from writing into a folder, which is made. Raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out: cannot make the folder {folder}: {error.strerror}") from error
    busy = f"--out: another analysis is writing into {folder}; choose another folder"
    with contextlib.ExitStack() as stack:
        with writing(folder):
            stack.enter_context(exclusive(folder, busy))
        yield


def header_of(folder: Path) -> dict[str, Any] | None:
    """Return the header of the finished results in a folder, if there are any."""
    header = _first(folder / TRACKS)
    return header if header is not None and isinstance(header.get("source"), dict) else None


def finished(folder: Path, run_id: str, outputs: Sequence[str]) -> dict[str, Any] | None:
    """Return the summary of a run if it has finished in this folder; None if it has not, or can be resumed.

    `outputs` are the files that it writes.
    """
    summary = _first(folder / SUMMARY, whole=True) or {}
    there = all((folder / name).is_file() for name in outputs)
    if summary.get("run_id") != run_id or not there or (folder / JOURNAL).exists():
        return None
    return summary


def plan(folder: Path, header: dict[str, Any], removed: Sequence[str], overwrite: bool) -> Plan:
    """Look at a claimed folder before an analysis with this header, which would remove the files `removed` there.

    Raises ConfigError if they are those of another analysis and may not be overwritten.
    """
    there = [name for name in removed if (folder / name).is_file()]
    if overwrite or not there:
        return Plan.BEGIN
    journal = journal_header(folder / JOURNAL)
    if journal is not None:
        _refuse_others(folder, journal, header, "an unfinished analysis")
        return Plan.GO_ON
    named = [name for name in there if not name.endswith(".partial")]
    lines = [name for name in there if "/" not in name and name.removesuffix(".partial").endswith(".jsonl")]
    found = [first for name in lines if (first := _first(folder / name)) is not None]
    for earlier in found:
        _refuse_others(folder, earlier, header, "the results of another analysis" if named else "another analysis")
    if named and not found:
        raise ConfigError(f"--out: {folder} holds {', '.join(named)}, which this analysis would remove: {CHOICES}")
    log.info("%s: files of the same analysis, but not all: it begins again", folder)
    return Plan.BEGIN


def _refuse_others(folder: Path, earlier: dict[str, Any], header: dict[str, Any], what: str) -> None:
    """Raise ConfigError if an earlier analysis is another one."""
    if earlier.get("run_id") == header["run_id"]:
        return
    differ = [words for field, words in DECIDING.items() if _comparable(earlier, field) != _comparable(header, field)]
    raise ConfigError(
        f"--out: {folder} holds {what} that differs in {', '.join(differ) or 'its options'}: "
        f"repeat it as it was to go on with it, {CHOICES}"
    )


def _comparable(header: dict[str, Any], field: str) -> Any:
    value = header.get(field)
    return {name: one for name, one in value.items() if name != "name"} if isinstance(value, dict) else value


def _first(path: Path, whole: bool = False) -> dict[str, Any] | None:
    """Return the JSON object in the first line of a file, or in the `whole` of it; None if there is none."""
    try:
        with path.open(encoding="utf-8") as file:
            found = json.loads(file.read() if whole else file.readline())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
