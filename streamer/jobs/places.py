"""Where uploads, recordings and results of jobs are, how much room they take, and which paths clients may name.

incoming/UPLOAD/NAME          uploads that are not complete; removed at the start
uploads/UPLOAD/NAME           uploads that wait for a job, with what is known of them in .upload.json
jobs/JOB/input/NAME           the upload of a job, until it has ended
jobs/JOB/config.json          the settings of its process
jobs/JOB/results/             what the analysis writes
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from faceanalytics.errors import ConfigError
from faceanalytics.files import exclusive, hash_file
from streamer.jobs.job import Invalid, NotAllowed, ResultFile, Source, UnknownJob
from streamer.kinds import check_path_from_client

INCOMING, UPLOADS, JOBS = "incoming", "uploads", "jobs"
INPUT, RESULTS, CONFIG = "input", "results", "config.json"
LARGEST_NAME = 100  # characters


class Places:
    """The folder of all jobs of one streamer."""

    def __init__(self, folder: Path, inputs: tuple[str, ...]) -> None:
        """Raises ConfigError if a folder of `inputs` holds the one of jobs: clients could name others' uploads."""
        self.folder = folder
        self._inputs = inputs
        self._held = ExitStack()
        for one in inputs:
            if folder.resolve().is_relative_to(Path(one).resolve()):
                raise ConfigError(f"jobs.inputs: {one} holds the folder of jobs, {folder}; choose another jobs.folder")

    def open(self) -> None:
        """Make the folders, lock them, and remove uploads that were cut off. Raises ConfigError."""
        try:
            for name in (INCOMING, UPLOADS, JOBS):
                (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            refusal = f"jobs.folder: another streamer uses {self.folder}; give each one its own"
            self._held.enter_context(exclusive(self.folder, refusal))
            for left in (self.folder / INCOMING).iterdir():
                remove(left)
        except OSError as error:
            raise ConfigError(f"jobs.folder: cannot use {self.folder}: {error.strerror}") from error

    def close(self) -> None:
        """Let other streamers use the folder."""
        self._held.close()

    def job(self, job_id: str) -> Path:
        """Return the folder of a job."""
        return self.folder / JOBS / job_id

    def results(self, job_id: str) -> Path:
        """Return the folder of the results of a job."""
        return self.job(job_id) / RESULTS

    def recording(self, job_id: str, source: Source) -> Path:
        """Return the path of the recording of a job."""
        return Path(source.path) if source.path else self.job(job_id) / INPUT / source.name

    def clean(self, job_id: str, succeeded: bool) -> None:
        """Remove what a job that has ended does not need: all but its results."""
        folder = self.job(job_id)
        for unneeded in (folder / INPUT, folder / CONFIG) if succeeded else (folder,):
            remove(unneeded)

    def keep_only(self, jobs: set[str]) -> None:
        """Remove the folders of other jobs than these."""
        for folder in (self.folder / JOBS).iterdir():
            if folder.name not in jobs:
                remove(folder)

    def used(self) -> int:
        """Return the room that everything takes, in bytes."""
        return sum(_sizes(self.folder))

    def find_input(self, path: str) -> Source:
        """Return the recording at a path that a client has named. Raises NotAllowed, UnknownJob."""
        place = Path(path)
        candidates = [place] if place.is_absolute() else [Path(one) / place for one in self._inputs]
        try:
            for one in candidates or [place]:
                check_path_from_client(one, self._inputs, "jobs.inputs")
                if one.resolve().is_relative_to(self.folder.resolve()):
                    raise NotAllowed("path: it is in the folder of jobs")
            found = next((one.resolve() for one in candidates if one.is_file()), None)
        except ValueError as error:
            raise NotAllowed(f"path: {error}") from error
        except OSError:  # a name that no file can have
            found = None
        if found is None:
            raise UnknownJob("path: there is no such file")
        return Source(found.name, path=str(found))


def safe_name(name: str) -> str:
    """Return the name of an upload without characters that could have a meaning. Raises Invalid."""
    last = re.split(r"[/\\]", name)[-1]
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", last)[-LARGEST_NAME:].lstrip(". -")
    if not plain:
        raise Invalid("upload.name: give the name of the file, with a letter or a digit")
    return plain


def list_results(folder: Path) -> tuple[ResultFile, ...]:
    """Return the files below a folder, by name, with their hashes. Raises OSError, InputError."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return tuple(
        ResultFile(path.relative_to(folder).as_posix(), path.stat().st_size, hash_file(path))
        for path in files
        if not path.name.endswith(".partial")
    )


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _sizes(folder: Path) -> Iterator[int]:
    for base, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it has just gone
                yield (Path(base) / name).stat().st_size
