"""The sink that posts events to an HTTP server, as CloudEvents with a signature."""

import asyncio
import email.utils
import logging
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from faceanalytics.errors import ConfigError
from faceanalytics.extras import require
from streamer.sink_settings import WebhookSink
from streamer.sinks.delivery import Refused, SinkEvent, Undelivered
from streamer.sinks.envelope import as_bytes, cloud_event
from streamer.sinks.signature import read_secrets, signature

if TYPE_CHECKING:
    import httpx

for _library in ("httpx", "httpcore"):
    logging.getLogger(_library).setLevel(logging.WARNING)  # they log each request, with the whole address

BUSY = {408, 425, 429}  # and from 500 on: a later attempt may succeed
WRONG = {401, 403, 404, 405, 407, 410, 415, 421, 426}  # settings or the server are wrong, not the event
LONGEST_ANSWER = 65_536  # bytes of an answer that are read, which keeps the connection usable


class Webhook:
    """Posts events in order. An event is acknowledged by an answer from 200 to 299."""

    def __init__(self, settings: WebhookSink, store_id: str) -> None:
        """Raises MissingPackage without httpx, and ConfigError for unusable files."""
        require("sinks", "httpx", use=f"sink {settings.name}")
        import anyio  # noqa: F401  # httpx would import it at the first request, and hold everything else up
        import httpx

        self.name = settings.name
        self._settings = settings
        self._store_id = store_id
        parts = urlsplit(settings.url)
        self._shown = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")  # path and query
        self._client: httpx.AsyncClient | None = None  # may hold secrets
        self._secrets = read_secrets(settings)
        _encryption(settings)

    async def open(self) -> None:
        """Prepare the connection, which the first request makes. Raises Undelivered."""
        import httpx

        try:
            self._secrets = read_secrets(self._settings)
            encryption = await asyncio.to_thread(_encryption, self._settings)
        except ConfigError as error:
            raise Undelivered(str(error)) from error
        self._client = httpx.AsyncClient(verify=encryption or False, timeout=None, follow_redirects=False)  # noqa: S113

    async def deliver(self, events: Sequence[SinkEvent]) -> None:
        """Post events, each as a request of its own or all as one."""
        if self._settings.batched:
            name = events[0].id if len(events) == 1 else f"{events[0].id}-{events[-1].sequence}"
            body = as_bytes([cloud_event(event, self._store_id) for event in events])
            await self._post("application/cloudevents-batch+json", name, body)
            return
        for number, event in enumerate(events):
            try:
                body = as_bytes(cloud_event(event, self._store_id))
                await self._post("application/cloudevents+json", event.id, body)
            except Undelivered as error:
                raise Undelivered(str(error), number, error.after_s) from error
            except Refused as error:
                raise Refused(str(error), number) from error

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def _post(self, content_type: str, message_id: str, body: bytes) -> None:
        """Send one request. Raises Undelivered and Refused."""
        import httpx

        try:
            async with asyncio.timeout(self._settings.timeout_s):
                status, headers = await self._answer(self._headers(content_type, message_id, body), body)
        except TimeoutError as error:
            raise Undelivered(f"{self._shown} did not answer within {self._settings.timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise Undelivered(f"{self._shown}: {str(error) or type(error).__name__}") from error
        if 200 <= status < 300:
            return
        said = f"{self._shown} answers {status}"
        if status in BUSY or status >= 500:
            raise Undelivered(said, after_s=_pause(headers.get("retry-after", "")))
        if status in WRONG:
            raise Undelivered(f"{said}; check url, headers and secret")
        if status < 400:
            raise Undelivered(f"{said}; redirects are not followed, write the address that it leads to")
        raise Refused(said)

    async def _answer(self, headers: dict[str, str], body: bytes) -> tuple[int, "httpx.Headers"]:
        """Send a request and return status and headers of the answer, once it has come in full."""
        assert self._client is not None
        async with self._client.stream("POST", self._settings.url, content=body, headers=headers) as answer:
            size = 0
            async for part in answer.aiter_raw():
                size += len(part)
                if size > LONGEST_ANSWER:
                    break
            return answer.status_code, answer.headers

    def _headers(self, content_type: str, message_id: str, body: bytes) -> dict[str, str]:
        headers = {
            "User-Agent": f"faceanalytics/{version('faceanalytics')}",
            **self._settings.headers,
            "Content-Type": content_type,
            "webhook-id": message_id,
        }
        if self._secrets:
            now = int(time.time())
            headers["webhook-timestamp"] = str(now)
            headers["webhook-signature"] = signature(self._secrets, message_id, now, body)
        return headers


def _encryption(settings: WebhookSink) -> ssl.SSLContext | None:
    """Return how the server's certificate is checked; None: the address has no TLS. Raises ConfigError."""
    if not settings.url.startswith("https:"):
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"sink {settings.name}: ca_file {settings.ca_file}: {error.strerror or error}") from error


def _pause(value: str) -> float | None:
    """Return the seconds of a header Retry-After, which has them or a date; None: it has neither."""
    if value.strip().isdecimal():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
