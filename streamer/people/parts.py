"""The parts that know and change the people of a store, as the streamer starts them."""

from collections.abc import Callable
from dataclasses import dataclass

from faceanalytics.errors import LostDependency
from faceanalytics.extras import MissingPackage
from streamer.config import StreamerConfig
from streamer.encryption import NotReadable, Sealer
from streamer.people.curator import Curator
from streamer.people.enrolling import Enrolling
from streamer.people.erasing import Erasing
from streamer.people.live import LiveGallery
from streamer.people.past import Past
from streamer.people.searching import Searching
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

    async def run(self) -> None:
        """Store faces and decide past tracks again, until `stop`."""
        await self.past.run()

    async def stop(self) -> None:
        """Store what waits, and end the threads."""
        self.enrolling.close()
        self.past.close()
        try:
            await self.past.flush()
        except StoreUnavailable:
            return  # the store says so itself


async def open_people(
    config: StreamerConfig,
    store: Store,
    live: LiveGallery,
    find_live: Callable[[str], TrackSummary | None],
    live_tracks: Callable[[], list[TrackSummary]],
) -> tuple[PeopleParts | None, str]:
    """Read the people of a store. Returns None and the reason if the package that encrypts is not installed.

    `find_live` finds a live or just ended track by its id; `live_tracks` lists the live ones. Raises LostDependency if
    the store does not work, or if its key is missing.
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
    past = Past(config, curator, find_live, live_tracks)
    enrolling, erasing = Enrolling(config, curator, past), Erasing(curator, past)
    return PeopleParts(curator, enrolling, erasing, past, Searching(curator, past)), ""
