"""Erases people: destroys their keys, removes everything that is stored about them, and checks that it is gone."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from streamer.people.curator import Curator, Problem, Refused
from streamer.people.elsewhere import confirm, forget_faces_elsewhere
from streamer.people.entries import FOLDER, Action
from streamer.people.past import Past
from streamer.people.transfer import Export, Transfer
from streamer.store.database import blocks_of
from streamer.store.forget import forget_faces, forget_tracks, overwrite
from streamer.store.tables import ledger, person_keys, person_references, tracks
from streamer.store.values import StoreUnavailable, Unfinished

PIECE = 48  # bytes that are searched for, of what was stored
LEAST = 5  # bytes of a name that is searched for: shorter ones occur by chance
WORKER_S = 30.0  # longest wait until live tracks are decided again
BLOCK = 1 << 24  # bytes of a file searched at once


@dataclass(frozen=True, slots=True)
class Report:
    """What an erasure removed, and what remains."""

    person_id: str
    merged_ids: tuple[str, ...]  # of people who had been merged into this one
    at: datetime  # UTC
    removed: dict[str, int]  # rows removed or emptied, by table
    searched: tuple[str, ...]  # files that were searched for what must be gone
    found: tuple[str, ...]  # what must be gone and is not; empty: all is
    remaining: tuple[str, ...]  # what was not in reach, in words
    signature: str  # HMAC-SHA256 of the other fields with the secret of the store, hexadecimal
    exports: tuple[Export, ...] = ()  # files made of the gallery that hold the person


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    """An erasure of which the keys are destroyed."""

    ids: Sequence[str]  # of the person, and of those who were merged into them
    entries: Sequence[int]  # ids of the entries of the ledger that say so
    removed: dict[str, int] = field(default_factory=dict)  # rows by table
    needles: dict[str, bytes] = field(default_factory=dict)  # pieces of what must be gone; none after a failure
    shown: Sequence[str] = ()  # tracks that show the person, also by their faces; after a failure unknown
    exports: Sequence[Export] = ()


class Erasing:
    """Erases people."""

    def __init__(self, curator: Curator, past: Past, transfer: Transfer) -> None:
        self._curator = curator
        self._past = past
        self._transfer = transfer

    async def erase(self, actor: str, person_id: str, version: int) -> Report:
        """Erase a person, with all who were merged into them. Erasing again finishes what failed, and checks again.

        Raises Refused, StoreUnavailable, and Unfinished if the person is erased and the rest follows by itself.
        """
        curator = self._curator
        if person_id.startswith(FOLDER):
            curator.get(person_id)
            raise Refused(
                Problem.NOT_NOW, "person_id: remove the folder of the person from gallery.folder, and restart"
            )
        with ExitStack() as doing:
            async with curator.changing:
                before = curator.forgetting.entries_of(person_id)
                begun = _Begun([person_id], before) if before else await self._begin(actor, person_id, version)
                doing.enter_context(curator.forgetting.by_a_call(begun.entries))
                if not before:
                    curator.forgetting.shown |= {*begun.shown}
                    curator.after_change(Action.ERASE, person_id)
            try:
                return await self._finish(begun)
            except StoreUnavailable as error:
                raise Unfinished(str(error)) from error

    async def _begin(self, actor: str, person_id: str, version: int) -> "_Begun":
        """Destroy keys, references and what the ledger says. `changing` must be held."""
        book = self._curator.book
        self._curator.changeable(person_id, version)
        ids = [person_id, *sorted(name for name, root in book.people.merged.items() if root == person_id)]
        await self._past.waiting.flush()
        needles = await self._needles(ids)
        exports = await self._transfer.exports_of(ids)
        shown = await self._tracks_of(person_id)
        removed = await book.erase(actor, ids)
        entries = [number for name in ids for number in self._curator.forgetting.entries_of(name)]
        return _Begun(ids, sorted(entries), removed, needles, shown, exports)

    async def _finish(self, begun: "_Begun") -> Report:
        """Remove what is stored of the tracks that showed the people, here and elsewhere, and look for what is left."""
        curator, book, ids = self._curator, self._curator.book, begun.ids
        in_use = await curator.live.settled(WORKER_S)  # live tracks lose the name before they are stored again
        forgotten = await forget_tracks(book.store, set(ids))
        faces = forgotten.tracks | curator.forgetting.shown
        await self._past.forget(faces)
        forgotten.counts |= await forget_faces(book.store, faces)
        curator.forgetting.shown -= faces
        rejected, removed = await book.forget_rejected(faces), {"person_references": 0, **begun.removed}
        removed["person_references"] += rejected
        await book.store.settle()
        await curator.forgetting.carried_out(begun.entries)
        elsewhere = await forget_faces_elsewhere(book.store, ids, begun.shown)
        await confirm(book.store, begun.entries[-1], elsewhere)
        remaining = [*await overwrite(book.store), *elsewhere.remaining]
        for table, count in elsewhere.removed.items():
            forgotten.counts[table] += count
        await curator.faces_gone()
        found = [*elsewhere.found, *([] if in_use else ["live tracks, until a worker connects"])]
        found += await self._remains(ids)
        searched = book.store.database.files()
        found += [f"{path}: {what}" for path in searched for what in _search(Path(path), begun.needles)]
        report = Report(
            person_id=ids[0],
            merged_ids=tuple(ids[1:]),
            at=datetime.now(UTC),
            removed=removed | forgotten.counts,
            searched=tuple(searched),
            found=tuple(found),
            remaining=(*remaining, *BEYOND_REACH),
            signature="",
            exports=tuple(begun.exports),
        )
        return signed(report, book.store.secret)

    async def _needles(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Return pieces of what is stored about people, to be searched for later."""
        book, needles = self._curator.book, dict[str, bytes]()
        names = {str(entry.data["name"]) for entry in book.entries if entry.person_id in ids and "name" in entry.data}
        for number, name in enumerate(sorted(names), 1):
            if len(name.encode()) >= LEAST:
                needles[f"name {number}"] = name.encode()
        for reference in book.references.values():
            if reference.person_id in ids and reference.source != "REJECTED":  # that is the face of somebody else
                embedding = np.ascontiguousarray(reference.embedding, "<f4").tobytes()
                needles[f"embedding of reference {reference.reference_id}"] = embedding[:PIECE]
                jpeg = await book.crop(reference.reference_id)
                if jpeg:
                    needles[f"picture of reference {reference.reference_id}"] = _telling(jpeg)
        needles |= {f"encrypted content {at}": one for at, one in enumerate(await book.stored_of(ids), 1)}
        return needles

    async def _tracks_of(self, person_id: str) -> list[str]:
        """Return the ids of tracks that show a person, by what was said or by their faces."""
        known, people = self._curator.live.known, self._curator.book.people
        shown = {track for track, person in people.confirmed.items() if person == person_id}
        if known is None or person_id not in known.gallery:
            return sorted(shown)
        async for some in self._past.everywhere():
            usable = [one for one in some if one.template is not None and one.model_id == known.gallery.model_id]
            if usable:
                probes = np.stack([one.template for one in usable if one.template is not None]).astype(np.float64)
                scores = known.gallery.scores_of(person_id, probes)
                assert scores is not None
                alike = [one for one, score in zip(usable, scores, strict=True) if score >= known.threshold]
                shown |= {joined for one in alike for joined in one.joined}
        return sorted(shown)

    async def _remains(self, ids: Sequence[str]) -> list[str]:
        """Return what the tables still have of people, besides the entries that say when something was done."""
        store, found = self._curator.book.store, []
        conditions = (
            (person_references, person_references.c.person_id.in_(ids)),
            (person_keys, person_keys.c.owner.in_(ids)),
            (ledger, ledger.c.person_id.in_(ids) & (ledger.c.payload != b"")),
            (tracks, tracks.c.person.in_(store.columns.persons(ids))),
        )
        for table, condition in conditions:
            count = await store.count(table, condition)
            if count:
                found.append(f"{table.name}: {count} rows")
        return found


