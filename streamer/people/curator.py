"""Changes the gallery: each change is checked, written into the ledger in one transaction, and then recognised by."""

import asyncio
import enum
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from streamer.encryption import NotReadable
from streamer.people import wording
from streamer.people.book import Book, Draft
from streamer.people.elsewhere import Forgetting, nothing
from streamer.people.entries import FINAL, FOLDER, Action, Entry, Person
from streamer.people.live import LiveGallery
from streamer.people.shared import Changing, Following
from streamer.people.stored import StoredReference
from streamer.store.store import Store
from streamer.store.values import LogKind, StoreUnavailable

MOST_PEOPLE = 100_000
SETTLING_S = 600.0  # longest duration of an erasure

log = logging.getLogger(__name__)


class Problem(enum.Enum):
    """Why a call is refused."""

    NOT_FOUND = "NOT_FOUND"
    INVALID = "INVALID_ARGUMENT"
    CHANGED = "ABORTED"  # somebody else was faster
    NOT_NOW = "FAILED_PRECONDITION"
    TOO_MUCH = "RESOURCE_EXHAUSTED"
    PRIVACY = "FAILED_PRECONDITION because of the privacy mode"


class Refused(Exception):
    """A call that cannot be done; the message says why."""

    def __init__(self, problem: Problem, text: str) -> None:
        super().__init__(text)
        self.problem = problem


