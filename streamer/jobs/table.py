"""Keeps jobs in the table of the store."""

import json
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Row, delete, select

from streamer.jobs.job import Job, JobOptions, JobState, Progress, ResultFile, Source
from streamer.store.store import Store
from streamer.store.tables import jobs

_RESULTS = TypeAdapter(tuple[ResultFile, ...])


class JobTable:
    """The jobs of a store. Its methods raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, job: Job) -> None:
        """Store a job as it is now."""
        await self._store.execute(self._store.database.upsert(jobs).values(_row(job)))

    async def remove(self, job_id: str) -> None:
        """Remove a job."""
        await self._store.execute(delete(jobs).where(jobs.c.id == job_id))

    async def get(self, job_id: str) -> Job | None:
        """Return a job; None: no job has this id."""
        found = await self._select(jobs.c.id == job_id)
        return found[0] if found else None

    async def requested(self, key: str) -> Job | None:
        """Return the job with this key of a request, if there is one."""
        found = await self._select(jobs.c.request_id == key)
        return found[0] if found else None

    async def unfinished(self) -> list[Job]:
        """Return the jobs that have not ended, oldest first."""
        return await self._select(jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value]))

    async def page(self, states: Collection[JobState], after: str, size: int) -> list[Job]:
        """Return up to `size` jobs in these states (empty: all) whose ids sort behind `after`, sorted by id."""
        which = jobs.c.id > after
        if states:
            which &= jobs.c.state.in_([state.value for state in states])
        return await self._select(which, size)

    async def states(self) -> dict[str, JobState]:
        """Return the states of all jobs by id."""
        async with self._store.database.reading() as connection:
            rows = (await connection.execute(select(jobs.c.id, jobs.c.state))).all()
        return {row.id: JobState(row.state) for row in rows}

    async def _select(self, which: ColumnElement[bool], size: int | None = None) -> list[Job]:
        query = select(jobs).where(which).order_by(jobs.c.id).limit(size)
        async with self._store.database.reading() as connection:
            return [_job(row) for row in (await connection.execute(query)).all()]


def _row(job: Job) -> dict[str, Any]:
    """Return a job as a row; what nothing is searched for is JSON in `settings`."""
    progress = asdict(job.progress)
    settings = {
        "request_id": job.request_id,
        "options": job.options.model_dump(mode="json"),
        "config": job.config,
        "progress": progress,
        "problems": list(job.problems),
        "results": [asdict(one) for one in job.results],
    }
    return {
        "id": job.id,
        "request_id": job.key,
        "state": job.state.value,
        "source": json.dumps(asdict(job.source)),
        "settings": json.dumps(settings),
        "owner": job.owner,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "progress": job.progress.share,
        "error": job.error or None,
    }


def _job(row: Row[Any]) -> Job:
    settings = json.loads(row.settings)
    return Job(
        id=row.id,
        request_id=settings["request_id"],
        owner=row.owner,
        source=Source(**json.loads(row.source)),
        options=JobOptions.model_validate(settings["options"]),
        config=settings["config"],
        created=row.created,
        state=JobState(row.state),
        started=row.started,
        ended=row.ended,
        progress=Progress(**settings["progress"]),
        error=row.error or "",
        problems=tuple(settings["problems"]),
        results=_RESULTS.validate_python(settings["results"]),
    )
