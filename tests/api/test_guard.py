"""Attacks on the API over real sockets: each gets the right status and at most one line, and nothing leaks."""

import asyncio
import logging
import socket
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from faceanalytics.errors import ConfigError
from faceanalytics.v1 import streams_pb2, streams_pb2_grpc, system_pb2, system_pb2_grpc, tracks_pb2, tracks_pb2_grpc
from streamer.access.token_file import TokenFile
from streamer.access.tokens import PREFIX, Scope, Token, utc_now
from streamer.api import entrance
from streamer.api.server import start_server
from streamer.config import Publish
from streamer.hub import Hub
from streamer.safety import Access
from streamer.values import Candidate, IdentityDecision, IdentityStatus
from tests.api.test_server import KeptCameras, final, summary
from tests.support.guarded_server import as_is, bearer, guarded
from tests.support.patience import FOREVER_S, WAIT_S

UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


async def status(call: Any) -> tuple[grpc.StatusCode, str]:
    async with asyncio.timeout(WAIT_S):
        try:
            await call
        except aio.AioRpcError as error:
            return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def models(channel: aio.Channel, secret: str | None = None) -> Any:
    metadata = bearer(secret) if secret else ()
    return system_pb2_grpc.SystemServiceStub(channel).ListModels(system_pb2.ListModelsRequest(), metadata=metadata)


def silent(channel: aio.Channel, path: str, metadata: Any) -> Any:
    """A call that sends no request."""
    start: Any = channel.stream_stream(path, as_is, as_is)
    return start(metadata=metadata)


def watch(channel: aio.Channel, secret: str | None, **request: Any) -> Any:
    metadata = bearer(secret) if secret else ()
    stub = tracks_pb2_grpc.TrackServiceStub(channel)
    return stub.WatchTracks(tracks_pb2.WatchTracksRequest(**request), metadata=metadata)


def known_person(track: str = "t1", camera: str = "door") -> Any:
    decision = IdentityDecision(
        status=IdentityStatus.IDENTIFIED,
        person="Ada",
        reason=None,
        candidates=(Candidate("Ada", 0.8),),
        margin=0.3,
        threshold=0.4,
        samples=3,
        best_quality=0.9,
        revision=1,
    )
    return summary(track, camera=camera, decision=decision)


# --- tokens


async def test_loopback_is_open_until_the_first_token_is_made(tmp_path: Path) -> None:
    async with guarded(tmp_path) as at, at.channel() as channel:
        assert await status(models(channel)) == (grpc.StatusCode.OK, "")
        secret = await at.token(Scope.READ)
        code, text = await status(models(channel))
        assert (code, "authorization: Bearer" in text) == (UNAUTHENTICATED, True)
        assert await status(models(channel, secret)) == (grpc.StatusCode.OK, "")
        (at.folder / "tokens.jsonl").unlink()
        assert (await status(models(channel)))[0] is UNAUTHENTICATED  # it does not open again


async def test_forged_expired_and_revoked_tokens_are_refused_in_one_line_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with guarded(tmp_path) as at, at.channel() as channel:
        good = await at.token(Scope.READ)
        expired = await at.token(Scope.READ, lifetime=timedelta(seconds=-1))
        revoked = await at.token(Scope.ADMIN)
        (admin,) = [one for one in await at.tokens.all() if Scope.ADMIN in one.scopes]
        await at.tokens.revoke(admin.id, utc_now())
        forged = PREFIX + "A" * 43
        caplog.clear()
        for secret, reason in (
            (forged, "this token is not known here"),
            (good[:-1], "this token is not known here"),
            (good + "A", "this token is not known here"),
            (good.upper(), "this token is not known here"),
            ("A" * 5000, "this token is not known here"),
            (expired, "this token is expired"),
            (revoked, "this token is revoked"),
        ):
            assert await status(models(channel, secret)) == (UNAUTHENTICATED, reason)
        for metadata in (
            (("authorization", good),),
            (("authorization", f"Basic {good}"),),
            (("authorization", f"Bearer {good}"), ("authorization", f"Bearer {good}")),
            (("authorization", ""),),
        ):
            call = system_pb2_grpc.SystemServiceStub(channel).ListModels(
                system_pb2.ListModelsRequest(), metadata=metadata
            )
            assert (await status(call))[0] is UNAUTHENTICATED
        assert await status(models(channel, good)) == (grpc.StatusCode.OK, "")
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 11
        assert not any(secret in line for line in lines for secret in (good, expired, revoked, forged))
        assert len(at.audit()) == 11
        assert at.audit()[6]["who"] == f"admin ({admin.id}) at ipv4:127.0.0.1"
        written = b"".join(path.read_bytes() for path in at.folder.iterdir())
        assert good.encode() not in written


