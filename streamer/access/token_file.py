"""Tokens in a file: a line per token made and per token revoked, which nobody but its owner can read."""

import fcntl
import json
import logging
import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from faceanalytics.errors import ConfigError
from streamer.access.private_file import appending
from streamer.access.tokens import Scope, Token

TOKENS = "tokens.jsonl"

log = logging.getLogger(__name__)


class TokenFile:
    """A TokenStore in a folder. Other processes may add and revoke tokens at the same time."""

    def __init__(self, folder: Path) -> None:
        """Read the tokens, if there are any. Raises ConfigError for a file that cannot be read."""
        self._path = folder / TOKENS
        self._version: tuple[int, int, int] | None = None  # inode, size and time of the file that was read
        self._tokens: dict[str, Token] = {}  # by hash, oldest first
        self._trouble = ""  # the last error, so that it is logged once
        self._read()

    async def find(self, sha256: str) -> Token | None:
        self._refresh()
        return self._tokens.get(sha256)

    async def any(self) -> bool:
        self._refresh()
        return bool(self._tokens)

    async def all(self) -> list[Token]:
        self._read()
        return list(self._tokens.values())

    async def add(self, token: Token) -> None:
        record = {
            "id": token.id,
            "name": token.name,
            "sha256": token.sha256,
            "scopes": sorted(token.scopes),
            "cameras": list(token.cameras),
            "created": token.created.isoformat(),
            "expires": token.expires.isoformat() if token.expires is not None else None,
        }
        self._append(record)

    async def revoke(self, token_id: str, when: datetime) -> None:
        self._append({"revoked": token_id, "time": when.isoformat()})

    def _append(self, record: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with appending(self._path) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                os.write(file, json.dumps(record).encode() + b"\n")
                os.fsync(file)
        except OSError as error:
            raise ConfigError(f"access.folder: cannot write {self._path}: {error.strerror}") from error
        self._read()

    def _refresh(self) -> None:
        """Read the file again if it has changed. What was read before stays if that fails: nobody gets in by damage."""
        try:
            self._read()
        except ConfigError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.error("the tokens read before stay in use: %s", error)

    def _read(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError as error:
            if self._tokens:
                raise ConfigError(f"access.folder: {self._path} has gone") from error
            return
        except OSError as error:
            raise ConfigError(f"access.folder: cannot read {self._path}: {error.strerror}") from error
        version = status.st_ino, status.st_size, status.st_mtime_ns
        if version == self._version:
            return
        if status.st_mode & 0o077:
            log.warning("%s can be read by other users of this machine: chmod 600 it", self._path)
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"access.folder: cannot read {self._path}: {error}") from error
        self._tokens = _tokens(lines, self._path)
        self._version, self._trouble = version, ""


def _tokens(lines: list[str], path: Path) -> dict[str, Token]:
    by_id: dict[str, Token] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if "revoked" in record:
                known = by_id[record["revoked"]]
                by_id[known.id] = replace(known, revoked=datetime.fromisoformat(record["time"]))
            else:
                token = _token(record)
                by_id[token.id] = token
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"access.folder: {path}, line {number} is damaged: {error!r}") from error
    return {token.sha256: token for token in by_id.values()}


def _token(record: dict[str, Any]) -> Token:
    expires = record["expires"]
    return Token(
        id=record["id"],
        name=record["name"],
        sha256=record["sha256"],
        scopes=frozenset(map(Scope, record["scopes"])),
        cameras=tuple(record["cameras"]),
        created=datetime.fromisoformat(record["created"]),
        expires=datetime.fromisoformat(expires) if expires is not None else None,
    )
