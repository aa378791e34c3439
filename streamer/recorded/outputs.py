"""The files of one run of a recorded analysis: they carry its id, and get their names together when all are written."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from faceanalytics.errors import ConfigError
from faceanalytics.files import JsonLines, exclusive, partial_name, sync, write_json_to, writing
from streamer.values import TrackSummary

SUMMARY, TRACKS, OBSERVATIONS = "summary.json", "tracks.jsonl", "observations.jsonl"
EXPLANATION, EMBEDDINGS, ANNOTATED = "explain.jsonl", "embeddings.npz", "annotated.mp4"
OUTPUTS = (SUMMARY, TRACKS, OBSERVATIONS, EXPLANATION, EMBEDDINGS, ANNOTATED)  # removed in this order

log = logging.getLogger(__name__)


def identified(header: dict[str, Any], **options: bool) -> dict[str, Any]:
    """Return the header with `version` and `run_id`.

    The id is a hash of the header and the options, without the video's name. So it is the same whenever the same
    content is analysed again by the same version with the same settings, models and options.
    """
    header = {**header, "version": version("faceanalytics")}
    source = {name: value for name, value in header["source"].items() if name != "name"}
    deciding = json.dumps({**header, "source": source, "options": options}, sort_keys=True)
    return {**header, "run_id": hashlib.sha256(deciding.encode()).hexdigest()[:32]}


@dataclass(frozen=True, slots=True, eq=False)
class RunFiles:
    """The open files of a run."""

    tracks: JsonLines
    observations: JsonLines
    explanation: JsonLines | None
    _folder: Path
    _header: dict[str, Any]

    def replace_headers(self, header: dict[str, Any]) -> None:
        """Replace the headers of all files by one with the same run id. Raises ConfigError."""
        for lines in self._lines():
            lines.replace_first(header)

    def finish(self, counts: dict[str, Any], templates: Sequence[TrackSummary] | None) -> None:
        """Write the identity templates (None: they were not asked for) and the summary. Raises ConfigError."""
        run = {"run_id": self._header["run_id"], "source_sha256": self._header["source"]["sha256"]}
        if templates is not None:
            with writing(path := self._folder / EMBEDDINGS):
                _write_templates(partial_name(path), templates, run)
        with writing(path := self._folder / SUMMARY):
            write_json_to(partial_name(path), {**run, **counts})
        for lines in self._lines():
            lines.sync()

    def _lines(self) -> list[JsonLines]:
        return [lines for lines in (self.tracks, self.observations, self.explanation) if lines is not None]


@contextlib.contextmanager
def run_files(folder: Path, header: dict[str, Any], explain: bool) -> Iterator[RunFiles]:
    """Remove the outputs of an earlier run from `folder` and yield the files of a new one, with their headers written.

    At the end all files get their names, summary.json last; after an error none does, and the lines written so far
    keep the name `*.partial`. Raises ConfigError where nothing can be written, or while another run writes there.
    """
    busy = f"--out: another analysis is writing into {folder}; choose another folder"
    with ExitStack() as stack:
        with writing(folder):
            stack.enter_context(exclusive(folder, busy))
        _remove_earlier(folder)
        for name in (SUMMARY, EMBEDDINGS, ANNOTATED):  # the first in is the last to get its name
            stack.enter_context(_named_at_the_end(folder / name))
        names = (TRACKS, OBSERVATIONS, EXPLANATION) if explain else (TRACKS, OBSERVATIONS)
        lines = [stack.enter_context(JsonLines(folder / name)) for name in names]
        for each in lines:
            each.write(header)
        yield RunFiles(lines[0], lines[1], lines[2] if explain else None, folder, header)


def refuse_to_remove(videos: Sequence[tuple[Path, Path]]) -> None:
    """Raise ConfigError if one of the videos of (video, folder) would be removed or overwritten as an output."""
    for _, folder in videos:
        outputs = {_identity(folder / name) for name in _names()} - {None}
        for video, _ in videos:
            if _identity(video) in outputs:
                raise ConfigError(f"--out: {video} would be removed as an earlier result; choose another folder")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _names() -> list[str]:
    return [name + ending for name in OUTPUTS for ending in ("", ".partial", ".partial.partial", ".silent.partial")]


def _remove_earlier(folder: Path) -> None:
    removed = []
    for name in _names():
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            continue  # not ours; if it is in the way, writing fails
        with writing(path), contextlib.suppress(FileNotFoundError):
            path.unlink()
            removed.append(name)
    if removed:
        log.info("%s: removed the results of an earlier run: %s", folder, ", ".join(removed))


@contextlib.contextmanager
def _named_at_the_end(path: Path) -> Iterator[None]:
    """Rename what is written under the partial name; after an error remove it.

    `replacing` would take every OSError of the whole run for trouble with this file.
    """
    partial = partial_name(path)
    try:
        yield
        with writing(path):
            if partial.exists():
                partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # usually because it has got its name
            partial.unlink()


def _write_templates(path: Path, summaries: Sequence[TrackSummary], run: dict[str, str]) -> None:
    """Write the identity templates: `embedding` (n, 512) float32 of unit length, `track_id` and `samples` (n,).

    `run` is added as texts of no dimension. Raises OSError.
    """
    found = [(one.key.id, one.estimates.identity) for one in summaries if one.estimates.identity is not None]
    templates = [identity.template for _, identity in found]
    with path.open("wb") as file:
        np.savez(
            file,
            track_id=np.array([name for name, _ in found], np.str_),
            embedding=np.stack(templates) if templates else np.zeros((0, 512), np.float32),
            samples=np.array([identity.evidence.samples for _, identity in found], np.int64),
            run_id=np.array(run["run_id"], np.str_),
            source_sha256=np.array(run["source_sha256"], np.str_),
        )
        sync(file)
