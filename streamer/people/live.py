"""Keeps the gallery of live tracks in step with the workers' model and with the ledger."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from faceanalytics.errors import ConfigError, LostDependency
from streamer import metrics
from streamer.config import StreamerConfig
from streamer.identity.enrolment import embed, enrolled
from streamer.identity.identification import EnrolledGallery
from streamer.identity.impostors import threshold
from streamer.identity.references import Reference
from streamer.people.book import Book
from streamer.people.growing import Growing
from streamer.people.recognition import FolderPeople, with_ids
from streamer.people.stored import StoredReference
from streamer.people.strangers_kept import keep
from streamer.privacy import Mode
from streamer.store.values import StoreUnavailable
from streamer.values import Bytes, FaceAnalysis, ImpostorScores, Model

AGAIN_S = 5.0  # pause after a failure of the store
SHOWN_S = 5.0  # between two words about the progress
AT_ONCE = 64  # references embedded again together, so that they fill the batches of the workers

Analyse = Callable[[Sequence[Bytes]], Awaitable[list[FaceAnalysis | None]]]
Use = Callable[[EnrolledGallery | None, ImpostorScores | None, Model], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workers:
    """What the dispatcher offers."""

    analyse: Analyse
    models: Callable[[], Iterable[Model]]  # of the workers that are connected
    wait_for_worker: Callable[[], Awaitable[Model | None]]
    stopped: Callable[[], bool]


class LiveGallery:
    """Embeds the folder and the ledger's references, and hands a new gallery over whenever something has changed."""

    def __init__(
        self,
        config: StreamerConfig,
        people: Sequence[Reference],
        strangers: Sequence[Reference],
        workers: Workers,
        use: Use,
    ) -> None:
        """`people` and `strangers` are the images of the folders; `use` is given each new gallery, None: nobody."""
        self.known: EnrolledGallery | None = None
        self.nobody: EnrolledGallery | None = None  # the empty gallery, after the last person has gone
        self.model: Model | None = None  # that embedded it
        self.folder = FolderPeople((), {}, ())
        self.problem = ""  # why nobody of the ledger is recognised; empty: they are
        self._config = config
        self._people = people
        self._strangers = strangers
        self._workers = workers
        self._use = use
        self._book: Book | None = None
        self._growing = Growing(config)
        self.waiting: Sequence[StoredReference] = ()  # by other weights, that will be embedded again
        self.unusable = 0  # references by other weights that cannot be
        self._given_up = set[str]()  # ids of references that could not be embedded
        self._embedding: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._newest = self._in_use = 0  # numbers of changes
        self._renewed = asyncio.Condition()
        self.impostors: ImpostorScores | None = None  # the scores of strangers that the threshold follows from
        self._kept: tuple[str, ImpostorScores] | None = None
        self._first: tuple[EnrolledGallery, ImpostorScores] | None = None  # of the folder alone

    def follow(self, book: Book) -> None:
        """Recognise the people of a ledger, too."""
        self._book = book

    def changed(self, model_id: str = "") -> None:
        """Note that the ledger has changed, or that the workers have a model, which may be another one."""
        if not model_id or self.model is None or model_id != self.model.id:
            self._newest += 1
            self._changed.set()

    async def settled(self, within_s: float) -> bool:
        """Wait until all changes are recognised by; return whether that is so within some seconds."""
        if self._config.privacy.mode is Mode.AGGREGATE_ONLY:
            return True  # nobody is recognised
        wanted = self._newest
        try:
            async with asyncio.timeout(within_s), self._renewed:
                await self._renewed.wait_for(lambda: self._in_use >= wanted)
        except TimeoutError:
            return False
        return True

    def problem_with(self, people: int) -> str:
        """Return why a gallery cannot have this many people; empty: it can."""
        if self.problem or self.impostors is None:
            return self.problem
        try:
            threshold(self.impostors, self._config.gallery.false_accept_rate, people, "gallery.false_accept_rate")
        except ConfigError as error:
            return str(error)
        return ""

    async def run(self) -> None:
        """Work until the streamer stops. Raises ConfigError and LostDependency because of the folder."""
        while not self._workers.stopped():
            self._changed.clear()
            newest = self._newest
            if not await self._renew():
                return
            async with self._renewed:
                self._in_use = newest
                self._renewed.notify_all()
            await self._changed.wait()

    @property
    def _has_people(self) -> bool:
        return bool(self._people) or (self._book is not None and bool(self._book.people.people))

    async def _renew(self) -> bool:
        """Make the gallery by the model that the workers have now. Returns False if the streamer stops."""
        model = next(iter(self._workers.models()), self.model) or await self._workers.wait_for_worker()
        if model is None:
            return False
        try:
            if self.model is None or model.id != self.model.id:
                if not await self._embed_folder():
                    return False
                self._given_up.clear()
            self._start_embedding()
            known, self.impostors = await self._built()
            await self._keep_strangers()
        except (ConfigError, LostDependency) as error:
            if self._people:
                raise
            return self._fail(str(error))
        except StoreUnavailable as error:
            asyncio.get_running_loop().call_later(AGAIN_S, self._changed.set)
            return self._fail(str(error))
        self.problem = ""
        before, self.known = self.known, known if self._has_people else None
        self.nobody = None if self._has_people else known
        assert self.model is not None
        if before is not None or self.known is not None:
            self._use(self.known, self.impostors, self.model)
        return True

    async def _built(self) -> tuple[EnrolledGallery, ImpostorScores]:
        assert self.model is not None
        if self._book is None:
            assert self._first is not None
            return self._first
        return await self._growing.renewed(self.model, self.folder, self._book)

    async def _keep_strangers(self) -> None:
        """Keep in the store what `streamer replay` decides by, if it has changed. Raises StoreUnavailable."""
        if self._book is None or self.model is None or self.impostors is None:
            return
        if self._kept is None or self._kept[0] != self.model.id or self._kept[1] is not self.impostors:
            await keep(self._book.store, self.model, self.impostors)
            self._kept = self.model.id, self.impostors

    def _fail(self, problem: str) -> bool:
        if problem != self.problem and self._has_people:
            log.error("people are not recognised: %s", problem)
        self.problem = problem
        return True

    async def _embed_folder(self) -> bool:
        """Embed the images of the folders. Returns False if the streamer stops."""
        references = [*self._people, *self._strangers]
        if not references:
            self.model = await self._workers.wait_for_worker()
            if self.model is not None and not self.model.identity:
                raise ConfigError(f"the weights {self.model.id} were not trained for identity")
            return self.model is not None
        workers = self._workers
        found = await embed(references, workers.analyse, workers.wait_for_worker, workers.stopped)
        if found is None:
            return False
        self.model, images = found
        people, strangers = images[: len(self._people)], images[len(self._people) :]
        if people:
            self._first = enrolled(self._config, self.model, people, strangers)  # it logs who looks alike
        if self._book is None:
            self.folder = FolderPeople(people, {}, strangers)
        else:
            with_id, names = with_ids(people, self._book.store.secret)
            self.folder = FolderPeople(with_id, names, strangers)
        return True

    def _start_embedding(self) -> None:
        """Embed again, in the background, the kept pictures of references that another model has embedded."""
        if self._book is None or self.model is None:
            return
        old = self._book.by_others(self.model.id)
        self.waiting = [one for one in old if one.has_crop and one.reference_id not in self._given_up]
        self.unusable = len(old) - len(self.waiting)
        metrics.references_waiting.set(len(self.waiting))
        metrics.references_unusable.set(self.unusable)
        if self.waiting and self._embedding is None:
            self._embedding = asyncio.create_task(self._embed_again(self.model))

    async def _embed_again(self, model: Model) -> None:
        assert self._book is not None
        count, began, told = len(self.waiting), time.monotonic(), time.monotonic()
        log.info("people: %d references are embedded again by %s", count, model.id)
        try:
            while self.waiting and self.model is model:
                some = self.waiting[:AT_ONCE]
                await self._embed_some(some)
                self.waiting = self.waiting[len(some) :]
                metrics.references_waiting.set(len(self.waiting))
                if time.monotonic() - told > SHOWN_S:
                    told = time.monotonic()
                    log.info("people: %d of %d references are embedded again", count - len(self.waiting), count)
                    self.changed()  # those who are compared already are recognised
            log.info(
                "people: %d references embedded again by %s in %.1f s; %d cannot be, because no picture was kept",
                *(count, model.id, time.monotonic() - began, self.unusable),
            )
        except (ConfigError, LostDependency) as error:
            log.error("people: references are not embedded again: %s", error)
            self._given_up |= {one.reference_id for one in self.waiting[:AT_ONCE]}
        except StoreUnavailable as error:
            log.warning("people: references are not embedded again now: %s", error)
            await asyncio.sleep(AGAIN_S)
        finally:
            self._embedding = None
            self.changed()

    async def _embed_some(self, some: Sequence[StoredReference]) -> None:
        assert self._book is not None
        read = [(one, await self._book.crop(one.reference_id)) for one in some]
        pictured = [(one, crop_of(jpeg)) for one, jpeg in read if jpeg]
        self._given_up |= {one.reference_id for one, jpeg in read if not jpeg}
        if not pictured:
            return
        model_id, found = await self.embedded([crop for _, crop in pictured], [one.reference_id for one, _ in pictured])
        again = [replace(one, model_id=model_id, embedding=new) for (one, _), new in zip(pictured, found, strict=True)]
        await self._book.replace_embeddings([one if one.source == "IMAGE" else _unit_length(one) for one in again])

    async def embedded(self, crops: Sequence[Bytes], names: Sequence[str]) -> tuple[str, list[np.ndarray]]:
        """Return the id of the model and the embeddings (512,) of aligned crops. Raises ConfigError, LostDependency."""
        references = [Reference("", name, 0.0, crop) for name, crop in zip(names, crops, strict=True)]
        workers = self._workers
        found = await embed(references, workers.analyse, workers.wait_for_worker, workers.stopped)
        if found is None:
            raise LostDependency("the streamer stops")
        model, images = found
        return model.id, [one.embedding for one in images]


def crop_of(jpeg: bytes) -> Bytes:
    """Return the aligned crop (112, 112, 3) RGB of a picture."""
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(pixels, np.uint8)[:, :, ::-1])


def _unit_length(reference: StoredReference) -> StoredReference:
    length = float(np.linalg.norm(reference.embedding))
    return replace(reference, embedding=reference.embedding / max(length, 1e-12))
