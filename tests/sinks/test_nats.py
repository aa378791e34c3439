"""The NATS sink against a real nats-server with JetStream."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import nkeys
import pytest
from nats.js.api import StreamConfig

from streamer.broker_settings import NatsSink
from streamer.sinks.delivery import Refused, Undelivered
from streamer.sinks.nats import Nats
from tests.sinks.events import STORE, event, visit
from tests.support.broker_receivers import stored_in_nats
from tests.support.brokers import HOST, Broker, free_port, nats_server
from tests.support.certificates import issue
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.nats


def url(broker: Broker) -> str:
    return f"nats://{HOST}:{broker.port}"


def sink(port: int, **settings: Any) -> Nats:
    given = {"type": "nats", "name": "bus", "servers": [f"nats://{HOST}:{port}"], "create": True, "timeout_s": WAIT_S}
    return Nats(NatsSink.model_validate({**given, **settings}), STORE)


@asynccontextmanager
async def opened(port: int, **settings: Any) -> AsyncIterator[Nats]:
    made = sink(port, **settings)
    try:
        await made.open()
        yield made
    finally:
        await made.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    with nats_server() as running:
        yield running


async def test_events_are_stored_in_order_under_their_subjects(broker: Broker) -> None:
    async with opened(broker.port, keep_days=2) as one:
        await one.deliver([made for number in range(1, 101, 2) for made in visit(number, f"t{number}", "front.hall")])
    stored = await stored_in_nats(url(broker))
    assert [made["id"] for made in stored] == [f"{STORE}-{number}" for number in range(1, 101)]
    connection = await nats.connect(url(broker))
    streams = connection.jetstream()
    info = await streams.stream_info("FACEANALYTICS", subjects_filter=">")
    assert info.state.subjects == {"faceanalytics.front_hall.new": 50, "faceanalytics.front_hall.end": 50}
    assert info.config.max_age == 2 * 86_400
    first = await streams.get_msg("FACEANALYTICS", 1)
    assert first.headers is not None
    assert first.headers["Nats-Msg-Id"] == f"{STORE}-1"
    assert first.headers["Content-Type"] == "application/cloudevents+json"
    await connection.close()


async def test_events_that_are_delivered_twice_are_stored_once(broker: Broker) -> None:
    async with opened(broker.port, timeout_s=5) as one:  # of which one passes, for a broker that was killed
        await one.deliver([event(1), event(2)])
        broker.kill()
        with pytest.raises(Undelivered):
            await one.deliver([event(2), event(3)])
        broker.start()
        await one.open()
        await one.deliver([event(1), event(2), event(3)])
    assert [made["id"] for made in await stored_in_nats(url(broker))] == [f"{STORE}-{number}" for number in (1, 2, 3)]


async def test_a_stream_that_is_absent_is_said_unless_it_may_be_created(broker: Broker) -> None:
    made = sink(broker.port, create=False, stream="MINE", prefix="site.faces")
    with pytest.raises(Undelivered, match=r"no stream MINE: create it with the subjects site\.faces\.>, or set create"):
        await made.open()
    connection = await nats.connect(url(broker))
    await connection.jetstream().add_stream(StreamConfig(name="MINE", subjects=["other.>"]))
    await made.open()
    with pytest.raises(Undelivered, match=r"(?i)no stream|stream"):  # it does not take these subjects
        await made.deliver([event(1)])
    await connection.jetstream().update_stream(StreamConfig(name="MINE", subjects=["site.>"]))
    await made.deliver([event(1)])
    await made.close()
    await connection.close()


async def test_an_event_above_a_limit_is_refused_and_those_before_it_are_stored(broker: Broker) -> None:
    large = event(2, person="x" * 3000)
    connection = await nats.connect(url(broker))
    await connection.jetstream().add_stream(
        StreamConfig(name="FACEANALYTICS", subjects=["faceanalytics.>"], max_msg_size=2000)
    )
    await connection.close()
    for settings, problem in (({}, "message size exceeds"), ({"max_payload_bytes": 2000}, "the limit is 2000")):
        async with opened(broker.port, **settings) as one:
            with pytest.raises(Refused, match=problem) as raised:
                await one.deliver([event(1), large, event(3)])
            assert raised.value.place == 1
            await one.deliver([event(3)])
    assert sorted(made["id"] for made in await stored_in_nats(url(broker))) == [f"{STORE}-1", f"{STORE}-3"]


async def test_a_full_stream_keeps_events_waiting(broker: Broker) -> None:
    connection = await nats.connect(url(broker))
    streams = connection.jetstream()
    config = StreamConfig(name="FACEANALYTICS", subjects=["faceanalytics.>"], max_msgs=2, discard="new")  # type: ignore[arg-type]
    await streams.add_stream(config)
    async with opened(broker.port) as one:
        with pytest.raises(Undelivered, match="maximum messages exceeded") as raised:
            await one.deliver([event(1), event(2), event(3)])
        assert raised.value.delivered <= 2
        await streams.purge_stream("FACEANALYTICS")
        await one.deliver([event(3)])
    await connection.close()


async def test_a_wrong_password_is_said(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("wrong")
    with nats_server('authorization { user: me, password: "right" }') as broker:
        made = sink(broker.port, username="me", password_file=str(word))
        with pytest.raises(Undelivered, match=r"(?i)authorization violation"):
            await made.open()
        word.write_text("right")
        await made.open()
        await made.deliver([event(1)])
        await made.close()


async def test_tokens_and_nkeys_open_the_door(tmp_path: Path) -> None:
    with nats_server('authorization { token: "right" }') as broker:
        made = sink(broker.port, token="wrong")
        with pytest.raises(Undelivered, match=r"(?i)authorization violation"):
            await made.open()
        await made.close()
        async with opened(broker.port, token="right") as one:
            await one.deliver([event(1)])
    pair = nkeys.from_seed(bytes(nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)))
    file = tmp_path / "user.nk"
    file.write_bytes(pair.seed)
    with nats_server(f"authorization {{ users: [ {{ nkey: {pair.public_key.decode()} }} ] }}") as broker:
        async with opened(broker.port, nkey_file=str(file)) as one:
            await one.deliver([event(1)])
        made = sink(broker.port, nkey_file=str(tmp_path / "absent.nk"))
        with pytest.raises(Undelivered, match=r"absent\.nk"):
            await made.open()
        await made.close()


async def test_what_an_account_may_not_do_is_said() -> None:
    rules = 'authorization { users: [ { user: me, password: p, permissions: { publish: ["$JS.API.>"] } } ] }'
    with nats_server(rules) as broker:
        async with opened(broker.port, username="me", password="p", timeout_s=1.0) as one:
            with pytest.raises(Undelivered, match=r"(?i)permissions violation"):
                await one.deliver([event(1)])


async def test_tls_with_a_wrong_authority_is_said_and_the_right_one_works(tmp_path: Path) -> None:
    authority, stranger = issue(tmp_path, "ca"), issue(tmp_path, "stranger")
    server, client = issue(tmp_path, "server", by=authority), issue(tmp_path, "client", by=authority)
    files = f'cert_file: "{server.path}", key_file: "{server.key_path}", ca_file: "{authority.path}", verify: true'
    with nats_server(f"tls {{ {files} }}") as broker:
        mine = {"certificate": str(client.path), "key": str(client.key_path)}
        for ca, problem in ((stranger.path, "certificate verify failed"), (tmp_path / "absent.pem", r"absent\.pem")):
            made = sink(broker.port, tls={"ca_file": str(ca), **mine})
            with pytest.raises(Undelivered, match=problem):
                await made.open()
            await made.close()
        async with opened(broker.port, tls={"ca_file": str(authority.path), **mine}) as one:
            await one.deliver([event(1)])


async def test_a_broker_that_is_absent_or_silent_is_said(broker: Broker) -> None:
    made = sink(free_port())
    with pytest.raises(Undelivered, match="Connect call failed"):
        await made.open()
    with pytest.raises(Undelivered):
        await made.deliver([event(1)])
    await made.close()
    async with opened(broker.port, timeout_s=0.5) as one:
        broker.freeze()
        with pytest.raises(Undelivered, match=r"(?i)timeout|time"):
            await one.deliver([event(1)])
        with pytest.raises(Undelivered):
            await one.open()
        broker.thaw()
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    await one.open()
                    break
                except Undelivered:
                    pass
        await one.deliver([event(1)])
    assert len(await stored_in_nats(url(broker))) == 1
