"""Recordings: files that come from the browser, and the results of jobs by address."""

import mimetypes
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import PurePosixPath
from urllib.parse import quote

from grpc import StatusCode
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from faceanalytics.v1 import analysis_pb2
from streamer.api.inside import CallFailed
from streamer.web.layout import Site

CHUNK = 1 << 20  # bytes of an upload in one message
# A report runs its own script, but as nobody: it reaches neither the dashboard nor the network.
REPORT = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; media-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def result(request: Request) -> Response:
    """Send a file of the results of a job: the report as a page, pictures and videos as such, others to be saved."""
    site: Site = request.app.state.site
    job, name = request.path_params["job"], request.path_params["name"]
    asked = analysis_pb2.GetResultRequest(job_id=job, name=name)
    parts = site.inside.watch("AnalysisService/GetResult", asked, site.door.who(request))
    first = await anext(parts, None)  # errors have a status this way

    async def content() -> AsyncIterator[bytes]:
        async with aclosing(parts):
            yield first.data if first is not None else b""
            async for one in parts:
                yield one.data

    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    shown = kind == "text/html" or (kind.startswith(("image/", "video/")) and kind != "image/svg+xml")
    last = quote(PurePosixPath(name).name)
    headers = {"content-disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{last}"}
    if kind == "text/html":
        headers["content-security-policy"] = REPORT
    else:
        headers["content-security-policy"] = "sandbox; default-src 'none'"
    return StreamingResponse(content(), media_type=kind, headers=headers)


async def upload(request: Request) -> Response:
    """Receive a recording as the body of the request; its name and SHA-256 are in the address."""
    site: Site = request.app.state.site
    size = request.headers.get("content-length", "")
    if not size.isdecimal():
        raise CallFailed(StatusCode.INVALID_ARGUMENT, "an upload must say how long it is", "INVALID_REQUEST", {})
    about = analysis_pb2.Upload(
        name=request.query_params.get("name", ""),
        size_bytes=min(int(size), 2**63),
        sha256=request.query_params.get("sha256", ""),
    )

    async def messages() -> AsyncIterator[analysis_pb2.UploadRecordingRequest]:
        yield analysis_pb2.UploadRecordingRequest(upload=about)
        async for part in request.stream():
            for start in range(0, len(part), CHUNK):
                yield analysis_pb2.UploadRecordingRequest(chunk=part[start : start + CHUNK])

    answer = await site.inside.send("AnalysisService/UploadRecording", messages(), site.door.who(request))
    return JSONResponse({"uploadId": answer.upload_id})
