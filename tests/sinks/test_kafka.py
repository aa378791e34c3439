"""The Kafka sink against librdkafka's cluster, over real sockets that can be cut."""

import asyncio
import json
import logging
import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer

from streamer.broker_settings import KafkaSink
from streamer.sinks.delivery import Refused, Undelivered
from streamer.sinks.kafka import Kafka
from tests.sinks.events import STORE, event, visit
from tests.support.broker_receivers import stored_in_kafka
from tests.support.brokers import HOST, KafkaCluster, KafkaGate, free_port
from tests.support.certificates import issue
from tests.support.patience import WAIT_S


def sink(servers: list[str], **settings: Any) -> Kafka:
    given = {"type": "kafka", "name": "lake", "servers": servers, "timeout_s": WAIT_S, **settings}
    return Kafka(KafkaSink.model_validate(given), STORE)


@asynccontextmanager
async def opened(servers: list[str], **settings: Any) -> AsyncIterator[Kafka]:
    made = sink(servers, **settings)
    try:
        await made.open()
        yield made
    finally:
        await made.close()


@pytest.fixture(scope="module")
def _cluster() -> KafkaCluster:
    return KafkaCluster()


@pytest.fixture
def cluster(_cluster: KafkaCluster, request: pytest.FixtureRequest) -> KafkaCluster:
    """The cluster with a topic of this test."""
    _cluster.topic = request.function.__name__
    return _cluster


async def test_the_events_of_a_track_are_in_one_partition_in_order(cluster: KafkaCluster) -> None:
    tracks = [f"t{number}" for number in range(50)]
    news = [event(number, track=track) for number, track in enumerate(tracks, 1)]
    ends = [event(number, "END", track=track) for number, track in enumerate(tracks, 51)]
    async with opened(cluster.servers, topic=cluster.topic, compression="gzip") as one:
        await one.deliver(news)
        await one.deliver(ends)
    stored = await asyncio.to_thread(stored_in_kafka, cluster)
    of_track = defaultdict(list)
    for partition, content in stored:
        made = json.loads(content)
        of_track[made["subject"]].append((partition, made["type"]))
    assert set(of_track) == set(tracks)
    assert len({partition for partition, _ in stored}) > 1
    for found in of_track.values():
        assert [kind for _, kind in found] == ["faceanalytics.track.new", "faceanalytics.track.end"]
        assert len({partition for partition, _ in found}) == 1