async def test_a_watch_ends_when_its_token_is_revoked_or_expires(tmp_path: Path) -> None:
    async with guarded(tmp_path, heartbeat_s=FOREVER_S) as at, at.channel() as channel:
        secret, short = await at.token(Scope.READ), await at.token(Scope.READ, lifetime=timedelta(seconds=2))
        staying = await at.token(Scope.READ)
        calls = [watch(channel, one) for one in (secret, short, staying)]
        for call in calls:
            await call.initial_metadata()
        first = (await at.tokens.all())[0]
        await at.tokens.revoke(first.id, utc_now())
        async with asyncio.timeout(WAIT_S):
            assert (await calls[0].code(), await calls[0].details()) == (UNAUTHENTICATED, "this token is revoked")
            assert (await calls[1].code(), await calls[1].details()) == (UNAUTHENTICATED, "this token is expired")
        at.hub.offer(summary("t1"), time.monotonic())
        async with asyncio.timeout(WAIT_S):
            message = await calls[2].read()
        assert message.track.track_id == "t1"


async def test_health_needs_no_token(tmp_path: Path) -> None:
    async with guarded(tmp_path) as at, at.channel() as channel:
        await at.token(Scope.READ)
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert await status(check) == (grpc.StatusCode.OK, "")


async def test_health_watches_of_everybody_together_leave_room_for_others(tmp_path: Path) -> None:
    async with guarded(tmp_path, limits={"streams": 3}) as at, at.channel() as channel:
        secret = await at.token(Scope.READ)
        health = health_pb2_grpc.HealthStub(channel)
        calls: list[Any] = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(6)]
        async with asyncio.timeout(WAIT_S):
            firsts = await asyncio.gather(*(call.read() for call in calls), return_exceptions=True)
            assert sum(isinstance(one, aio.AioRpcError) and one.code() is EXHAUSTED for one in firsts) == 3
            assert await watch(channel, secret).read()
        check = health.Check(health_pb2.HealthCheckRequest())
        assert await status(check) == (grpc.StatusCode.OK, "")


class Failing:
    """A store of tokens that can be switched off."""

    def __init__(self, store: TokenFile) -> None:
        self.off = False
        self._store = store

    def _check(self) -> None:
        if self.off:
            raise OSError("the database has gone")

    async def find(self, sha256: str) -> Token | None:
        self._check()
        return await self._store.find(sha256)

    async def any(self) -> bool:
        self._check()
        return await self._store.any()

    async def all(self) -> list[Token]:
        return await self._store.all()

    async def add(self, token: Token) -> None:
        await self._store.add(token)

    async def revoke(self, token_id: str, when: datetime) -> None:
        await self._store.revoke(token_id, when)


async def test_a_store_that_fails_lets_nobody_in_and_ends_no_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Failing] = []

    def failing(folder: Path) -> Failing:
        made.append(Failing(TokenFile(folder)))
        return made[0]

    monkeypatch.setattr(entrance, "TokenFile", failing)
    async with guarded(tmp_path, heartbeat_s=2) as at, at.channel() as channel:
        secret = await at.token(Scope.READ)
        call = watch(channel, secret)
        await call.initial_metadata()
        made[0].off = True
        for given in (secret, None):
            code, text = await status(models(channel, given))
            assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "tokens cannot be read now")
        async with asyncio.timeout(WAIT_S):
            assert (await call.read()).type == tracks_pb2.EVENT_TYPE_HEARTBEAT
        made[0].off = False
        assert await status(models(channel, secret)) == (grpc.StatusCode.OK, "")


