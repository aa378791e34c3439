"""The webhook against a real HTTP server: form, signature, TLS, and what each answer means."""

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from faceanalytics.errors import ConfigError
from streamer.configfile import parse_config
from streamer.sink_settings import WebhookSink
from streamer.sinks.delivery import Refused, SinkEvent, Undelivered
from streamer.sinks.webhook import Webhook
from tests.sinks.test_files import event
from tests.support.certificates import issue
from tests.support.receiver import SECRET, Receiver


def sink(url: str, **changes: Any) -> Webhook:
    settings = {"type": "webhook", "name": "hook", "url": url, "timeout_s": 30, **changes}
    return Webhook(WebhookSink.model_validate(settings), "store")


async def post(url: str, events: Sequence[SinkEvent], **changes: Any) -> None:
    one = sink(url, **changes)
    await one.open()
    try:
        await one.deliver(events)
    finally:
        await one.close()


async def test_each_event_is_a_request_in_the_structured_form() -> None:
    with Receiver() as receiver:
        await post(receiver.url, [event(1), event(2)], headers={"Authorization": "Bearer x", "content-type": "no"})
    assert [one["id"] for one in receiver.events] == ["run-1", "run-2"]
    headers = receiver.requests[0]
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["authorization"] == "Bearer x"
    assert headers["webhook-id"] == "run-1"
    assert headers["user-agent"].startswith("faceanalytics/")
    assert "webhook-signature" not in headers


async def test_a_batch_is_one_request() -> None:
    with Receiver() as receiver:
        await post(receiver.url, [event(1), event(2), event(3)], batched=True)
        await post(receiver.url, [event(4)], batched=True)
    assert [one["id"] for one in receiver.events] == ["run-1", "run-2", "run-3", "run-4"]
    assert [one["content-type"] for one in receiver.requests] == ["application/cloudevents-batch+json"] * 2
    assert [one["webhook-id"] for one in receiver.requests] == ["run-1-3", "run-4"]


@pytest.mark.parametrize("batched", [False, True])
async def test_requests_are_signed_with_each_secret(tmp_path: Path, batched: bool) -> None:
    with Receiver() as receiver:
        await post(receiver.url, [event(1), event(2)], secret=SECRET, batched=batched)
        (tmp_path / "secret").write_text(f"the one of next month\n{SECRET}\n\n")
        await post(receiver.url, [event(3)], secret_file=str(tmp_path / "secret"), batched=batched)
    assert [one["id"] for one in receiver.events] == ["run-1", "run-2", "run-3"]  # the receiver has verified them
    assert len(receiver.requests[-1]["webhook-signature"].split()) == 2


@pytest.mark.parametrize("content", ["", "short", "whsec_!!!!", "whsec_QUJD"])
def test_unusable_secrets_are_errors_that_do_not_show_them(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_text(content)
    with pytest.raises(ConfigError, match="secret_file") as caught:
        sink("http://127.0.0.1:1/", secret_file=str(tmp_path / "secret"))
    assert not content or content not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        sink("http://127.0.0.1:1/", secret_file=str(tmp_path / "absent"))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599, 401, 403, 404, 410, 302, 307, 405])
async def test_answers_after_which_the_events_are_delivered_again(status: int) -> None:
    with Receiver(behave=lambda body: str(status) if b"run-2" in body else "ok") as receiver:
        receiver.headers = {"Location": "http://127.0.0.1:1/elsewhere", "Retry-After": "7"}
        with pytest.raises(Undelivered, match=str(status)) as caught:
            await post(receiver.url, [event(1), event(2), event(3)])
    assert caught.value.delivered == 1
    assert caught.value.after_s == (7.0 if status in (408, 425, 429) or status >= 500 else None)
    assert "geheim" not in str(caught.value)
    assert [one["id"] for one in receiver.events] == ["run-1"]


