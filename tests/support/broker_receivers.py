"""The brokers of tests/support/brokers.py with a consumer, as receivers of tests/benchmarks/sink_drill.py."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nats
from confluent_kafka import Consumer, TopicPartition
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import ConsumerConfig, DeliverPolicy
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.brokers import HOST, KafkaCluster, KafkaGate, mosquitto, nats_server
from tests.support.patience import WAIT_S, until

TIMEOUT_S = 5.0  # of the sinks: shorter than the drill's patience, longer than a broker needs
Envelopes = list[dict[str, Any]]


class MqttReceiver:
    """mosquitto with a durable subscriber. Each kind of broker has a class of this form."""

    def __init__(self, folder: Path) -> None:
        self._broker = mosquitto()
        self.settings = {"type": "mqtt", "host": HOST, "port": self._broker.port, "timeout_s": TIMEOUT_S}
        self._envelopes: Envelopes = []
        self._client = Client(CallbackAPIVersion.VERSION2, "durable", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("faceanalytics/events", qos=1)
        self._client.on_message = self._take
        self._client.connect(HOST, self._broker.port)
        self._client.loop_start()
        until(self._client.is_connected, "the subscriber is connected")

    def _take(self, client: Client, data: object, message: MQTTMessage) -> None:
        self._envelopes.append(json.loads(message.payload))

    def start(self) -> None:
        self._broker.start()
        until(self._client.is_connected, "the subscriber is connected")

    def kill(self) -> None:
        self._broker.kill()
        until(lambda: not self._client.is_connected(), "the subscriber notices")

    def envelopes(self, least: int) -> Envelopes:
        """All events, once there are at least that many different ones or none come any more."""
        with contextlib.suppress(AssertionError):
            until(lambda: len({one["id"] for one in self._envelopes}) >= least, "all events arrive")
        return self._envelopes

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._broker.__exit__(None, None, None)


class NatsReceiver:
    """nats-server, whose stream is read at the end."""

    def __init__(self, folder: Path) -> None:
        self._broker = nats_server()
        self._url = f"nats://{HOST}:{self._broker.port}"
        self.settings = {"type": "nats", "servers": [self._url], "create": True, "timeout_s": TIMEOUT_S}

    def start(self) -> None:
        self._broker.start()

    def kill(self) -> None:
        self._broker.kill()

    def envelopes(self, least: int) -> Envelopes:
        """All events."""
        return asyncio.run(stored_in_nats(self._url))

    def stop(self) -> None:
        self._broker.__exit__(None, None, None)


class KafkaReceiver:
    """A Kafka cluster behind proxies that are shut in place of a kill: it keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._cluster = KafkaCluster()
        self._gate = KafkaGate(self._cluster)
        self._gate.__enter__()
        self.settings = {"type": "kafka", "servers": self._gate.servers, "timeout_s": TIMEOUT_S}

    def start(self) -> None:
        self._gate.start()

    def kill(self) -> None:
        self._gate.kill()

    def envelopes(self, least: int) -> Envelopes:
        """All events, those of each partition in order."""
        return [json.loads(value) for _, value in stored_in_kafka(self._cluster)]

    def stop(self) -> None:
        self._gate.__exit__(None, None, None)


async def stored_in_nats(url: str, stream: str = "FACEANALYTICS", **options: Any) -> Envelopes:
    """All events of a stream, in its order."""
    connection = await nats.connect(url, **options)
    envelopes: Envelopes = []
    try:
        streams = connection.jetstream(timeout=WAIT_S)
        count = (await streams.stream_info(stream)).state.messages
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
        consumer = await streams.pull_subscribe("", stream=stream, config=config)
        while len(envelopes) < count:
            with contextlib.suppress(NatsTimeout):
                for message in await consumer.fetch(min(1000, count - len(envelopes)), timeout=WAIT_S):
                    envelopes.append(json.loads(message.data))
                    await message.ack()
    finally:
        await connection.close()
    return envelopes


def stored_in_kafka(cluster: KafkaCluster) -> Sequence[tuple[int, bytes]]:
    """Partition and content of all messages, those of each partition in order."""
    found: list[tuple[int, bytes]] = []
    consumer = Consumer({"bootstrap.servers": ",".join(cluster.servers), "group.id": "reader"})
    try:
        partitions = consumer.list_topics(cluster.topic, timeout=WAIT_S).topics[cluster.topic].partitions
        for number in partitions:
            place = TopicPartition(cluster.topic, number, 0)
            _, end = consumer.get_watermark_offsets(place, timeout=WAIT_S)
            consumer.assign([place])
            next_offset = 0
            while next_offset < end:
                message = consumer.poll(WAIT_S)
                assert message is not None
                assert message.error() is None, message.error()
                value, offset = message.value(), message.offset()
                assert value is not None
                assert offset is not None
                found.append((number, value))
                next_offset = offset + 1
    finally:
        consumer.close()
    return found


BROKERS: dict[str, type[MqttReceiver] | type[NatsReceiver] | type[KafkaReceiver]] = {
    "mqtt": MqttReceiver,
    "nats": NatsReceiver,
    "kafka": KafkaReceiver,
}
