"""Where the dashboard listens, and what it needs to do so."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from faceanalytics.errors import ConfigError
from faceanalytics.extras import MissingPackage
from streamer.access.tokens import Scope
from streamer.config import StreamerConfig
from streamer.web.server import Pages, open_to_all, start_pages
from streamer.web_settings import Web
from tests.support.certificates import issue
from tests.support.guarded_server import Guarded, guarded


@asynccontextmanager
async def served(folder: Path, **settings: Any) -> AsyncIterator[tuple[Guarded, Pages]]:
    """The services of a streamer, and a dashboard for them."""
    web = Web.model_validate({"listen": "127.0.0.1:0", **settings})
    async with guarded(folder, "door") as services:
        pages = start_pages(web, services.server.inside, None)
        assert pages is not None
        running = asyncio.create_task(pages.run())
        try:
            yield services, pages
        finally:
            pages.stop()
            await running
            pages.close()


async def test_under_tls_the_cookie_is_bound_to_this_host(tmp_path: Path) -> None:
    authority = issue(tmp_path, "ca")
    server = issue(tmp_path, "server", authority)
    tls = {"certificate": str(server.path), "key": str(server.key_path)}
    async with served(tmp_path, tls=tls) as (services, pages):
        token = await services.token(Scope.READ)
        assert pages.url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(authority.path))
        async with httpx.AsyncClient(base_url=pages.url, verify=trusting) as client:
            origin = pages.url.rstrip("/")
            answer = await client.post("/login", data={"token": token}, headers={"origin": origin})
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-faceanalytics=")
            assert "secure" in cookie.lower()
            assert answer.headers["strict-transport-security"]
            assert (await client.get("/live")).status_code == 200


async def test_a_revoked_token_ends_its_sessions(tmp_path: Path) -> None:
    async with served(tmp_path) as (services, pages), httpx.AsyncClient(base_url=pages.url) as client:
        token = await services.token(Scope.READ)
        origin = pages.url.rstrip("/")
        await client.post("/login", data={"token": token}, headers={"origin": origin})
        assert (await client.get("/live")).status_code == 200
        (known,) = await services.tokens.all()
        await services.tokens.revoke(known.id, known.created)
        assert (await client.get("/live")).headers["location"] == "/login"


async def test_a_token_of_one_camera_sees_no_other(tmp_path: Path) -> None:
    async with served(tmp_path) as (services, pages), httpx.AsyncClient(base_url=pages.url) as client:
        token = await services.token(Scope.READ, Scope.BIOMETRIC, cameras=("gate",))
        headers = {"authorization": f"Bearer {token}"}
        assert (await client.get("/cameras/door/picture.jpg", headers=headers)).status_code == 403
        assert (await client.get("/cameras/door/mjpeg", headers=headers)).status_code == 403


async def test_a_port_in_use_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with guarded(tmp_path, "door") as services:
            web = Web(listen=f"127.0.0.1:{taken.getsockname()[1]}")
            with pytest.raises(ConfigError, match=r"port is in use.*Choose another one.*web: \{listen: null\}"):
                start_pages(web, services.server.inside, None)
            assert start_pages(Web(listen=None), services.server.inside, None) is None


async def test_without_its_packages_it_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceanalytics.extras.find_spec", lambda name: None if name == "starlette" else name)
    async with guarded(tmp_path, "door") as services:
        with pytest.raises(MissingPackage, match=r"starlette is not installed: pip install 'faceanalytics\[web\]'"):
            start_pages(Web(listen="127.0.0.1:0"), services.server.inside, None)


def test_an_address_that_others_reach_needs_encryption_and_tokens() -> None:
    open_address = StreamerConfig(web=Web(listen="0.0.0.0:8080"))
    with pytest.raises(ConfigError, match=r"web\.listen: other machines can reach .*, so it needs web\.tls"):
        open_address.check_safe()
    StreamerConfig(web=Web(listen="0.0.0.0:8080", insecure=True)).check_safe()
    assert open_to_all(Web(listen="127.0.0.1:1"))
    assert not open_to_all(Web(listen="0.0.0.0:1"))


def test_the_usual_address_can_be_chosen_for_all_streamers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACEANALYTICS_WEB_LISTEN")
    assert Web().listen == "127.0.0.1:8080"
    monkeypatch.setenv("FACEANALYTICS_WEB_LISTEN", "none")
    assert Web().listen is None
