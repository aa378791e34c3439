"""Receives recordings in chunks: complete and as their sender stated, or nothing of them stays."""

import asyncio
import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from faceanalytics.files import sync
from streamer import metrics
from streamer.job_settings import Jobs as JobsConfig
from streamer.jobs.job import Invalid, JobProblem, NotNow, Source, TooMuch, UnknownJob
from streamer.jobs.places import INCOMING, INPUT, UPLOADS, Places, remove, safe_name

STALL_S = 60.0  # longest wait for the next chunk
KEPT_S = 86_400.0  # an upload that no job has used is removed after this time
ABOUT = ".upload.json"  # names of uploads do not begin with a dot
ID = re.compile(r"[0-9a-f]{32}")


class Stalled(JobProblem):
    """The next chunk did not come."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What the sender of an upload states about it."""

    name: str
    size: int  # bytes
    sha256: str  # 64 hex digits


@dataclass(frozen=True, slots=True)
class _About:
    """What is known of a complete upload."""

    name: str
    sha256: str
    owner: str | None


class Uploads:
    """The uploads that arrive, and those that wait for a job."""

    def __init__(self, config: JobsConfig, places: Places) -> None:
        self._config = config
        self._places = places
        self._arriving: dict[str, int] = {}  # bytes that are still to come, by upload
        self._owners: dict[str, str | None] = {}  # of those that arrive

    async def receive(self, owner: str | None, upload: Upload, chunks: AsyncIterator[bytes]) -> str:
        """Receive an upload and return its id. Raises Invalid, TooMuch, Stalled, NotNow."""
        name = safe_name(upload.name)
        self._check_statement(upload)
        made = secrets.token_hex(16)
        folder = self._places.folder / INCOMING / made
        self._arriving[made], self._owners[made] = upload.size, owner  # before it waits: others are counted then
        try:
            self._check_count(owner)
            await self.check_room()
            await asyncio.to_thread(folder.mkdir, mode=0o700)
            await self._write(folder / name, made, upload, chunks)
            _note(folder, _About(name, upload.sha256, owner))
            folder.rename(self._places.folder / UPLOADS / made)
        except OSError as error:
            raise NotNow(f"the upload cannot be written: {error.strerror}") from error
        finally:
            del self._arriving[made], self._owners[made]
            remove(folder)
        metrics.job_upload_bytes.inc(upload.size)
        return made

    def take(self, owner: str | None, upload_id: str) -> Source:
        """Return what an upload of this owner is. Raises UnknownJob."""
        about = self._about(upload_id) if ID.fullmatch(upload_id) else None
        if about is None or about.owner != owner:
            raise UnknownJob("upload_id: there is no such upload of this token; it may have been removed after a day")
        return Source(about.name, sha256=about.sha256, upload_id=upload_id)

    def give(self, upload_id: str, job: Path) -> None:
        """Make an upload the recording of a job, in its folder. Raises NotNow."""
        folder = self._places.folder / UPLOADS / upload_id
        try:
            job.mkdir(mode=0o700)
            (folder / ABOUT).unlink()
            folder.rename(job / INPUT)
        except OSError as error:
            raise NotNow(f"the upload cannot be moved: {error.strerror}") from error

    def take_back(self, owner: str | None, source: Source, job: Path) -> None:
        """Undo `give`: let the upload wait for a job again."""
        folder = self._places.folder / UPLOADS / source.upload_id
        (job / INPUT).rename(folder)
        job.rmdir()
        _note(folder, _About(source.name, source.sha256, owner))

    def drop(self, owner: str | None, upload_id: str) -> None:
        """Remove an upload of this owner that is not needed, if it is there."""
        about = self._about(upload_id) if ID.fullmatch(upload_id) else None
        if about is not None and about.owner == owner:
            remove(self._places.folder / UPLOADS / upload_id)

    def remove_old(self, now: float) -> None:
        """Remove uploads that no job has used for KEPT_S; `now` in s since 1970."""
        for folder in (self._places.folder / UPLOADS).iterdir():
            if now - folder.stat().st_mtime > KEPT_S:
                remove(folder)

    async def check_room(self) -> None:
        """Raise TooMuch if all uploads, with what is still to come, and results together exceed their limit."""
        used = await asyncio.to_thread(self._places.used)
        if used + sum(self._arriving.values()) > self._config.max_disk_mb * 1e6:
            raise TooMuch(
                f"uploads and results take {used / 1e6:.0f} of {self._config.max_disk_mb:g} MB (jobs.max_disk_mb): "
                "delete jobs that are no longer needed"
            )

    def _check_statement(self, upload: Upload) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", upload.sha256):
            raise Invalid("upload.sha256: write the SHA-256 of the file as 64 hex digits, in lower case")
        if upload.size < 1:
            raise Invalid("upload.size_bytes: the file is empty")
        if upload.size > self._config.max_upload_mb * 1e6:
            raise TooMuch(
                f"upload.size_bytes: {upload.size / 1e6:.1f} MB are more than {self._config.max_upload_mb:g} MB "
                "(jobs.max_upload_mb)"
            )

    def _check_count(self, owner: str | None) -> None:
        waiting = [about for one in (self._places.folder / UPLOADS).iterdir() if (about := self._about(one.name))]
        owners = [about.owner for about in waiting] + list(self._owners.values())
        if owners.count(owner) > self._config.per_token:
            raise TooMuch(f"{self._config.per_token} uploads wait for a job already (jobs.per_token)")

    async def _write(self, path: Path, made: str, upload: Upload, chunks: AsyncIterator[bytes]) -> None:
        digest, size = hashlib.sha256(), 0
        with path.open("xb") as file:
            while True:
                try:
                    async with asyncio.timeout(STALL_S):
                        chunk = await anext(chunks, None)
                except TimeoutError:
                    raise Stalled(f"no chunk within {STALL_S:g} s; the upload is given up") from None
                if chunk is None:
                    break
                size += len(chunk)
                if size > upload.size:
                    raise Invalid(f"chunk: more than the {upload.size} bytes of upload.size_bytes")
                await asyncio.to_thread(_take_in, file, digest, chunk)
                self._arriving[made] = upload.size - size
            if size < upload.size:
                raise Invalid(f"chunk: {size} bytes came, but upload.size_bytes is {upload.size}")
            if digest.hexdigest() != upload.sha256:
                raise Invalid("upload.sha256: the bytes that came have another one; send the file again")
            await asyncio.to_thread(sync, file)

    def _about(self, upload_id: str) -> _About | None:
        try:
            return _About(**json.loads((self._places.folder / UPLOADS / upload_id / ABOUT).read_text("utf-8")))
        except OSError:
            return None


def _note(folder: Path, about: _About) -> None:
    (folder / ABOUT).write_text(json.dumps(asdict(about)), encoding="utf-8")


def _take_in(file: IO[bytes], digest: "hashlib._Hash", chunk: bytes) -> None:
    file.write(chunk)
    digest.update(chunk)
