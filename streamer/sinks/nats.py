"""Delivers to a stream of NATS JetStream, which drops the events that it has already, by their ids."""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js.api import Header, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from faceanalytics.errors import ConfigError
from streamer.broker_settings import NatsSink
from streamer.sinks.delivery import Refused, SinkEvent, Undelivered
from streamer.sinks.envelope import as_bytes, cloud_event
from streamer.sinks.in_order import send_in_order

DAY_S = 86_400.0
GOODBYE_S = 0.5  # longest wait for the end of a connection
TOO_LARGE = 10054  # JetStream's code for an event above the stream's own limit
FAILURES = (NatsError, OSError, TimeoutError, ssl.SSLError)


class Nats:
    """A sink, see delivery.py."""

    def __init__(self, settings: NatsSink, store_id: str) -> None:
        self.name = settings.name
        self._settings = settings
        self._store_id = store_id
        self._connection: Client | None = None
        self._problem = ""  # the last one that the client has reported

    async def open(self) -> None:
        await self.close()
        settings, self._problem = self._settings, ""
        self._connection = connection = Client()
        try:
            async with asyncio.timeout(settings.timeout_s * (1 + len(settings.servers))):
                await connection.connect(
                    list(settings.servers),
                    name=f"faceanalytics-{self.name}",
                    # a client that reconnects sends what waits in its buffer behind what got lost: out of order
                    allow_reconnect=False,
                    max_reconnect_attempts=1,  # 0 would be for ever, also for the first connection
                    reconnect_time_wait=0,
                    connect_timeout=settings.timeout_s,  # type: ignore[arg-type]  # seconds, also parts of them
                    error_cb=self._note,
                    **self._credentials(),
                )
                await self._find_stream(connection)
        except (*FAILURES, ConfigError, ValueError) as error:
            raise Undelivered(self._said(error)) from error

    async def deliver(self, events: Sequence[SinkEvent]) -> None:
        connection = self._connection
        if connection is None or not connection.is_connected:
            raise Undelivered(self._problem or "the connection was lost")
        stream = connection.jetstream(timeout=self._settings.timeout_s)
        largest = min(self._settings.max_payload_bytes, connection.max_payload)

        async def send(event: SinkEvent) -> None:
            payload = as_bytes(cloud_event(event, self._store_id))
            if len(payload) > largest:
                raise Refused(f"event {event.id} has {len(payload)} bytes, the limit is {largest}")
            headers = {Header.MSG_ID.value: event.id, "Content-Type": "application/cloudevents+json"}
            try:
                await stream.publish(
                    subject(self._settings.prefix, event), payload, stream=self._settings.stream, headers=headers
                )
            except MaxPayloadError as error:
                raise Refused(f"event {event.id} is too large: {error}") from error
            except APIError as error:
                if error.err_code == TOO_LARGE:
                    raise Refused(f"event {event.id}: {error.description}") from error
                raise Undelivered(f"stream {self._settings.stream}: {error.description}") from error
            except FAILURES as error:
                raise Undelivered(self._said(error)) from error

        await send_in_order(events, send)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*FAILURES, AssertionError):  # AssertionError: connect() had not begun
                async with asyncio.timeout(GOODBYE_S):  # after a failed handshake it would never end
                    await connection.close()
            plain = getattr(connection._transport, "_bare_io_writer", None)
            if plain is not None:  # and leave its socket open
                plain.transport.abort()

    async def _find_stream(self, connection: Client) -> None:
        settings, subjects = self._settings, f"{self._settings.prefix}.>"
        streams = connection.jetstream(timeout=settings.timeout_s)
        try:
            await streams.stream_info(settings.stream)
        except NotFoundError:
            if not settings.create:
                raise Undelivered(
                    f"there is no stream {settings.stream}: create it with the subjects {subjects}, or set create: true"
                ) from None
            await streams.add_stream(
                StreamConfig(
                    name=settings.stream,
                    subjects=[subjects],
                    storage=StorageType.FILE,
                    num_replicas=settings.replicas,
                    max_age=settings.keep_days * DAY_S if settings.keep_days else None,
                    duplicate_window=min(settings.duplicates_s, (settings.keep_days or 36_525) * DAY_S),
                )
            )

    def _credentials(self) -> dict[str, Any]:
        """Return what the server is shown. Raises ConfigError for files that cannot be used."""
        settings = self._settings
        given = {
            "user": settings.username,
            "password": settings.secret(),
            "token": settings.shown_token(),
            "nkeys_seed": settings.nkey_file,
            "user_credentials": settings.credentials_file,
            "tls": settings.tls.context() if settings.tls else None,
        }
        return {name: value for name, value in given.items() if value is not None}

    async def _note(self, error: Exception) -> None:
        self._problem = str(error) or type(error).__name__

    def _said(self, error: Exception) -> str:
        """Return the reason of an error as text; the client's own report says more than a lost connection."""
        return self._problem or str(error) or type(error).__name__


def subject(prefix: str, event: SinkEvent) -> str:
    """Return the subject of an event, in lower case: PREFIX.CAMERA.KIND. A `.` in the id of a camera becomes `_`."""
    return f"{prefix}.{event.camera.replace('.', '_') or 'gallery'}.{event.kind.value.lower()}"