async def test_the_receiver_may_ask_for_a_pause_by_a_date() -> None:
    with Receiver(behave=lambda body: "503") as receiver:
        for value, least, most in (
            (format_datetime(datetime.now(UTC) + timedelta(hours=1)), 1000, 3600),
            (format_datetime(datetime.now(UTC) - timedelta(hours=1)), 0, 0),
        ):
            receiver.headers = {"Retry-After": value}
            with pytest.raises(Undelivered) as caught:
                await post(receiver.url, [event(1)])
            assert caught.value.after_s is not None
            assert least <= caught.value.after_s <= most
        receiver.headers = {"Retry-After": "soon"}
        with pytest.raises(Undelivered) as caught:
            await post(receiver.url, [event(1)])
        assert caught.value.after_s is None


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_answers_after_which_an_event_is_left_out(status: int) -> None:
    with Receiver(behave=lambda body: str(status) if b"run-2" in body else "ok") as receiver:
        with pytest.raises(Refused, match=str(status)) as caught:
            await post(receiver.url, [event(1), event(2), event(3)])
        assert caught.value.place == 1
        with pytest.raises(Refused) as caught:
            await post(receiver.url, [event(1), event(2)], batched=True)
        assert caught.value.place is None


@pytest.mark.parametrize("failure", ["reset", "half", "hang"])
async def test_answers_that_do_not_arrive_in_full(failure: str) -> None:
    with Receiver(behave=lambda body: failure) as receiver, pytest.raises(Undelivered) as caught:
        await post(receiver.url, [event(1)], timeout_s=1.0)
    assert caught.value.delivered == 0
    assert "geheim" not in str(caught.value)


async def test_a_receiver_that_never_answers_is_given_up_after_the_timeout() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,  # accepts, and says nothing
        pytest.raises(Undelivered, match=r"did not answer within 0\.2 s"),
    ):
        await post(f"http://127.0.0.1:{server.getsockname()[1]}/", [event(1)], timeout_s=0.2)


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    async with server:
        await post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", [event(1)])


async def test_a_certificate_is_checked(tmp_path: Path) -> None:
    authority = issue(tmp_path, "authority")
    server = issue(tmp_path, "server", authority)
    encryption = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    encryption.load_cert_chain(server.path, server.key_path)
    with Receiver(encryption=encryption) as receiver:
        await post(receiver.url, [event(1)], ca_file=str(authority.path))
        with pytest.raises(Undelivered, match="certificate verify failed"):
            await post(receiver.url, [event(2)])
    assert [one["id"] for one in receiver.events] == ["run-1"]


def test_a_file_that_is_no_certificate_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "absent.pem"):
        with pytest.raises(ConfigError, match=f"sink hook: ca_file .*{name}"):
            sink("https://127.0.0.1:1/", ca_file=str(tmp_path / name))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"url": "ftp://host/"}, "write http://HOST/PATH"),
        ({"url": "http://user:geheim@host/"}, "leave user and password out"),
        ({"url": "http://host/#x"}, "leave out the part behind `#`"),
        ({"secret": "geheim-" * 4, "secret_file": "x"}, "exclude each other"),
        ({"ca_file": "x"}, "ca_file needs"),
        ({"secret": "short"}, "at least 16"),
    ],
)
def test_settings_that_cannot_work_are_errors(changes: dict[str, Any], problem: str) -> None:
    section = {"type": "webhook", "name": "hook", "url": "http://host/", **changes}
    with pytest.raises(ConfigError, match=problem) as caught:
        parse_config({"sinks": [section]}, "live.yaml")
    assert "geheim" not in str(caught.value)


async def test_the_body_is_json_in_utf_8() -> None:
    bodies: list[bytes] = []
    with Receiver(behave=lambda body: bodies.append(body) or "ok") as receiver:  # type: ignore[func-returns-value]
        await post(receiver.url, [event(1, body={"person": "Zoë"})])
    assert json.loads(bodies[0])["data"] == {"person": "Zoë"}
    assert "Zoë".encode() in bodies[0]


async def test_addresses_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Receiver() as receiver:
        await post(receiver.url, [event(1)])
    assert "geheim" not in caplog.text
