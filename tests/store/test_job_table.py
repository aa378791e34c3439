"""The table of jobs, in both databases."""

from collections.abc import Callable
from dataclasses import replace

from streamer.config import Store as StoreConfig
from streamer.jobs.job import Job, JobOptions, JobState, Progress, ResultFile, Source, new_id, request_key, utc_now
from streamer.jobs.table import JobTable
from tests.support.stored import running

Place = Callable[..., StoreConfig]


async def test_jobs_are_kept_as_they_are(place: Place) -> None:
    now = utc_now().replace(microsecond=0)
    waiting = Job(new_id(now), "r", "token", Source("a.mp4", sha256="0" * 64), JobOptions(effort=3), "{}", now)
    ended = Job(
        new_id(now), "", None, Source("b.mp4", path="/in/b.mp4"), JobOptions(start_time=now, tables=("csv",)), "{}",
        now,        JobState.SUCCEEDED, now, now, Progress(1.0, 10, 10, 0.4, 25.0), "", ("cut off",),
        (ResultFile("tables/people.csv", 5, "1" * 64),),
    )  # fmt: skip
    async with running(place()) as one:
        table = JobTable(one.store)
        for job in (waiting, ended):
            await table.put(job)
        assert await table.get(ended.id) == ended
        assert await table.get("x") is None
        assert await table.requested(request_key("token", "r") or "") == waiting
        assert await table.requested(request_key("other", "r") or "") is None
        assert await table.unfinished() == [waiting]
        running_now = replace(waiting, state=JobState.RUNNING, started=now)
        await table.put(running_now)
        assert await table.unfinished() == [running_now]
        first, second = sorted((running_now, ended), key=lambda job: job.id)
        assert await table.page((), "", 5) == [first, second]
        assert await table.page((), first.id, 5) == [second]
        assert await table.page((JobState.SUCCEEDED,), "", 5) == [ended]
        assert await table.states() == {waiting.id: JobState.RUNNING, ended.id: JobState.SUCCEEDED}
        await table.remove(ended.id)
        assert await table.page((), "", 5) == [running_now]
