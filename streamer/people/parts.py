"""The parts that know and change the people of a store, as the streamer starts them."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from faceanalytics.errors import LostDependency
from faceanalytics.extras import MissingPackage
from streamer.config import StreamerConfig
from streamer.encryption import NotReadable, Sealer
from streamer.metrics import clock_offset
from streamer.people.auditing import Auditing
from streamer.people.curator import Curator
from streamer.people.enrolling import Enrolling
from streamer.people.erasing import Erasing
from streamer.people.live import LiveGallery
from streamer.people.past import Past
from streamer.people.searching import Searching
from streamer.people.splitting import Splitting
from streamer.people.transfer import Transfer
from streamer.people.videos import ReadVideo
from streamer.people.visiting import Visiting
from streamer.people.visitor_queries import VisitorQueries
from streamer.people.visitors import VisitorBook
from streamer.privacy import Modes
from streamer.store.store import Store
from streamer.store.values import StoreUnavailable
from streamer.values import TrackSummary


@dataclass(frozen=True, slots=True)
class PeopleParts:
    """What serves the calls about people."""

    curator: Curator
    enrolling: Enrolling
    erasing: Erasing
    past: Past
    searching: Searching
    auditing: Auditing
    splitting: Splitting
    transfer: Transfer
    visiting: Visiting | None = None  # None: visitors are off
    visitors: VisitorQueries | None = None  # None: visitors are off

    async def run(self) -> None:
        """Store faces, decide past tracks again, and follow other streamers, until `stop`."""
        parts = [self.curator.run(), self.auditing.run()]
        if self.visiting is not None:
            parts.append(self.visiting.upkeep.run())
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(one) for one in parts]
            await self.past.run()
            for task in beside:
                task.cancel()

    async def stop(self) -> None:
        """Store what waits, and end the threads."""
        self.enrolling.close()
        self.past.close()
        await self.curator.changing.close()
        try:
            await self.past.waiting.flush()
        except StoreUnavailable:
            self.past.waiting.give_up()


def nothing(tracks: Collection[str]) -> None:
    """Publish no tracks."""
    del tracks


async def open_people(
    config: StreamerConfig,
    store: Store,
    live: LiveGallery,
    find_live: Callable[[str], TrackSummary | None],
    live_tracks: Callable[[], list[TrackSummary]],
    republish: Callable[[Collection[str]], None] = nothing,
    read_video: ReadVideo | None = None,
    modes: Modes | None = None,
) -> tuple[PeopleParts | None, str]:
    """Read the people of a store. Returns None and the reason if the package that encrypts is not installed.

    `find_live` finds a live or just ended track by its id; `live_tracks` lists the live ones; `republish` publishes
    live tracks whose visitor has changed; `read_video` finds the people of a video file; `modes`: the privacy modes of
    cameras. Raises LostDependency if the store does not work, or if its key is missing.
    """
    try:
        Sealer([bytes(32)])
    except MissingPackage as error:
        return None, str(error)
    curator = Curator(store, live)
    try:
        await curator.open()
    except (StoreUnavailable, NotReadable) as error:
        raise LostDependency(f"store: the people cannot be read: {error}") from error
    past, transfer = Past(config, curator, find_live, live_tracks, modes), Transfer(curator)
    curator.forgetting.flush, curator.forgetting.forget = past.waiting.flush, past.forget
    curator.forgetting.live_of = past.live_of
    curator.faces_gone = curator.forgetting.faces_gone = past.faces_gone
    enrolling, erasing = Enrolling(config, curator, past, read_video), Erasing(curator, past, transfer)
    searching, splitting = Searching(curator, past), Splitting(curator, enrolling)
    auditing = Auditing(config, curator, past)
    parts = PeopleParts(curator, enrolling, erasing, past, searching, auditing, splitting, transfer)
    if config.visitors.enabled:
        book = VisitorBook(config, curator, clock_offset, republish)
        try:
            await book.open()
        except (StoreUnavailable, NotReadable) as error:
            raise LostDependency(f"store: the visitors cannot be read: {error}") from error
        past.visitors = book
        visiting = Visiting(config, curator, past, enrolling, book)
        parts = replace(parts, visiting=visiting, visitors=VisitorQueries(book, curator))
    return parts, ""
