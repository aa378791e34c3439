"""AnalysisService: analyses recordings as jobs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, NoReturn, TypeVar

from grpc import aio
from pydantic import ValidationError

from faceanalytics.v1 import analysis_pb2, analysis_pb2_grpc
from streamer.access.tokens import Scope
from streamer.api.callers import present_caller
from streamer.api.errors import Why, refuse
from streamer.api.job_messages import API_NAMES, STATES, job_to_proto, option_fields, result_to_proto
from streamer.api.paging import page, page_size, page_token, place_of
from streamer.api.problems import field_problems
from streamer.api.watch import unavailable
from streamer.jobs.job import (
    LARGEST_REQUEST_ID,
    DifferentJob,
    Invalid,
    Job,
    JobOptions,
    JobProblem,
    NotAllowed,
    NotNow,
    TooMuch,
    UnknownJob,
)
from streamer.jobs.jobs import Client, Jobs
from streamer.jobs.uploads import STALL_S, Stalled, Upload
from streamer.store.values import StoreUnavailable

PAUSE_S = 0.5  # shortest time between two messages of a watch
BLOCK = 256 << 10  # bytes of a file in one message
REASONS: dict[type[JobProblem], Why] = {
    UnknownJob: Why.JOB_NOT_FOUND,
    DifferentJob: Why.JOB_EXISTS,
    TooMuch: Why.JOB_LIMIT_EXCEEDED,
    NotNow: Why.JOB_STATE,
    NotAllowed: Why.JOB_NOT_ALLOWED,
    Invalid: Why.INVALID_FIELD,
    Stalled: Why.REQUEST_TOO_SLOW,
}
NO_JOBS = "this streamer has no jobs: they need a store (`store`), and `jobs` that is not null"

T = TypeVar("T")
Context = aio.ServicerContext[Any, Any]


class AnalysisService(analysis_pb2_grpc.AnalysisServiceServicer):
    """Serves the jobs of a streamer; the methods are described in analysis.proto."""

    def __init__(self, jobs: Jobs | None, heartbeat_s: float) -> None:
        """`jobs`: None: the streamer has no jobs."""
        self._jobs = jobs
        self._heartbeat_s = heartbeat_s

    async def UploadRecording(  # noqa: N802
        self, request_iterator: AsyncIterator[analysis_pb2.UploadRecordingRequest], context: Context
    ) -> analysis_pb2.UploadRecordingResponse:
        jobs = await self._usable(context)
        try:
            async with asyncio.timeout(STALL_S):
                first = await anext(request_iterator, None)
        except TimeoutError:
            await refuse(context, Why.REQUEST_TOO_SLOW, "no message came")
        if first is None or first.WhichOneof("part") != "upload":
            await refuse(context, Why.INVALID_FIELD, "upload: the first message must have it")
        upload = Upload(first.upload.name, first.upload.size_bytes, first.upload.sha256)
        receiving = jobs.upload(_client(), upload, _chunks(request_iterator))
        return analysis_pb2.UploadRecordingResponse(upload_id=await _call(context, receiving))

    async def StartJob(  # noqa: N802
        self, request: analysis_pb2.StartJobRequest, context: Context
    ) -> analysis_pb2.StartJobResponse:
        jobs = await self._usable(context)
        name, kind = request.request_id, request.WhichOneof("source")
        if len(name) > LARGEST_REQUEST_ID or not name.isprintable():
            await _invalid(context, f"request_id: use at most {LARGEST_REQUEST_ID} printable characters")
        if kind is None:
            await _invalid(context, "source: give an upload_id or a path")
        options = await _options(request.options, context)
        upload_id = request.upload_id if kind == "upload_id" else None
        path = request.path if kind == "path" else None
        job = await _call(context, jobs.add(_client(), name, upload_id, path, options))
        return analysis_pb2.StartJobResponse(job=_message(jobs, job))

    async def GetJob(  # noqa: N802
        self, request: analysis_pb2.GetJobRequest, context: Context
    ) -> analysis_pb2.GetJobResponse:
        jobs = await self._usable(context)
        return analysis_pb2.GetJobResponse(job=_message(jobs, await _call(context, jobs.get(request.job_id))))

    async def ListJobs(  # noqa: N802
        self, request: analysis_pb2.ListJobsRequest, context: Context
    ) -> analysis_pb2.ListJobsResponse:
        jobs = await self._usable(context)
        unknown = next((value for value in request.states if value not in STATES), None)
        if unknown is not None:
            await _invalid(context, f"states: {unknown} is not a state of a job")
        after, size = await place_of(request.page_token, context), page_size(request.page_size)
        found = await _call(context, jobs.page({STATES[value] for value in request.states}, after, size + 1))
        token = page_token(found[size - 1].id) if len(found) > size else ""
        messages = [_message(jobs, job) for job in found[:size]]
        return analysis_pb2.ListJobsResponse(jobs=messages, next_page_token=token)

    async def WatchJob(  # type: ignore[override]  # noqa: N802  # writes instead of yielding
        self, request: analysis_pb2.WatchJobRequest, context: Context
    ) -> None:
        jobs = await self._usable(context)
        sent: analysis_pb2.Job | None = None
        while True:
            changed = jobs.changed  # read before the job: it may change while it is sent
            job = await _call(context, jobs.get(request.job_id))
            message = _message(jobs, job)
            if message != sent:
                await context.write(analysis_pb2.WatchJobResponse(job=message))
                sent = message
                await asyncio.sleep(0 if job.over or jobs.closing else PAUSE_S)
            if job.over or jobs.closing:
                return
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await changed.wait()
            except TimeoutError:
                await context.write(analysis_pb2.WatchJobResponse(job=message, heartbeat=True))

    async def CancelJob(  # noqa: N802
        self, request: analysis_pb2.CancelJobRequest, context: Context
    ) -> analysis_pb2.CancelJobResponse:
        jobs = await self._usable(context)
        job = await _call(context, jobs.cancel(_client(), request.job_id))
        return analysis_pb2.CancelJobResponse(job=_message(jobs, job))

    async def DeleteJob(  # noqa: N802
        self, request: analysis_pb2.DeleteJobRequest, context: Context
    ) -> analysis_pb2.DeleteJobResponse:
        jobs = await self._usable(context)
        await _call(context, jobs.delete(_client(), request.job_id))
        return analysis_pb2.DeleteJobResponse()

    async def ListResults(  # noqa: N802
        self, request: analysis_pb2.ListResultsRequest, context: Context
    ) -> analysis_pb2.ListResultsResponse:
        jobs = await self._usable(context)
        job = await _call(context, jobs.succeeded(request.job_id))
        after = await place_of(request.page_token, context)
        files, token = page(sorted(job.results, key=_name), _name, after, request.page_size)
        return analysis_pb2.ListResultsResponse(results=map(result_to_proto, files), next_page_token=token)

    async def GetResult(  # type: ignore[override]  # noqa: N802  # writes instead of yielding
        self, request: analysis_pb2.GetResultRequest, context: Context
    ) -> None:
        jobs = await self._usable(context)
        path = await _call(context, jobs.result(request.job_id, request.name))
        if not present_caller.get().allows(Scope.READ):
            text = "GetResult needs the scope read as well"
            await refuse(context, Why.SCOPE_MISSING, text, scope=str(Scope.READ))
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                if request.offset > size:
                    await refuse(context, Why.OFFSET_TOO_LARGE, f"offset: the file has {size} bytes")
                file.seek(request.offset)
                while block := await asyncio.to_thread(file.read, BLOCK):
                    await context.write(analysis_pb2.GetResultResponse(data=block))
        except OSError:  # the job has just been deleted
            await refuse(context, Why.JOB_NOT_FOUND, "name: the file is no longer there")

    async def _usable(self, context: Context) -> Jobs:
        if self._jobs is None:
            await refuse(context, Why.NO_JOBS, NO_JOBS)
        return self._jobs


def _client() -> Client:
    """Return who makes the present call."""
    caller = present_caller.get()
    return Client(caller.token.id if caller.token is not None else None, caller.allows(Scope.ADMIN))


def _message(jobs: Jobs, job: Job) -> analysis_pb2.Job:
    return job_to_proto(job, jobs.before(job))


def _name(result: Any) -> str:
    return str(result.name)


async def _options(message: analysis_pb2.JobOptions, context: Context) -> JobOptions:
    """Return checked options. Aborts the call with INVALID_ARGUMENT and the API's path of each invalid field."""
    try:
        return JobOptions.model_validate(option_fields(message))
    except ValidationError as error:
        await _invalid(context, field_problems(error, API_NAMES).replace("settings.", "options."))
    except ValueError as error:
        await _invalid(context, str(error))


async def _chunks(requests: AsyncIterator[analysis_pb2.UploadRecordingRequest]) -> AsyncIterator[bytes]:
    """Yield the chunks of an upload. Raises Invalid."""
    async for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise Invalid("chunk: each message behind the first must have it")
        yield request.chunk


async def _call(context: Context, work: Awaitable[T]) -> T:
    """Return what `work` returns; a problem aborts the call with its code."""
    try:
        return await work
    except JobProblem as problem:
        await refuse(context, REASONS[type(problem)], str(problem))
    except StoreUnavailable as error:
        await unavailable(error, context)


async def _invalid(context: Context, text: str) -> NoReturn:
    await refuse(context, Why.INVALID_FIELD, text)
