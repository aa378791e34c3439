"""The store of a running streamer: one task writes, all that waits in one transaction; then it is published.

If the database does not work, events are published at once, marked as not stored, and kept until it works again.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy import ColumnElement, Executable, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from faceanalytics.errors import ConfigError, LostDependency
from faceanalytics.v1 import tracks_pb2
from streamer import metrics
from streamer.access.audit import Entry
from streamer.config import Store as StoreConfig
from streamer.encryption import read_keys
from streamer.store.audit import StoredAudit, entry_of
from streamer.store.chronicle import Chronicle
from streamer.store.database import Database, expecting
from streamer.store.decisions import Naming, step_message, without_names
from streamer.store.faces import BestFaces
from streamer.store.history import History
from streamer.store.log import Log
from streamer.store.outbox import Outbox, Outgoing, Revised
from streamer.store.overview import Overviews
from streamer.store.past import Revisions, write_revisions
from streamer.store.retention import Retention
from streamer.store.rows import event_row, track_row
from streamer.store.sealed import Columns, Sealed
from streamer.store.started import start_run
from streamer.store.tables import audit, events, faces, runs, tracks
from streamer.store.tokens import StoredTokens
from streamer.store.values import ENDS, LogEvent, LogKind, Row, StoreState, StoreUnavailable
from streamer.values import FaceCrop, JourneyStep, TrackSummary

LOCK_S = 10.0  # the lock of a streamer that was killed is held until PostgreSQL notices
BATCH = 1000  # most events in one transaction
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 10.0  # between two attempts while the database does not work

log = logging.getLogger(__name__)


class Companion(Protocol):
    """Has rows that must be stored in the same transaction as the tracks that they are about."""

    def rows(self, track_ids: set[str]) -> dict[Table, list[Row]]:
        """Return what waits to be stored of these tracks, by table."""

    def done(self, rows: dict[Table, list[Row]]) -> None:
        """Note that rows are stored."""


class Store:
    """Stores events and tracks, and publishes summaries in order, each once its events are stored.

    It is used from the asyncio loop only.
    """

    def __init__(
        self,
        config: StoreConfig,
        encode: Callable[[TrackSummary], tracks_pb2.Track],
        publish: Callable[[Outgoing], None],
        changed: Callable[[bool], None],
    ) -> None:
        """`encode` returns a summary as a message, without embedding; `publish` sends a summary to the subscribers.

        `changed` is called with False when the database stops working, and with True when it works again. Raises
        ConfigError, and MissingPackage without the package that encrypts.
        """
        self._config = config
        self._encoded = encode
        self._publish = publish
        self._changed = changed
        self.sealer = read_keys(Path(config.key_file) if config.key_file else None)  # None: the store has no key
        self.stream_settings = Sealed(self.sealer)
        self.columns = Columns(self.sealer)
        self._database = Database(config)
        self.tokens = StoredTokens(self._database, self.execute)
        self.audit = StoredAudit(self.execute)
        self._chronicle = Chronicle()
        self._outbox = Outbox(0, config.max_backlog)
        self._sequence = 0  # newest that was given to an event
        self._newest: dict[str, tuple[TrackSummary, tracks_pb2.Track | None]] = {}  # not written yet, by track id
        self._faces = BestFaces()
        self._revisions = Revisions()
        self.naming = Naming()
        self.on_revision: Callable[[LogEvent, bool], None] = ignore  # event, and whether it is stored
        self.companion: Companion | None = None  # writes rows of its own together with those of tracks
        self._retention = Retention(config, self._database)
        self.commits: set[asyncio.Event] = set()  # set whenever events were stored, for those who read the log
        self.overviews = Overviews(self._database)
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._using_writer = asyncio.Lock()
        self._checkpoint_due = 0.0  # s, monotonic
        self._problem = ""  # why it does not work
        self._since: datetime | None = None  # UTC, since when it does not
        self._lost = 0  # events whose loss is counted

    async def open(self) -> None:
        """Lock, migrate and begin a run. Raises ConfigError, or LostDependency if the database cannot be reached."""
        self._database.lock()
        try:
            with expecting():
                async with asyncio.timeout(max(30.0, self._config.commit_within_s)):  # a migration may take long
                    await self._database.migrate(LOCK_S)
                    writer = await self._database.writer()
                    self._started = await start_run(self._database, writer, datetime.now(UTC), self.sealer)
                    self.history = History(self._database, self.columns, self.naming)
                    await self.history.get("")  # an open reader keeps the files of SQLite that a full disk lacks
        except (StoreUnavailable, TimeoutError) as error:
            await self._database.close()
            raise LostDependency(
                f"store: cannot open {self._database.name}: {error or 'no answer'}; "
                "repair it, or set `store: null` to run without a store"
            ) from error
        except BaseException:
            await self._database.close()
            raise
        started = self._started
        self._sequence = self._outbox.committed = started.sequence
        self.log = Log(self._database, started, self._outbox, self.columns, self.naming)
        log.info("store: %s, run %d, %d events so far", self._database.name, started.run, started.sequence)
        if started.interrupted:
            log.warning("store: %d tracks were open when the last run died and are ended", started.interrupted)
        if started.remark:
            log.warning(started.remark)

    @property
    def sequence(self) -> int:
        """Newest sequence that was given to an event."""
        return self._sequence

    @property
    def database(self) -> Database:
        """The database, for reading."""
        return self._database

    @property
    def secret(self) -> bytes:
        """A secret of this store, for keyed hashes and signatures."""
        return self._started.secret

    @property
    def config(self) -> StoreConfig:
        """Its settings."""
        return self._config

    @property
    def cleaned_at(self) -> datetime | None:
        """When old data was last looked for, UTC; None: not yet in this run."""
        return self._retention.ran

    @property
    def state(self) -> StoreState:
        """How the store is doing."""
        outbox = self._outbox
        return StoreState(outbox.degraded, self._problem, self._since, outbox.backlog, outbox.lost, self._sequence)

    def put(self, summary: TrackSummary) -> None:
        """Take in the newest state of a track: store what belongs into the log, then publish it."""
        kinds = self._chronicle.take(summary)
        if kinds is None:
            return
        track = self._encode(summary) if kinds else None
        self._newest[summary.key.id] = summary, track
        made = self._events(kinds, summary.key.camera, summary.key.id, track.SerializeToString() if track else b"")
        self._outbox.add(summary, made)
        self._limit_unwritten()
        self._release()

    def note(self, kind: LogKind, camera: str, payload: bytes) -> None:
        """Add an event that is not about a track to the log."""
        self._outbox.add(None, self._events([kind], camera, "", payload))

    def revise(self, track: tracks_pb2.Track) -> None:
        """Take in the next revision of a track that has ended, without names: store it, then publish it."""
        self.naming.forget_erased(track)  # it may have been read before somebody was erased
        payload = without_names(track).SerializeToString(deterministic=True)
        self._revisions.add(track)
        self._outbox.add_revision(*self._events([LogKind.REVISION], track.stream_id, track.track_id, payload))
        self._release()

    def travel(self, summary: TrackSummary, step: JourneyStep) -> None:
        """Take in a step of the person or visitor whom a track shows: store it, then publish it."""
        track = self._encode(summary)
        track.journey.CopyFrom(step_message(step))
        payload = track.SerializeToString(deterministic=True)
        self._outbox.add_revision(*self._events([LogKind.JOURNEY], track.stream_id, track.track_id, payload))
        self._release()

    def see(self, track_id: str, crop: FaceCrop) -> None:
        """Take in an analysed crop of a track, whose picture is stored if it is the best one (store.faces)."""
        if self._config.faces:
            self._faces.see(track_id, crop, datetime.now(UTC))

    async def run(self) -> None:
        """Write, and delete what is too old, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_all())
            group.create_task(self._retention.repeat(self._transaction))
            group.create_task(self.audit.repeat())

    async def _write_all(self) -> None:
        """Write whatever comes."""
        delay = FIRST_RETRY_S
        while True:
            await self._until_due()
            try:
                await self._write()
            except StoreUnavailable as error:
                self._set_problem(str(error))
                self._release()
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY_S)
            else:
                delay = FIRST_RETRY_S

    async def execute(self, *statements: Executable, of: str | None = None) -> None:
        """Run statements in one transaction of the writer. Raises StoreUnavailable; then nothing is changed.

        `of`: id of another streamer whose tables they are about.
        """
        # given with the statement: those of a connection go before the options that a statement has itself
        options = {"schema_translate_map": self._database.schemas_of(of)} if of is not None else {}

        async def all_of_them(writer: AsyncConnection) -> None:
            for statement in statements:
                await writer.execute(statement, execution_options=options)

        await self._transaction(all_of_them)

    async def audit_entries(self, before: int, limit: int) -> list[tuple[int, Entry, int]]:
        """Return entries of the audit log, the newest first, with their numbers and the refusals that are not listed.

        `before`: below this number; 0: from the newest. Raises StoreUnavailable.
        """
        wanted = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before:
            wanted = wanted.where(audit.c.id < before)
        async with self._database.reading() as connection:
            return [(row.id, *entry_of(row)) for row in await connection.execute(wanted)]

    async def count(self, table: Table, which: ColumnElement[bool], of: str | None = None) -> int:
        """Return the number of rows that fulfil a condition. Raises StoreUnavailable.

        `of`: id of another streamer whose table it is.
        """
        async with self._database.reading(of=of) as connection:
            return await connection.scalar(select(func.count()).select_from(table).where(which)) or 0

    async def settle(self) -> None:
        """Wait until everything that was put is stored. Raises StoreUnavailable if the database does not work."""
        self._checkpoint_due = 0.0
        self._wake.set()
        while self._outbox.backlog or self._newest:
            if self._outbox.degraded:
                raise StoreUnavailable(self._problem)
            self._settled.clear()
            await self._settled.wait()

    def forget_pictures(self, track_ids: Collection[str]) -> None:
        """Forget the pictures of tracks that are not written yet."""
        for name in track_ids:
            self._faces.forget(name)

    @asynccontextmanager
    async def exclusively(self) -> AsyncIterator[None]:
        """Keep the store from writing meanwhile: what comes waits."""
        async with self._using_writer:
            yield

    async def flush(self, timeout_s: float) -> None:
        """Store and publish all that waits. What cannot be stored in time is published and marked, and counted."""
        self._checkpoint_due = 0.0
        self._settled.clear()
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                while self._outbox.backlog or self._newest:
                    if self._outbox.degraded:
                        break
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            self._set_problem("no answer before the streamer stopped")
            self._release()
        if self._outbox.backlog:
            log.error("store: %d events were published and are not stored: the streamer stops", self._outbox.backlog)

    async def close(self) -> None:
        """Note the end of the run and close the database. `run` must have ended."""
        await self.audit.close()
        ended = runs.update().where(runs.c.run == self._started.run).values(ended=datetime.now(UTC))
        if not self._outbox.degraded and not self._outbox.backlog:
            try:
                await self.execute(ended)
            except StoreUnavailable as error:
                log.warning("store: %s", error)
        await self._database.close()

    def _encode(self, summary: TrackSummary) -> tracks_pb2.Track:
        return without_names(self._encoded(summary))

    def _events(self, kinds: Sequence[LogKind], camera: str, track_id: str, payload: bytes) -> list[LogEvent]:
        now, made = datetime.now(UTC), []
        for kind in kinds:
            self._sequence += 1
            made.append(LogEvent(self._sequence, now, kind, camera, track_id, payload))
        if made:
            self._wake.set()
        return made

    def _limit_unwritten(self) -> None:
        """Give up the oldest ended track of those that wait for a database that does not work, if they are too many."""
        if self._outbox.degraded and len(self._newest) > self._config.max_backlog:
            ended = next((name for name, (summary, _) in self._newest.items() if summary.final), None)
            if ended is not None:
                del self._newest[ended]
                self._faces.forget(ended)

    def _release(self) -> None:
        """Publish what may be published."""
        for outgoing in self._outbox.publishable():
            if not outgoing.stored:
                metrics.store_unstored.inc()
            if isinstance(outgoing, Revised):
                event = outgoing.event
                self.on_revision(replace(event, payload=self.naming.filled(event.payload)), outgoing.stored)
            else:
                self._publish(outgoing)

    async def _until_due(self) -> None:
        """Wait until there are events to store, or open tracks are due."""
        if self._outbox.backlog:
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(max(0.0, self._checkpoint_due - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _write(self) -> None:
        """Store one batch, then publish. Raises StoreUnavailable."""
        checkpoint = time.monotonic() >= self._checkpoint_due
        batch = self._outbox.batch(BATCH)
        metrics.store_backlog.set(self._outbox.backlog)
        self._count_lost()
        written = set(self._newest) if checkpoint else {one.track_id for one in batch}
        newest = {name: self._newest[name] for name in sorted(written & self._newest.keys())}
        pictures, revisions = self._faces.rows(written), self._revisions.take({one.track_id for one in batch})
        beside = self.companion.rows(written) if self.companion is not None else {}
        if batch or newest or pictures or beside:
            began = time.monotonic()

            async def insert(writer: AsyncConnection) -> None:
                await self._insert(writer, batch, newest, pictures)
                await write_revisions(writer, self.columns, revisions)
                for table, rows in beside.items():
                    await writer.execute(self._database.upsert(table), rows)

            await self._transaction(insert)
            metrics.store_commit_seconds.observe(time.monotonic() - began)
            for event in batch:
                metrics.store_events.labels(event.kind.value.lower()).inc()
        elif checkpoint and self._outbox.degraded:
            await self._transaction(_nothing)
        if checkpoint:
            self._checkpoint_due = time.monotonic() + self._config.checkpoint_s
        self._outbox.done(batch)
        for commit in self.commits if batch else ():
            commit.set()
        self._faces.written(pictures)
        self._revisions.done(revisions)
        if self.companion is not None:
            self.companion.done(beside)
        for name, pair in newest.items():
            if self._newest.get(name) is pair:
                del self._newest[name]
        for event in batch:
            if event.kind in ENDS:
                self._faces.forget(event.track_id)
        if self._outbox.backlog == 0:
            self._set_problem("")
        self._release()
        self._settled.set()

    async def _insert(
        self,
        writer: AsyncConnection,
        batch: Sequence[LogEvent],
        newest: dict[str, tuple[TrackSummary, tracks_pb2.Track | None]],
        pictures: list[Row],
    ) -> None:
        if batch:  # a commit whose answer was lost is repeated
            insert = self._database.insert(events).on_conflict_do_nothing()
            await writer.execute(insert, [self.columns.event(event_row(one)) for one in batch])
        now, columns = datetime.now(UTC), self.columns
        rows = [columns.track(track_row(track or self._encode(summary), now)) for summary, track in newest.values()]
        if rows:
            await writer.execute(self._database.upsert(tracks), rows)
        if pictures:
            await writer.execute(self._database.upsert(faces), [self.columns.face(row) for row in pictures])

    async def _transaction(self, work: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Do `work` in a transaction of the writer. Raises StoreUnavailable; then the connection is made again."""
        async with self._using_writer:
            try:
                with expecting():
                    async with asyncio.timeout(self._config.commit_within_s):
                        writer = await self._database.writer()
                        async with writer.begin():
                            await work(writer)
            except TimeoutError:
                await self._database.drop_writer()
                raise StoreUnavailable(f"no answer within {self._config.commit_within_s:g} s") from None
            except ConfigError as error:  # another streamer has taken the database while it was away
                raise StoreUnavailable(str(error)) from error
            except BaseException:
                await self._database.drop_writer()
                raise

    def _set_problem(self, problem: str) -> None:
        """Note that the database does not work, or works again (empty)."""
        degraded, before = bool(problem), self._outbox.degraded
        self._problem, self._outbox.degraded = problem, degraded
        self._settled.set()
        if degraded == before:
            return
        self._since = datetime.now(UTC) if degraded else None
        metrics.store_degraded.set(degraded)
        if degraded:
            log.error("store: %s; events are published without being stored until it works again", problem)
        else:
            log.warning("store: works again; what waited is stored, %d events are lost", self._outbox.lost)
        self._changed(not degraded)

    def _count_lost(self) -> None:
        metrics.store_lost.inc(self._outbox.lost - self._lost)
        self._lost = self._outbox.lost


def ignore(event: LogEvent, stored: bool) -> None:
    """Publish no revisions."""
    del event, stored


async def _nothing(writer: AsyncConnection) -> None:
    """Do nothing in a transaction: it shows whether the database works."""
    del writer
