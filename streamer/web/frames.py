"""Pictures of cameras and faces by address, for pages and for other programs."""

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from grpc import StatusCode
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from faceanalytics.v1 import frames_pb2, tracks_pb2
from streamer.api.inside import CallFailed, Who
from streamer.web.layout import Site

BOUNDARY = "picture"
WIDTH = 1280  # px, of MJPEG unless asked for another


async def picture(request: Request) -> Response:
    """Return the newest picture at hand of a camera; nothing if there is none yet."""
    site: Site = request.app.state.site
    asked = frames_pb2.GetFrameRequest(stream_id=request.path_params["camera"])
    try:
        frame = (await site.inside.call("FrameService/GetFrame", asked, _caller(site, request))).frame
    except CallFailed as error:
        if error.reason != "NO_PICTURE":
            raise
        return Response(status_code=204)
    if not frame.jpeg:
        raise _hidden()
    headers = {"x-received-at": frame.received_at.ToJsonString()}
    return Response(frame.jpeg, media_type="image/jpeg", headers=headers)


async def face(request: Request) -> Response:
    """Return the best picture of the face of a track, 112 x 112 pixels; nothing if there is none for the caller.

    None is kept without store.faces, and a token without the scope biometric sees none.
    """
    site: Site = request.app.state.site
    asked = tracks_pb2.GetTrackRequest(track_id=request.path_params["track_id"], include_face=True)
    found = await site.inside.call("TrackService/GetTrack", asked, _caller(site, request))
    if not found.face_jpeg:
        return Response(status_code=204)
    kept = "private, max-age=60" if found.track.final else "no-store"
    return Response(found.face_jpeg, media_type="image/jpeg", headers={"cache-control": kept})


async def mjpeg(request: Request) -> Response:
    """Send the pictures of a camera one after the other, as programs for cameras understand them.

    They sign in with the header `Authorization`: `Bearer TOKEN`, or a password that is the token.
    """
    site: Site = request.app.state.site
    asked = frames_pb2.WatchFramesRequest(stream_ids=[request.path_params["camera"]], width=_width(request))
    frames = site.inside.watch("FrameService/WatchFrames", asked, _caller(site, request))
    first = await anext(frames)  # errors have a status this way
    while not first.HasField("frame"):
        first = await anext(frames)

    async def parts() -> AsyncIterator[bytes]:
        async with aclosing(frames):
            yield _part(first.frame.jpeg)
            async for answer in frames:
                if answer.HasField("frame"):
                    yield _part(answer.frame.jpeg)

    if not first.frame.jpeg:
        await frames.aclose()
        raise _hidden()
    return StreamingResponse(parts(), media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}")


def _width(request: Request) -> int:
    text = request.query_params.get("width", str(WIDTH))
    if not text.isdecimal() or len(text) > 4:
        raise CallFailed(StatusCode.INVALID_ARGUMENT, "width: a number of pixels", "INVALID_FIELD", {})
    return int(text)


def _part(jpeg: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n"


def _caller(site: Site, request: Request) -> Who:
    """Return who asks; programs that know only passwords send the token as one."""
    who = site.door.who(request)
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return who
    try:
        password = base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        password = ""
    return replace(who, bearer=password or " ")


def _hidden() -> CallFailed:
    text = "this camera shows no pictures: either it is private, or the token lacks the scope biometric"
    return CallFailed(StatusCode.PERMISSION_DENIED, text, "SCOPE_MISSING", {})