# --- names, embeddings and cameras


async def test_names_and_embeddings_need_the_scope_biometric(tmp_path: Path) -> None:
    async with guarded(tmp_path, "door") as at, at.channel() as channel:
        reader, knower = await at.token(Scope.READ), await at.token(Scope.READ, Scope.BIOMETRIC)
        plain = watch(channel, reader, include_embedding=True)
        full = watch(channel, knower, include_embedding=True)
        await plain.initial_metadata()
        await full.initial_metadata()
        at.hub.offer(known_person(), time.monotonic())
        async with asyncio.timeout(WAIT_S):
            left, whole = await plain.read(), await full.read()
        assert whole.track.decision.person == "Ada"
        assert len(whole.track.identity.embedding) == 512
        assert b"Ada" not in left.SerializeToString()
        assert not left.track.identity.embedding
        assert left.track.decision.status == tracks_pb2.IDENTITY_STATUS_IDENTIFIED
        tracks = tracks_pb2_grpc.TrackServiceStub(channel)
        for secret, names in ((reader, 0), (knower, 1)):
            got = await tracks.GetTrack(
                tracks_pb2.GetTrackRequest(track_id="t1", include_embedding=True), metadata=bearer(secret)
            )
            listed = await tracks.ListTracks(
                tracks_pb2.ListTracksRequest(include_embedding=True), metadata=bearer(secret)
            )
            for track in (got.track, listed.tracks[0]):
                assert len(track.identity.embedding) == 512 * names
                assert (track.decision.person == "Ada") == bool(names)
                assert len(track.decision.candidates) == names


async def test_a_token_for_some_cameras_shows_no_others(tmp_path: Path) -> None:
    async with guarded(tmp_path, "door", "yard") as at, at.channel() as channel:
        secret = await at.token(Scope.READ, Scope.OPERATE, cameras=("yard", "shed"))
        meta = bearer(secret)
        at.hub.offer(known_person("t1", "door"), time.monotonic())
        at.hub.offer(known_person("t2", "yard"), time.monotonic())
        everything = watch(channel, secret, snapshot=True)
        async with asyncio.timeout(WAIT_S):
            assert [(await everything.read()).track.track_id for _ in range(2)] == ["t2", ""]
        at.hub.offer(final("t1", "door"), time.monotonic())
        at.hub.offer(final("t2", "yard"), time.monotonic())
        async with asyncio.timeout(WAIT_S):
            while (message := await everything.read()).type == tracks_pb2.EVENT_TYPE_HEARTBEAT:
                pass
        assert message.track.track_id == "t2"
        tracks, streams = tracks_pb2_grpc.TrackServiceStub(channel), streams_pb2_grpc.StreamServiceStub(channel)
        for ids in (["door"], ["yard", "door"], [""], ["nowhere"]):
            request = tracks_pb2.ListTracksRequest(stream_ids=ids)
            assert (await status(tracks.ListTracks(request, metadata=meta)))[0] is DENIED
        # a track of another camera looks like one that does not exist
        other = await status(tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id="t1"), metadata=meta))
        none = await status(tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id="t9"), metadata=meta))
        assert other == (none[0], none[1].replace("t9", "t1"))
        listed = await streams.ListStreams(streams_pb2.ListStreamsRequest(), metadata=meta)
        assert [stream.stream_id for stream in listed.streams] == ["yard"]
        first = await streams.ListStreams(streams_pb2.ListStreamsRequest(page_size=1), metadata=meta)
        assert ([stream.stream_id for stream in first.streams], first.next_page_token) == (["yard"], "")
        calls = {
            "GetStream": streams_pb2.GetStreamRequest(stream_id="door"),
            "UpdateStream": streams_pb2.UpdateStreamRequest(stream_id="door"),
            "DeleteStream": streams_pb2.DeleteStreamRequest(stream_id="door"),
            "CreateStream": streams_pb2.CreateStreamRequest(stream_id="new"),
        }
        for name, asked in calls.items():
            assert (await status(getattr(streams, name)(asked, metadata=meta)))[0] is DENIED, name
        assert [stream.id for stream, _ in at.cameras.list()] == ["door", "yard"]
        assert await status(streams.DeleteStream(streams_pb2.DeleteStreamRequest(stream_id="yard"), metadata=meta)) == (
            grpc.StatusCode.OK,
            "",
        )


