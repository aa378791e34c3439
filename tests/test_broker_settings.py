"""The settings of the sinks for brokers: what they refuse, what they show, and where they take secrets from."""

from pathlib import Path
from typing import Any

import pytest

from faceanalytics.errors import ConfigError
from streamer.broker_settings import BrokerTls, KafkaSink, MqttSink, NatsSink
from streamer.configfile import parse_config, show_config
from tests.support.certificates import issue

MQTT = {"type": "mqtt", "name": "home", "host": "127.0.0.1"}
NATS = {"type": "nats", "name": "bus", "servers": ["nats://127.0.0.1:4222"]}
KAFKA = {"type": "kafka", "name": "lake", "servers": ["127.0.0.1:9092"]}


def parse(sink: dict[str, Any]) -> Any:
    return parse_config({"sinks": [sink]}, "test").sinks[0]


@pytest.mark.parametrize(
    ("sink", "problem"),
    [
        ({**MQTT, "host": "broker.example"}, "another machine needs `tls: {}`"),
        ({**MQTT, "host": "broker.example", "tls": {}, "insecure": True}, "remove `insecure: true`"),
        ({**MQTT, "host": "mqtt://broker"}, "host"),
        ({**MQTT, "prefix": "a/+/b"}, "prefix"),
        ({**MQTT, "prefix": "#"}, "prefix"),
        ({**MQTT, "prefix": "a/"}, "prefix"),
        ({**MQTT, "password": "secret"}, "a password needs a `username`"),
        ({**MQTT, "username": "u", "password": "secret", "password_file": "f"}, "exclude each other"),
        ({**MQTT, "tls": {"certificate": "a.pem"}}, "certificate and key belong together"),
        ({**MQTT, "events": ["END"], "home_assistant": {}}, "needs the events END, MERGE, NEW, SPLIT"),
        ({**MQTT, "protocol": "5"}, "v5"),
        ({**NATS, "servers": ["nats://broker.example:4222"]}, "another machine needs"),
        ({**NATS, "servers": ["nats://127.0.0.1:1", "nats://10.0.0.2:1"]}, "10.0.0.2: another machine needs"),
        ({**NATS, "servers": ["http://127.0.0.1:1"]}, "write nats://HOST:PORT"),
        ({**NATS, "servers": ["nats://me:secret@127.0.0.1:1"]}, "leave user and password out"),
        ({**NATS, "servers": []}, "servers"),
        ({**NATS, "token": "t", "nkey_file": "f"}, "token and nkey_file exclude each other"),
        ({**NATS, "prefix": "a.*"}, "prefix"),
        ({**NATS, "stream": "a.b"}, "stream"),
        ({**KAFKA, "servers": ["broker.example:9092"]}, "broker.example: another machine needs"),
        ({**KAFKA, "servers": ["127.0.0.1"]}, "write host:port"),
        ({**KAFKA, "servers": ["me@127.0.0.1:1"]}, "write host:port"),
        ({**KAFKA, "topic": "a/b"}, "topic"),
    ],
)
def test_settings_that_cannot_work_are_errors_that_name_the_field(sink: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(sink)
    text = str(raised.value)
    assert problem in text
    assert "sinks.0" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "sink",
    [
        {**MQTT, "host": "broker.example", "tls": {}},
        {**MQTT, "host": "broker.example", "insecure": True},
        {**MQTT, "host": "localhost", "prefix": "site-1/faces", "home_assistant": {"prefix": "ha"}},
        {**NATS, "servers": ["tls://broker.example:4222"]},
        {**NATS, "servers": ["nats://broker.example:4222"], "tls": {}},
        {**KAFKA, "servers": ["broker.example:9092"], "tls": {}, "username": "u", "password": "p"},
    ],
)
def test_settings_that_can_work_are_accepted(sink: dict[str, Any]) -> None:
    assert parse(sink).name == sink["name"]


def test_secrets_are_masked_where_the_configuration_is_shown() -> None:
    secret = {"username": "me", "password": "geheim"}
    sinks = [{**MQTT, **secret}, {**NATS, "token": "geheim"}, {**KAFKA, **secret}]
    config = parse_config({"sinks": sinks}, "test")
    shown = show_config(config)
    assert "geheim" not in shown
    assert shown.count("***") == 3
    assert "me" in shown
    assert "geheim" not in repr(config)


def test_secrets_come_from_files_that_are_read_when_they_are_needed(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    mqtt = MqttSink.model_validate({**MQTT, "username": "u", "password_file": str(file)})
    nats = NatsSink.model_validate({**NATS, "token_file": str(file)})
    for read in (mqtt.secret, nats.shown_token):
        with pytest.raises(ConfigError, match="_file: "):
            read()
    file.write_text("first\n")
    assert (mqtt.secret(), nats.shown_token()) == ("first", "first")
    file.write_text("second\n")
    assert (mqtt.secret(), nats.shown_token()) == ("second", "second")
    assert KafkaSink.model_validate(KAFKA).secret() is None


def test_files_of_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    authority = issue(tmp_path, "ca")
    assert BrokerTls(ca_file=str(authority.path)).context().check_hostname
    with pytest.raises(ConfigError, match=r"absent\.pem"):
        BrokerTls(ca_file=str(tmp_path / "absent.pem")).context()
    other = issue(tmp_path, "other", by=authority)
    with pytest.raises(ConfigError, match=r"other-key\.pem"):
        BrokerTls(certificate=str(authority.path), key=str(other.key_path)).context()
