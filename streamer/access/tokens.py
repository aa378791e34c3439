"""API tokens: 256 random bits that a client presents, of which only the SHA-256 is kept."""

import enum
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from faceanalytics.errors import ConfigError

PREFIX = "fa_"  # lets scanners for leaked secrets find tokens
SECRET = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
LIFETIME = re.compile(r"(\d{1,6})([smhd])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Scope(enum.StrEnum):
    """A kind of calls. A method needs one of them; `admin` includes all others."""

    READ = "read"  # tracks, cameras, models: without names, embeddings and faces
    BIOMETRIC = "biometric"  # names, embeddings and faces in what `read` shows
    OPERATE = "operate"  # add, change and remove cameras
    ENROL = "enrol"  # change the gallery
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; the token itself is not."""

    id: str
    name: str
    sha256: str  # of the token, 64 hex digits
    scopes: frozenset[Scope]
    cameras: tuple[str, ...]  # only these streams; empty: all
    created: datetime
    expires: datetime | None
    revoked: datetime | None = None

    def state(self, now: datetime) -> str:
        """Return active, expired or revoked."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "active"

    def allows(self, scope: Scope) -> bool:
        """Return whether the token has a scope, or `admin`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


class TokensUnavailable(OSError):
    """Where tokens are kept does not answer, so nobody knows whether a token has been revoked meanwhile."""


class TokenStore(Protocol):
    """Where tokens are kept. Methods raise OSError or ConfigError if that cannot be read or written."""

    async def find(self, sha256: str) -> Token | None:
        """Return the token with this hash, also if it is expired or revoked."""
        ...

    async def any(self) -> bool:
        """Return whether a token was ever made."""
        ...

    async def all(self) -> list[Token]:
        """Return all tokens, oldest first."""
        ...

    async def add(self, token: Token) -> None:
        """Keep a new token."""

    async def revoke(self, token_id: str, when: datetime) -> None:
        """Mark a token as revoked."""


def hashed(secret: str) -> str:
    """Return the hash under which a token is kept. A fast hash suffices: nobody can guess 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token(
    name: str, scopes: Iterable[Scope], cameras: Iterable[str], lifetime: timedelta | None, now: datetime
) -> tuple[str, Token]:
    """Make a token; return it, for its owner, and what is kept of it. Raises ConfigError for an unusable name."""
    if not NAME.fullmatch(name):
        raise ConfigError("--name: use letters, digits, '.', '_' and '-', at most 63")
    secret = PREFIX + secrets.token_urlsafe(32)
    expires = now + lifetime if lifetime is not None else None
    made = Token(secrets.token_hex(4), name, hashed(secret), frozenset(scopes), tuple(cameras), now, expires)
    return secret, made


def read_lifetime(text: str, option: str = "--expires") -> timedelta | None:
    """Return the time that a text such as 90d, 12h or 30m means; None for `never`. Raises ConfigError."""
    if text == "never":
        return None
    match = LIFETIME.fullmatch(text)
    if match is None or not int(match[1]):
        raise ConfigError(f"{option}: {text!r} is no time: write a number and s, m, h or d, such as 90d, or never")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)