async def test_who_changed_what_is_written_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with guarded(tmp_path, "door") as at, at.channel() as channel:
        secret = await at.token(Scope.OPERATE)
        (token,) = await at.tokens.all()
        streams = streams_pb2_grpc.StreamServiceStub(channel)
        for name in ("door", "door", "a\nb"):
            await status(streams.DeleteStream(streams_pb2.DeleteStreamRequest(stream_id=name), metadata=bearer(secret)))
        await status(streams.ListStreams(streams_pb2.ListStreamsRequest(), metadata=bearer(secret)))
        audit = at.audit()
        assert [(one["target"], one["outcome"].partition(":")[0]) for one in audit] == [
            ("door", "OK"),
            ("door", "NOT_FOUND"),
            (audit[2]["target"], "NOT_FOUND"),
            ("", "PERMISSION_DENIED"),
        ]
        assert "\n" not in audit[2]["target"]
        assert {one["who"] for one in audit} == {f"operate ({token.id}) at ipv4:127.0.0.1"}
        assert audit[0]["method"] == "/faceanalytics.v1.StreamService/DeleteStream"


# --- too much


async def test_one_client_cannot_take_more_than_its_streams(tmp_path: Path) -> None:
    async with guarded(tmp_path, limits={"streams": 5, "calls_per_second": 1e6}) as at, at.channel() as channel:
        greedy, modest = await at.token(Scope.READ), await at.token(Scope.READ)
        calls = [watch(channel, greedy) for _ in range(200)]
        async with asyncio.timeout(WAIT_S):
            firsts = await asyncio.gather(*(call.read() for call in calls), return_exceptions=True)
        refused = [one for one in firsts if isinstance(one, aio.AioRpcError)]
        assert {one.code() for one in refused} == {EXHAUSTED}
        assert len(refused) == 195
        assert "publish.limits.streams" in (refused[0].details() or "")
        async with asyncio.timeout(WAIT_S):
            assert await watch(channel, modest).read()
        assert len(at.audit()) <= 21  # the others are counted
        for call in calls:
            call.cancel()
        async with asyncio.timeout(WAIT_S):
            while (await status(watch(channel, greedy).read()))[0] is EXHAUSTED:  # until the places are given back
                await asyncio.sleep(0.05)


async def test_one_client_cannot_call_more_often_than_its_rate(tmp_path: Path) -> None:
    async with guarded(tmp_path, limits={"calls_per_second": 0.001}) as at, at.channel() as channel:
        secret, other = await at.token(Scope.READ), await at.token(Scope.READ)
        assert await status(models(channel, secret)) == (grpc.StatusCode.OK, "")
        code, text = await status(models(channel, secret))
        assert (code, "publish.limits.calls_per_second" in text) == (EXHAUSTED, True)
        assert await status(models(channel, other)) == (grpc.StatusCode.OK, "")
        # those without a token share what is left for their address
        assert (await status(models(channel)))[0] is UNAUTHENTICATED
        assert (await status(models(channel)))[0] is EXHAUSTED


