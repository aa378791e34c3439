"""The commands that make tokens, keys and certificates, and read the audit log: options in, exit codes out."""

import argparse
import asyncio
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from faceanalytics import worker_keys
from faceanalytics.commandline import number_of
from faceanalytics.errors import ConfigError
from faceanalytics.files import writing
from streamer.configfile import load_config

if TYPE_CHECKING:
    from streamer.access.audit import Entry, Keep
    from streamer.access.tokens import Token, TokenStore
    from streamer.config import StreamerConfig


@dataclass(frozen=True, slots=True)
class Kept:
    """Where tokens and the audit log are kept."""

    tokens: "TokenStore"
    note: "Keep"
    entries: "Callable[[datetime | None], list[tuple[Entry, int]]]"  # since a time, oldest first


def tokens(arguments: argparse.Namespace) -> int:
    """Run a command of `streamer tokens` and return its exit code."""
    commands = {"create": _create, "list": _list, "revoke": _revoke}
    with _kept(arguments) as kept:
        return asyncio.run(commands[arguments.action](arguments, kept))


def audit(arguments: argparse.Namespace) -> int:
    """Run `streamer audit list` and return its exit code."""
    from streamer.access.audit import plain

    since = _since(arguments.since) if arguments.since else None
    with _kept(arguments) as kept:
        for entry, not_listed in kept.entries(since):
            if arguments.who not in entry.who or arguments.method not in entry.method:
                continue
            if arguments.json:
                print(json.dumps(plain(entry, not_listed)))
                continue
            more = f" ({number_of(not_listed, 'refusal')} before it not listed)" if not_listed else ""
            target = f" of {entry.target}" if entry.target else ""
            print(f"{entry.time:%Y-%m-%d %H:%M:%S} {entry.who}: {entry.method}{target}: {entry.outcome}{more}")
    return 0


def _since(text: str) -> datetime:
    from streamer.access.tokens import read_lifetime, utc_now

    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except ValueError:
        ago = read_lifetime(text, "--since")
        if ago is None:
            raise ConfigError("--since: leave it out for all entries") from None
        return utc_now() - ago


@contextmanager
def _kept(arguments: argparse.Namespace) -> Iterator[Kept]:
    """Open the store of the configuration, or the folder that has the files without a store."""
    from streamer.store.tokens import IMPORTED, import_tokens

    config = None if arguments.folder is not None else load_config(arguments.config)
    if config is None or config.store is None:
        folder = arguments.folder if config is None else _folder_of(config, arguments.config)
        if (folder / IMPORTED).exists():
            raise ConfigError(f"the tokens of {folder} are in the store now: use --config in place of --folder")
        yield _in_files(folder)
        return
    from streamer.access.audit import read_file
    from streamer.store.beside import AuditTable, TokenTable, opened

    spilled = Path(config.access.folder) if config.access.folder is not None else None
    with opened(config.store) as store:
        table, log = TokenTable(store), AuditTable(store)

        def entries(since: datetime | None) -> "list[tuple[Entry, int]]":
            others = read_file(spilled) if spilled is not None else []
            found = log.read(since) + [one for one in others if since is None or one[0].time >= since]
            return sorted(found, key=lambda one: one[0].time)

        if spilled is not None:
            asyncio.run(import_tokens(spilled, table))
        yield Kept(table, log.keep, entries)


def _folder_of(config: "StreamerConfig", file: Path) -> Path:
    if config.access.folder is None:
        raise ConfigError(f"{file} has neither a store nor access.folder: add `access: {{folder: access}}`")
    return Path(config.access.folder)


def _in_files(folder: Path) -> Kept:
    from streamer.access.audit import AuditFile, read_file
    from streamer.access.token_file import TokenFile

    def note(entry: "Entry", not_listed: int) -> None:
        AuditFile(folder).keep(entry, not_listed)

    def entries(since: datetime | None) -> "list[tuple[Entry, int]]":
        return [one for one in read_file(folder) if since is None or one[0].time >= since]

    return Kept(TokenFile(folder), note, entries)


async def _create(arguments: argparse.Namespace, kept: Kept) -> int:
    from streamer.access.tokens import Scope, new_token, read_lifetime, utc_now

    store, now = kept.tokens, utc_now()
    if any(one.name == arguments.name and one.state(now) == "active" for one in await store.all()):
        raise ConfigError(f"there is a token {arguments.name} already: revoke it first, or choose another name")
    lifetime = read_lifetime(arguments.expires)
    secret, token = new_token(arguments.name, map(Scope, arguments.scope), arguments.camera, lifetime, now)
    if arguments.out is not None:
        _write_secret(arguments.out, secret)
    await store.add(token)
    _note(kept, "tokens create", f"{token.name} ({token.id})")
    print(_described(token), file=sys.stderr)
    if arguments.out is None:
        print(secret)
    return 0


