"""Signing in with a token, and signing out."""

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from faceanalytics.errors import ConfigError
from streamer.access.audit import Entry
from streamer.access.tokens import utc_now
from streamer.api.callers import NotAdmitted
from streamer.api.inside import Who
from streamer.web.calls import limited
from streamer.web.layout import Site, local_path

FORM = 4096  # largest form, bytes


async def login(request: Request) -> Response:
    """Show the form for a token, or begin a session with the one that was entered."""
    site: Site = request.app.state.site
    if request.method == "GET":
        return _form(request, local_path(request.query_params.get("next", "/live")))
    given = parse_qs((await limited(request, FORM)).decode("utf-8", "replace"))
    token, back = (given.get(name, [""])[0].strip() for name in ("token", "next"))
    back = local_path(back or "/live")
    address = site.door.who(request).address
    if not site.attempts.allowed(address):
        return _form(request, back, "Too many attempts from this machine. Wait a minute, then try again.", 429)
    try:
        caller = await site.inside.callers.find(Who(address, bearer=token or " ").metadata, address)
    except NotAdmitted as error:
        _note(site, f"anonymous at {address}", f"UNAUTHENTICATED: {error}", refused=True)
        return _form(request, back, f"You are not signed in: {error}.", 401)
    except (OSError, ConfigError):
        return _form(request, back, "Tokens cannot be read now, because the store does not work. Try again.", 503)
    assert caller.token is not None
    site.attempts.forget(address)
    _note(site, caller.name, "OK", refused=False)
    response = RedirectResponse(back, 303)
    site.set_cookie(response, site.door.sessions.write(site.door.sessions.begin(caller.token.sha256)))
    return response


async def logout(request: Request) -> Response:
    """End the session."""
    site: Site = request.app.state.site
    session = site.door.session(request)
    if session is not None:
        site.door.sessions.end(session)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(site.door.cookie, path="/", secure=site.door.secure, httponly=True, samesite="strict")
    return response


def _form(request: Request, back: str, problem: str = "", status: int = 200) -> Response:
    site: Site = request.app.state.site
    return site.render(request, "login", status, back=back, problem=problem)


def _note(site: Site, who: str, outcome: str, refused: bool) -> None:
    site.inside.gate.audit.write(Entry(utc_now(), who, "/dashboard/login", "", outcome, refused))
