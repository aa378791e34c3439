"""Audits the gallery of a store, and sets aside what an audit advises to."""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from streamer import metrics
from streamer.config import StreamerConfig
from streamer.identity.identification import EnrolledGallery
from streamer.people.apart import in_background
from streamer.people.audit import Audit, audited
from streamer.people.book import Draft
from streamer.people.curator import Curator, Problem, Refused
from streamer.people.drift import since
from streamer.people.entries import FOLDER, Action, Entry
from streamer.people.nightly import every_night
from streamer.people.past import Past
from streamer.people.recognition import references_of
from streamer.people.replay import began
from streamer.people.track_faces import TrackFace
from streamer.store.values import StoreUnavailable

DAYS = 84  # of past tracks
MOST_TRACKS = 50_000  # past tracks, the newest
SETTLED_S = 30.0  # longest wait until the changes before the call are recognised by

log = logging.getLogger(__name__)


class Auditing:
    """Audits the gallery of a store. Raises as Curator does."""

    def __init__(self, config: StreamerConfig, curator: Curator, past: Past) -> None:
        self._config = config
        self._curator = curator
        self._past = past

    async def audit(self, days: int, cameras: Collection[str]) -> Audit:
        """Audit the gallery by the past tracks of some days (0: DAYS), of these cameras (empty: all).

        The metrics are those of the newest audit by the tracks of DAYS of all cameras.
        """
        live = self._curator.live
        if not await live.settled(SETTLED_S):
            raise Refused(Problem.NOT_NOW, "the gallery cannot be audited: changes are still being taken in; try again")
        known, impostors = live.known, live.impostors
        if known is None or impostors is None or live.model is None:
            why = live.problem or "nobody is in it, or no worker has embedded it yet"
            raise Refused(Problem.NOT_NOW, f"the gallery cannot be audited: {why}")
        book = self._curator.book
        people, stored = book.people, dict(book.references)
        references = await asyncio.to_thread(references_of, live.model, live.folder, people, stored)
        await self._past.waiting.flush()
        faces: list[tuple[datetime, TrackFace]] = []
        async for some in self._past.all(after=since(days or DAYS, datetime.now(UTC))):
            faces += [
                (began(one.past), replace(one, past=None))  # without its message, which is large
                for one in some
                if one.past is not None
                if (not cameras or one.camera in cameras) and self._is_usable(one, known)
            ]
            faces = faces[-MOST_TRACKS:]
        settings = self._config.gallery
        found = await in_background(partial(audited, settings, known, impostors, references, faces, people, stored))
        if not cameras and days in (0, DAYS):
            _show(found)
        return found

    async def run(self) -> None:
        """Audit every night, if the settings ask for it, until cancelled."""
        if self._config.gallery.audit_at is not None:
            await every_night(self._config.gallery.audit_at, self.audit_for_metrics)

    async def audit_for_metrics(self) -> None:
        """Audit the whole gallery; if that is not possible, say so in the log."""
        try:
            found = await self.audit(DAYS, ())
        except (Refused, StoreUnavailable) as error:
            log.warning("%s", error)
            return
        for line in found.attention:
            log.warning("audit of the gallery: %s", line)

    async def set_aside(self, actor: str, found: Audit) -> tuple[str, list[str]]:
        """Set aside what an audit advises to. Returns the id that `restore` takes, and the references."""
        audit_id, book = str(uuid4()), self._curator.book
        async with self._curator.changing:
            drafts, ids = [], []
            for one in found.doubtful:
                name, person = one.left.reference, book.people.people.get(one.left.person)
                if one.aside and person is not None and name in person.references and name not in person.set_aside:
                    data = {"reference": name, "audit": audit_id}
                    drafts.append(Draft(Action.SET_ASIDE, book.references[name].person_id, data))
                    ids.append(name)
            if not drafts:
                return "", []
            await self._curator.write(actor, drafts)
        return audit_id, ids

    async def restore(self, actor: str, audit_id: str) -> list[str]:
        """Compare again with what an audit (empty: the newest one) has set aside. Returns the references."""
        async with self._curator.changing:
            book = self._curator.book
            done = [one for one in book.entries if one.action is Action.SET_ASIDE and one.data.get("audit")]
            audit_id = audit_id or (done[-1].data["audit"] if done else "")
            entries = [one for one in done if one.data["audit"] == audit_id]
            if not entries:
                raise Refused(Problem.NOT_FOUND, "audit_id: there is no audit that has set references aside")
            drafts, ids = [], []
            for one in entries:
                person = next((each for each in book.people.people.values() if _is_aside(each.set_aside, one)), None)
                if person is not None:
                    drafts.append(Draft(Action.RESTORE, one.person_id, {"reference": one.data["reference"]}))
                    ids.append(str(one.data["reference"]))
            if drafts:
                await self._curator.write(actor, drafts)
        return ids

    async def distinguish(self, actor: str, person_id: str, other_id: str) -> Entry:
        """Say that two people are two people."""
        async with self._curator.changing:
            for one in (person_id, other_id):
                self._curator.get(one) if one.startswith(FOLDER) else self._curator.changeable(one)
            if person_id == other_id:
                raise Refused(Problem.INVALID, "other_person_id: it is the same person")
            draft = Draft(Action.DIFFERENT_PEOPLE, person_id, {"other": other_id})
            (entry,) = await self._curator.write(actor, [draft])
            return entry

    def _is_usable(self, face: TrackFace, known: EnrolledGallery) -> bool:
        settings = self._config.gallery
        enough = face.samples >= settings.min_samples and face.quality >= settings.min_quality
        return face.template is not None and enough and face.model_id == known.gallery.model_id


def _is_aside(aside: frozenset[str], entry: Entry) -> bool:
    return entry.data["reference"] in aside


def _show(found: Audit) -> None:
    """Let the metrics be those of an audit."""
    for kind, number in (
        ("pairs", len(found.pairs)),
        ("references_in_doubt", len(found.doubtful)),
        ("advised_aside", sum(one.aside for one in found.doubtful)),
    ):
        metrics.audit_findings.labels(kind).set(number)
    rate = metrics.audit_false_accept_rate
    rate.clear()  # of an estimate, which may not be possible any longer
    accepts = found.false_accepts
    figures = {"low": accepts.low, "high": accepts.high, "stated": found.stated, "estimate": accepts.rate}
    for figure, value in figures.items():
        if value is not None:
            rate.labels(figure).set(value)
    metrics.audit_timestamp.set(found.at.timestamp())
