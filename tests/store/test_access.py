"""Tokens and the audit log in the store: changed by other processes, and while the database is away."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import grpc
import pytest
from grpc import aio
from prometheus_client import REGISTRY
from sqlalchemy.ext.asyncio import AsyncConnection

from faceanalytics.errors import ConfigError, LostDependency
from faceanalytics.v1 import tracks_pb2
from streamer.access.audit import Audit, AuditFile, Entry
from streamer.access.token_file import TokenFile
from streamer.access.tokens import Scope, Token, new_token, utc_now
from streamer.config import Store as StoreConfig
from streamer.store import audit as stored_audit
from streamer.store.beside import AuditTable, Beside, TokenTable, opened
from streamer.store.tables import audit
from streamer.store.tokens import import_tokens
from tests.api.test_guard import EXHAUSTED, UNAUTHENTICATED, models, status, watch
from tests.api.test_resume import serving
from tests.support.guarded_server import bearer
from tests.support.patience import FOREVER_S, WAIT_S
from tests.support.stored import Running, final, running

Place = Callable[..., StoreConfig]
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DONE = Entry(NOW, "desk (1) at ipv4:10.0.0.9", "/S/Delete", "door", "OK")
REFUSED = Entry(NOW, "anonymous at ipv4:10.0.0.9", "/S/Delete", "", "UNAUTHENTICATED: no", refused=True)


def beside(config: StoreConfig, work: Callable[[Beside], object]) -> None:
    """Do something as another process would, in a thread of its own, as the store runs in the loop of the test."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with opened(config) as store:
                work(store)
        except BaseException as error:  # it is raised again
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(WAIT_S)
    if failed:
        raise failed[0]


def add(made: Token, store: Beside) -> None:
    asyncio.run(TokenTable(store).add(made))


def revoke(made: Token, when: datetime, store: Beside) -> None:
    asyncio.run(TokenTable(store).revoke(made.id, when))


def token(name: str, *scopes: Scope, lifetime: timedelta | None = None) -> tuple[str, Token]:
    return new_token(name, scopes or (Scope.READ,), [], lifetime, utc_now())


async def admitted(channel: aio.Channel, secret: str | None, code: grpc.StatusCode) -> None:
    """Wait until a call has this status."""
    async with asyncio.timeout(WAIT_S):
        while (await status(models(channel, secret)))[0] is not code:
            await asyncio.sleep(0.02)


async def test_tokens_of_another_process_count_within_a_second_or_so(place: Place) -> None:
    config = place()
    secret, made = new_token("a", [Scope.READ, Scope.BIOMETRIC], ["door", "yard"], timedelta(days=1), NOW)
    with opened(config) as store:  # before there is a streamer
        await TokenTable(store).add(made)
    async with running(config) as one:
        tokens = one.store.tokens
        assert await tokens.find(made.sha256) == made
        assert await tokens.all() == [made]
        _, later = token("b", Scope.OPERATE)
        await asyncio.to_thread(beside, config, partial(add, later))
        async with asyncio.timeout(WAIT_S):
            while await tokens.find(later.sha256) != later:
                await asyncio.sleep(0.01)
        when = NOW + timedelta(hours=1)
        for moment in (when, when + timedelta(hours=1)):  # the first one counts
            await asyncio.to_thread(beside, config, partial(revoke, made, moment))
        async with asyncio.timeout(WAIT_S):
            while (found := await tokens.find(made.sha256)) is None or found.revoked is None:
                await asyncio.sleep(0.01)
        assert found.revoked == when
        assert await tokens.find("0" * 64) is None
    assert secret not in Path(__file__).read_text()


