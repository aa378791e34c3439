"""Jobs in a test, and a server with tokens that serves them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpc import aio

from faceanalytics.v1 import analysis_pb2, analysis_pb2_grpc
from streamer.config import StreamerConfig
from streamer.dispatch.dispatcher import Dispatcher
from streamer.jobs.jobs import Jobs
from tests.support.guarded_server import Guarded, bearer, guarded
from tests.support.stored import running

VIDEO = b"not a video, which only the analysis would notice " * 40


@asynccontextmanager
async def jobs_in(place: Path, store: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Jobs]:
    """Jobs with a store of their own and without a worker, so that they wait."""
    data = {
        "store": store or {"folder": str(place / "store")},
        "dispatch": {"bind": f"ipc://{place}/w", "batch": 4},
        "jobs": {"folder": str(place / "jobs"), **settings},
    }
    config = StreamerConfig.model_validate(data)
    assert config.store is not None
    async with running(config.store) as one:
        dispatcher = Dispatcher(config.dispatch)
        tasks = [asyncio.create_task(dispatcher.run())]
        try:
            jobs = Jobs(config, one.store, dispatcher)
            await jobs.open()
            tasks.append(asyncio.create_task(jobs.run()))
            yield jobs
            jobs.close()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            dispatcher.close()


class Client:
    """What a program with this token can call."""

    def __init__(self, channel: aio.Channel, secret: str) -> None:
        self.stub: Any = analysis_pb2_grpc.AnalysisServiceStub(channel)
        self._metadata = bearer(secret) if secret else ()

    def call(self, method: str, request: Any = None, **fields: Any) -> Any:
        """Call a method with a request, or with one that has these fields."""
        made = getattr(analysis_pb2, f"{method}Request")(**fields) if request is None else request
        return getattr(self.stub, method)(made, metadata=self._metadata)

    async def upload(self, content: bytes = VIDEO, name: str = "a.mp4", **stated: Any) -> str:
        """Upload a recording in small pieces and return the id of the upload."""
        return str((await self.call("UploadRecording", parts(content, name, **stated))).upload_id)

    async def start(self, **fields: Any) -> analysis_pb2.Job:
        return (await self.call("StartJob", **fields)).job  # type: ignore[no-any-return]

    async def jobs(self, **fields: Any) -> list[analysis_pb2.Job]:
        return list((await self.call("ListJobs", **fields)).jobs)


def parts(
    content: bytes, name: str = "a.mp4", size: int | None = None, sha256: str | None = None, piece: int = 100
) -> Any:
    """The messages of an upload, with what it states about itself."""
    digest = hashlib.sha256(content).hexdigest() if sha256 is None else sha256
    upload = analysis_pb2.Upload(name=name, size_bytes=len(content) if size is None else size, sha256=digest)
    pieces = [content[at : at + piece] for at in range(0, len(content), piece)]
    return iter(
        [
            analysis_pb2.UploadRecordingRequest(upload=upload),
            *(analysis_pb2.UploadRecordingRequest(chunk=one) for one in pieces),
        ]
    )


@asynccontextmanager
async def serving_jobs(folder: Path, **settings: Any) -> AsyncIterator[tuple[Guarded, Jobs, aio.Channel]]:
    """A server with jobs, its jobs, and a channel to it."""
    async with jobs_in(folder, **settings) as jobs, guarded(folder, "door", jobs=jobs) as at, at.channel() as channel:
        yield at, jobs, channel