class Curator:
    """The people of a store and who changes them. It is used from the asyncio loop only.

    Its methods raise Refused, and StoreUnavailable; then nothing was changed.
    """

    def __init__(self, store: Store, live: LiveGallery) -> None:
        self.book = Book(store)
        self.live = live
        self.changing = Changing(store.database, self._take_in)
        self.forgetting = Forgetting(self.book, live)
        self.on_entries: Callable[[Sequence[Entry]], None] = _nothing  # called with what was written, here or elsewhere
        self.on_forgotten: Callable[[set[str]], Awaitable[None]] = nothing  # called with tracks that lose their faces
        self._following = Following(store.database, self._follow)
        self._erased_at = -math.inf  # s, monotonic, when another streamer has erased somebody
        self.faces_gone: Callable[[], Awaitable[None]] = nothing  # called when faces of past tracks may be gone

    async def open(self) -> None:
        """Read the ledger. Raises StoreUnavailable, NotReadable and MissingPackage."""
        await self.book.open()
        await self.forgetting.open()
        naming = self.book.store.naming
        naming.find, naming.ids = self.shown, self.ids_of
        self.live.follow(self.book)

    async def run(self) -> None:
        """Keep people in step with other streamers, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._following.run())
            group.create_task(self.forgetting.run())

    async def _take_in(self) -> list[Entry]:
        """Take in what other streamers have written, and do what follows from it."""
        try:
            entries = await self.book.take_in()
        except NotReadable as error:
            raise StoreUnavailable(f"people of another streamer cannot be read: {error}") from error
        for entry in entries:
            self.after_change(entry.action, entry.person_id, entry.id)
            if entry.action is Action.ERASE:
                self._erased_at = time.monotonic()
        if entries:
            self.on_entries(entries)
            log.info("people: %d changes of another streamer, up to entry %d", len(entries), entries[-1].id)
        return entries

    async def _follow(self, heard: bool) -> None:
        entries = await self.changing.take_in()
        if not heard:
            return
        if await self.book.drop_missing() and not entries:
            self.live.changed()
        if time.monotonic() - self._erased_at < SETTLING_S:
            await self.faces_gone()  # whoever erases says so again when the faces are gone

    def shown(self, person_id: str) -> tuple[str, str] | None:
        """Return id and name of the person who is left after merging; None: there is nobody."""
        root = self.book.people.root(person_id)
        person = self.book.people.people.get(root)
        if person is not None:
            return root, person.name
        name = self.live.folder.names.get(root)
        return (root, name) if name is not None else None

    def ids_of(self, names: Iterable[str]) -> list[str]:
        """Return the ids under which people of these names are stored, also those who were merged."""
        wanted = {wording.folded(one) for one in names}
        people = self.book.people
        roots = {one.person_id for one in people.people.values() if wording.folded(one.name) in wanted}
        return sorted(roots | {name for name, root in people.merged.items() if root in roots})

    def get(self, person_id: str) -> Person:
        """Return a person, of the folder, too."""
        root = self.book.people.root(person_id)
        person = self.book.people.people.get(root)
        if person is not None:
            return person
        name = self.live.folder.names.get(person_id)
        if name is None:
            raise Refused(Problem.NOT_FOUND, "person_id: there is no such person")
        return Person(person_id, name, (), {}, (), frozenset(), 0, *(2 * (datetime.fromtimestamp(0, UTC),)))

    def people(self) -> list[Person]:
        """Return all people, sorted by id."""
        of_folder = [self.get(name) for name in self.live.folder.names]
        return sorted((*self.book.people.people.values(), *of_folder), key=lambda one: one.person_id)

    def is_used(self, person: Person, reference_id: str) -> bool:
        """Return whether tracks are compared with a reference of a person now."""
        reference, model = self.book.references.get(reference_id), self.live.model
        there = reference is not None and reference_id not in person.set_aside
        return there and model is not None and reference is not None and reference.model_id == model.id

    def folder_images(self, person_id: str) -> int:
        """Return the number of images of a person of the folder."""
        return sum(one.person == person_id for one in self.live.folder.people)

    async def create(
        self, actor: str, name: str, labels: Sequence[str] = (), metadata: Mapping[str, str] | None = None
    ) -> Person:
        """Add a person."""
        draft = self.new_person(name, labels, metadata or {})
        async with self.changing:
            await self.write(actor, [draft])
        return self.get(draft.person_id)

    def new_person(self, name: str, labels: Sequence[str], metadata: Mapping[str, str]) -> Draft:
        """Return the entry that adds a person."""
        if len(self.book.people.people) >= MOST_PEOPLE:
            raise Refused(Problem.TOO_MUCH, f"the gallery has {MOST_PEOPLE} people, which is the most it may have")
        try:
            data = {
                "name": wording.name(name),
                "labels": wording.labels(labels),
                "metadata": wording.pairs(metadata),
            }
        except wording.Unfit as error:
            raise Refused(Problem.INVALID, str(error)) from error
        return Draft(Action.CREATE, new_id(), data)

    async def update(
        self,
        actor: str,
        person_id: str,
        version: int,
        name: str | None = None,
        labels: Sequence[str] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Person:
        """Change what is given."""
        data: dict[str, object] = {}
        try:
            if name is not None:
                data["name"] = wording.name(name)
            if labels is not None:
                data["labels"] = wording.labels(labels)
            if metadata is not None:
                data["metadata"] = wording.pairs(metadata)
        except wording.Unfit as error:
            raise Refused(Problem.INVALID, str(error)) from error
        async with self.changing:
            person = self.changeable(person_id, version)
            if data:
                await self.write(actor, [Draft(Action.UPDATE, person.person_id, data)])
        return self.get(person.person_id)

    async def merge(self, actor: str, person_id: str, other_id: str, version: int, other_version: int) -> Entry:
        """Make two people one, who keeps the name of the first."""
        async with self.changing:
            return (await self.write(actor, [self.merging(person_id, other_id, version, other_version)]))[0]

    def merging(self, person_id: str, other_id: str, version: int, other_version: int) -> Draft:
        """Return the entry that joins two people."""
        person, other = self.changeable(person_id, version), self.changeable(other_id, other_version)
        if person.person_id == other.person_id:
            raise Refused(Problem.INVALID, "other_person_id: it is the same person")
        return Draft(Action.MERGE, person.person_id, {"other": other.person_id})

    def undoing(self, entry_id: int) -> Draft:
        """Return the entry that undoes another one."""
        entry = next((one for one in self.book.entries if one.id == entry_id), None)
        if entry is None:
            raise Refused(Problem.NOT_FOUND, f"entry_id: there is no entry {entry_id}")
        people = self.book.people
        if entry.action in FINAL or entry.person_id in people.erased:
            raise Refused(Problem.NOT_NOW, f"entry_id: {entry_id} removed data, which cannot be put back")
        if entry_id in people.undone:
            raise Refused(
                Problem.NOT_NOW, f"entry_id: {entry_id} is undone already, by {people.undone[entry_id]}; undo that one"
            )
        return Draft(Action.UNDO, entry.person_id, {"entry": entry_id})

    async def undo(self, actor: str, entry_id: int) -> Entry:
        """Undo an entry; returns the entry that does so."""
        async with self.changing:
            return (await self.write(actor, [self.undoing(entry_id)]))[0]

    async def set_aside(self, actor: str, reference_id: str, aside: bool) -> None:
        """Compare no longer with a reference, or compare with it again."""
        async with self.changing:
            person = self.owner(reference_id)
            if (reference_id in person.set_aside) == aside:
                return
            action = Action.SET_ASIDE if aside else Action.RESTORE
            home = self.book.references[reference_id].person_id
            await self.write(actor, [Draft(action, home, {"reference": reference_id})])

    async def delete_reference(self, actor: str, reference_id: str) -> None:
        """Remove a reference for good."""
        async with self.changing:
            self.owner(reference_id)
            home = self.book.references[reference_id].person_id
            await self.book.delete_reference(actor, home, reference_id)
            self.after_change(Action.DELETE_REFERENCE, home)

    def owner(self, reference_id: str) -> Person:
        """Return the person whom a reference shows."""
        for person in self.book.people.people.values():
            if reference_id in person.references and reference_id in self.book.references:
                return person
        raise Refused(Problem.NOT_FOUND, "reference_id: there is no such reference")

    def changeable(self, person_id: str, version: int = 0) -> Person:
        """Return a person whom calls may change, in the version that the caller knows (0: any)."""
        if person_id.startswith(FOLDER):
            self.get(person_id)
            raise Refused(Problem.NOT_NOW, "person_id: a person of gallery.folder is changed in that folder")
        root = self.book.people.root(person_id)
        if root != person_id and root in self.book.people.people:
            raise Refused(Problem.NOT_NOW, f"person_id: this person was merged into {root}; use that id")
        person = self.book.people.people.get(person_id)
        if person is None:
            raise Refused(Problem.NOT_FOUND, "person_id: there is no such person")
        if version not in (0, person.version):
            raise Refused(
                Problem.CHANGED, f"expected_version: the person has version {person.version}; read it, and decide again"
            )
        return person

    async def write(
        self, actor: str, drafts: Sequence[Draft], references: Sequence[tuple[StoredReference, bytes]] = ()
    ) -> list[Entry]:
        """Write entries. `changing` must be held."""
        entries = await self.book.append(actor, drafts, references)
        for entry in entries:
            self.after_change(entry.action, entry.person_id)
        self.on_entries(entries)
        return entries

    def after_change(self, action: Action, person_id: str, entry_id: int | None = None) -> None:
        """Recognise by what the ledger has now, and say in the log of events that it has changed."""
        said = {"action": action.value, "person_id": person_id, "entry": entry_id or self.book.entries[-1].id}
        if action is Action.ERASE:
            self.forgetting.erased(person_id)
        self.book.store.note(LogKind.GALLERY, "", json.dumps(said).encode())
        self.live.changed()


def _nothing(what: object) -> None:
    del what


def new_id() -> str:
    """Return a new id that sorts by time (UUIDv7)."""
    milliseconds = time.time_ns() // 1_000_000
    random = uuid4().int & ((1 << 74) - 1)
    value = (milliseconds << 80) | (0x7 << 76) | ((random >> 62) << 64) | (0b10 << 62) | (random & ((1 << 62) - 1))
    return str(UUID(int=value))
