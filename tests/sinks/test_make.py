"""Sinks for brokers are made from the configuration, and need their packages only then."""

import importlib.util
from typing import Any

import pytest

from faceanalytics import extras
from faceanalytics.extras import MissingPackage
from streamer.config import StreamerConfig
from streamer.sinks.delivery import ShowsCameras
from streamer.sinks.make import make_sink

MQTT = {"type": "mqtt", "name": "home", "host": "127.0.0.1"}
NATS = {"type": "nats", "name": "bus", "servers": ["nats://127.0.0.1:4222"]}
KAFKA = {"type": "kafka", "name": "lake", "servers": ["127.0.0.1:9092"]}


def settings(sink: dict[str, Any]) -> Any:
    return StreamerConfig.model_validate({"sinks": [sink]}).sinks[0]


@pytest.mark.parametrize("sink", [MQTT, NATS, KAFKA])
def test_a_sink_has_the_name_of_its_settings_and_mqtt_shows_cameras(sink: dict[str, Any]) -> None:
    made = make_sink(settings(sink), "store")
    assert made.name == sink["name"]
    assert isinstance(made, ShowsCameras) == (sink is MQTT)


@pytest.mark.parametrize(
    ("sink", "package"),
    [(MQTT, "aiomqtt"), (NATS, "nats"), ({**NATS, "nkey_file": "seed"}, "nkeys"), (KAFKA, "aiokafka")],
)
def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(
    sink: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(
        MissingPackage, match=rf"{sink['name']}: {package} is not installed: pip install 'faceanalytics\[sinks\]'"
    ):
        make_sink(settings(sink), "store")
