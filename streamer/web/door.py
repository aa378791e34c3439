"""Who may come in: the name that the browser asks for, the page that sends the request, and the session."""

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamer.access.tokens import SECRET
from streamer.api.inside import Who
from streamer.safety import is_loopback, split_address
from streamer.web.sessions import Session, Sessions
from streamer.web_settings import Web

SAFE = {"GET", "HEAD", "OPTIONS"}
CSRF = "x-csrf-token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True, slots=True)
class Door:
    """Checks what comes in."""

    web: Web
    port: int  # in use
    sessions: Sessions

    @property
    def secure(self) -> bool:
        """Whether browsers come over TLS."""
        return self.web.tls is not None

    @property
    def cookie(self) -> str:
        """Name of the cookie. Without TLS it has the port in it: cookies do not know ports."""
        return "__Host-faceanalytics" if self.secure else f"faceanalytics-{self.port}"

    def session(self, connection: HTTPConnection) -> Session | None:
        """Return the session of a request; None: there is none that is valid."""
        return self.sessions.read(connection.cookies.get(self.cookie, ""))

    def who(self, connection: HTTPConnection) -> Who:
        """Return who makes a request: by a token that comes with it, else by the session."""
        address = connection.client.host if connection.client else "unknown"
        bearer = _bearer(connection.headers.get("authorization", ""))
        if bearer:
            return Who(address, bearer=bearer)
        session = self.session(connection)
        return Who(address, session=session.token if session else "")

    def host_allowed(self, host: str) -> bool:
        """Return whether browsers may ask under a name; others are pages that have their name point here."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        listens = split_address(self.web.listen or "127.0.0.1:0")[0]
        if name in {one.lower() for one in self.web.hosts}:
            return True
        if is_loopback(listens):
            return is_loopback(name)
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost" or not self.web.hosts
        return True

    def same_origin(self, headers: Headers) -> bool:
        """Return whether a request comes from a page of this dashboard."""
        origin = headers.get("origin", "")
        if headers.get("sec-fetch-site") not in (None, "same-origin"):
            return False
        return bool(origin) and urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _bearer(value: str) -> str:
    kind, _, secret = value.partition(" ")
    return secret if kind.lower() == "bearer" else ""


def is_token(text: str) -> bool:
    """Return whether a text has the form of a token."""
    return SECRET.fullmatch(text) is not None


class Doorkeeper:
    """Refuses what may not come in, and puts the security headers on what goes out."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        problem = self._problem(HTTPConnection(scope), scope)
        if problem is not None and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403, "reason": problem})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                if self._door.secure:
                    headers["strict-transport-security"] = "max-age=31536000"
            await send(message)

        answer: Any = self._app if problem is None else PlainTextResponse(problem, 403)
        await answer(scope, receive, with_headers)

    def _problem(self, connection: HTTPConnection, scope: Scope) -> str | None:
        headers = connection.headers
        if not self._door.host_allowed(headers.get("host", "")):
            return "this name is not one of the dashboard: add it to web.hosts of the configuration"
        if scope["type"] == "http" and scope["method"] in SAFE:
            return None
        if not self._door.same_origin(headers):
            return "this request does not come from a page of the dashboard"
        if scope["type"] == "websocket" or scope["path"] in ("/login",):
            return None
        expected = self._door.sessions.csrf(self._door.session(connection))
        return (
            None
            if hmac.compare_digest(headers.get(CSRF, "").encode(), expected.encode())
            else "this page is out of date: load it again"
        )
