"""How clients connect: with which token, and never with one that others could read."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import faceanalytics as fa
from faceanalytics.errors import ConfigError, LostDependency
from streamer.access.tokens import PREFIX, Scope
from streamer.tools.connection import TLS_CA, TOKEN, TOKEN_FILE, Connect, Login, connecting
from streamer.tools.streams import list_streams, remove_streams
from streamer.tools.watch import check_health
from tests.support.certificates import issue
from tests.support.guarded_server import guarded
from tests.support.patience import WAIT_S

SECRET = PREFIX + "a" * 43


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (TOKEN, TOKEN_FILE, TLS_CA):
        monkeypatch.delenv(name, raising=False)


def test_a_token_does_not_cross_the_network_unencrypted(tmp_path: Path) -> None:
    connect = connecting(Login(token=SECRET))
    for address in ("10.0.0.7:50051", "streamer.example.org:50051", "[2001:db8::1]:50051"):
        with pytest.raises(ConfigError, match=r"unencrypted: add --tls-ca FILE.*--insecure"):
            connect(address)
    connect("127.0.0.1:50051").close()
    connect("localhost:50051").close()
    connecting(Login(token=SECRET, insecure=True))("10.0.0.7:50051").close()
    connecting(Login())("10.0.0.7:50051").close()
    ca = issue(tmp_path, "ca")
    connecting(Login(token=SECRET, tls_ca=ca.path))("10.0.0.7:50051").close()


def test_what_is_not_given_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "from-environment")
    monkeypatch.setenv(TOKEN_FILE, "file")
    monkeypatch.setenv(TLS_CA, "ca.pem")
    found = Login().with_environment()
    assert (found.token, found.token_file, found.tls_ca) == ("from-environment", None, Path("ca.pem"))
    given = Login(token_file=Path("mine"), tls=True).with_environment()
    assert (given.token, given.token_file, given.tls_ca) == (None, Path("mine"), None)
    monkeypatch.delenv(TOKEN)
    assert Login().with_environment().token_file == Path("file")


@pytest.mark.parametrize(
    ("login", "problem"),
    [
        (Login(token="hello"), "this is no token"),
        (Login(token=SECRET + "\n"), "this is no token"),
        (Login(token_file=Path("/nowhere")), "--token-file: cannot read /nowhere"),
        (Login(tls_ca=Path("/nowhere")), "--tls-ca: cannot read /nowhere"),
        (Login(tls_certificate=Path("/nowhere")), "--tls-cert and --tls-key belong together"),
    ],
)
def test_what_cannot_be_used_is_an_error_before_anything_is_sent(login: Login, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        connecting(login)


def test_a_file_that_is_not_pem_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="is no PEM file"):
        connecting(Login(tls_ca=tmp_path / "ca.pem"))


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    async with asyncio.timeout(WAIT_S):
        return await asyncio.to_thread(function, *arguments)


async def test_commands_and_the_python_api_show_their_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ca = issue(tmp_path, "ca")
    server = issue(tmp_path, "server", ca)
    tls = {"certificate": str(server.path), "key": str(server.key_path)}
    async with guarded(tmp_path, "door", tls=tls) as at:
        secret, address = await at.token(Scope.READ), at.server.address
        file = tmp_path / "token"
        file.write_text(secret + "\n")
        connect: Connect = connecting(Login(token_file=file, tls_ca=ca.path))
        assert await in_thread(check_health, address, WAIT_S, connect) == 1
        assert "NOT_SERVING" in capsys.readouterr().out
        assert await in_thread(list_streams, address, True, connect) == 0
        assert '"door"' in capsys.readouterr().out
        with pytest.raises(ConfigError, match=r"PERMISSION_DENIED: .*needs a token with the scope operate"):
            await in_thread(remove_streams, address, ["door"], connect)
        with pytest.raises(ConfigError, match=r"a token is needed.*\(--token-file FILE"):
            await in_thread(list_streams, address, True, connecting(Login(tls_ca=ca.path)))
        with pytest.raises(LostDependency, match=r"\(if it uses TLS: --tls-ca FILE\)"):
            await in_thread(list_streams, address, True)

        def first_event() -> object:
            with fa.watch(address, token=secret, tls_ca=str(ca.path)) as watch:
                return next(watch)

        event = await in_thread(first_event)
        assert isinstance(event, fa.Snapshot)

        def refused() -> None:
            with fa.watch(address, tls_ca=ca.path) as watch:
                next(watch)

        with pytest.raises(LostDependency, match="UNAUTHENTICATED"):
            await in_thread(refused)
