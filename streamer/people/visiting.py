"""Changes visitors as people say: merges, splits, names and erases them, and joins and parts tracks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from streamer.config import StreamerConfig
from streamer.people.book import Draft
from streamer.people.curator import Curator, Problem, Refused, new_id
from streamer.people.enrolling import Enrolling
from streamer.people.entries import TRACKS, Action, Entry, Person
from streamer.people.fold import People, fold
from streamer.people.nightly import utc_now
from streamer.people.past import Past
from streamer.people.regrouping import MAJORITY, Ids, Moved, Regrouping
from streamer.people.stored import StoredReference
from streamer.people.track_faces import Change
from streamer.people.visitor_erasing import Gone, VisitorErasing
from streamer.people.visitor_upkeep import Upkeep
from streamer.people.visitors import VisitorBook
from streamer.store.store import Store
from streamer.store.visitors import read_templates

MOST_TRACKS = 5000  # of visitors who are merged, split or named
MOST_FACES = 5  # of a visitor who is named that are learnt


@dataclass(frozen=True, slots=True)
class Said:
    """What a change of visitors did, or would do."""

    entry: Entry | None  # None: a dry run
    moved: Sequence[Moved]
    changes: Sequence[Change] = ()  # in a dry run
    person: Person | None = None
    references: int = 0


class Visiting:
    """The visitors of a store and who changes them. Raises Refused, and StoreUnavailable, as Curator does."""

    def __init__(
        self,
        config: StreamerConfig,
        curator: Curator,
        past: Past,
        enrolling: Enrolling,
        book: VisitorBook,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.settings = config.visitors
        self.book = book
        self.regrouping = Regrouping(book)
        self._gallery = config.gallery
        self._curator = curator
        self._past = past
        self._enrolling = enrolling
        self._now = now
        self._erasing = VisitorErasing(book, self.regrouping, curator, past)
        self.upkeep = Upkeep(book, self.regrouping, self._erasing, curator, now)

    @property
    def _people(self) -> People:
        return self._curator.book.people

    @property
    def _store(self) -> Store:
        return self._curator.book.store

    # what is said about tracks and visitors

    async def join(self, actor: str, track_id: str, other_id: str, dry_run: bool) -> Said:
        """Say that two tracks show one face."""
        await self._both(track_id, other_id)
        links = self._people.links
        if (
            links.contradicts(track_id, other_id)
            and (min(track_id, other_id), max(track_id, other_id)) not in links.apart
        ):
            raise Refused(Problem.NOT_NOW, f"other_track_id: {self._why_apart(track_id, other_id)}")
        self._check_people([track_id, other_id])
        draft = Draft(Action.JOIN_TRACKS, TRACKS, {"tracks": [track_id, other_id]})
        return await self._say(actor, draft, [track_id, other_id], dry_run)

    async def part(self, actor: str, track_id: str, other_id: str, dry_run: bool) -> Said:
        """Say that two tracks show two people."""
        await self._both(track_id, other_id)
        pair, links = (min(track_id, other_id), max(track_id, other_id)), self._people.links
        draft = Draft(Action.PART_TRACKS, TRACKS, {"tracks": [track_id], "others": [other_id]})
        if other_id in links.group(track_id) and other_id in self._folded([draft]).links.group(track_id):
            through = sorted(links.group(track_id) - {track_id, other_id})
            text = f"other_track_id: both tracks were said to be one with {through[0]}; part them from that one"
            raise Refused(Problem.NOT_NOW, text)
        if self._people.confirmed.get(track_id, "") == self._people.confirmed.get(other_id, "-"):
            own = [self._said_of(one) for one in pair]
            if own[0] and own[0] == own[1]:
                raise Refused(
                    Problem.NOT_NOW, "other_track_id: both tracks were confirmed as the same person; undo that"
                )
        return await self._say(actor, draft, [track_id, other_id], dry_run)

    async def merge(self, actor: str, visitor_id: str, other_id: str, dry_run: bool) -> Said:
        """Say that two visitors are one, who keeps the id of the first."""
        visitor, other = self.get(visitor_id), self.get(other_id)
        if visitor == other:
            raise Refused(Problem.INVALID, "other_visitor_id: it is the same visitor")
        mine, theirs = self._tracks(visitor), self._tracks(other)
        for one in mine:
            hit = sorted(self._people.links.apart_of(one) & set(theirs))
            if hit:
                raise Refused(Problem.NOT_NOW, f"other_visitor_id: {self._why_apart(one, hit[0])}")
        self._check_people([*mine, *theirs])
        draft = Draft(Action.JOIN_TRACKS, TRACKS, {"tracks": [*mine, *theirs]})
        return await self._say(actor, draft, [*mine, *theirs], dry_run, Ids(left={other: visitor}))

    async def split(self, actor: str, visitor_id: str, track_ids: Sequence[str], dry_run: bool) -> Said:
        """Say that some tracks of a visitor show somebody else."""
        visitor = self.get(visitor_id)
        tracks, chosen = self._tracks(visitor), sorted(set(track_ids))
        strange = [one for one in chosen if one not in tracks]
        if not chosen or strange:
            what = f"the visitor has no track {strange[0]!r}" if strange else "give at least one"
            raise Refused(Problem.INVALID, f"track_ids: {what}")
        others = [one for one in tracks if one not in chosen]
        if not others:
            raise Refused(Problem.INVALID, "track_ids: these are all tracks of the visitor; leave at least one")
        draft = Draft(Action.PART_TRACKS, TRACKS, {"tracks": chosen, "others": others, "one": True})
        return await self._say(actor, draft, tracks, dry_run, Ids(fresh=frozenset(chosen)))

    async def name(
        self,
        actor: str,
        visitor_id: str,
        person_id: str,
        new: tuple[str, list[str], dict[str, str]] | None,
        dry_run: bool,
    ) -> Said:
        """Make a person of a visitor: an existing one, or a new one (name, labels, metadata)."""
        visitor = self.get(visitor_id)
        if visitor in self._people.named:
            raise Refused(Problem.NOT_NOW, "visitor_id: the visitor was named already; rename the person, or undo that")
        tracks = self._tracks(visitor)
        async with self._curator.changing:
            data: dict[str, object] = {"visitor": visitor, "tracks": tracks}
            if new is not None:
                created = self._curator.new_person(*new)
                target, data = created.person_id, {**created.data, **data}
                self._enrolling.check_size(None)
            else:
                person = self._curator.changeable(person_id)
                self._enrolling.check_size(person)
                target = person.person_id
            made = await self._learnt(tracks, target)
            data["references"] = [one.reference_id for one, _ in made]
            draft = Draft(Action.NAME_VISITOR, target, data)
            if dry_run:
                known = None if new is not None else self._curator.get(target)
                return Said(None, (), await self._past.preview([draft], made), known, len(made))
            (entry,) = await self._curator.write(actor, [draft], made)
        return Said(entry, (), (), self._curator.get(target), len(made))

    async def erase(self, visitor_id: str) -> Gone:
        """Remove pseudonym, templates and pictures of all tracks of a visitor."""
        return await self._erasing.erase(self.get(visitor_id))

    async def regroup(self) -> tuple[int, int, int]:
        """Group all tracks again now; return the visitors before and after, and the tracks that changed."""
        await self.book.load()
        before = len(self.book.visitors())
        moved = await self.regrouping.everything(self._people)
        return before, len(self.book.visitors()), len(moved)

    def get(self, visitor_id: str) -> str:
        """Return the id of a visitor after merging."""
        root = self.book.root(visitor_id)
        if not root or not self.book.tracks_of(root, identified=True):
            raise Refused(Problem.NOT_FOUND, f"visitor_id: there is no visitor {visitor_id[:80]!r}")
        return root

    # details

    async def _say(self, actor: str, draft: Draft, tracks: Sequence[str], dry_run: bool, ids: Ids = MAJORITY) -> Said:
        await self.book.load()
        if dry_run:
            moved = await self.regrouping.preview(self._folded([draft]), tracks, ids)
            return Said(None, moved, await self._past.preview([draft]))
        async with self._curator.changing:
            (entry,) = await self._curator.write(actor, [draft])
        return Said(entry, await self.regrouping.around(self._people, tracks, ids))

    def _folded(self, drafts: Iterable[Draft]) -> People:
        entries = self._curator.book.entries
        first, now = (entries[-1].id + 1 if entries else 1), self._now()
        added = [Entry(at, now, "", one.action, one.person_id, one.data) for at, one in enumerate(drafts, first)]
        return fold([*entries, *added])

    async def _both(self, track_id: str, other_id: str) -> None:
        """Refuse tracks that are not there, and one track."""
        if track_id == other_id:
            raise Refused(Problem.INVALID, "other_track_id: it is the same track")
        await self._past.face(track_id)
        await self._past.face(other_id)

    def _said_of(self, track_id: str) -> str:
        """Return the person whom a track itself was said to show."""
        said = ""
        for entry in self._curator.book.entries:
            counts = entry.action is Action.CONFIRM and entry.id not in self._people.undone
            if counts and entry.data.get("track") == track_id:
                said = self._people.root(entry.person_id)
        return said

    def _check_people(self, tracks: Sequence[str]) -> None:
        """Refuse to join tracks that were confirmed as different people."""
        people = {self._people.confirmed[one]: one for one in tracks if one in self._people.confirmed}
        if len(people) > 1:
            names = " and ".join(f"{track} as {person}" for person, track in sorted(people.items())[:2])
            raise Refused(Problem.NOT_NOW, f"other_track_id: {names} were confirmed; merge these people, or undo that")

    def _why_apart(self, one: str, other: str) -> str:
        return f"{one} and {other} were said to show different people; undo that (`streamer people ledger`)"

    def _tracks(self, visitor: str) -> list[str]:
        found = [one.track_id for one in self.book.tracks_of(visitor)]
        if len(found) > MOST_TRACKS:
            raise Refused(Problem.TOO_MUCH, f"the visitor has {len(found)} tracks, more than {MOST_TRACKS}")
        if not found:
            raise Refused(Problem.NOT_NOW, "visitor_id: all tracks of the visitor show a person of the gallery now")
        return found

    async def _learnt(self, tracks: Sequence[str], person_id: str) -> list[tuple[StoredReference, bytes]]:
        """Return references from the best faces of tracks, if they are good enough to recognise somebody by."""
        model = self._curator.live.model
        rows = [one for one in await read_templates(self._store, tracks) if model and one.model_id == model.id]
        best = sorted(rows, key=lambda one: (-one.quality, one.track_id))[:MOST_FACES]
        made = []
        for track_id in (one.track_id for one in best):
            face = await self._past.face(track_id)
            enough = face.samples >= self._gallery.min_samples and face.quality >= self._gallery.min_quality
            if face.template is not None and enough:
                jpeg = await self._store.history.face(track_id)
                parts = (face.model_id, "TRACK", face.quality, face.template, bool(jpeg), {"track": track_id})
                made.append((StoredReference(new_id(), person_id, *parts, self._now()), jpeg))
        return made
