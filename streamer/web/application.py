"""The addresses of the dashboard, on one page: each page is a row."""

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from streamer.api.inside import CallFailed, Inside
from streamer.web.calls import call, failure
from streamer.web.door import Door, Doorkeeper
from streamer.web.exports import history, history_csv, history_parquet
from streamer.web.frames import face, mjpeg, picture
from streamer.web.layout import Site, page
from streamer.web.login import login, logout
from streamer.web.people import people, person, person_face, visitor
from streamer.web.recordings import result, upload
from streamer.web.socket import socket
from streamer.web.tracks import track, track_json

STATIC = Path(str(resources.files("streamer.web") / "static"))
NEEDS_TOKEN = {"TOKEN_MISSING", "TOKEN_UNKNOWN", "TOKEN_EXPIRED", "TOKEN_REVOKED"}


def application(door: Door, inside: Inside) -> Doorkeeper:
    """Return the dashboard as an ASGI application."""
    routes = [
        Route("/", RedirectResponse("/live")),
        Route("/login", login, methods=["GET", "POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/live", page("live")),
        Route("/live/{camera}", page("live")),
        Route("/history", history),
        Route("/history.csv", history_csv),
        Route("/history.parquet", history_parquet),
        Route("/people", people),
        Route("/people/{person_id}.jpg", person_face),
        Route("/people/{person_id}", person),
        Route("/visitors/{visitor_id}", visitor),
        Route("/recordings", page("recordings")),
        Route("/recordings/upload", upload, methods=["POST"]),
        Route("/recordings/{job}/{name:path}", result),
        Route("/cameras", page("cameras")),
        Route("/system", page("system")),
        Route("/tracks/{track_id}.json", track_json),
        Route("/tracks/{track_id}", track),
        # what pages ask for
        Route("/faces/{track_id}.jpg", face),
        Route("/cameras/{camera}/picture.jpg", picture),
        Route("/cameras/{camera}/mjpeg", mjpeg),
        Route("/api/{service}/{method}", call, methods=["POST"]),
        WebSocketRoute("/socket", socket),
        Mount(f"/static/{version()}", _Kept(directory=STATIC)),
    ]
    app = Starlette(routes=routes, exception_handlers={CallFailed: _refused, HTTPException: _missing})
    app.state.site = Site(door, inside, version())
    return Doorkeeper(app, door)


@cache
def version() -> str:
    """Return a name for the present content of the static files, which browsers may keep for ever."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class _Kept(StaticFiles):
    """Files whose address changes with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


async def _refused(request: Request, error: Exception) -> Response:
    """Answer a request whose call was refused: by the form for a token, or by an error in words."""
    assert isinstance(error, CallFailed)
    if request.url.path.startswith("/api/") or request.url.path.endswith((".json", ".jpg", "/mjpeg", "/upload")):
        return failure(error)
    site: Site = request.app.state.site
    if error.reason in NEEDS_TOKEN:
        return site.to_login(request)
    return site.problem(request, error)


async def _missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.url.path.startswith("/api/"):
        return JSONResponse({"code": "NOT_FOUND", "text": "there is nothing at this address"}, error.status_code)
    site: Site = request.app.state.site
    return site.words(request, "There is nothing at this address.", "Choose a page above.", error.status_code)
