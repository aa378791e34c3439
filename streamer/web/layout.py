"""What all pages have in common: the bar, who is signed in, and errors in words."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlsplit

import jinja2
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from faceanalytics.v1 import system_pb2
from streamer.access.tokens import Scope
from streamer.api.inside import CallFailed, Inside
from streamer.web.door import Door
from streamer.web.sessions import Attempts

BAR = (  # pages in the bar: address and name
    *(("live", "Live"), ("history", "History"), ("people", "People"), ("recordings", "Recordings")),
    *(("cameras", "Cameras"), ("system", "System")),
)
# scopes of whoever looks, by which pages hide what the server would refuse
SCOPES = (Scope.READ, Scope.BIOMETRIC, Scope.OPERATE, Scope.ENROL, Scope.ADMIN)


@dataclass(frozen=True, slots=True)
class Site:
    """What requests are served with."""

    door: Door
    inside: Inside
    version: str  # of the static files
    attempts: Attempts = field(default_factory=Attempts)

    async def page(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """Return the page of a template. Raises CallFailed if whoever asks may see nothing."""
        who = self.door.who(request)
        # every page needs `read`, which this call does, too: pages without a token lead to the form for one
        await self.inside.call("SystemService/ListModels", system_pb2.ListModelsRequest(page_size=1), who)
        caller = await self.inside.callers.find(who.metadata, who.address)
        scopes = [str(scope) for scope in SCOPES if caller.allows(scope)]
        name_of = caller.token.name if caller.token is not None else ""
        response = self.render(request, name, status, scopes=scopes, signed_in=name_of, **values)
        session = self.door.session(request)
        renewed = self.door.sessions.renewed(session) if session is not None else None
        if renewed is not None:
            self.set_cookie(response, self.door.sessions.write(renewed))
        return response

    def render(
        self, request: Request, name: str, status: int = 200, data: Mapping[str, Any] | None = None, **values: Any
    ) -> Response:
        """Return a template as a page. Values are escaped. `data` is for the page's module: about.values."""
        about = {
            "csrf": self.door.sessions.csrf(self.door.session(request)),
            "scopes": values.get("scopes", []),
            "values": data or {},
        }
        html = _templates().get_template(f"{name}.html")
        text = html.render(
            bar=BAR,
            name=name,
            static=f"/static/{self.version}",
            about=json.dumps(about).replace("<", "\\u003c"),
            version=version("faceanalytics"),
            **values,
        )
        return HTMLResponse(text, status)

    def words(self, request: Request, what: str, remedy: str, status: int) -> Response:
        """Return a page that says what happened and what to do."""
        return self.render(request, "words", status, what=what, remedy=remedy)

    def problem(self, request: Request, error: CallFailed) -> Response:
        """Return a page about an error of the API."""
        from streamer.web.calls import STATUS

        status = STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
        return self.words(request, error.text, "Nothing was changed.", status)

    def to_login(self, request: Request) -> Response:
        """Return the way to the form for a token, and back."""
        back = local_path(request.url)
        return RedirectResponse(f"/login?next={quote(back, safe='')}" if back != "/live" else "/login", 303)

    def set_cookie(self, response: Response, value: str) -> None:
        """Set the cookie of a session."""
        response.set_cookie(
            self.door.cookie,
            value,
            max_age=self.door.sessions.lasts_s,
            path="/",
            secure=self.door.secure,
            httponly=True,
            samesite="strict",
        )


def page(name: str) -> Callable[[Request], Awaitable[Response]]:
    """Return what serves a page that is its template: NAME.html, with the module static/NAME.js."""

    async def serve(request: Request) -> Response:
        site: Site = request.app.state.site
        return await site.page(request, name, data=dict(request.path_params))

    return serve


def local_path(url: URL | str) -> str:
    """Return path and query of an address, never one of another machine."""
    parts = urlsplit(str(url))
    path = parts.path if parts.path.startswith("/") and not parts.path.startswith(("//", "/\\")) else "/live"
    return f"{path}?{parts.query}" if parts.query else path


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("streamer.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
