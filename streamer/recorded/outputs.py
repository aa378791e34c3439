"""The files of one run of a recorded analysis: they carry its id, and get their names together when all are written."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import JsonLines, partial_name, sync, write_json_to, writing
from streamer.recorded.filenames import (
    ANNOTATED,
    DERIVED,
    EMBEDDINGS,
    EXPLANATION,
    JOURNAL,
    OBSERVATIONS,
    OUTPUTS,
    PEOPLE,
    SHOTS,
    SUMMARY,
    TABLES_FOLDER,
    TRACKS,
)
from streamer.values import ImpostorScores, TrackSummary

log = logging.getLogger(__name__)


def identified(header: dict[str, Any], **options: bool) -> dict[str, Any]:
    """Return the header with `options`, `version` and `run_id`.

    The id is a hash of the header and the options, without the video's name. So it is the same whenever the same
    content is analysed again by the same version with the same settings, models and options.
    """
    header = {**header, "options": options, "version": version("faceanalytics")}
    source = {name: value for name, value in header["source"].items() if name != "name"}
    deciding = json.dumps({**header, "source": source}, sort_keys=True)
    return {**header, "run_id": hashlib.sha256(deciding.encode()).hexdigest()[:32]}


@dataclass(frozen=True, slots=True, eq=False)
class RunFiles:
    """The open files of a run."""

    tracks: JsonLines
    observations: JsonLines
    people: JsonLines
    shots: JsonLines
    explanation: JsonLines | None
    _folder: Path
    _header: dict[str, Any]

    def replace_headers(self, header: dict[str, Any]) -> None:
        """Replace the headers of all files by one with the same run id. Raises ConfigError."""
        for lines in self._lines():
            lines.replace_first(header)

    def finish(
        self, counts: dict[str, Any], templates: Sequence[TrackSummary] | None, impostors: ImpostorScores | None = None
    ) -> None:
        """Write the identity templates (None: they were not asked for) and the summary. Raises ConfigError.

        `impostors`: the scores of strangers, which people across recordings are compared by; they go with templates.
        """
        if templates is not None:
            with writing(path := self._folder / EMBEDDINGS):
                _write_templates(partial_name(path), templates, impostors, self._run)
        with writing(path := self._folder / SUMMARY):
            write_json_to(partial_name(path), {**self._run, **counts})
        for lines in self._lines():
            lines.sync()

    @property
    def _run(self) -> dict[str, str]:
        return {"run_id": self._header["run_id"], "source_sha256": self._header["source"]["sha256"]}

    def _lines(self) -> list[JsonLines]:
        every = (self.tracks, self.observations, self.people, self.shots, self.explanation)
        return [lines for lines in every if lines is not None]


def written(explain: bool, embeddings: bool) -> list[str]:
    """Return the names of the files that a run with these options writes."""
    optional = (EXPLANATION, explain), (EMBEDDINGS, embeddings)
    return [SUMMARY, TRACKS, OBSERVATIONS, PEOPLE, SHOTS, *(name for name, wanted in optional if wanted)]


@contextlib.contextmanager
def run_files(folder: Path, header: dict[str, Any], explain: bool, kept: Sequence[str] = ()) -> Iterator[RunFiles]:
    """Remove the outputs of an earlier run from `folder` and yield the files of a new one, with their headers written.

    The folder is `claimed`; files named in `kept` stay. At the end all files get their names, summary.json last; after
    an error none does, and the lines written so far keep the name `*.partial`; after an InputError nothing else stays.
    Raises ConfigError where nothing can be written.
    """
    _remove_earlier(folder, kept)
    try:
        with _open_files(folder, header, explain) as files:
            yield files
    except InputError:  # there was nothing to analyse, or it was stopped before its first frame
        _remove_earlier(folder, kept)
        raise


@contextlib.contextmanager
def _open_files(folder: Path, header: dict[str, Any], explain: bool) -> Iterator[RunFiles]:
    with ExitStack() as stack:
        for name in (SUMMARY, EMBEDDINGS, ANNOTATED):  # the first in is the last to get its name
            stack.enter_context(_named_at_the_end(folder / name))
        names = (TRACKS, OBSERVATIONS, PEOPLE, SHOTS, *([EXPLANATION] if explain else []))
        lines = [stack.enter_context(JsonLines(folder / name)) for name in names]
        for each in lines:
            each.write(header)
        tracks, observations, people, shots, *explanation = lines
        yield RunFiles(tracks, observations, people, shots, explanation[0] if explain else None, folder, header)


def refuse_to_remove(videos: Sequence[tuple[Path, Path]]) -> None:
    """Raise ConfigError if one of the videos of (video, folder) would be removed or overwritten as an output."""
    for _, folder in videos:
        outputs = {_identity(folder / name) for name in removable(folder)} - {None}
        for video, _ in videos:
            if _identity(video) in outputs:
                raise ConfigError(f"--out: {video} would be removed as an earlier result; choose another folder")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def removable(folder: Path) -> list[str]:
    """Return the names of the files that a new run removes from a folder, whether they are there or not."""
    endings = "", ".partial", ".partial.partial", ".silent.partial"
    derived = [str(path.relative_to(folder)) for pattern in DERIVED for path in sorted(folder.glob(pattern))]
    return [*derived, *(name + ending for name in OUTPUTS for ending in endings), JOURNAL]


def _remove_earlier(folder: Path, kept: Sequence[str] = ()) -> None:
    removed = []
    for name in removable(folder):
        path = folder / name
        if name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            continue  # not ours; if it is in the way, writing fails
        with writing(path), contextlib.suppress(FileNotFoundError):
            path.unlink()
            removed.append(name)
    with contextlib.suppress(OSError):  # it is not there, or holds files of others
        (folder / TABLES_FOLDER).rmdir()
    if removed and JOURNAL not in kept:
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


def _write_templates(
    path: Path, summaries: Sequence[TrackSummary], impostors: ImpostorScores | None, run: dict[str, str]
) -> None:
    """Write the identity templates: `embedding` (n, 512) float32 of unit length, `track_id` and `samples` (n,).

    `run` is added as texts of no dimension, and the scores of strangers if there are any. Raises OSError.
    """
    found = [(one.key.id, one.estimates.identity) for one in summaries if one.estimates.identity is not None]
    templates = [identity.template for _, identity in found]
    arrays: dict[str, Any] = {
        "track_id": np.array([name for name, _ in found], np.str_),
        "embedding": np.stack(templates) if templates else np.zeros((0, 512), np.float32),
        "samples": np.array([identity.evidence.samples for _, identity in found], np.int64),
        "run_id": np.array(run["run_id"], np.str_),
        "source_sha256": np.array(run["source_sha256"], np.str_),
    }
    if impostors is not None:
        arrays |= {f"impostor_{name}": np.asarray(value) for name, value in asdict(impostors).items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)
        sync(file)
