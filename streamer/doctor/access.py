"""Checks of who may do what: private files, certificates, tokens, keys of workers."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from faceanalytics.commandline import number_of
from faceanalytics.errors import ConfigError, LostDependency, UserError
from faceanalytics.tls_files import TlsFiles, certificate_facts, make_context
from faceanalytics.worker_keys import STREAMER, WORKERS, read_allowed, read_streamer_keys
from streamer.access.audit import AUDIT
from streamer.access.token_file import TOKENS, TokenFile
from streamer.access.tokens import Scope, Token
from streamer.addresses import has_login
from streamer.config import StreamerConfig, split_address
from streamer.doctor.finding import Finding, Patient, fail, fine, warn
from streamer.metrics_endpoint import tls_files
from streamer.safety import Tls, is_loopback, measured_by_token
from streamer.store.backup import contents
from streamer.store.beside import TokenTable, opened
from streamer.store.database import FILE, sqlite_folder
from streamer.store.migrate import known_revisions

SOON = timedelta(days=30)
ANY_HOST = ("0.0.0.0", "::", "*")  # noqa: S104


def check_permissions(patient: Patient) -> Iterator[Finding]:
    """Check that secrets can be read by this user and by nobody else."""
    checked = 0
    for what, path in _private(patient):
        if not path.exists():
            continue
        checked += 1
        mode = path.stat().st_mode
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            yield fail("permissions", f"{what}: this user may not read {path}", "give it this user: chown")
        elif mode & 0o077:
            right = "700" if path.is_dir() else "600"
            text = f"{what}: other users of this machine can reach {path} (mode {mode & 0o777:o})"
            yield warn("permissions", text, f"chmod {right} {path}")
    folder = patient.config.access.folder
    if folder is not None and Path(folder).exists() and not os.access(folder, os.W_OK | os.X_OK):
        yield fail("permissions", f"access.folder: this user may not write into {folder}", "give it this user: chown")
    yield fine("permissions", f"{number_of(checked, 'file')} with secrets looked at")


def _private(patient: Patient) -> Iterator[tuple[str, Path]]:
    config = patient.config
    for section, tls in (("publish.tls", config.publish.tls), ("metrics.tls", config.metrics.tls)):
        if tls is not None:
            yield f"{section}.key", Path(tls.key)
    if config.access.folder is not None:
        for name in (TOKENS, AUDIT):
            yield "access.folder", Path(config.access.folder) / name
    if config.dispatch.keys is not None:
        yield "dispatch.keys", Path(config.dispatch.keys) / STREAMER
    store = config.store
    if store is not None:
        named = {"store.key_file": store.key_file, "store.url_file": store.url_file}
        yield from ((what, Path(path)) for what, path in named.items() if path is not None)
        if not store.database():
            yield "store", sqlite_folder(store) / FILE
    for stream in config.streams:
        if stream.uri_file is not None:
            yield f"uri_file of {stream.id}", Path(stream.uri_file)
    holds = any(has_login(stream.uri) for stream in config.streams) or bool(store and store.url)
    if patient.path is not None and holds and not _named_by_environment(patient.path):
        yield "the configuration, which holds passwords", patient.path


def _named_by_environment(path: Path) -> bool:
    """Return whether a configuration takes values from the environment, so that its passwords may be there."""
    return "${" in path.read_text(encoding="utf-8")


def check_certificates(patient: Patient) -> Iterator[Finding]:
    """Check that certificates belong to their keys, are valid now and for a while, and name the host."""
    publish, measured, web = patient.config.publish, patient.config.metrics, patient.config.web
    servers: tuple[tuple[str, Tls | None, str | None], ...] = (
        ("publish", publish.tls, publish.listen),
        ("metrics", measured.tls, measured.listen),
        ("web", web.tls, web.listen),
    )
    for section, tls, listen in servers:
        if tls is not None and listen is not None:
            yield from _check_certificate(f"{section}.tls", tls_files(tls), split_address(listen)[0])


def _check_certificate(section: str, files: TlsFiles, host: str) -> Iterator[Finding]:
    renew = "renew it: streamer keys certificate HOST; a running streamer takes the new one"
    try:
        make_context(files, section)
        facts = certificate_facts(files.certificate, files.key)
    except ConfigError as error:
        yield fail("certificates", str(error), "make one: streamer keys certificate HOST")
        return
    now = datetime.now(UTC)
    text = f"{section}: {files.certificate}"
    if now > facts.ends:
        yield fail("certificates", f"{text} expired on {facts.ends:%Y-%m-%d}", renew)
    elif now < facts.begins:
        advice = "check the clock of this machine, or wait"
        yield fail("certificates", f"{text} is valid from {facts.begins:%Y-%m-%d %H:%M} UTC on", advice)
    elif facts.ends - now < SOON:
        yield warn("certificates", f"{text} expires on {facts.ends:%Y-%m-%d}", renew)
    elif host not in (*ANY_HOST, *facts.hosts) and not is_loopback(host):
        yield warn("certificates", f"{text} does not name {host}, only {', '.join(facts.hosts) or 'nothing'}", renew)
    else:
        names = ", ".join(facts.hosts) or "no host"
        yield fine("certificates", f"{text} is valid until {facts.ends:%Y-%m-%d}, for {names}")


def check_tokens(patient: Patient) -> Iterator[Finding]:
    """Check that clients can get in where they need a token."""
    config = patient.config
    local = is_loopback(split_address(config.publish.listen)[0]) or config.publish.insecure
    tokens, now = _tokens(config), datetime.now(UTC)
    active = [token for token in tokens if token.state(now) == "active"]
    make = f"streamer tokens create --config {patient.path or 'FILE'} --name NAME --scope read"
    if tokens and not active:
        yield fail("tokens", "all tokens are expired or revoked: no client can call", f"make one: {make}")
    elif not active:
        text = "none was made"
        if local:
            yield fine("tokens", f"{text}: every program on this machine may use publish.listen")
        else:
            yield fail("tokens", f"{text}: no client can call {config.publish.listen}", f"make one: {make}")
    elif all(_ends_soon(token, now) for token in active):
        yield warn("tokens", f"all {len(active)} tokens expire within {SOON.days} days", f"make new ones: {make}")
    else:
        yield fine("tokens", f"{len(active)} can be used")
    measured = config.metrics
    needed = measured.listen is not None and measured_by_token(measured.listen, measured.tls, measured.insecure)
    if needed and not any(token.allows(Scope.READ) and not token.cameras for token in active):
        text = "no token may read the metrics: it needs the scope read for all cameras"
        yield warn("tokens", text, f"make one for Prometheus: {make} --out metrics.token")


def _tokens(config: StreamerConfig) -> list[Token]:
    """Return the tokens, without changing anything; empty also if a store cannot be read, which its check says."""
    if config.store is None:
        return asyncio.run(TokenFile(Path(config.access.folder)).all()) if config.access.folder is not None else []
    if not config.store.database() and not (sqlite_folder(config.store) / FILE).exists():
        return []
    try:
        if contents(config.store).revision != known_revisions()[0]:
            return []
        with opened(config.store) as store:
            return asyncio.run(TokenTable(store).all())
    except (ConfigError, LostDependency, UserError):
        return []


def _ends_soon(token: Token, now: datetime) -> bool:
    return token.expires is not None and token.expires - now < SOON


def check_worker_keys(patient: Patient) -> Iterator[Finding]:
    """Check that a worker can get in where it needs keys."""
    keys = patient.config.dispatch.keys
    if keys is None:
        yield fine("workers", "no keys: workers of this machine, or dispatch.insecure")
        return
    try:
        read_streamer_keys(Path(keys))
        allowed = read_allowed(Path(keys))
    except ConfigError as error:
        yield fail("workers", str(error), f"streamer keys new --folder {keys} --worker NAME")
        return
    if not allowed:
        advice = f"allow one: streamer keys new --folder {keys} --worker NAME"
        yield fail("workers", f"no worker may connect: {Path(keys) / WORKERS} is empty", advice)
    else:
        yield fine("workers", f"{number_of(len(allowed), 'worker')} may connect: {', '.join(sorted(allowed.values()))}")
