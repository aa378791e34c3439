"""Makes the gallery again after each change: a small one as a whole, of a large one only who has changed."""

import asyncio
import logging
import time
from dataclasses import dataclass, field

from faceanalytics.errors import ConfigError
from streamer.config import StreamerConfig
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.identification import EnrolledGallery
from streamer.identity.impostors import threshold
from streamer.identity.layered_gallery import LayeredGallery
from streamer.people.book import Book
from streamer.people.ledger import ALL
from streamer.people.recognition import FolderPeople, Names, Twins, build, corrections, usable
from streamer.values import ImpostorScores, Model

LARGE = 5000  # people, from which on only what has changed is made again
MOST_REPLACED, MOST_NEW = 200, 4000  # people beside the large gallery, before it is made again in the background

Built = tuple[EnrolledGallery, ImpostorScores]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Base:
    """The large gallery, and who has changed since it was made."""

    model: Model
    folder: FolderPeople
    gallery: Gallery
    impostors: ImpostorScores
    changed: set[str]
    since: set[str] = field(default_factory=set)  # those who changed since it began to be made again


class Growing:
    """Makes the galleries of a ledger. It is used from the asyncio loop only."""

    def __init__(self, config: StreamerConfig) -> None:
        self._config = config
        self._base: _Base | None = None
        self._again: asyncio.Task[None] | None = None

    async def renewed(self, model: Model, folder: FolderPeople, book: Book) -> Built:
        """Return the gallery of the ledger as it is now. Raises ConfigError as `build` does."""
        touched, book.touched = book.touched, set()
        base = self._base
        if base is None or ALL in touched or base.model is not model or base.folder is not folder:
            return await self._whole(model, folder, book)
        base.changed |= touched
        base.since |= touched
        if self._again is None and self._is_much(base):
            base.since = set()
            self._again = asyncio.create_task(self._make_again(base, book))
        return self._layered(base, book)

    async def _whole(self, model: Model, folder: FolderPeople, book: Book) -> Built:
        self._base = None
        made = await asyncio.to_thread(build, self._config, model, folder, book.people, dict(book.references))
        if len(made[0].gallery) >= LARGE and not folder.strangers:  # those of a cohort are compared with all people
            self._base = _Base(model, folder, made[0].gallery, made[1], set())
        return made

    def _layered(self, base: _Base, book: Book) -> Built:
        """Return the large gallery with what has changed. Raises ConfigError as `threshold` does."""
        people, gone, new = book.people, set[str](), dict[str, list[EmbeddedReference]]()
        for name in base.changed:
            if name in base.gallery and name not in base.folder.names:
                gone.add(name)
                if name in people.erased:
                    base.gallery.wipe(name)
            person = people.people.get(name)
            images = usable(person, book.references, base.model.id) if person is not None else []
            if images:
                new[name] = images
        gallery = LayeredGallery(base.gallery, gone, Gallery(new, base.model.id))
        rate = self._config.gallery.false_accept_rate
        named_from = threshold(base.impostors, rate, len(gallery), "gallery.false_accept_rate")
        names = Names(base.folder.names, people.people)
        said = corrections(people, book.references, base.model.id)
        twins = Twins(self._config.gallery.twins, base.folder.names, people.people)
        return EnrolledGallery(gallery, named_from, names=names, corrections=said, twins=twins), base.impostors

    def _is_much(self, base: _Base) -> bool:
        replaced = sum(name in base.gallery for name in base.changed)
        return replaced > MOST_REPLACED or len(base.changed) > MOST_NEW

    async def _make_again(self, base: _Base, book: Book) -> None:
        """Make the large gallery again, while the present one and the one beside it are in use."""
        began = time.monotonic()
        try:
            people, stored = book.people, dict(book.references)
            made, impostors = await asyncio.to_thread(build, self._config, base.model, base.folder, people, stored)
        except ConfigError as error:
            log.warning("people: the gallery cannot be made again: %s", error)
            return
        finally:
            self._again = None
        if self._base is base:
            self._base = _Base(base.model, base.folder, made.gallery, impostors, base.since)
            for name in base.since & book.people.erased:
                made.gallery.wipe(name)
            log.info("people: the gallery of %d was made again (%.1f s)", len(made.gallery), time.monotonic() - began)
