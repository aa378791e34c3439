"""Builds the guard, the limits and the certificate of the server from the configuration, and logs what is not safe."""

import logging
from pathlib import Path

import grpc

from faceanalytics.errors import LostDependency
from streamer.access.audit import Audit, AuditFile, AuditLog
from streamer.access.certificates import Certificates
from streamer.access.quotas import Quotas
from streamer.access.token_file import TokenFile
from streamer.access.tokens import TokenStore, TokensUnavailable
from streamer.api.callers import Callers
from streamer.api.guard import Gate, Guard
from streamer.config import Publish
from streamer.safety import Access, Limits, check_published, is_loopback
from streamer.store.store import Store
from streamer.store.tokens import import_tokens

log = logging.getLogger(__name__)


async def guarded(
    config: Publish, access: Access, store: Store | None = None
) -> tuple[Guard, grpc.ServerCredentials | None]:
    """Return the guard of the server and its credentials; None: no TLS. Raises ConfigError if that is not safe.

    Tokens and the audit log are in the store; without one they are in files.
    """
    folder = Path(access.folder) if access.folder is not None else None
    check_published(config.listen, config.tls, config.insecure, store is not None or folder is not None)
    tokens, audit = await _kept(store, folder, access)
    local = is_loopback(config.listen.rpartition(":")[0])
    callers = Callers(tokens, local or config.insecure)
    gate = Gate(callers, Quotas(config.limits), audit, config.limits.request_within_s)
    needs_token = await callers.needs_token()
    if not (local or config.tls):
        log.warning(
            "publish.insecure: whoever reaches %s can %s", config.listen, "read along" if needs_token else "do anything"
        )
    elif local and not needs_token:
        log.info("no token was made: every program on this machine may use %s", config.listen)
    elif not await callers.has_tokens():
        log.warning("no client can call: make a token with `streamer tokens create`")
    return Guard(gate), Certificates(config.tls).credentials() if config.tls is not None else None


async def _kept(store: Store | None, folder: Path | None, access: Access) -> tuple[TokenStore | None, AuditLog]:
    """Return where tokens and the audit log are kept."""
    if store is None:
        return TokenFile(folder) if folder is not None else None, AuditFile(folder)
    store.tokens.remember_s = access.remember_s
    try:
        if folder is not None:
            store.audit.spill = AuditFile(folder).keep
            await import_tokens(folder, store.tokens)
        await store.tokens.all()
    except TokensUnavailable as error:
        raise LostDependency(f"store: {error}") from error
    return store.tokens, Audit(store.audit.keep)


def limiting(limits: Limits) -> tuple[tuple[str, int], ...]:
    """Return the limits that gRPC itself keeps, as options of a server."""
    within_ms = min(round(1000 * limits.request_within_s), 2**31 - 1)
    return (
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        # of one connection: no limit of its own, which gRPC would report as UNAVAILABLE
        ("grpc.max_concurrent_streams", min(limits.calls + 100, 2**31 - 1)),
        ("grpc.server_handshake_timeout_ms", within_ms),
    )
