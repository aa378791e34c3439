"""Keeps the streams that were added over the API, so that they return after a restart. The file has precedence."""

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Protocol

from pydantic import ValidationError
from sqlalchemy import delete, select, update

from faceanalytics.errors import LostDependency, UserError
from streamer.config import Sources, Stream, redact
from streamer.encryption import NotReadable
from streamer.privacy import Modes
from streamer.store.store import Store
from streamer.store.tables import streams
from streamer.store.values import LogKind, StoreUnavailable
from streamer.values import SourceStatus, TooManyStreams

WAIT_S = 60.0  # longest wait for the store; it gives up earlier itself

log = logging.getLogger(__name__)


class Cameras(Protocol):
    """The cameras, see source/cameras.py."""

    sources: Sources
    modes: Modes

    def add(self, stream: Stream) -> None: ...
    def replace(self, stream: Stream) -> None: ...
    def remove(self, camera: str) -> None: ...
    def get(self, camera: str) -> tuple[Stream, SourceStatus]: ...
    def list(self) -> list[tuple[Stream, SourceStatus]]: ...


class StoredCameras:
    """Cameras whose changes are stored. Called from threads other than that of the loop, as Cameras may be.

    The streams of the configuration file are not stored: changes of them last until the restart.
    """

    def __init__(self, cameras: Cameras, store: Store, of_file: Collection[str]) -> None:
        """`of_file`: ids of the streams in the configuration file."""
        self.sources = cameras.sources
        self.modes = cameras.modes
        self.get = cameras.get
        self.list = cameras.list
        self._cameras = cameras
        self._store = store
        self._of_file = frozenset(of_file)
        self._loop = asyncio.get_running_loop()

    def add(self, stream: Stream) -> None:
        """Add a camera and store it. Raises what Cameras.add raises, and LostDependency if it cannot be stored."""
        self._cameras.add(stream)
        try:
            self._keep(stream, "added")
        except LostDependency:
            self._cameras.remove(stream.id)
            raise

    def replace(self, stream: Stream) -> None:
        """Give a camera new settings and store them. Raises what Cameras.replace raises, and LostDependency."""
        before, _ = self._cameras.get(stream.id)
        self._cameras.replace(stream)
        try:
            self._keep(stream, "changed")
        except LostDependency:
            self._cameras.replace(before)
            raise

    def remove(self, camera: str) -> None:
        """Remove a camera, also from the store. Raises KeyError if the id is unknown, and LostDependency."""
        stream, _ = self._cameras.get(camera)
        self._change(delete(streams).where(streams.c.id == camera), stream, "removed")
        self._cameras.remove(camera)

    def _keep(self, stream: Stream, verb: str) -> None:
        if stream.id in self._of_file:
            self._change(None, stream, verb)
            return
        now = datetime.now(UTC)
        settings = self._store.stream_settings.write(stream.model_dump_json(), stream.id)
        row = {"id": stream.id, "settings": settings, "created": now, "updated": now}
        insert = self._store.database.insert(streams).values(row)
        new = {"settings": row["settings"], "updated": now}
        self._change(insert.on_conflict_do_update(index_elements=["id"], set_=new), stream, verb)

    def _change(self, statement: object, stream: Stream, verb: str) -> None:
        """Run a statement, None: none, and add an event to the log."""
        asyncio.run_coroutine_threadsafe(self._write(statement, stream, verb), self._loop).result(WAIT_S)

    async def _write(self, statement: object, stream: Stream, verb: str) -> None:
        try:
            if statement is not None:
                await self._store.execute(statement)  # type: ignore[arg-type]  # of two dialects
        except StoreUnavailable as error:
            log.warning(
                "camera %s was not %s: %s", stream.id, verb, error
            )  # the client need not know where the store is
            raise LostDependency("the store does not work now, so nothing was changed; try again") from error
        shown = {"change": verb, "uri": redact(stream.uri), "enabled": stream.enabled}
        self._store.note(LogKind.CAMERA, stream.id, json.dumps(shown).encode())


def kept_cameras(cameras: Cameras, store: Store | None, of_file: Sequence[Stream]) -> Cameras:
    """Return cameras whose changes are stored, if there is a store."""
    return cameras if store is None else StoredCameras(cameras, store, {stream.id for stream in of_file})


async def add_stored(
    cameras: Cameras, store: Store, of_file: Sequence[Stream], check: Callable[[Stream], None]
) -> None:
    """Add the stored streams. Those that the configuration file has, too, are removed from the store.

    `check` raises ConfigError for a stream that clients may not add under the present settings. A stream that cannot be
    used any more is logged and skipped. Raises LostDependency.
    """
    try:
        await store.execute(delete(streams).where(streams.c.id.in_([stream.id for stream in of_file])))
        async with store.database.reading() as connection:
            rows = (await connection.execute(select(streams).order_by(streams.c.id))).all()
        for row in rows:
            await _encrypt_again(store, row.id, row.settings)
    except StoreUnavailable as error:
        raise LostDependency(f"store: the streams cannot be read: {error}") from error
    for row in rows:
        try:
            stream = Stream.model_validate_json(store.stream_settings.read(row.settings, row.id))
            check(stream)
            cameras.add(stream)
        except (NotReadable, ValidationError, UserError, TooManyStreams, ValueError) as error:
            log.error("camera %s from the store is not started: %s", row.id, str(error).splitlines()[0])


async def _encrypt_again(store: Store, camera: str, stored: str) -> None:
    """Store settings again if they are not encrypted with the first key. Those that cannot be read stay."""
    sealed = store.stream_settings
    try:
        if not sealed.is_current(stored):
            settings = sealed.write(sealed.read(stored, camera), camera)
            await store.execute(update(streams).where(streams.c.id == camera).values(settings=settings))
    except NotReadable:
        return  # it is reported where the camera is added