async def test_a_message_has_the_track_as_its_key_and_says_what_it_is(cluster: KafkaCluster) -> None:
    async with opened(cluster.servers, topic=cluster.topic) as one:
        await one.deliver([event(1, track="a")])

    def read() -> Any:
        settings = {"bootstrap.servers": ",".join(cluster.servers), "group.id": "g", "auto.offset.reset": "earliest"}
        consumer = Consumer(settings)
        consumer.subscribe([cluster.topic])
        message = consumer.poll(WAIT_S)
        consumer.close()
        return message

    message = await asyncio.to_thread(read)
    assert message.key() == b"a"
    assert message.headers() == [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    made = json.loads(message.value())
    assert (made["id"], made["specversion"], made["data"]["track_id"]) == (f"{STORE}-1", "1.0", "a")


async def test_nothing_is_lost_or_out_of_order_when_the_brokers_go_away(cluster: KafkaCluster) -> None:
    with KafkaGate(cluster) as gate:
        made = sink(gate.servers, topic=cluster.topic, timeout_s=1.0)
        waiting = [one for number in range(1, 301, 2) for one in visit(number, f"t{number}")]
        connected, away, cuts = False, 0, {300, 210, 120, 30}
        async with asyncio.timeout(WAIT_S):
            while waiting:
                batch = waiting[:30]
                try:
                    if not connected:
                        await made.open()
                        connected = True
                    if len(waiting) in cuts:
                        cuts.remove(len(waiting))
                        gate.kill()
                    await made.deliver(batch)
                    del waiting[: len(batch)]
                except Undelivered as error:
                    away += 1
                    del waiting[: error.delivered]
                    await made.close()
                    connected = False
                    gate.start()
        await made.close()
        assert away >= 4
    first: defaultdict[str, list[str]] = defaultdict(list)
    for _, content in await asyncio.to_thread(stored_in_kafka, cluster):
        envelope = json.loads(content)
        if envelope["sequence"] not in first[envelope["subject"]]:
            first[envelope["subject"]].append(envelope["sequence"])
    assert sum(map(len, first.values())) == 300
    assert all(numbers == sorted(numbers) for numbers in first.values())


async def test_an_event_above_the_limit_is_refused_and_those_before_it_are_there(cluster: KafkaCluster) -> None:
    large = event(2, person="x" * 3000)
    async with opened(cluster.servers, topic=cluster.topic, max_payload_bytes=2000) as one:
        with pytest.raises(Refused, match=r"has 3\d+ bytes, the limit is 2000") as raised:
            await one.deliver([event(1), large, event(3)])
        assert raised.value.place == 1
        await one.deliver([event(3)])
    stored = await asyncio.to_thread(stored_in_kafka, cluster)
    assert {json.loads(content)["id"] for _, content in stored} == {f"{STORE}-1", f"{STORE}-3"}


async def test_brokers_that_are_absent_or_silent_are_said(cluster: KafkaCluster) -> None:
    made = sink([f"{HOST}:{free_port()}"])
    with pytest.raises(Undelivered, match="Connect call failed"):
        await made.open()
    with pytest.raises(Undelivered, match="not connected"):
        await sink(cluster.servers).deliver([event(1)])
    await made.close()
    with socket.create_server((HOST, 0)) as silent:
        made = sink([f"{HOST}:{silent.getsockname()[1]}"], timeout_s=0.5)
        with pytest.raises(Undelivered):
            await made.open()
        await made.close()
    with KafkaGate(cluster) as gate:
        async with opened(gate.servers, topic=cluster.topic, timeout_s=1.0) as one:
            gate.kill()
            with pytest.raises(Undelivered) as raised:
                await one.deliver([event(1)])
            assert str(raised.value)


async def test_tls_with_a_wrong_authority_is_said_and_the_right_one_works(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    authority, stranger = issue(tmp_path, "ca"), issue(tmp_path, "stranger")
    server, client = issue(tmp_path, "server", by=authority), issue(tmp_path, "client", by=authority)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.path))
    context.load_cert_chain(server.path, server.key_path)
    context.verify_mode = ssl.CERT_REQUIRED
    mine = {"certificate": str(client.path), "key": str(client.key_path)}
    with KafkaGate(cluster, context) as gate:
        for ca, problem in ((stranger.path, "certificate verify failed"), (tmp_path / "absent.pem", r"absent\.pem")):
            made = sink(gate.servers, tls={"ca_file": str(ca), **mine})
            with pytest.raises(Undelivered, match=problem):
                await made.open()
            await made.close()
        async with opened(gate.servers, topic=cluster.topic, tls={"ca_file": str(authority.path), **mine}) as one:
            await one.deliver([event(1)])
    assert len(await asyncio.to_thread(stored_in_kafka, cluster)) == 1


async def test_a_password_reaches_the_brokers_only_through_sasl(cluster: KafkaCluster) -> None:
    options = sink(cluster.servers, username="me", password="p", sasl="PLAIN")._options()
    assert (options["security_protocol"], options["sasl_mechanism"]) == ("SASL_PLAINTEXT", "PLAIN")
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("me", "p")
    made = sink(cluster.servers, username="me", password="p", timeout_s=2.0)
    with pytest.raises(Undelivered):  # these brokers know no SASL
        await made.open()
    await made.close()


async def test_what_the_library_logs_at_each_attempt_does_not_reach_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    seen = logging.StreamHandler()
    logging.getLogger().addHandler(seen)
    try:
        made = sink([f"{HOST}:{free_port()}"])
        with pytest.raises(Undelivered):
            await made.open()
        await made.close()
    finally:
        logging.getLogger().removeHandler(seen)
    assert "Unable connect" not in capsys.readouterr().err