async def test_a_new_token_is_never_refused_and_unknown_ones_are_read_for_a_few_times_only(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, reads = place(), 0
    async with running(config) as one:
        reading, tokens = one.store.database.reading, one.store.tokens

        def counted(within_s: float | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
            nonlocal reads
            reads += 1
            return reading(within_s)

        monkeypatch.setattr(one.store.database, "reading", counted)
        for number in range(5):
            _, made = token(f"t{number}")
            await asyncio.to_thread(beside, config, partial(add, made))
            found = await asyncio.gather(*(tokens.find(made.sha256) for _ in range(100)))
            assert found == [made] * 100
        assert await asyncio.gather(*(tokens.find(f"{number:064}") for number in range(1000))) == [None] * 1000
        assert reads < 30


async def test_a_watch_ends_when_its_token_is_revoked_by_another_process(place: Place) -> None:
    config = place()
    async with serving(lambda **_: config, heartbeat_s=FOREVER_S) as service:
        channel = service.channel
        assert await status(models(channel)) == (grpc.StatusCode.OK, "")  # no token was made
        secret, made = token("a")
        other, staying = token("b")
        for each in (made, staying):
            await asyncio.to_thread(beside, config, partial(add, each))
        await admitted(channel, None, UNAUTHENTICATED)
        call, going_on = watch(channel, secret), watch(channel, other)
        await call.initial_metadata()
        await going_on.initial_metadata()
        await asyncio.to_thread(beside, config, partial(revoke, made, utc_now()))
        async with asyncio.timeout(WAIT_S):
            assert (await call.code(), await call.details()) == (UNAUTHENTICATED, "this token is revoked")
        assert not going_on.done()
        assert (await status(models(channel, secret))) == (UNAUTHENTICATED, "this token is revoked")


async def test_known_tokens_are_admitted_for_a_time_while_the_database_is_away(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    config = StoreConfig(folder=str(folder))
    async with serving(lambda **_: config, heartbeat_s=FOREVER_S) as service:
        channel, tokens = service.channel, service.stored.store.tokens
        secret, made = token("a")
        short, expiring = token("b", lifetime=timedelta(seconds=2))
        await tokens.add(made)
        await tokens.add(expiring)
        call = watch(channel, secret)
        await call.initial_metadata()
        assert (await status(models(channel, short)))[0] is grpc.StatusCode.OK
        (folder / "store.sqlite").rename(folder / "away")
        unknown, _ = token("c")
        await admitted(channel, unknown, grpc.StatusCode.UNAVAILABLE)
        assert (await status(models(channel, unknown)))[1] == "tokens cannot be read now"
        past = service.tracks.ListTracks(tracks_pb2.ListTracksRequest(past=True), metadata=bearer(secret))
        refused = grpc.StatusCode.UNAVAILABLE, "the store does not work now; try again"  # and not where it is
        assert await status(past) == refused
        assert await status(models(channel, secret)) == (grpc.StatusCode.OK, "")
        assert (await status(models(channel)))[0] is UNAUTHENTICATED
        await admitted(channel, short, UNAUTHENTICATED)  # it expires all the same
        assert not call.done()
        tokens.remember_s = 0.0  # the time is up
        async with asyncio.timeout(WAIT_S):
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert (await status(models(channel, secret)))[0] is grpc.StatusCode.UNAVAILABLE
        (folder / "away").rename(folder / "store.sqlite")
        await admitted(channel, secret, grpc.StatusCode.OK)


async def test_a_database_that_is_away_at_the_start_is_an_error(place: Place, tmp_path: Path) -> None:
    del place
    pytest.importorskip("psycopg")
    config = StoreConfig(url=f"postgresql://u:secret@/db?host={tmp_path}")
    with pytest.raises(LostDependency, match="store: ") as caught, opened(config):
        pass
    assert "secret" not in str(caught.value)


async def test_tokens_of_a_file_are_moved_once(place: Place, tmp_path: Path) -> None:
    file = TokenFile(tmp_path)
    (_, first), (_, second) = token("a", Scope.ADMIN), token("b")
    await file.add(first)
    await file.add(second)
    await file.revoke(second.id, NOW)
    async with running(place()) as one:
        assert await import_tokens(tmp_path, one.store.tokens) == 2
        assert await import_tokens(tmp_path, one.store.tokens) == 0
        found = {each.name: each for each in await one.store.tokens.all()}
        assert found["a"] == first
        assert found["b"].revoked == NOW
        await TokenFile(tmp_path).add(first)  # a copy of the file is put back, with a revocation
        await TokenFile(tmp_path).revoke(first.id, NOW)
        assert await import_tokens(tmp_path, one.store.tokens) == 0
        assert [each.revoked for each in await one.store.tokens.all()] == [NOW, NOW]
        (tmp_path / "tokens.jsonl").write_text("{")
        with pytest.raises(ConfigError, match="line 1 is damaged"):
            await import_tokens(tmp_path, one.store.tokens)


async def test_many_processes_lose_no_token_while_events_are_stored(place: Place) -> None:
    config = place()
    made = [token(f"t{number}")[1] for number in range(20)]
    async with running(config) as one:

        async def events() -> None:
            for number in range(200):
                one.put(final(f"t{number:04}"))
                await asyncio.sleep(0)
                if number % 20 == 0:
                    await one.settle()

        await asyncio.gather(events(), *(asyncio.to_thread(beside, config, partial(add, each)) for each in made))
        await one.settle()
        assert {each.id for each in await one.store.tokens.all()} == {each.id for each in made}
        assert all(each.stored for each in one.published)


async def written(one: Running, count: int) -> list[tuple[str, str, int | None]]:
    """Who, outcome and refusals not listed, once there are this many rows."""
    async with asyncio.timeout(WAIT_S):
        while len(rows := await one.rows(audit)) < count:
            await asyncio.sleep(0.01)
    return [(row.who.partition(" ")[0], row.outcome.partition(":")[0], row.not_listed) for row in rows]


async def test_the_audit_log_is_in_the_store(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    config, now = place(), [0.0]
    async with running(config) as one:
        log = Audit(one.store.audit.keep, lambda: now[0])
        for _ in range(30):
            log.write(REFUSED)
        log.write(Entry(NOW, "desk", "/S/Delete", "a\0b\ud800", "OK"))
        now[0] = 60.0
        log.write(REFUSED)
        assert await written(one, 22) == [
            *[("anonymous", "UNAUTHENTICATED", None)] * 20,
            ("desk", "OK", None),
            ("anonymous", "UNAUTHENTICATED", 10),
        ]
        assert len([text for text in caplog.messages if "UNAUTHENTICATED" in text]) == 21
        found: list[tuple[Entry, int]] = []
        await asyncio.to_thread(beside, config, lambda store: found.extend(AuditTable(store).read(NOW)))
        assert len(found) == 22
        assert found[20][0].time == NOW
        log.write(DONE)
    async with running(config) as one:  # it was written before the store was closed
        assert len(await one.rows(audit)) == 23


async def test_entries_wait_for_a_database_and_those_beyond_the_limit_are_counted_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "store"
    monkeypatch.setattr(stored_audit, "WAITING", 5)
    monkeypatch.setattr(stored_audit, "LONGEST_RETRY_S", 0.05)
    monkeypatch.setattr(stored_audit, "FIRST_RETRY_S", 0.05)
    before = REGISTRY.get_sample_value("faceanalytics_audit_unstored_total") or 0
    async with running(StoreConfig(folder=str(folder))) as one:
        one.store.audit.spill = AuditFile(tmp_path / "access").keep
        (folder / "store.sqlite").rename(folder / "away")
        log = Audit(one.store.audit.keep)
        for number in range(8):
            log.write(Entry(NOW, f"n{number}", "/S/Delete", "", "OK"))
        async with asyncio.timeout(WAIT_S):
            while "audit entries wait for the store" not in caplog.text:
                await asyncio.sleep(0.01)
        (folder / "away").rename(folder / "store.sqlite")
        assert await written(one, 5) == [(f"n{number}", "OK", None) for number in range(3, 8)]
        assert (REGISTRY.get_sample_value("faceanalytics_audit_unstored_total") or 0) - before == 3
        spilled = (tmp_path / "access" / "audit.jsonl").read_text()
        assert [f"n{number}" in spilled for number in range(4)] == [True, True, True, False]
        (folder / "store.sqlite").rename(folder / "away")
        log.write(DONE)
        began = time.monotonic()
    assert time.monotonic() - began < FOREVER_S
    assert "desk" in (tmp_path / "access" / "audit.jsonl").read_text()  # it stopped while the database was away


async def test_refused_calls_are_listed_for_an_operator(place: Place) -> None:
    config = place()
    async with serving(lambda **_: config) as service:
        await service.stored.store.tokens.add(token("a")[1])
        await admitted(service.channel, None, UNAUTHENTICATED)
        found: list[tuple[Entry, int]] = []
        async with asyncio.timeout(WAIT_S):
            while not found:
                await asyncio.to_thread(beside, config, lambda store: found.extend(AuditTable(store).read(None)))
        assert found[0][0].method == "/faceanalytics.v1.SystemService/ListModels"
        assert found[0][0].outcome.startswith("UNAUTHENTICATED")
        assert found[0][0].outcome != EXHAUSTED.name
