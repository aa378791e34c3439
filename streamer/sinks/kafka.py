"""Delivers to a topic of Kafka: the events of a track are in one partition, in order."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from itertools import takewhile
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from faceanalytics.errors import ConfigError
from streamer.broker_settings import KafkaSink
from streamer.sinks.delivery import Refused, SinkEvent, Undelivered
from streamer.sinks.envelope import as_bytes, cloud_event

HEADERS = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
CLOSE_S = 1.0  # longest wait at the end
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

_heard: ContextVar["deque[str] | None"] = ContextVar("heard", default=None)


class _Ear(logging.Handler):
    """Keeps what aiokafka logs for the sink that it works for: its exceptions do not hold the reason."""

    def emit(self, record: logging.LogRecord) -> None:
        heard = _heard.get()
        if heard is not None:
            heard.append(record.getMessage())


EAR = _Ear(logging.WARNING)


class Kafka:
    """A sink, see delivery.py."""

    def __init__(self, settings: KafkaSink, store_id: str) -> None:
        self.name = settings.name
        self._settings = settings
        self._store_id = store_id
        self._producer: AIOKafkaProducer | None = None
        self._heard: deque[str] = deque(maxlen=1)
        logger = logging.getLogger("aiokafka")
        logger.addHandler(EAR)  # once, however often
        logger.propagate = False  # it logs each attempt, the runner each change

    async def open(self) -> None:
        await self.close()
        self._heard.clear()
        _heard.set(self._heard)
        try:
            self._producer = AIOKafkaProducer(**self._options())
            async with asyncio.timeout(self._settings.timeout_s):
                await self._producer.start()
                await self._producer.partitions_for(self._settings.topic)
        except TimeoutError as error:
            raise Undelivered(self._said(f"no answer within {self._settings.timeout_s:g} s")) from error
        except (KafkaError, OSError, ConfigError, ValueError) as error:
            raise Undelivered(self._said(error)) from error

    async def deliver(self, events: Sequence[SinkEvent]) -> None:
        if self._producer is None:
            raise Undelivered("not connected")
        self._heard.clear()
        sent: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                refused = None
                for place, event in enumerate(events):
                    payload = as_bytes(cloud_event(event, self._store_id))
                    if len(payload) > self._settings.max_payload_bytes:
                        limit = self._settings.max_payload_bytes
                        refused = Refused(f"event {event.id} has {len(payload)} bytes, the limit is {limit}", place)
                        break
                    key = (event.track_id or event.camera).encode() or None
                    sent.append(await self._producer.send(self._settings.topic, payload, key, headers=HEADERS))
                await asyncio.gather(*sent)
        except TOO_LARGE as error:
            await self.open()  # the numbers of what it sends next would have a hole
            raise Refused(f"the broker's limit: {error}") from error
        except TimeoutError as error:
            text = self._said(f"not acknowledged within {self._settings.timeout_s:g} s")
            raise Undelivered(text, _acknowledged(sent)) from error
        except (KafkaError, OSError) as error:
            raise Undelivered(self._said(error), _acknowledged(sent)) from error
        finally:
            for future in sent:
                future.cancel()  # nobody asks any longer; what is done stays as it is
        if refused is not None:
            raise refused

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        sending = producer._sender.sender_task  # stop() would first wait until brokers take what is left
        if sending is not None:
            sending.cancel()
        try:
            async with asyncio.timeout(CLOSE_S):
                await producer.stop()
        except (KafkaError, OSError, TimeoutError):
            pass

    def _options(self) -> dict[str, Any]:
        """Return the options of a producer. Raises ConfigError for files that cannot be used."""
        settings = self._settings
        encrypted, user = settings.tls is not None, settings.username
        protocol = f"{'SASL_' if user else ''}{'SSL' if encrypted else 'PLAINTEXT'}"
        known = {"sasl_mechanism": settings.sasl, "sasl_plain_username": user}
        return {
            "bootstrap_servers": list(settings.servers),
            "client_id": f"faceanalytics-{self.name}",
            "acks": "all",
            "enable_idempotence": True,
            "compression_type": settings.compression,
            "max_request_size": settings.max_payload_bytes + (64 << 10),
            "request_timeout_ms": int(settings.timeout_s * 1000),
            "security_protocol": protocol,
            "ssl_context": settings.tls.context() if settings.tls else None,
            **({**known, "sasl_plain_password": settings.secret() or ""} if user else {}),
        }

    def _said(self, error: object) -> str:
        return self._heard[-1] if self._heard else str(error) or type(error).__name__


def _acknowledged(sent: Sequence["asyncio.Future[Any]"]) -> int:
    """Return how many of the first events the brokers have."""
    there = (one.done() and not one.cancelled() and one.exception() is None for one in sent)
    return sum(takewhile(bool, there))
