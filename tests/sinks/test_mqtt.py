"""The MQTT sink against a real mosquitto: what arrives, in which order, and what its failures look like."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from streamer.broker_settings import MqttSink
from streamer.sinks.delivery import Refused, Undelivered
from streamer.sinks.mqtt import Mqtt
from tests.sinks.events import STORE, event, visit
from tests.support.brokers import HOST, Broker, free_port, mosquitto, passwords
from tests.support.certificates import issue
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.mosquitto


def sink(port: int, **settings: Any) -> Mqtt:
    given = {"type": "mqtt", "name": "home", "host": HOST, "port": port, "timeout_s": WAIT_S, **settings}
    return Mqtt(MqttSink.model_validate(given), STORE)


@asynccontextmanager
async def opened(port: int, **settings: Any) -> AsyncIterator[Mqtt]:
    made = sink(port, **settings)
    try:
        await made.open()
        yield made
    finally:
        await made.close()


class Reader:
    """A subscriber of everything. `kept` is what a client that comes later would find."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.events: list[dict[str, Any]] = []
        self.heard: list[tuple[str, bytes]] = []
        self.kept: dict[str, bytes] = {}
        self._new = asyncio.Event()

    async def read(self) -> None:
        async for message in self.client.messages:
            topic, payload = str(message.topic), message.payload
            assert isinstance(payload, bytes)
            self.heard.append((topic, payload))
            if topic.endswith("/events"):
                self.events.append(json.loads(payload))
            elif payload:
                self.kept[topic] = payload
            else:
                self.kept.pop(topic, None)
            self._new.set()

    async def when(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._new.clear()
                await self._new.wait()

    async def until(self, *wanted: str, without: str = "\0") -> None:
        """Wait until these retained messages, `topic=payload`, are there and none whose topic contains `without`."""
        pairs = [one.partition("=") for one in wanted]
        await self.when(
            lambda: (
                all(self.kept.get(topic) == text.encode() for topic, _, text in pairs)
                and not any(without in topic for topic in self.kept)
            )
        )

    async def count(self, number: int) -> None:
        """Wait for this many events."""
        await self.when(lambda: len(self.events) >= number)


@asynccontextmanager
async def reading(port: int, **options: Any) -> AsyncIterator[Reader]:
    async with aiomqtt.Client(HOST, port, timeout=WAIT_S, **options) as client:
        reader = Reader(client)
        await client.subscribe("#", qos=1)
        task = asyncio.create_task(reader.read())
        try:
            yield reader
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def keep_showing(made: Mqtt) -> None:
    """Do what the runner does while there are no events, until the connection is lost."""
    while True:
        await made.cameras({"door": "RUNNING"})
        await asyncio.sleep(0.01)


@pytest.fixture
def broker() -> Iterator[Broker]:
    with mosquitto() as running:
        yield running


async def test_events_arrive_in_order_as_cloud_events(broker: Broker) -> None:
    async with reading(broker.port) as reader, opened(broker.port) as one:
        await one.deliver([made for number in range(1, 201, 2) for made in visit(number, f"t{number}")])
        await reader.count(200)
    assert [made["id"] for made in reader.events] == [f"{STORE}-{number}" for number in range(1, 201)]
    assert reader.events[0]["type"] == "faceanalytics.track.new"
    assert reader.events[1]["data"]["track_id"] == "t1"
    assert "faceanalytics/events" not in reader.kept


@pytest.mark.parametrize("protocol", ["v5", "v3.1.1"])
async def test_availability_states_and_numbers_of_faces_are_retained(broker: Broker, protocol: str) -> None:
    async with opened(broker.port, protocol=protocol) as one:
        await one.cameras({"door": "RUNNING", "front.hall": "CONNECTING"})
        await one.deliver([event(1, track="a"), event(2, track="b"), event(3, "END", track="a")])
        async with reading(broker.port) as reader:  # it comes later
            await reader.until(
                "faceanalytics/available=online",
                "faceanalytics/door/state=running",
                "faceanalytics/door/faces=1",
                "faceanalytics/front.hall/state=connecting",
                "faceanalytics/front.hall/faces=0",
            )
            assert not any(topic.startswith("homeassistant") for topic in reader.kept)
            assert not any(topic.endswith("/people") for topic in reader.kept)
            await one.cameras({"door": "RECONNECTING", "front.hall": "CONNECTING"})
            await reader.until("faceanalytics/door/state=reconnecting")
            await one.close()
            await reader.until("faceanalytics/available=offline")


async def test_the_last_will_says_that_a_streamer_is_gone(broker: Broker) -> None:
    async with reading(broker.port) as reader, opened(broker.port, client_id="same") as one:
        await reader.until("faceanalytics/available=online")
        async with aiomqtt.Client(HOST, broker.port, identifier="same"):  # the broker cuts the older connection
            await reader.until("faceanalytics/available=offline")
            with pytest.raises(Undelivered):
                await keep_showing(one)


async def test_a_last_will_that_comes_late_is_corrected(broker: Broker) -> None:
    async with reading(broker.port) as reader, opened(broker.port):
        await reader.until("faceanalytics/available=online")
        await reader.client.publish("faceanalytics/available", b"offline", qos=1, retain=True)
        await reader.when(lambda: ("faceanalytics/available", b"offline") in reader.heard)
        await reader.until("faceanalytics/available=online")


async def test_home_assistant_finds_a_device_per_camera(broker: Broker) -> None:
    async with opened(broker.port, home_assistant={}, prefix="site/faces") as one:
        await one.cameras({"door": "RUNNING", "front.hall": "RUNNING"})
        async with reading(broker.port) as reader:
            await reader.when(lambda: len(reader.kept) == 6 + 2 * 2 + 1)
    found = {topic: json.loads(text) for topic, text in reader.kept.items() if topic.startswith("homeassistant/")}
    assert len(found) == 6
    identities = [made["unique_id"] for made in found.values()]
    assert len(set(identities)) == 6
    assert len({made["device"]["identifiers"][0] for made in found.values()}) == 2
    for topic, made in found.items():
        _, component, node, name, last = topic.split("/")
        assert last == "config"
        assert node.replace("_", "").replace("-", "").isalnum()
        assert made["availability_topic"] == "site/faces/available"
        assert reader.kept[made["state_topic"]]
        assert made["unique_id"] == f"{node}_{name}"
        assert (component == "binary_sensor") == (made.get("device_class") in ("occupancy", "connectivity"))
    presence = found["homeassistant/binary_sensor/site_faces_door/presence/config"]
    assert presence["device"]["name"] == "door"
    assert presence["state_topic"] == "site/faces/door/faces"


async def test_home_assistant_learns_everything_again_when_it_starts(broker: Broker) -> None:
    async with opened(broker.port, home_assistant={}) as one, reading(broker.port) as reader:
        await one.cameras({"door": "RUNNING"})
        await reader.until("faceanalytics/door/faces=0")
        reader.kept.clear()
        await reader.client.publish("homeassistant/status", b"online", qos=1)
        await reader.until("faceanalytics/door/state=running", "faceanalytics/door/faces=0")
        assert sum(topic.endswith("/config") for topic in reader.kept) == 3


async def test_a_removed_camera_leaves_nothing_behind(broker: Broker) -> None:
    async with opened(broker.port, home_assistant={}) as one, reading(broker.port) as reader:
        await one.cameras({"door": "RUNNING", "hall": "RUNNING"})
        await one.deliver([event(1, camera="hall")])
        await reader.until("faceanalytics/hall/faces=1")
        await one.cameras({"door": "RUNNING"})
        await reader.until("faceanalytics/door/state=running", without="hall")


async def test_a_camera_that_was_removed_while_the_streamer_was_down_leaves_nothing_behind(broker: Broker) -> None:
    async with opened(broker.port, home_assistant={}) as one:
        await one.cameras({"door": "RUNNING", "old": "RUNNING"})
    broker.stop()
    broker.start()  # it has kept them
    async with reading(broker.port) as reader:
        await reader.until("faceanalytics/old/state=running")
        async with opened(broker.port, home_assistant={}) as one:
            await one.cameras({"door": "RUNNING"})
            await reader.until("faceanalytics/door/state=running", without="old")


async def test_names_of_people_need_permission(broker: Broker) -> None:
    allowed = {"biometric": True, "events": ["NEW", "END", "MERGE", "SPLIT", "DECISION"], "home_assistant": {}}
    async with opened(broker.port, **allowed) as one, reading(broker.port) as reader:
        await one.cameras({"door": "RUNNING"})
        await one.deliver([event(1, track="a"), event(2, "DECISION", track="a", person="Zoë")])
        await reader.until('faceanalytics/door/people=["Zoë"]')
        assert "homeassistant/sensor/faceanalytics_door/people/config" in reader.kept
        await one.deliver([event(3, "END", track="a", person="Zoë")])
        await reader.until("faceanalytics/door/people=[]", "faceanalytics/door/faces=0")


async def test_numbers_of_faces_are_left_out_where_the_chosen_events_do_not_say_them(broker: Broker) -> None:
    async with opened(broker.port, events=["END"]) as one, reading(broker.port) as reader:
        await one.cameras({"door": "RUNNING"})
        await one.deliver([event(1, "END")])
        await reader.count(1)
        await reader.until("faceanalytics/door/state=running", without="/faces")


async def test_an_event_above_the_limit_is_refused_and_those_before_it_are_there(broker: Broker) -> None:
    large = event(2, track="b", person="x" * 3000)
    async with opened(broker.port, max_payload_bytes=2000) as one, reading(broker.port) as reader:
        await one.cameras({"door": "RUNNING"})
        with pytest.raises(Refused, match=r"store-1-2 has 3\d+ bytes, the limit is 2000") as raised:
            await one.deliver([event(1), large, event(3, track="b")])
        assert raised.value.place == 1
        await reader.until("faceanalytics/door/faces=2")  # the refused one is there as well
    assert next(made["id"] for made in reader.events) == f"{STORE}-1"


async def test_the_brokers_own_limit_is_known() -> None:
    with mosquitto("allow_anonymous true\nmax_packet_size 4000") as broker:
        async with opened(broker.port) as one:
            with pytest.raises(Refused, match="the limit is 3488"):
                await one.deliver([event(1, person="x" * 4000)])
            await one.deliver([event(2)])


@pytest.mark.parametrize("protocol", ["v5", "v3.1.1"])
async def test_a_wrong_password_is_said(tmp_path: Path, protocol: str) -> None:
    file, word = passwords(tmp_path / "passwd", "me", "right"), tmp_path / "word"
    word.write_text("wrong")
    with mosquitto(f"allow_anonymous false\npassword_file {_open(file)}") as broker:
        made = sink(broker.port, username="me", password_file=str(word), protocol=protocol)
        with pytest.raises(Undelivered, match=r"(?i)not authori[sz]ed"):
            await made.open()
        word.write_text("right")
        await made.open()
        await made.deliver([event(1)])
        await made.close()


async def test_a_topic_that_is_forbidden_is_said_and_nothing_counts_as_delivered(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic write other/#\n")
    with mosquitto(f"allow_anonymous true\nacl_file {_open(rules)}") as broker:
        made = sink(broker.port)
        with pytest.raises(Undelivered, match=r"refuses messages: .*Not authorized"):
            await made.open()
        await made.close()
        async with opened(broker.port, prefix="other") as one:
            await one.deliver([event(1)])


async def test_tls_with_a_wrong_authority_is_said_and_the_right_one_works(tmp_path: Path) -> None:
    authority, stranger = issue(tmp_path, "ca"), issue(tmp_path, "stranger")
    server, client = issue(tmp_path, "server", by=authority), issue(tmp_path, "client", by=authority)
    for file in (server.path, server.key_path, authority.path):
        _open(file)
    lines = f"certfile {server.path}\nkeyfile {server.key_path}\ncafile {authority.path}\nrequire_certificate true"
    with mosquitto(f"allow_anonymous true\n{lines}") as broker:
        mine = {"certificate": str(client.path), "key": str(client.key_path)}
        for tls, problem in (
            ({"ca_file": str(stranger.path), **mine}, "certificate verify failed"),
            ({"ca_file": str(tmp_path / "absent.pem")}, r"absent\.pem"),
            ({"ca_file": str(authority.path)}, "(?i)certificate required"),
        ):
            made = sink(broker.port, tls=tls, timeout_s=2.0)
            with pytest.raises(Undelivered, match=problem):
                await made.open()
            await made.close()
        context = ssl.create_default_context(cafile=str(authority.path))
        context.load_cert_chain(client.path, client.key_path)
        async with (
            opened(broker.port, tls={"ca_file": str(authority.path), **mine}) as one,
            reading(broker.port, tls_context=context) as reader,
        ):
            await one.deliver([event(1)])
            await reader.count(1)


async def test_a_broker_that_is_absent_or_silent_is_said() -> None:
    made = sink(free_port())
    with pytest.raises(Undelivered, match="Connect call failed"):
        await made.open()
    with pytest.raises(Undelivered):
        await made.deliver([event(1)])
    await made.close()
    with socket.create_server((HOST, 0)) as silent:
        made = sink(silent.getsockname()[1], timeout_s=0.5)
        with pytest.raises(Undelivered, match=r"no answer within 0\.5 s"):
            await made.open()
        await made.close()


async def test_an_idle_sink_notices_that_the_broker_has_gone(broker: Broker) -> None:
    made = sink(broker.port)
    await made.open()
    await made.cameras({"door": "RUNNING"})
    broker.kill()
    with pytest.raises(Undelivered):
        await keep_showing(made)
    await made.close()
    broker.start()
    await made.open()
    await made.cameras({"door": "RUNNING"})
    async with reading(broker.port) as reader:
        await reader.until("faceanalytics/available=online", "faceanalytics/door/state=running")
    await made.close()


def _open(file: Path) -> Path:
    """Let mosquitto read a file: started by root, it becomes a user of its own."""
    file.chmod(0o644)
    for folder in [file.parent, *file.parent.parents][:4]:
        if folder.stat().st_mode & 0o5 != 0o5:
            folder.chmod(folder.stat().st_mode | 0o5)
    return file
