"""The faces of tracks: kept when they end, and decided again when the gallery changes."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from faceanalytics.errors import ConfigError
from streamer.config import StreamerConfig
from streamer.encryption import NotReadable
from streamer.identity.identification import EnrolledGallery, Identifier, Probe
from streamer.people.book import Draft
from streamer.people.curator import Curator, Problem, Refused
from streamer.people.elsewhere import others
from streamer.people.entries import Action, Entry
from streamer.people.fold import fold
from streamer.people.past_index import OWNER, PastIndex
from streamer.people.recognition import build
from streamer.people.rivals import Rivals
from streamer.people.stored import StoredReference
from streamer.people.track_faces import NO_FACE, NOT_SEARCHED, Change, TrackFace, live_face
from streamer.people.visitors import VisitorBook
from streamer.people.waiting_faces import WaitingFaces
from streamer.privacy import Mode, Modes
from streamer.store.forget import forget_faces
from streamer.store.past import PastTrack, each_past, past_tracks, revised, spans_of
from streamer.store.values import StoreUnavailable
from streamer.values import Floats, IdentityDecision, IdentityReason, IdentityStatus, TrackSummary

CHUNK = 200  # tracks decided at once
FLUSH_S = 1.0  # between two looks for templates to write
MOST_CHANGES = 1000  # that a dry run lists

log = logging.getLogger(__name__)


class Past:
    """The faces of past tracks of a store."""

    def __init__(
        self,
        config: StreamerConfig,
        curator: Curator,
        find_live: Callable[[str], TrackSummary | None],
        live: Callable[[], list[TrackSummary]],
        modes: Modes | None = None,
    ) -> None:
        """`find_live` finds a live or just ended track by its id; `live` lists the live ones.

        `modes`: the privacy modes of cameras.
        """
        self._modes = modes or Modes(config.privacy)
        self._config = config
        self._curator = curator
        self._find_live = find_live
        self._live = live
        self.waiting = WaitingFaces(config, curator)
        self.index = PastIndex(curator.book, config.store.search_memory_mb if config.store else 0.0)
        self._again = asyncio.Event()
        self._closing = False
        self.visitors: VisitorBook | None = None  # whose tracks are evidence against names; None: visitors are off

    def decide_again(self) -> None:
        """Decide all past tracks again soon, because the gallery has changed."""
        self._again.set()

    def close(self) -> None:
        """Let `run` return soon."""
        self._closing = True
        self._again.set()

    async def run(self) -> None:
        """Store faces and decide past tracks again, until `close`."""
        while True:
            try:
                async with asyncio.timeout(FLUSH_S):
                    await self._again.wait()
            except TimeoutError:
                pass
            if self._closing:
                return
            changed = self._again.is_set()
            self._again.clear()
            try:
                await self.waiting.flush()
                if changed:
                    await self._decide_all()
            except StoreUnavailable as error:
                log.warning("people: past tracks are not decided again now: %s", error)
                await asyncio.sleep(FLUSH_S)
                if changed:
                    self._again.set()

    async def face(self, track_id: str) -> TrackFace:
        """Return a track, live or past. Raises Refused, also if its camera is in another mode, and StoreUnavailable."""
        summary = self._find_live(track_id)
        if summary is not None:
            return self._allowed(live_face(summary))
        await self.waiting.flush()
        store = self._curator.book.store
        found = await past_tracks(store.database, store.columns, [track_id])
        if not found:
            raise Refused(Problem.NOT_FOUND, "track_id: there is no such track, live or stored")
        return self._allowed(await self._past_face(found[0]))

    def _allowed(self, face: TrackFace) -> TrackFace:
        mode = self._modes.of(face.camera)
        if mode is not Mode.IDENTITY:
            text = f"the camera {face.camera} is in the privacy mode {mode}, in which its tracks show nobody"
            raise Refused(Problem.PRIVACY, f"track_id: {text}")
        return face

    async def forget(self, track_ids: set[str]) -> None:
        """Do not store the faces of these tracks, live or past: those that are stored can be removed now.

        Raises StoreUnavailable.
        """
        await self._curator.on_forgotten(track_ids)
        live = {one.key.id for one in self._live()}
        if self.visitors is not None:
            live |= self.visitors.live.keys()
        await self.waiting.forget(track_ids, live)

    async def faces_gone(self) -> None:
        """Forget the faces that are no longer stored, and the pseudonyms that another streamer has removed, because
        the tracks show somebody who was erased. Raises StoreUnavailable."""
        await self.index.reconcile()
        gone = await self.visitors.unstored() if self.visitors is not None else set[str]()
        if gone:
            await self.forget(gone)
            await forget_faces(self._curator.book.store, gone)
            log.info("visitors: an erasure has taken the pseudonym of %d tracks", len(gone))

    def live(self) -> list[TrackFace]:
        """Return the live tracks with their faces."""
        return [live_face(one) for one in self._live()]

    def live_of(self, person_id: str) -> set[str]:
        """Return the live tracks that are said to show a person, with those that were joined to them."""
        named = [one for one in self.live() if one.decision is not None and one.decision.person_id == person_id]
        return {joined for one in named for joined in one.joined}

    async def with_joined(self, track_ids: set[str]) -> set[str]:
        """Return tracks with those that were joined to them. Raises StoreUnavailable."""
        store, names = self._curator.book.store, sorted(track_ids)
        found = {*names}
        for start in range(0, len(names), CHUNK):
            some = names[start : start + CHUNK]
            rows = await past_tracks(store.database, store.columns, some)
            found.update(joined for row in rows for joined in row.joined)
        found.update(joined for one in self.live() if one.track_id in track_ids for joined in one.joined)
        return found

    async def all(self, batch: int = CHUNK, after: str = "") -> AsyncIterator[list[TrackFace]]:
        """Yield all past tracks that have a face, or show somebody, with an id after `after`, some at a time.

        Raises StoreUnavailable.
        """
        async for some in self._of(None, batch, after):
            yield some

    async def everywhere(self, batch: int = CHUNK) -> AsyncIterator[list[TrackFace]]:
        """Yield the same of all streamers of the database."""
        for one in (None, *await others(self._curator.book.store)):
            async for some in self._of(one, batch, ""):
                yield some

    async def _of(self, streamer: str | None, batch: int, after: str) -> AsyncIterator[list[TrackFace]]:
        """Yield the same of another streamer; None: of this one."""
        store, book = self._curator.book.store, self._curator.book
        said = {*book.people.confirmed, *book.people.rejected}
        said |= {str(one.data["track"]) for one in book.entries if one.action is Action.REJECT and "track" in one.data}
        async for rows in each_past(store.database, store.columns, said, batch, after, streamer):
            yield [await self._past_face(row) for row in rows]

    async def preview(
        self, drafts: Sequence[Draft], references: Sequence[tuple[StoredReference, bytes]] = ()
    ) -> list[Change]:
        """Return what entries would change, at most MOST_CHANGES. Raises Refused and StoreUnavailable."""
        book, live = self._curator.book, self._curator.live
        if live.model is None:
            return []
        first, now = (book.entries[-1].id + 1 if book.entries else 1), datetime.now(UTC)
        added = [Entry(at, now, "", one.action, one.person_id, one.data) for at, one in enumerate(drafts, first)]
        people = fold([*book.entries, *added])
        stored = {**book.references, **{one.reference_id: one for one, _ in references}}
        try:
            known, _ = await asyncio.to_thread(build, self._config, live.model, live.folder, people, stored)
        except ConfigError as error:
            raise Refused(Problem.NOT_NOW, str(error)) from error
        await self.waiting.flush()
        rivals = self._rivals(known)
        changes: list[Change] = []
        async for some in self._all_with(self.live()):
            changes += await self._decided(known, some, rivals)
            if len(changes) >= MOST_CHANGES:
                break
        changes += self._changes(rivals.close())
        return changes[:MOST_CHANGES]

    async def _decide_all(self) -> None:
        live = self._curator.live
        known = live.known or live.nobody
        if known is None:
            return
        began, count, rivals = time.monotonic(), 0, self._rivals(known)
        said = [one for one in self.live() if one.decision is not None and one.decision.confirmed]
        async for some in self._all_with(said):
            if live.known is None:  # nobody is left: only names change
                some = [one for one in some if self._is_named(one)]
            count += self._revise(await self._decided(known, some, rivals))
            if self._again.is_set():
                return  # the gallery has changed again
        count += self._revise(self._changes(rivals.close()))
        if count:
            log.info("people: %d past tracks have another identity (%.1f s)", count, time.monotonic() - began)

    def _revise(self, changes: Sequence[Change]) -> int:
        """Publish the changes of past tracks, and return their number. Live ones are decided elsewhere.

        Tracks that showed somebody who was erased are left to the erasure, which may be at work now.
        """
        past = [(one, one.past) for one in changes if one.past is not None and not self._showed_erased(one.before)]
        for change, track in past:
            self._curator.book.store.revise(revised(track.message, change.after))
        return len(past)

    def _is_named(self, face: TrackFace) -> bool:
        """Return whether a track shows somebody, except people who were erased, whose tracks an erasure changes."""
        decision = face.decision
        if decision is None or decision.status is not IdentityStatus.IDENTIFIED:
            return False
        return not self._showed_erased(decision)

    def _showed_erased(self, decision: IdentityDecision | None) -> bool:
        return decision is not None and decision.person_id in self._curator.book.people.erased

    async def _all_with(self, live: Sequence[TrackFace]) -> AsyncIterator[list[TrackFace]]:
        """Yield past and live tracks by their ids, which sort by birth, some at a time. Raises StoreUnavailable."""
        left = sorted(live, key=lambda one: one.track_id)
        async for some in self.all():
            born = [one for one in left if one.track_id < some[-1].track_id]
            left = left[len(born) :]
            known = {one.track_id for one in some}  # some have ended in between
            yield sorted([*some, *(one for one in born if one.track_id not in known)], key=lambda one: one.track_id)
        if left:
            yield left

    def _rivals(self, known: EnrolledGallery) -> Rivals[TrackFace]:
        return Rivals(self._config, known.twins)

    async def _decided(
        self, known: EnrolledGallery, faces: Sequence[TrackFace], rivals: Rivals[TrackFace]
    ) -> list[Change]:
        """Return which tracks have another identity by this gallery; `rivals` keeps those that others may contest."""
        others: dict[str, Floats | None] = {}
        if self.visitors is not None:
            await self.visitors.load()
            others = {one.track_id: self.visitors.others_of(one.joined, None, 0.0, one.model_id) for one in faces}
        return await asyncio.to_thread(self._decide, known, faces, rivals, others)

    def _decide(
        self,
        known: EnrolledGallery,
        faces: Sequence[TrackFace],
        rivals: Rivals[TrackFace],
        others: Mapping[str, Floats | None],
    ) -> list[Change]:
        identifier = Identifier(self._config.gallery)
        identifier.use(known)
        settled: list[tuple[TrackFace, IdentityDecision]] = []
        for face in faces:
            found = self._decided_by(identifier, known, face, self._before(face), others.get(face.track_id))
            settled += rivals.add(face, face.camera, face.track_id, face.spans, found)
        return self._changes(settled)

    def _before(self, face: TrackFace) -> IdentityDecision:
        before = face.decision or NOT_SEARCHED
        return replace(before, person_id=self._curator.book.people.root(before.person_id))

    def _changes(self, settled: Sequence[tuple[TrackFace, IdentityDecision]]) -> list[Change]:
        """Return those of these tracks whose decision is another one than before."""
        changes = []
        for face, after in settled:
            before = self._before(face)
            if (after.status, after.person_id, after.confirmed) != (before.status, before.person_id, before.confirmed):
                revision = max(after.revision, before.revision + 1)
                after = replace(after, revision=revision)
                changes.append(Change(face.track_id, face.camera, face.decision, after, face.past))
        return changes

    def _decided_by(
        self,
        identifier: Identifier,
        known: EnrolledGallery,
        face: TrackFace,
        before: IdentityDecision,
        others: Floats | None,
    ) -> IdentityDecision:
        """Return the decision for a track. Without a face to search for, only what was said about it counts."""
        said = known.corrections
        if face.template is not None and self._can_be_searched(known, face):
            return identifier.decide_past(before, Probe(face.template, face.samples, face.quality, face.joined, others))
        if said.person_of(face.joined) is not None:
            return identifier.decide_past(before, Probe(NO_FACE, face.samples, face.quality, face.joined))
        if before.person_id in said.not_of(face.joined):
            reason, revision = IdentityReason.REJECTED, before.revision + 1
            return replace(NOT_SEARCHED, status=IdentityStatus.UNKNOWN, reason=reason, revision=revision)
        if before.confirmed:
            return replace(NOT_SEARCHED, revision=before.revision + 1)
        if before.reason is IdentityReason.REJECTED and not said.not_of(face.joined):  # that was undone
            return replace(NOT_SEARCHED, revision=before.revision + 1)
        return before

    def _can_be_searched(self, known: EnrolledGallery, face: TrackFace) -> bool:
        settings = self._config.gallery
        enough = face.samples >= settings.min_samples and face.quality >= settings.min_quality
        return enough and face.model_id == known.gallery.model_id

    async def _past_face(self, row: PastTrack) -> TrackFace:
        sealed = await self._curator.book.sealed_of(OWNER)
        try:
            template = sealed.read_vector(row.sealed_template, row.track_id) if row.sealed_template else None
        except NotReadable as error:
            raise StoreUnavailable(str(error)) from error
        return TrackFace(
            row.track_id,
            row.camera,
            row.joined,
            row.model_id,
            row.samples,
            row.quality,
            template,
            row.decision,
            row,
            spans_of(row.message),
        )
