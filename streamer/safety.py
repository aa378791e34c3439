"""Settings that decide who may reach the streamer, and what an address must have before others may reach it."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

from faceanalytics.errors import ConfigError
from streamer.section import Section

Count = Annotated[int, Field(ge=1)]


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port` into its parts. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is not an address: write host:port, with a port from 0 to 65535")
    return host.strip("[]"), int(port)


def _is_address(address: str) -> str:
    split_address(address)
    return address


Address = Annotated[str, AfterValidator(_is_address)]


class Tls(Section):
    """Encryption of the gRPC server. The files are read again when they change; connections stay."""

    certificate: str
    """PEM file of the server's certificate, with those of intermediate authorities behind it."""
    key: str
    """PEM file of its private key, without a passphrase."""
    client_ca: str | None = None
    """PEM file of authorities. Only clients with a certificate of one of them may connect (mutual TLS). They need a
    token as well."""


class Limits(Section):
    """What one client may take. Beyond a limit a call fails with RESOURCE_EXHAUSTED."""

    message_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 4 << 20
    """Largest request, in bytes."""
    streams: Count = 256
    """Most calls at a time that stay open, such as watches, per token; without tokens, per address of a client."""
    calls_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 200.0
    """Calls per second, per token; without tokens, per address of a client. A burst may be twice as large."""
    calls: Count = 4096
    """Most calls at a time, of all clients together."""
    connections: Count = 1024
    """Most connections at a time, of all clients together."""
    request_within_s: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] = 10.0
    """Longest wait for the request of a call, and for the TLS handshake of a connection, in seconds."""


class Access(Section):
    """Tokens of the gRPC API, and the log of who did what. See docs/security.md."""

    folder: str | None = None
    """With `store: null`, the folder for tokens.jsonl (hashes of the tokens that `streamer tokens create` made) and
    audit.jsonl; without one there are no tokens, and the audit lines are in the program's log only. With a store, which
    keeps both itself, audit.jsonl takes the lines that could not be stored, and a tokens.jsonl is moved into the
    store."""
    remember_s: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 3600.0
    """While the store does not answer, go on admitting the known tokens for this long, in seconds. One that is revoked
    meanwhile is among them. Afterwards calls fail with UNAVAILABLE, and open ones end."""


def is_loopback(host: str) -> bool:
    """Return whether an address of this name or number can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def is_local(bind: str) -> bool:
    """Return whether an endpoint of ZeroMQ can be reached from this machine only."""
    return bind.startswith("ipc:") or is_loopback(bind.removeprefix("tcp://").rpartition(":")[0])


def check_published(listen: str, tls: Tls | None, insecure: bool, has_tokens: bool) -> None:
    """Raise ConfigError if other machines can reach `listen` (host:port) without TLS or without tokens.

    `has_tokens`: there is a place for tokens, which are needed there even before the first one is made.
    """
    if tls is not None and insecure:
        raise ConfigError("publish.insecure: remove it, publish.tls is set (or remove publish.tls)")
    if insecure or is_loopback(listen.rpartition(":")[0]):
        return
    missing = ["publish.tls: {certificate: server.pem, key: server-key.pem}"] if tls is None else []
    missing += [] if has_tokens else ["a store or access: {folder: access}, for the tokens of clients"]
    if missing:
        raise ConfigError(
            f"publish.listen: other machines can reach {listen}, so it needs " + " and ".join(missing) + ". "
            "`streamer keys certificate` makes the files, `streamer tokens create` a token; see docs/security.md. "
            "Only in a network that you trust: publish.insecure: true"
        )


def check_bound(bind: str, keys: str | None, insecure: bool) -> None:
    """Raise ConfigError if other machines can reach the endpoint `bind` of the workers without keys."""
    if keys is not None and insecure:
        raise ConfigError("dispatch.insecure: remove it, dispatch.keys is set (or remove dispatch.keys)")
    if bind.startswith("ipc:") and keys is not None:
        raise ConfigError("dispatch.keys: ipc needs none, the permissions of its socket protect it; remove them")
    if keys is not None or insecure or is_local(bind):
        return
    raise ConfigError(
        f"dispatch.bind: other machines can reach {bind}, so it needs dispatch.keys: FOLDER, which "
        "`streamer keys new --worker NAME` makes; see docs/security.md. "
        "Only in a network that you trust: dispatch.insecure: true"
    )


def check_measured(listen: str, tls: Tls | None, insecure: bool, has_tokens: bool) -> None:
    """Raise ConfigError if other machines can reach the metrics at `listen` (host:port) without TLS and permission.

    `has_tokens`: see check_published.
    """
    if tls is not None and insecure:
        raise ConfigError("metrics.insecure: remove it, metrics.tls is set (or remove metrics.tls)")
    if insecure or is_loopback(listen.rpartition(":")[0]):
        return
    missing = ["metrics.tls: {certificate: server.pem, key: server-key.pem}"] if tls is None else []
    if not has_tokens and (tls is None or tls.client_ca is None):
        missing.append("a store or access: {folder: access}, for a token with the scope read")
    if missing:
        raise ConfigError(
            f"metrics.listen: other machines can reach {listen}, so it needs " + " and ".join(missing) + "; "
            "see docs/security.md. Only in a network that you trust: metrics.insecure: true"
        )


def measured_by_token(listen: str, tls: Tls | None, insecure: bool) -> bool:
    """Return whether the metrics at `listen` need a token: not on this machine, nor with certificates of clients."""
    return not (insecure or is_loopback(listen.rpartition(":")[0]) or (tls is not None and tls.client_ca))