async def test_too_large_requests_are_refused(tmp_path: Path) -> None:
    async with guarded(tmp_path, limits={"message_bytes": 4096}) as at, at.channel() as channel:
        request = tracks_pb2.GetTrackRequest(track_id="x" * 5000)
        assert (await status(tracks_pb2_grpc.TrackServiceStub(channel).GetTrack(request)))[0] is EXHAUSTED
        header = (("x-large", "y" * (64 << 10)),)
        call = system_pb2_grpc.SystemServiceStub(channel).ListModels(system_pb2.ListModelsRequest(), metadata=header)
        assert (await status(call))[0] in (EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
        assert await status(models(channel)) == (grpc.StatusCode.OK, "")


async def test_a_call_without_a_request_does_not_stay(tmp_path: Path) -> None:
    async with guarded(tmp_path, limits={"request_within_s": 0.3, "streams": 3}) as at, at.channel() as channel:
        secret = await at.token(Scope.READ)
        path = "/faceanalytics.v1.TrackService/WatchTracks"
        for metadata, code in ((bearer(secret), grpc.StatusCode.DEADLINE_EXCEEDED), ((), UNAUTHENTICATED)):
            call = silent(channel, path, metadata)
            async with asyncio.timeout(WAIT_S):
                assert await call.code() is code
        for _ in range(5):  # and gives its place back
            call = silent(channel, path, bearer(secret))
            async with asyncio.timeout(WAIT_S):
                assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        empty = channel.stream_unary("/faceanalytics.v1.TrackService/GetTrack", as_is, as_is)(
            iter(()), metadata=bearer(secret)
        )
        assert (await status(empty))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def closed_by_server(connection: socket.socket) -> None:
    """Wait until the server has closed a connection."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    async with asyncio.timeout(WAIT_S):
        try:
            while await loop.sock_recv(connection, 4096):
                pass
        except ConnectionResetError:
            pass


async def test_connections_that_say_little_or_nothing_are_closed(tmp_path: Path) -> None:
    async with guarded(tmp_path, limits={"request_within_s": 0.5}) as at:
        host, _, port = at.server.address.rpartition(":")
        for beginning in (b"", b"PRI * HT", b"P"):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(beginning)
                await closed_by_server(connection)
        async with at.channel() as channel:
            assert await status(models(channel)) == (grpc.StatusCode.OK, "")


async def test_many_slow_connections_do_not_keep_others_out(tmp_path: Path) -> None:
    async with guarded(tmp_path, limits={"request_within_s": 1, "connections": 50}) as at:
        host, _, port = at.server.address.rpartition(":")
        slow = [socket.create_connection((host, int(port))) for _ in range(200)]
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    async with at.channel() as channel:
                        if (await status(models(channel)))[0] is grpc.StatusCode.OK:
                            break
        finally:
            for connection in slow:
                connection.close()


@pytest.mark.slow
async def test_ten_thousand_watches_are_answered_and_the_server_goes_on(tmp_path: Path) -> None:
    limits = {"streams": 100, "calls_per_second": 1e6, "calls": 2000}
    async with guarded(tmp_path, limits=limits) as at:
        codes: dict[grpc.StatusCode, int] = {}
        for _ in range(10):  # each over a connection of its own
            async with at.channel() as channel:
                calls = [watch(channel, None) for _ in range(1000)]
                async with asyncio.timeout(WAIT_S):
                    for first in await asyncio.gather(*(call.read() for call in calls), return_exceptions=True):
                        code = first.code() if isinstance(first, aio.AioRpcError) else grpc.StatusCode.OK
                        codes[code] = codes.get(code, 0) + 1
        assert set(codes) == {grpc.StatusCode.OK, EXHAUSTED}
        assert sum(codes.values()) == 10_000
        assert codes[EXHAUSTED] >= 9000
        async with at.channel() as channel:
            assert await status(models(channel)) == (grpc.StatusCode.OK, "")


# --- where it may listen


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:50051", "streamer.example.org:50051"])
async def test_an_address_that_others_reach_needs_tls_and_tokens(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"publish.listen: other machines.*publish.tls.*access.*insecure: true"):
        await start_server(Publish(listen=listen), Hub(Publish()), KeptCameras(), dict)


async def test_an_insecure_address_is_served_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = Publish(listen="0.0.0.0:0", insecure=True)
    server = await start_server(config, Hub(config), KeptCameras(), dict, access=Access(folder=str(tmp_path)))
    try:
        async with aio.insecure_channel(server.address.replace("0.0.0.0", "127.0.0.1")) as channel:
            assert await status(models(channel)) == (grpc.StatusCode.OK, "")
    finally:
        await server.stop(0)
    assert "publish.insecure: whoever reaches 0.0.0.0:0 can do anything" in caplog.text
