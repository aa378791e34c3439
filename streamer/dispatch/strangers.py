"""Keeps strangers from playing worker: keys on tcp, the permissions of the socket's file on ipc."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator
from zmq.utils.monitor import recv_monitor_message

from faceanalytics.errors import ConfigError
from faceanalytics.worker_keys import WORKERS, read_allowed, read_streamer_keys
from streamer import metrics

LOG_EVERY_S = 60.0  # refused connections in between are counted only: clients try again and again
FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH

log = logging.getLogger(__name__)


class AllowedWorkers:
    """The workers whose public key is in a folder. Keys that are added and removed count at once."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError if the folder has no usable keys."""
        self.streamer = read_streamer_keys(folder)
        self._folder = folder
        self._version = self._stat()
        self._names = read_allowed(folder)  # by public key
        if not self._names:
            log.warning("no worker may connect: make a key with `streamer keys new --folder %s --worker NAME`", folder)

    def name(self, key: str) -> str | None:
        """Return the name of the worker with a public key; None: it may not connect."""
        version = self._stat()
        if version != self._version:
            self._version = version
            try:
                self._names = read_allowed(self._folder)
            except ConfigError as error:
                log.error("the keys read before stay in use: %s", error)
        return self._names.get(key)

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether a peer may connect, as zmq.auth asks it."""
        del domain
        return self.name(key.decode("ascii", "replace")) is not None

    def _stat(self) -> int:
        try:
            return (self._folder / WORKERS).stat().st_mtime_ns
        except OSError:
            return 0


class KeyCheck:
    """Lets only allowed workers connect to a socket, and counts the others."""

    def __init__(self, context: zmq.asyncio.Context, socket: zmq.asyncio.Socket, allowed: AllowedWorkers) -> None:
        """Call it before the socket is bound, in the event loop."""
        self._authenticator = AsyncioAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback("*", allowed)
        socket.curve_server = True
        socket.curve_secretkey = allowed.streamer.secret.encode()
        socket.curve_publickey = allowed.streamer.public.encode()
        self._monitor = socket.get_monitor_socket(FAILED)
        self._watching = asyncio.ensure_future(self._watch())
        self._logged: float | None = None
        self._since = 0

    def close(self) -> None:
        """Stop; the context is closed after this."""
        self._watching.cancel()
        self._authenticator.stop()
        self._monitor.close(linger=0)

    async def _watch(self) -> None:
        while True:
            await recv_monitor_message(self._monitor)
            metrics.strangers_refused.inc()
            self._since += 1
            now = time.monotonic()
            if self._logged is None or now - self._logged >= LOG_EVERY_S:
                log.warning("connections without an allowed key refused at dispatch.bind: %d", self._since)
                self._logged, self._since = now, 0


@contextlib.contextmanager
def only_for_its_owner(endpoint: str) -> Iterator[None]:
    """Give the file of an ipc socket that is bound in the block the mode 0600. Other endpoints have no file."""
    if not endpoint.startswith("ipc://") or endpoint.startswith("ipc://@"):
        yield
        return
    before = os.umask(0o077)  # from its first moment on
    try:
        yield
    finally:
        os.umask(before)
    Path(endpoint.removeprefix("ipc://")).chmod(0o600)
