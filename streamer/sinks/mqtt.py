"""Delivers to an MQTT broker: events, the states of the cameras, and how many faces are in front of them.

Topics are below `prefix`, as users of Frigate know them. All messages have QoS 1; all but `events` are retained.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence

import aiomqtt

from faceanalytics.errors import ConfigError
from streamer.broker_settings import MqttSink
from streamer.sinks.delivery import Refused, SinkEvent, Undelivered
from streamer.sinks.envelope import as_bytes, cloud_event
from streamer.sinks.home_assistant import BIRTH, discovery
from streamer.sinks.in_order import send_in_order
from streamer.sinks.mqtt_client import MqttClient
from streamer.sinks.present import Present

ONLINE, OFFLINE = b"online", b"offline"
GOODBYE_S = 1.0  # longest wait at the end
HEAD_BYTES = 512  # more than a packet has beside topic and payload

log = logging.getLogger(__name__)


class Mqtt:
    """A sink, see delivery.py."""

    def __init__(self, settings: MqttSink, store_id: str) -> None:
        self.name = settings.name
        self._settings = settings
        self._store_id = store_id
        self._prefix = settings.prefix
        self._available = f"{settings.prefix}/available"
        self._birth = f"{settings.home_assistant.prefix}/{BIRTH}" if settings.home_assistant else None
        self._present = Present()
        self._states: dict[str, str] | None = None  # camera -> state; None: not known since `open`
        self._retained = set[str]()  # cameras that the broker knows
        self._client: MqttClient | None = None
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.close()
        settings = self._settings
        client_id = settings.client_id or f"{settings.prefix.replace('/', '-')}-{settings.name}"
        will = aiomqtt.Will(self._available, OFFLINE, qos=1, retain=True)
        try:
            self._client = client = MqttClient(settings, client_id, will)
            await client.join()
        except (aiomqtt.MqttError, ConfigError, OSError, ValueError) as error:
            text = str(error) or f"no answer within {settings.timeout_s:g} s"
            raise Undelivered(f"{settings.host}: {text}") from error
        self._states, self._retained = None, set()
        await self._listen_to(client)
        await client.send(self._available, ONLINE, retain=True)

    async def deliver(self, events: Sequence[SinkEvent]) -> None:
        client = self._connected()

        async def send(event: SinkEvent) -> None:
            payload = as_bytes(cloud_event(event, self._store_id))
            largest = self._settings.max_payload_bytes
            if client.largest_packet is not None:
                largest = min(largest, client.largest_packet - HEAD_BYTES)
            if len(payload) > largest:
                raise Refused(f"event {event.id} has {len(payload)} bytes, the limit is {largest}")
            await client.send(f"{self._prefix}/events", payload)

        try:
            await send_in_order(events, send)
        except Undelivered as error:
            self._present.add(events[: error.delivered])
            raise
        except Refused as error:
            await self._count(client, events[: (error.place or 0) + 1])  # who is there does not depend on the broker
            raise
        await self._count(client, events)

    async def _count(self, client: MqttClient, done: Sequence[SinkEvent]) -> None:
        """Take in events that the broker has, and show what has changed."""
        changed = self._present.add(done)
        try:
            for camera in sorted(changed & set(self._states or ())):
                await self._show_faces(client, camera)
        except Undelivered as error:
            log.debug("sink %s: the next connection shows the faces: %s", self.name, error)
            await client.leave()

    async def cameras(self, states: Mapping[str, str]) -> None:
        client, before = self._connected(), self._states
        wanted = self._settings.cameras
        self._states = {camera: state for camera, state in states.items() if not wanted or camera in wanted}
        for camera in sorted({*(before or ()), *self._retained} - set(self._states)):
            await self._forget(client, camera)
        for camera, state in self._states.items():
            if before is None or camera not in before:
                await self._introduce(client, camera)
            elif before[camera] != state:
                await self._show_state(client, camera)

    async def close(self) -> None:
        client, self._client = self._client, None
        listening, self._listening = self._listening, None
        if client is not None:
            if client.online:  # without the last will, which is for what nobody intended
                with contextlib.suppress(Undelivered, TimeoutError):
                    async with asyncio.timeout(GOODBYE_S):
                        await client.send(self._available, OFFLINE, retain=True)
            await client.leave()
        if listening is not None:
            listening.cancel()
            await asyncio.wait([listening], timeout=GOODBYE_S)

    def _connected(self) -> MqttClient:
        """Return the client. Raises Undelivered if its connection is lost, and what the listening task raised."""
        if self._client is None or self._listening is None:
            raise Undelivered("not connected")
        if self._listening.done():
            self._listening.result()
        if self._listening.done() or not self._client.online:
            raise Undelivered(self._client.said())
        return self._client

    async def _listen_to(self, client: MqttClient) -> None:
        for topic in (self._available, f"{self._prefix}/+/state", self._birth):
            if topic is not None and not await client.listen_to(topic):
                log.warning("sink %s: the broker does not allow to subscribe to %s", self.name, topic)
        self._listening = asyncio.create_task(self._listen(client))

    async def _listen(self, client: MqttClient) -> None:
        """Answer what others say, until the connection is lost."""
        try:
            async for message in client.messages:
                topic, payload = str(message.topic), message.payload
                if topic == self._available and payload == OFFLINE and self._client is client:
                    await client.send(self._available, ONLINE, retain=True)  # the last will of an earlier connection
                elif topic == self._birth and payload == ONLINE:
                    for camera in list(self._states or ()):
                        await self._introduce(client, camera)
                elif topic.startswith(f"{self._prefix}/") and topic.endswith("/state") and payload:
                    camera = topic[len(self._prefix) + 1 : -len("/state")]
                    self._retained.add(camera)
                    if self._states is not None and camera not in self._states:
                        await self._forget(client, camera)
        except (aiomqtt.MqttError, Undelivered) as error:
            log.debug("sink %s: listening ended: %s", self.name, error)

    async def _introduce(self, client: MqttClient, camera: str) -> None:
        """Publish all that others can know of a camera."""
        for topic, description in self._discovery(camera).items():
            await client.send(topic, json.dumps(description, ensure_ascii=False).encode(), retain=True)
        await self._show_state(client, camera)
        await self._show_faces(client, camera)

    async def _show_state(self, client: MqttClient, camera: str) -> None:
        state = (self._states or {}).get(camera)
        if state is None:  # removed meanwhile
            return
        self._retained.add(camera)
        await client.send(f"{self._prefix}/{camera}/state", state.lower().encode(), retain=True)

    async def _show_faces(self, client: MqttClient, camera: str) -> None:
        if self._settings.counts:
            await client.send(f"{self._prefix}/{camera}/faces", b"%d" % self._present.faces(camera), retain=True)
        if self._settings.people:
            people = json.dumps(self._present.people(camera), ensure_ascii=False).encode()
            await client.send(f"{self._prefix}/{camera}/people", people, retain=True)

    async def _forget(self, client: MqttClient, camera: str) -> None:
        """Remove all retained messages of a camera: empty ones delete them. Its state is the last of them, because it
        shows that there may be others."""
        topics = [*self._discovery(camera), *(f"{self._prefix}/{camera}/{kind}" for kind in ("faces", "people"))]
        for topic in (*topics, f"{self._prefix}/{camera}/state"):
            await client.send(topic, b"", retain=True)
        self._present.forget(camera)
        self._retained.discard(camera)

    def _discovery(self, camera: str) -> dict[str, dict[str, object]]:
        if self._settings.home_assistant is None:
            return {}
        return discovery(self._settings.home_assistant.prefix, self._prefix, camera, self._settings.people)
