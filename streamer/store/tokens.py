"""Keeps the tokens of the API in the store. Commands of other processes change them while the streamer runs."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Insert, Update, select

from faceanalytics.errors import ConfigError
from streamer.access.token_file import TOKENS, TokenFile
from streamer.access.tokens import Scope, Token, TokenStore, TokensUnavailable
from streamer.store.database import Database
from streamer.store.tables import tokens
from streamer.store.values import Row, StoreUnavailable

FRESH_S = 1.0  # what was read is used for this long
PAUSE_S = 0.1  # between two reads, if a token is not known: whoever asks waits for the next one
READ_S = 2.0  # longest wait for the database
IMPORTED = TOKENS + ".imported"

log = logging.getLogger(__name__)


class StoredTokens:
    """A TokenStore of a running streamer. It is used from the asyncio loop only.

    While the database does not answer, what was read last stays in use for `remember_s`. TokensUnavailable is raised
    for other tokens, which may have been made meanwhile, and later for all.
    """

    def __init__(self, database: Database, execute: Callable[..., Awaitable[None]]) -> None:
        """`execute` runs statements in one transaction; it raises StoreUnavailable."""
        self.remember_s = 3600.0
        self._database = database
        self._execute = execute
        self._tokens: dict[str, Token] = {}  # by hash, oldest first
        self._read_at = float("-inf")  # s, monotonic: when they were read
        self._tried_at = float("-inf")  # s, monotonic: when the last attempt to read them began
        self._reading = asyncio.Lock()
        self._problem = ""

    async def find(self, sha256: str) -> Token | None:
        await self._refresh(FRESH_S)
        if sha256 not in self._tokens:
            await self._refresh(0.0)  # it may be new
        found = self._tokens.get(sha256)
        if self._problem and (found is None or self._is_old()):
            raise TokensUnavailable("tokens cannot be read now")
        return found

    async def any(self) -> bool:
        await self._refresh(FRESH_S if self._tokens else PAUSE_S)
        if self._problem and self._is_old():
            raise TokensUnavailable("tokens cannot be read now")
        return bool(self._tokens)

    async def all(self) -> list[Token]:
        await self._refresh(0.0)
        if self._problem:
            raise TokensUnavailable(f"tokens cannot be read: {self._problem}")
        return list(self._tokens.values())

    async def add(self, token: Token) -> None:
        await self._change(added(self._database.insert(tokens), token))

    async def revoke(self, token_id: str, when: datetime) -> None:
        await self._change(revoked(token_id, when))

    async def _change(self, statement: Insert | Update) -> None:
        try:
            await self._execute(statement)
        except StoreUnavailable as error:
            raise TokensUnavailable(f"tokens cannot be written: {error}") from error
        self._tried_at = float("-inf")

    async def _refresh(self, older_than_s: float) -> None:
        """Read the tokens, unless that was done or tried within this time. Those who come meanwhile wait for it."""
        oldest = time.monotonic() - older_than_s
        if self._tried_at >= oldest and not self._reading.locked():
            return
        async with self._reading:
            if self._tried_at >= oldest:  # another one has read them meanwhile
                return
            pause_s = self._tried_at + PAUSE_S - time.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            self._tried_at = time.monotonic()
            try:
                async with self._database.reading(READ_S) as connection:
                    rows = (await connection.execute(select(tokens).order_by(tokens.c.created, tokens.c.id))).all()
            except StoreUnavailable as error:
                if not self._problem:
                    log.error("the tokens read before stay in use, for at most %g s: %s", self.remember_s, error)
                self._problem = str(error) or "no answer"
                return
            if self._problem:
                log.warning("tokens can be read again")
            self._tokens = {row.sha256: token_of(row) for row in rows}
            self._read_at, self._problem = self._tried_at, ""

    def _is_old(self) -> bool:
        return time.monotonic() - self._read_at > self.remember_s


def token_of(row: Any) -> Token:
    """Return the token of a row. A scope that this version does not know gives no right."""
    known = {scope.value for scope in Scope}
    scopes = frozenset(Scope(one) for one in row.scopes.split() if one in known)
    cameras = tuple(row.cameras.split())
    return Token(row.id, row.name, row.sha256, scopes, cameras, row.created, row.expires, row.revoked)


def added(insert: Any, token: Token) -> Insert:
    """Return the statement that keeps a token; `insert`: an INSERT of the database's dialect."""
    row: Row = {
        "id": token.id,
        "name": token.name,
        "sha256": token.sha256,
        "scopes": " ".join(sorted(token.scopes)),
        "cameras": " ".join(token.cameras),
        "created": token.created,
        "expires": token.expires,
        "revoked": token.revoked,
    }
    statement: Insert = insert.values(row).on_conflict_do_nothing()
    return statement


def revoked(token_id: str, when: datetime) -> Update:
    """Return the statement that revokes a token; an earlier revocation stays."""
    return tokens.update().where(tokens.c.id == token_id, tokens.c.revoked.is_(None)).values(revoked=when)


async def import_tokens(folder: Path, store: TokenStore) -> int:
    """Move the tokens of a file into the store and return how many are new there. The file is renamed.

    Raises ConfigError for a file that cannot be read or renamed, and OSError.
    """
    path = folder / TOKENS
    if not path.exists():
        return 0
    known = {token.id: token for token in await store.all()}
    new = 0
    for token in await TokenFile(folder).all():
        if token.id not in known:
            await store.add(token)
            new += 1
        elif token.revoked is not None and known[token.id].revoked is None:
            await store.revoke(token.id, token.revoked)
    try:
        path.replace(folder / IMPORTED)
    except OSError as error:
        raise ConfigError(f"access.folder: cannot rename {path}: {error.strerror}") from error
    log.warning("%s: %d tokens were moved into the store; the file is now %s", path, new, IMPORTED)
    return new
