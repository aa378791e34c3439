"""Settings of the sinks, which deliver events of the log to other systems. The class follows from `type`."""

from typing import Annotated, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from streamer.broker_settings import KafkaSink, MqttSink, NatsSink
from streamer.sink_fields import Seconds, SinkFields


def _is_web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write http://HOST/PATH or https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("leave user and password out of the address; write them with `headers`, or use `secret_file`")
    if parts.fragment:
        raise ValueError("leave out the part behind `#`, which no server receives")
    return url


class FilesSink(SinkFields):
    """Files with one event per line, as JSON. A full file is renamed, and the oldest ones are deleted."""

    type: Literal["files"]
    folder: str
    """Folder of the files: NAME.jsonl is being written, NAME-YYYYMMDDTHHMMSSZ-SEQUENCE.jsonl are full ones. SEQUENCE is
    that of the last event in the file."""
    max_mb: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 64.0
    """Begin a new file before this one would be larger, in millions of bytes."""
    keep: Annotated[int, Field(ge=1)] | None = 100
    """Full files to keep; older ones are deleted. null keeps all."""
    daily: bool = False
    """Begin a new file with each day (UTC), too."""


class WebhookSink(SinkFields):
    """An HTTP server, which receives events as CloudEvents 1.0 in JSON by POST."""

    type: Literal["webhook"]
    url: Annotated[str, AfterValidator(_is_web_address)] = Field(repr=False)
    """Address of the receiver, http:// or https://. Redirects are not followed."""
    batched: bool = False
    """Send up to `batch` events in one request, as application/cloudevents-batch+json. Otherwise each event is a
    request of its own, as application/cloudevents+json."""
    secret: str | None = Field(default=None, repr=False, min_length=16)
    """Secret that signs the requests, which proves to the receiver that they come from here: at least 16 characters.
    Write ${NAME} to take it from the environment."""
    secret_file: str | None = None
    """File that contains the secret, in place of `secret`. It is read at each connection."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """Further headers of each request, such as Authorization."""
    ca_file: str | None = None
    """For https: PEM file of the certificate authorities to accept. null: those of the system."""
    timeout_s: Seconds = 10.0
    """Longest wait for the answer to a request, in seconds."""

    @model_validator(mode="after")
    def _consistent(self) -> "WebhookSink":
        if self.secret and self.secret_file:
            raise ValueError("secret and secret_file exclude each other")
        if self.ca_file and not self.url.startswith("https:"):
            raise ValueError("ca_file needs an address that begins with https:")
        return self


_Sink: TypeAlias = FilesSink | WebhookSink | MqttSink | NatsSink | KafkaSink
SinkSettings: TypeAlias = Annotated[_Sink, Field(discriminator="type")]
SINK_TYPES = tuple(get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(_Sink))
