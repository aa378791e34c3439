"""Settings of the sinks that deliver to message brokers: MQTT, NATS JetStream and Kafka."""

import ssl
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from faceanalytics.errors import ConfigError
from streamer.safety import is_loopback
from streamer.section import Section
from streamer.sink_fields import Seconds, SinkFields

INSECURE = "insecure: true"
COUNTED = {"NEW", "END", "MERGE", "SPLIT"}  # events without which nobody can say how many faces there are


def _is_server(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in host or "@" in host:
        raise ValueError(f"{address!r} is not the address of a server: write host:port")
    return address


def _is_nats_server(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("nats", "tls") or not parts.hostname:
        raise ValueError("write nats://HOST:PORT or tls://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        raise ValueError("leave user and password out of the address; write `username` and `password_file`, or `token`")
    return url


Server = Annotated[str, AfterValidator(_is_server)]
NatsServer = Annotated[str, AfterValidator(_is_nats_server)]
TopicPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=200)]
SubjectPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=200)]
StreamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")]
KafkaTopic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Bytes = Annotated[int, Field(ge=1024, le=1 << 28)]


class BrokerTls(Section):
    """Encryption of the connection to a broker. `{}` accepts servers with a certificate of the system's authorities.
    The files are read at each connection."""

    ca_file: str | None = None
    """PEM file of the certificate authorities to accept. null: those of the system."""
    certificate: str | None = None
    """PEM file of a certificate that shows the broker who connects, for brokers that ask for one."""
    key: str | None = None
    """PEM file of its private key, without a passphrase."""

    @model_validator(mode="after")
    def _both(self) -> "BrokerTls":
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key belong together")
        return self

    def context(self) -> ssl.SSLContext:
        """Return what connections need. Raises ConfigError for files that cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = ", ".join(file for file in (self.ca_file, self.certificate, self.key) if file)
            raise ConfigError(f"tls: cannot use {files}: {error}") from error
        return context


class BrokerSink(SinkFields):
    """What the sinks for brokers have in common."""

    tls: BrokerTls | None = None
    """Encryption. null: none, which only a broker on this machine may have."""
    insecure: bool = False
    """Send without encryption to a broker on another machine. Whoever can listen in the network can then read events
    and the password."""
    username: str | None = None
    """User name, for brokers that ask for one."""
    password: str | None = Field(default=None, repr=False)
    """Its password. Write ${NAME} to take it from the environment."""
    password_file: str | None = None
    """File that contains the password, in place of `password`. It is read at each connection."""
    timeout_s: Seconds = 10.0
    """Longest wait for a connection, and for the acknowledgement of an event, in seconds."""
    max_payload_bytes: Bytes = 1 << 20
    """Skip events that are larger than this, in bytes, and count them. A smaller limit of the broker has precedence."""

    @model_validator(mode="after")
    def _one_password(self) -> "BrokerSink":
        if self.password and self.password_file:
            raise ValueError("password and password_file exclude each other")
        if (self.password or self.password_file) and not self.username:
            raise ValueError("a password needs a `username`")
        return self

    def secret(self) -> str | None:
        """Return the password. Raises ConfigError for a file that cannot be read."""
        return _read("password_file", self.password_file) if self.password_file else self.password

    def _check_encrypted(self, hosts: list[str], encrypted: bool) -> None:
        open_to = [host for host in hosts if not is_loopback(host)]
        if encrypted and self.insecure:
            raise ValueError(f"remove `{INSECURE}`: the connection is encrypted")
        if open_to and not encrypted and not self.insecure:
            raise ValueError(
                f"{', '.join(open_to)}: another machine needs `tls: {{}}`, or `tls: {{ca_file: FILE}}`. "
                f"Only in a network that you trust: `{INSECURE}`"
            )


class HomeAssistant(Section):
    """Entities for Home Assistant: it finds one device per camera, without any configuration."""

    prefix: TopicPath = "homeassistant"
    """Its discovery prefix."""


class MqttSink(BrokerSink):
    """An MQTT broker, with topics as users of Frigate know them, and entities for Home Assistant."""

    type: Literal["mqtt"]
    host: Annotated[str, Field(min_length=1, pattern=r"^[^\s/@]+$")]
    """Name or number of the broker."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of the broker. null: 1883, with tls 8883."""
    protocol: Literal["v5", "v3.1.1"] = "v5"
    """Version of MQTT. v5 says why a broker refuses something."""
    client_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Id of the connection. Of two connections with the same id, a broker closes the older one. null: prefix and
    name."""
    prefix: TopicPath = "faceanalytics"
    """First part of all topics. Two streamers, or two sinks, on one broker need different ones."""
    keepalive_s: Annotated[int, Field(ge=5, le=65535)] = 30
    """Sign of life for the broker, in seconds. After 1.5 times as long without one, it shows the streamer offline."""
    home_assistant: HomeAssistant | None = None
    """Entities for Home Assistant. `{}` switches them on."""

    @model_validator(mode="after")
    def _safe(self) -> "MqttSink":
        self._check_encrypted([self.host], self.tls is not None)
        if self.home_assistant and not self.counts:
            raise ValueError(f"home_assistant: the number of faces needs the events {', '.join(sorted(COUNTED))}")
        return self

    @property
    def counts(self) -> bool:
        """Return whether the chosen events say how many faces there are."""
        return set(self.events) >= COUNTED

    @property
    def people(self) -> bool:
        """Return whether the chosen events say who is there."""
        return self.counts and self.biometric and "DECISION" in self.events


class NatsSink(BrokerSink):
    """NATS JetStream. Events are stored in a stream, which drops those that it has already."""

    type: Literal["nats"]
    servers: Annotated[tuple[NatsServer, ...], Field(min_length=1)]
    """Addresses of one cluster, nats://HOST:PORT or tls://HOST:PORT."""
    prefix: SubjectPath = "faceanalytics"
    """First part of the subjects: PREFIX.CAMERA.KIND."""
    stream: StreamName = "FACEANALYTICS"
    """Name of the stream."""
    create: bool = False
    """Create the stream if it does not exist, with the next three settings. An existing one is left as it is."""
    keep_days: Annotated[float, Field(gt=0, le=36_525)] | None = 30.0
    """Days for which a stream that is created keeps events. null: forever."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """Copies in a cluster of a stream that is created."""
    duplicates_s: Seconds = 3600.0
    """Time in which a stream that is created drops events that it has already, in seconds. The broker keeps their ids
    in memory."""
    token: str | None = Field(default=None, repr=False)
    """Token, for servers that ask for one. Write ${NAME} to take it from the environment."""
    token_file: str | None = None
    """File that contains the token, in place of `token`."""
    nkey_file: str | None = None
    """File that contains the seed of an NKey."""
    credentials_file: str | None = None
    """File with JWT and seed of a user, as `nsc` writes them."""

    @model_validator(mode="after")
    def _safe(self) -> "NatsSink":
        ways = ("username", "token", "token_file", "nkey_file", "credentials_file")
        given = [name for name in ways if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other")
        plain = [url for url in self.servers if urlsplit(url).scheme == "nats"]
        hosts = [urlsplit(url).hostname or "" for url in plain]
        self._check_encrypted(hosts, self.tls is not None or not plain)
        return self

    def shown_token(self) -> str | None:
        """Return the token. Raises ConfigError for a file that cannot be read."""
        return _read("token_file", self.token_file) if self.token_file else self.token


class KafkaSink(BrokerSink):
    """A topic of Kafka. The events of a track are in one partition, in order."""

    type: Literal["kafka"]
    servers: Annotated[tuple[Server, ...], Field(min_length=1)]
    """Some brokers of the cluster, host:port."""
    topic: KafkaTopic = "faceanalytics"
    """Topic of the events. Whether it is created by the first one is a setting of the brokers."""
    sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How user name and password are sent, if there are any."""
    compression: Literal["gzip"] | None = None
    """Compress batches of events."""

    @model_validator(mode="after")
    def _safe(self) -> "KafkaSink":
        self._check_encrypted([server.rpartition(":")[0] for server in self.servers], self.tls is not None)
        return self


def _read(setting: str, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}: {error}") from error
