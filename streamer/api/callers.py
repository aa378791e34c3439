"""Finds out who calls: the token in the metadata of a call, or nobody where that is allowed."""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import unquote

from faceanalytics.errors import ConfigError
from streamer.access.tokens import SECRET, Scope, Token, TokenStore, hashed, utc_now
from streamer.api.errors import Why

METADATA = "authorization"  # its value: Bearer TOKEN

# The only cameras that the caller of the present call may see; empty: all. For lists, which are cut into pages.
visible_cameras: ContextVar[tuple[str, ...]] = ContextVar("visible_cameras", default=())

# Who makes the present call, see Caller.who.
calling: ContextVar[str] = ContextVar("calling", default="anonymous")


# The caller of the present call, for services that keep whose something is.
present_caller: ContextVar["Caller"] = ContextVar("present_caller")


class NotAdmitted(Exception):
    """Who calls is not known, or not any longer; the message says so to the client."""

    def __init__(self, message: str, reason: Why, token: Token | None = None) -> None:
        """`token`: the one that was shown, if it is known."""
        super().__init__(message)
        self.reason = reason
        self.token = token


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls."""

    token: Token | None  # None: nobody, where calls without a token are allowed, who may do everything
    peer: str  # address of the client, without its port

    @property
    def name(self) -> str:
        """Name for logs."""
        who = "anonymous" if self.token is None else f"{self.token.name} ({self.token.id})"
        return f"{who} at {self.peer}"

    @property
    def who(self) -> str:
        """Name for what is kept with the data: without the address, which may belong to a person."""
        return "anonymous" if self.token is None else f"{self.token.name} ({self.token.id})"

    @property
    def client(self) -> str:
        """What the limits count by."""
        return self.peer if self.token is None else self.token.id

    def allows(self, scope: Scope | None) -> bool:
        """Return whether the caller may make calls that need a scope."""
        return scope is None or self.token is None or self.token.allows(scope)

    @property
    def cameras(self) -> tuple[str, ...]:
        """The only cameras that the caller may ask for; empty: all."""
        return () if self.token is None else self.token.cameras


class Callers:
    """Recognises callers by their tokens."""

    def __init__(self, tokens: TokenStore | None, open_without_tokens: bool) -> None:
        """`open_without_tokens`: as long as no token was ever made, calls need none."""
        self.tokens = tokens
        self._open = open_without_tokens

    async def find(self, metadata: Iterable[tuple[str, str | bytes]], address: str) -> Caller:
        """Return who makes a call from an address, without its port. Raises NotAdmitted."""
        given = [value for key, value in metadata if key == METADATA]
        if not given:
            if await self.needs_token():
                text = "a token is needed: send the metadata `authorization: Bearer TOKEN`"
                raise NotAdmitted(text, Why.TOKEN_MISSING)
            return Caller(None, address)
        secret = _secret(given[0]) if len(given) == 1 else None
        token = None
        if secret is not None and self.tokens is not None:
            token = await self.tokens.find(hashed(secret))
        if token is None:
            raise NotAdmitted("this token is not known here", Why.TOKEN_UNKNOWN)
        self._check(token)
        return Caller(token, address)

    async def needs_token(self) -> bool:
        """Return whether calls without a token are refused. Once they are, that stays so."""
        if self._open and await self.has_tokens():
            self._open = False
        return not self._open

    async def has_tokens(self) -> bool:
        """Return whether a token was ever made."""
        return self.tokens is not None and await self.tokens.any()

    async def check(self, caller: Caller) -> None:
        """Check again whether a caller is still admitted. Raises NotAdmitted."""
        if caller.token is None:
            if await self.needs_token():
                text = "a token is needed now: one has been made since this call began"
                raise NotAdmitted(text, Why.TOKEN_MISSING)
            return
        known = await self.tokens.find(caller.token.sha256) if self.tokens is not None else None
        if known is None:
            raise NotAdmitted("this token is not known here", Why.TOKEN_UNKNOWN)
        self._check(known)

    async def status_of(self, authorization: str, scope: Scope) -> int:
        """Return 200 if the value of the header `Authorization` has a token with a scope for all cameras.

        Else 401 (no valid token), 403 (it may not) or 503 (tokens cannot be read), as HTTP has them.
        """
        try:
            caller = await self.find([(METADATA, authorization)] if authorization else [], "metrics")
        except NotAdmitted:
            return 401
        except (OSError, ConfigError):
            return 503
        if caller.token is None:
            return 401
        return 200 if caller.allows(scope) and not caller.cameras else 403

    def _check(self, token: Token) -> None:
        state = token.state(utc_now())
        if state != "active":
            reason = Why.TOKEN_EXPIRED if state == "expired" else Why.TOKEN_REVOKED
            raise NotAdmitted(f"this token is {state}", reason, token)


def without_port(peer: str) -> str:
    """Return the address of a client without its port, and nothing that could break a line of a log."""
    address = unquote(peer if peer.startswith("unix:") else peer.rpartition(":")[0])
    return "".join(letter for letter in address if letter.isprintable()) or "unknown"


def _secret(value: str | bytes) -> str | None:
    text = value if isinstance(value, str) else value.decode("ascii", "replace")
    kind, _, secret = text.partition(" ")
    return secret if kind.lower() == "bearer" and SECRET.fullmatch(secret) else None
