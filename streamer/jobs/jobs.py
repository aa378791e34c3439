"""All jobs of a streamer: adds them, runs them while there are workers, and cleans up behind them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from faceanalytics.errors import ConfigError, LostDependency, UserError
from faceanalytics.scratch import scratch_folder
from streamer import metrics
from streamer.config import StreamerConfig
from streamer.dispatch.dispatcher import Dispatcher
from streamer.jobs.frozen import frozen
from streamer.jobs.job import (
    DifferentJob,
    Job,
    JobOptions,
    JobState,
    NotAllowed,
    NotNow,
    Progress,
    Source,
    TooMuch,
    UnknownJob,
    new_id,
    request_key,
    utc_now,
)
from streamer.jobs.places import JOBS, Places, list_results, remove
from streamer.jobs.process import Outcome
from streamer.jobs.run import run_job
from streamer.jobs.table import JobTable
from streamer.jobs.uploads import Upload, Uploads
from streamer.store.database import sqlite_folder
from streamer.store.store import Store
from streamer.store.values import StoreUnavailable

TIDY_S = 3600.0  # time between two looks for what is no longer needed
AGAIN_S = 2.0  # time between two attempts to store the end of a job

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks."""

    owner: str | None  # id of the token; None: nobody, where calls need no token
    admin: bool  # it may change the jobs of others


