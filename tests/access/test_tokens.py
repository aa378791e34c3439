"""Tokens, their file and its permissions."""

import asyncio
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError
from streamer.access.token_file import TokenFile
from streamer.access.tokens import SECRET, Scope, Token, hashed, new_token, read_lifetime

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_a_token_has_256_random_bits_and_only_its_hash_is_kept() -> None:
    made = [new_token("a", [Scope.READ], [], None, NOW) for _ in range(50)]
    assert len({secret for secret, _ in made}) == len({token.id for _, token in made}) == 50
    for secret, token in made:
        assert SECRET.fullmatch(secret)
        assert len(secret) == 3 + 43  # 256 bits in base64
        assert token.sha256 == hashed(secret)
        assert secret not in repr(token)


def test_a_token_is_active_until_it_expires_or_is_revoked() -> None:
    _, token = new_token("a", [Scope.READ], ["door"], timedelta(hours=1), NOW)
    assert token.state(NOW) == token.state(NOW + timedelta(minutes=59)) == "active"
    assert token.state(NOW + timedelta(hours=1)) == "expired"
    assert [scope for scope in Scope if token.allows(scope)] == [Scope.READ]
    _, admin = new_token("b", [Scope.ADMIN], [], None, NOW)
    assert all(admin.allows(scope) for scope in Scope)
    assert admin.state(NOW + timedelta(days=99_999)) == "active"


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "-a", "x" * 64, "ä"])
def test_a_name_that_would_spoil_a_log_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--name"):
        new_token(name, [Scope.READ], [], None, NOW)


def test_lifetimes_are_read() -> None:
    assert [read_lifetime(text) for text in ("30s", "5m", "2h", "90d", "never")] == [
        timedelta(seconds=30),
        timedelta(minutes=5),
        timedelta(hours=2),
        timedelta(days=90),
        None,
    ]
    for wrong in ("", "90", "0d", "-1d", "1y", "1.5d", "99999999d"):
        with pytest.raises(ConfigError, match="--expires"):
            read_lifetime(wrong)


async def test_tokens_come_back_from_the_file_and_changes_of_others_are_seen(tmp_path: Path) -> None:
    folder = tmp_path / "access"
    ours, theirs = TokenFile(folder), TokenFile(folder)
    assert not await ours.any()
    _, first = new_token("a", [Scope.READ, Scope.BIOMETRIC], ["door", "yard"], timedelta(days=1), NOW)
    _, second = new_token("b", [Scope.OPERATE], [], None, NOW)
    await theirs.add(first)
    assert await ours.find(first.sha256) == first
    await ours.add(second)
    await theirs.revoke(first.id, NOW + timedelta(hours=1))
    again = await ours.find(first.sha256)
    assert again is not None
    assert again.revoked == NOW + timedelta(hours=1)
    assert again.scopes == first.scopes
    assert [token.name for token in await ours.all()] == ["a", "b"]
    assert await ours.find("0" * 64) is None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "tokens.jsonl").stat().st_mode) == 0o600


async def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    made = [new_token(f"t{number}", [Scope.READ], [], None, NOW)[1] for number in range(40)]

    def add(token: Token) -> None:
        asyncio.run(TokenFile(tmp_path).add(token))

    await asyncio.gather(*(asyncio.to_thread(add, token) for token in made))
    assert {token.id for token in await TokenFile(tmp_path).all()} == {token.id for token in made}


async def test_a_damaged_file_lets_nobody_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = TokenFile(tmp_path)
    _, token = new_token("a", [Scope.READ], [], None, NOW)
    await store.add(token)
    path = tmp_path / "tokens.jsonl"
    path.write_text('{"id": "x"}\n')
    assert await store.find(token.sha256) == token  # what was read before stays
    assert await store.any()
    assert caplog.text.count("the tokens read before stay in use") == 1
    with pytest.raises(ConfigError, match=r"tokens.jsonl, line 1 is damaged"):
        TokenFile(tmp_path)
    path.unlink()
    assert await store.any()
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        TokenFile(tmp_path)


async def test_a_file_that_others_can_read_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await TokenFile(tmp_path).add(new_token("a", [Scope.READ], [], None, NOW)[1])
    (tmp_path / "tokens.jsonl").chmod(0o644)
    TokenFile(tmp_path)
    assert "chmod 600" in caplog.text