BEYOND_REACH = (
    "backups of the store that were made before",
    "files that clients and sinks have made of events and tracks",
    "results of recorded videos",
)


def signed(report: Report, secret: bytes) -> Report:
    """Return the report with its signature."""
    return replace(report, signature=signature(report, secret))


def signature(report: Report, secret: bytes) -> str:
    """Return the signature of a report."""
    content = {
        "person_id": report.person_id,
        "merged_ids": list(report.merged_ids),
        "at": report.at.isoformat(),
        "removed": report.removed,
        "searched": list(report.searched),
        "found": list(report.found),
        "remaining": list(report.remaining),
        "exports": [[one.at.isoformat(), one.actor, one.file] for one in report.exports],
    }
    data = json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
    return hmac.digest(secret, b"erasure\0" + data, hashlib.sha256).hex()


def _telling(jpeg: bytes) -> bytes:
    """Return a piece from the middle of a picture, whose beginning and flat areas are like those of others.

    It is short, because databases store long values in several places.
    """
    places = range(len(jpeg) // 3, max(2 * len(jpeg) // 3, len(jpeg) // 3 + 1))
    best = max(places, key=lambda place: len(set(jpeg[place : place + PIECE])))
    return jpeg[best : best + PIECE]


def _search(path: Path, needles: dict[str, bytes]) -> list[str]:
    """Return the names of what a file contains."""
    overlap = max((len(one) for one in needles.values()), default=1) - 1
    found, before = list[str](), b""
    try:
        for block in blocks_of(path, BLOCK):
            content = before + block
            found += [name for name, needle in needles.items() if needle in content and name not in found]
            before = content[-overlap:] if overlap else b""
    except FileNotFoundError:
        return []
    return found