class Jobs:
    """The jobs of a streamer. It is used from the asyncio loop only.

    Its methods for clients raise JobProblem, and StoreUnavailable.
    """

    def __init__(self, config: StreamerConfig, store: Store, dispatcher: Dispatcher) -> None:
        """`config.jobs` and `config.store` are set. Raises ConfigError for folders that cannot be used together."""
        assert config.jobs is not None
        assert config.store is not None
        self._streamer = config
        self._config = config.jobs
        self._dispatcher = dispatcher
        self._table = JobTable(store)
        folder = Path(self._config.folder) if self._config.folder else sqlite_folder(config.store) / JOBS
        self._places = Places(folder, self._config.inputs)
        self._uploads = Uploads(self._config, self._places)
        self._unfinished: dict[str, Job] = {}  # by id, oldest first
        self._tasks: dict[str, asyncio.Task[Outcome]] = {}  # of those that run
        self._cancelling: set[str] = set()
        self._ending: set[str] = set()  # jobs whose end is being stored
        self._adding = asyncio.Lock()
        self._held = ExitStack()
        self._problem = ""  # why there can be no jobs
        self.closing = False
        self.changed = asyncio.Event()  # replaced at each change of any job

    async def open(self) -> None:
        """Open the folder, and queue the jobs that had not ended. Raises ConfigError, LostDependency."""
        try:
            await asyncio.to_thread(self._places.open)
            self._sockets = self._held.enter_context(scratch_folder())
        except (ConfigError, OSError) as error:
            if self._config.folder is not None:
                raise ConfigError(str(error)) from error
            self._problem = str(error)  # the default folder: the cameras do not need it
            log.warning("no jobs: %s", error)
            return
        try:
            for job in await self._table.unfinished():
                self._unfinished[job.id] = replace(job, state=JobState.QUEUED)
            await self._tidy()
        except StoreUnavailable as error:
            raise LostDependency(f"store: the jobs cannot be read: {error}") from error
        if self._unfinished:
            log.info("jobs: %d had not ended and go on", len(self._unfinished))
        self._count()

    async def run(self) -> None:
        """Run jobs and clean up, until cancelled."""
        if self._problem:
            return
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._config.parallel):
                    group.create_task(self._run_all())
                group.create_task(self._tidy_all())
        finally:
            self._places.close()
            self._held.close()

    def close(self) -> None:
        """Stop the jobs, which go on at the next start, and let watches end."""
        self.closing = True
        for task in self._tasks.values():
            task.cancel()
        self._notify()

    async def upload(self, client: Client, upload: Upload, chunks: AsyncIterator[bytes]) -> str:
        """Receive an upload and return its id."""
        self._check_usable()
        return await self._uploads.receive(client.owner, upload, chunks)

    async def add(
        self, client: Client, request_id: str, upload_id: str | None, path: str | None, options: JobOptions
    ) -> Job:
        """Add a job with one of the two sources, or return the one that this request has added before."""
        self._check_usable()
        async with self._adding:
            key = request_key(client.owner, request_id)
            before = await self._table.requested(key) if key is not None else None
            if before is not None and (before.over or before.id in self._unfinished):
                return self._repeated(before, client, upload_id, path, options)
            if before is not None:  # it was stored, although the store did not say so
                await self._table.remove(before.id)
            source = await self._find(client, upload_id, path)
            self._check_count(client)
            await self._uploads.check_room()
            now = utc_now()
            job = Job(new_id(now), request_id, client.owner, source, options, frozen(self._streamer), now)
            folder = self._places.job(job.id)
            try:
                if upload_id is not None:
                    self._uploads.give(upload_id, folder)
                await self._table.put(job)
            except StoreUnavailable:
                if upload_id is not None:
                    self._uploads.take_back(client.owner, source, folder)
                raise
            self._unfinished[job.id] = job
        log.info("job %s added: %s", job.id, source.name)
        self._count()
        self._notify()
        return job

    async def get(self, job_id: str) -> Job:
        """Return a job as it is now."""
        self._check_usable()
        job = self._unfinished.get(job_id) or await self._table.get(job_id)
        if job is None:
            raise UnknownJob("job_id: there is no such job")
        return job

    async def page(self, states: Collection[JobState], after: str, size: int) -> list[Job]:
        """Return up to `size` jobs in these states (empty: all) whose ids sort behind `after`, sorted by id."""
        self._check_usable()
        waiting = {JobState.QUEUED, JobState.RUNNING}
        asked = set(states) | (waiting if waiting & set(states) else set())  # the table has old states of those
        found: list[Job] = []
        while len(found) < size:
            rows = await self._table.page(asked, after, size)
            jobs = [self._unfinished.get(row.id, row) for row in rows]
            found += [job for job in jobs if not states or job.state in states]
            if len(rows) < size:
                break
            after = rows[-1].id
        return found[:size]

    def before(self, job: Job) -> int:
        """Return how many jobs that have not ended are before one that waits; 0 if it does not."""
        return (
            list(self._unfinished).index(job.id) if job.state is JobState.QUEUED and job.id in self._unfinished else 0
        )

    async def cancel(self, client: Client, job_id: str) -> Job:
        """Stop a job, and return it when it has ended."""
        job = await self._of(client, job_id)
        task = self._tasks.get(job_id)
        if task is not None:
            self._cancelling.add(job_id)
            task.cancel()
        elif not job.over and job_id not in self._ending:
            await self._end(job, JobState.CANCELLED)
        while job_id in self._unfinished:
            await self.changed.wait()
        return await self.get(job_id)

    async def delete(self, client: Client, job_id: str) -> None:
        """Remove a job that has ended, with its results."""
        job = await self._of(client, job_id)
        if not job.over:
            raise NotNow("job_id: the job has not ended; cancel it first")
        await self._table.remove(job_id)
        await asyncio.to_thread(remove, self._places.job(job_id))
        self._notify()

    async def result(self, job_id: str, name: str) -> Path:
        """Return the path of a file of the results."""
        job = await self.succeeded(job_id)
        if name not in {one.name for one in job.results}:
            raise UnknownJob("name: the results have no such file")
        return self._places.results(job_id) / name

    async def succeeded(self, job_id: str) -> Job:
        """Return a job that has results."""
        job = await self.get(job_id)
        if job.state is not JobState.SUCCEEDED:
            raise NotNow(f"job_id: there are no results, the job is {job.state.value}")
        return job

    def _check_usable(self) -> None:
        if self._problem:
            raise NotNow(f"this streamer has no jobs: {self._problem}")

    def _check_count(self, client: Client) -> None:
        if sum(job.owner == client.owner for job in self._unfinished.values()) >= self._config.per_token:
            raise TooMuch(f"{self._config.per_token} jobs have not ended yet (jobs.per_token)")

    async def _of(self, client: Client, job_id: str) -> Job:
        job = await self.get(job_id)
        if not client.admin and job.owner != client.owner:
            raise NotAllowed("job_id: it is the job of another token; only that one, or one with the scope admin, may")
        return job

    async def _find(self, client: Client, upload_id: str | None, path: str | None) -> Source:
        if upload_id is not None:
            return self._uploads.take(client.owner, upload_id)
        return await asyncio.to_thread(self._places.find_input, path or "")

    def _repeated(
        self, before: Job, client: Client, upload_id: str | None, path: str | None, options: JobOptions
    ) -> Job:
        """Return the job that a request has added before. Raises DifferentJob if it was about something else."""
        job = self._unfinished.get(before.id, before)
        try:
            same = options == job.options and self._is_same_source(job.source, client, upload_id, path)
        except (UnknownJob, NotAllowed):  # the upload has become a part of that job, or the file has gone meanwhile
            same = options == job.options and (upload_id is not None) == (not job.source.path)
        if not same:
            raise DifferentJob(f"request_id: job {job.id} was added with it, and is about something else")
        if upload_id is not None and upload_id != job.source.upload_id:
            self._uploads.drop(client.owner, upload_id)  # the same recording, sent again
        return job

    def _is_same_source(self, source: Source, client: Client, upload_id: str | None, path: str | None) -> bool:
        if upload_id is not None:
            return upload_id == source.upload_id or source.is_like(self._uploads.take(client.owner, upload_id))
        return source.is_like(self._places.find_input(path or ""))

    async def _run_all(self) -> None:
        """Run one job after the other, oldest first, while there is a worker."""
        while await self._dispatcher.wait_for_worker() is not None and not self.closing:
            changed = self.changed
            waiting = (job for job in self._unfinished.values() if job.state is JobState.QUEUED)
            job = next((one for one in waiting if one.id not in self._ending), None)
            if job is None:
                await changed.wait()
            else:
                await self._run_one(job)

    async def _run_one(self, job: Job) -> None:
        running = replace(job, state=JobState.RUNNING, started=job.started or utc_now())
        self._set(running)
        log.info("job %s begins: %s", job.id, job.source.name)
        places = self._places.recording(job.id, job.source), self._places.job(job.id), self._sockets / f"{job.id}.ipc"
        batch, mode = self._streamer.dispatch.batch, self._streamer.privacy.mode
        work = run_job(running, places, self._dispatcher, batch, self._uploads, self._progress, mode)
        task = self._tasks[job.id] = asyncio.create_task(work)
        try:
            await self._put(running)
            await asyncio.wait({task})
        finally:
            task.cancel()
            await asyncio.wait({task})
            del self._tasks[job.id]
            cancelled = job.id in self._cancelling
            self._cancelling.discard(job.id)
        newest = self._unfinished[job.id]
        if self.closing and task.cancelled():
            return
        if cancelled:
            await self._end(newest, JobState.CANCELLED)
        elif (outcome := task.result()).error:
            await self._end(newest, JobState.FAILED, outcome)
        else:
            await self._end(newest, JobState.SUCCEEDED, outcome)

    def _progress(self, job_id: str, progress: Progress) -> None:
        self._unfinished[job_id] = replace(self._unfinished[job_id], progress=progress)
        self._notify()

    async def _end(self, job: Job, state: JobState, outcome: Outcome | None = None) -> None:
        """Store the end of a job, and remove what is no longer needed."""
        self._ending.add(job.id)
        stored = False
        try:
            ended = await self._ended(job, state, outcome or Outcome())
            await self._put(ended)
            stored = True
            await asyncio.to_thread(self._places.clean, job.id, ended.state is JobState.SUCCEEDED)
        finally:  # also if the client that cancels it goes away
            self._ending.remove(job.id)
            if stored:
                del self._unfinished[job.id]
        metrics.jobs_ended.labels(ended.state.value.lower()).inc()
        log.info("job %s: %s%s", job.id, ended.state.value, f": {ended.error}" if ended.error else "")
        self._count()
        self._notify()

    async def _ended(self, job: Job, state: JobState, outcome: Outcome) -> Job:
        """Return a job as it has ended, with its results if it has succeeded."""
        ended = replace(job, state=state, ended=utc_now(), error=outcome.error, problems=outcome.problems)
        if state is not JobState.SUCCEEDED:
            return ended
        try:
            found = await asyncio.to_thread(list_results, self._places.results(job.id))
        except (UserError, OSError) as error:
            return replace(ended, state=JobState.FAILED, error=f"the results cannot be read: {error}")
        return replace(ended, results=found, progress=replace(job.progress, share=1.0))

    async def _put(self, job: Job) -> None:
        """Store a job; wait for the store if it does not work."""
        while True:
            try:
                return await self._table.put(job)
            except StoreUnavailable as error:
                log.warning("job %s waits for the store: %s", job.id, error)
                await asyncio.sleep(AGAIN_S)

    async def _tidy_all(self) -> None:
        while True:
            await asyncio.sleep(TIDY_S)
            try:
                await self._tidy()
            except StoreUnavailable as error:
                log.warning("folders of jobs are not cleaned up now: %s", error)

    async def _tidy(self) -> None:
        """Remove the folders of jobs that the store no longer has, and uploads that no job has used."""
        async with self._adding:  # a folder may be there before its row
            states = await self._table.states()
            kept = {job_id for job_id, state in states.items() if state not in (JobState.FAILED, JobState.CANCELLED)}
            await asyncio.to_thread(self._places.keep_only, kept)
            await asyncio.to_thread(self._uploads.remove_old, time.time())

    def _set(self, job: Job) -> None:
        self._unfinished[job.id] = job
        self._count()
        self._notify()

    def _notify(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def _count(self) -> None:
        states = [job.state for job in self._unfinished.values()]
        for state in (JobState.QUEUED, JobState.RUNNING):
            metrics.jobs_unfinished.labels(state.value.lower()).set(states.count(state))
