"""The connection to an MQTT broker: aiomqtt's client, and what a broker of MQTT 5 says about it."""

import asyncio
import logging
import math
from typing import Any

import aiomqtt
from paho.mqtt.client import Client as Paho
from paho.mqtt.client import ConnectFlags, DisconnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from streamer.broker_settings import MqttSink
from streamer.sinks.delivery import Undelivered
from streamer.sinks.in_order import AT_ONCE

GOODBYE_S = 0.5  # longest wait for the end of a connection
FAILURE = 128  # codes of SUBACK in MQTT 3.1.1 from here on
VERSIONS = {"v5": aiomqtt.ProtocolVersion.V5, "v3.1.1": aiomqtt.ProtocolVersion.V311}


class _LastError(logging.Handler):
    """Keeps what paho logs as an error: its exceptions do not hold the reason."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class MqttClient(aiomqtt.Client):
    """A client that notices what aiomqtt passes over: messages that the broker refuses, and its largest packet."""

    def __init__(self, settings: MqttSink, client_id: str, will: aiomqtt.Will) -> None:
        """Raises ConfigError for files that cannot be used."""
        self.largest_packet: int | None = None  # bytes; None: the broker has not named one
        self._joined = False
        self._refusal: str | None = None
        self._last_error = _LastError(logging.ERROR)
        logger = logging.Logger("paho")  # of this client: the runner logs what matters
        logger.addHandler(self._last_error)
        self._host, self._port_used = settings.host, settings.port or (8883 if settings.tls else 1883)
        self._timeout_s = settings.timeout_s
        self._tls = settings.tls.context() if settings.tls else None
        # A session that the broker keeps would only repeat messages, which the runner does; hence a clean one
        five = settings.protocol == "v5"
        super().__init__(
            self._host,
            self._port_used,
            username=settings.username,
            password=settings.secret(),
            identifier=client_id,
            protocol=VERSIONS[settings.protocol],
            will=will,
            clean_session=None if five else True,
            clean_start=True if five else 3,  # 3: paho's word for "of MQTT 5 only"
            timeout=math.inf,  # wait_for() of Python 3.11 can lose a cancellation, so waits end by asyncio.timeout()
            keepalive=settings.keepalive_s,
            tls_context=self._tls,
            logger=logger,
        )
        self._client.connect_timeout = settings.timeout_s
        self.pending_calls_threshold = 2 * AT_ONCE

    async def join(self) -> None:
        """Connect. Raises OSError or aiomqtt.MqttError.

        The first attempt is asyncio's: paho connects in a thread, for which the program would wait at its end, and
        leaves a socket open after a failed handshake.
        """
        async with asyncio.timeout(3 * self._timeout_s):  # TCP and TLS, twice, and the broker's answer
            async with asyncio.timeout(self._timeout_s):
                _, writer = await asyncio.open_connection(self._host, self._port_used, ssl=self._tls)
            writer.close()
            await self.__aenter__()
            self._joined = True

    async def send(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Publish with QoS 1 and wait for the acknowledgement. Raises Undelivered."""
        publishing = asyncio.ensure_future(self.publish(topic, payload, qos=1, retain=retain))
        ends = {publishing, self._disconnected}  # publish() does not notice that the connection is lost
        try:
            await asyncio.wait(ends, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                publishing.result()
            else:
                raise Undelivered(self.said(TimeoutError(f"not acknowledged within {self._timeout_s:g} s")))
        except (aiomqtt.MqttError, OSError, ValueError) as error:  # ValueError: paho's queue or packet limits
            raise Undelivered(self.said(error)) from error
        finally:
            publishing.cancel()
        if self._refusal is not None:
            raise Undelivered(f"the broker refuses messages: {self._refusal}")

    async def listen_to(self, topic: str) -> bool:
        """Subscribe and return whether the broker allows it. Raises Undelivered."""
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = await self.subscribe(topic, qos=1)
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            raise Undelivered(self.said(error)) from error
        return not any(one.is_failure if isinstance(one, ReasonCode) else one >= FAILURE for one in answers)

    @property
    def online(self) -> bool:
        """Return whether there is a connection."""
        return self._joined and not self._disconnected.done()

    def said(self, error: BaseException | None = None) -> str:
        """Return why the connection was lost as text, else what `error` says."""
        cause = self._disconnected.exception() if self._disconnected.done() else None
        return self._last_error.text or str(cause or error or "") or "the connection was lost"

    async def leave(self) -> None:
        """Disconnect, and close what is left of a connection that failed. It does not raise."""
        try:
            if self.online:
                async with asyncio.timeout(GOODBYE_S):
                    await self.__aexit__(None, None, None)
        except (aiomqtt.MqttError, OSError, TimeoutError):
            pass
        finally:
            self._client.disconnect()
            if self._disconnected.done():
                self._disconnected.exception()  # it is known

    def _on_connect(
        self,
        client: Paho,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.largest_packet = getattr(properties, "MaximumPacketSize", None)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: Paho,
        userdata: Any,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._connected.done():  # aiomqtt would wait until the time is up
            self._connected.set_exception(aiomqtt.MqttError(self.said(aiomqtt.MqttError(str(reason_code)))))
        if not self._connected.cancelled():  # the time was up before
            super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self, client: Paho, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        if reason_code.is_failure:
            self._refusal = str(reason_code)
        super()._on_publish(client, userdata, mid, reason_code, properties)