async def _list(arguments: argparse.Namespace, kept: Kept) -> int:
    from streamer.access.tokens import utc_now

    now = utc_now()
    for token in await kept.tokens.all():
        if arguments.json:
            print(json.dumps(_plain(token) | {"state": token.state(now)}))
        else:
            print(f"{_described(token)}: {token.state(now)}")
    return 0


async def _revoke(arguments: argparse.Namespace, kept: Kept) -> int:
    from streamer.access.tokens import utc_now

    store = kept.tokens
    known = [one for one in await store.all() if one.revoked is None]
    for name in arguments.tokens:
        meant = [one for one in known if name in (one.id, one.name)]
        if not meant:
            raise ConfigError(f"there is no token {name} that could be revoked; see `streamer tokens list`")
        for token in meant:
            await store.revoke(token.id, utc_now())
            _note(kept, "tokens revoke", f"{token.name} ({token.id})")
            print(f"{token.name} ({token.id}): revoked")
    return 0


def _described(token: "Token") -> str:
    cameras = f" for {', '.join(token.cameras)}" if token.cameras else ""
    until = "for ever" if token.expires is None else f"until {token.expires:%Y-%m-%d %H:%M} UTC"
    return f"{token.name} ({token.id}): {', '.join(sorted(token.scopes))}{cameras}, {until}"


def _plain(token: "Token") -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "cameras": list(token.cameras),
        "created": token.created.isoformat(),
        "expires": token.expires.isoformat() if token.expires is not None else None,
        "revoked": token.revoked.isoformat() if token.revoked is not None else None,
    }


def _note(kept: Kept, method: str, target: str) -> None:
    from streamer.access.audit import Entry
    from streamer.access.tokens import utc_now

    kept.note(Entry(utc_now(), f"{getpass.getuser()} on the command line", method, target, "OK"), 0)


def keys(arguments: argparse.Namespace) -> int:
    """Run a command of `streamer keys` and return its exit code."""
    commands = {
        "new": _new_keys,
        "list": _list_keys,
        "revoke": _revoke_keys,
        "certificate": _certificate,
        "encryption": _encryption,
    }
    return commands[arguments.action](arguments)


def _new_keys(arguments: argparse.Namespace) -> int:
    if arguments.out is not None and len(arguments.worker) != 1:
        raise ConfigError("--out: name one --worker, whose keys it is for")
    file = worker_keys.make_streamer_keys(arguments.folder)
    print(f"{file}: the streamer's keys; set dispatch.keys: {arguments.folder}")
    for name in arguments.worker:
        out = arguments.out or Path(f"{name}.key")
        worker_keys.make_worker_keys(arguments.folder, name, out)
        print(f"{out}: the keys of {name}; move it to the worker's machine: swinface worker --keys {out.name}")
    return 0


def _list_keys(arguments: argparse.Namespace) -> int:
    print(f"streamer: {worker_keys.read_streamer_keys(arguments.folder).public}")
    for key, name in worker_keys.read_allowed(arguments.folder).items():
        print(f"{name}: {key}")
    return 0


def _revoke_keys(arguments: argparse.Namespace) -> int:
    for name in arguments.workers:
        worker_keys.revoke_worker_keys(arguments.folder, name)
        print(f"{name}: revoked")
    return 0


def _certificate(arguments: argparse.Namespace) -> int:
    from streamer.access.authority import CA, SERVER, SERVER_KEY, make_certificate

    if not 1 <= arguments.days <= 3650:
        raise ConfigError("--days must be from 1 to 3650")
    folder = arguments.folder
    make_certificate(folder, arguments.hosts, arguments.days)
    print(
        f"publish.tls: {{certificate: {folder / SERVER}, key: {folder / SERVER_KEY}}}; clients: --tls-ca {folder / CA}"
    )
    return 0


def _encryption(arguments: argparse.Namespace) -> int:
    from streamer.encryption import new_key

    _write_secret(arguments.out, new_key())
    print(f"{arguments.out}: a new key; keep a copy of it")
    return 0


def _write_secret(path: Path, secret: str) -> None:
    """Write a line to a new file that only its owner can read. Raises ConfigError."""
    with writing(path), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")
