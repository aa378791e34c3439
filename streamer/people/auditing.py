"""Audits the gallery: what is wrong in it, how often strangers are named, and whether references grow old."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from uuid import uuid4

import numpy as np

from streamer.config import Gallery as Settings
from streamer.config import StreamerConfig
from streamer.identity.cluster import Links, Tracklet, cluster
from streamer.identity.gallery import EmbeddedReference
from streamer.identity.health import (
    Doubtful,
    Left,
    Pair,
    Verdict,
    certain_from,
    confusable,
    doubtful,
    leave_one_out,
)
from streamer.identity.identification import EnrolledGallery
from streamer.identity.strangers import FalseAccepts, estimated
from streamer.people.book import Draft, StoredReference
from streamer.people.curator import Curator, Problem, Refused
from streamer.people.drift import Halves, Period, Seen, by_camera, by_person, by_week, halves, since, worse_cameras
from streamer.people.entries import FOLDER, Action, Entry
from streamer.people.fold import People, fold
from streamer.people.past import Past
from streamer.people.recognition import references_of
from streamer.people.replay import began
from streamer.people.track_faces import TrackFace
from streamer.values import IdentityStatus, ImpostorScores

DAYS = 84  # of past tracks
MOST_TRACKS = 50_000  # past tracks, the newest
MOST_STRANGERS = 2_000  # that are grouped to visitors, the newest
VISITOR_RATE = 0.001  # of visitors who are taken for another one
SETTLED_S = 30.0  # longest wait until the changes before the call are recognised by
BESIDE = 10  # people with whom a past track is compared
NOBODY = fold(())


@dataclass(frozen=True, slots=True)
class Named:
    """How the references of a person are found without themselves."""

    person: str
    searched: int
    first: int  # of these, the person is the most similar one
    named: int  # of these, at the threshold
    score: float  # median for the person
    newest: datetime | None  # UTC, of the newest reference; None: not known
    tracks: Halves


@dataclass(frozen=True, slots=True)
class Audit:
    """The health of a gallery."""

    at: datetime  # UTC
    model_id: str
    people: int
    references: int
    threshold: float
    stated: float  # false-accept rate
    certain_from: float  # cosine that hardly any two strangers of the gallery reach
    pairs: tuple[Pair, ...]
    distinguished: int  # pairs that were said to be two people
    doubtful: tuple[Doubtful, ...]
    named: tuple[Named, ...]  # worst first
    false_accepts: FalseAccepts
    certain_strangers: int
    weeks: tuple[Period, ...]
    cameras: tuple[Period, ...]
    all_tracks: Halves
    best: Mapping[str, str]  # person -> reference with the best quality
    attention: tuple[str, ...]  # in words


class Auditing:
    """Audits the gallery of a store. Raises as Curator does."""

    def __init__(self, config: StreamerConfig, curator: Curator, past: Past) -> None:
        self._config = config
        self._curator = curator
        self._past = past

    async def audit(self, days: int, cameras: Collection[str]) -> Audit:
        """Audit the gallery by the past tracks of some days, of these cameras (empty: all)."""
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
        return await asyncio.to_thread(audited, settings, known, impostors, references, faces, people, stored)

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
            return (await self._curator.write(actor, [Draft(Action.DIFFERENT_PEOPLE, person_id, {"other": other_id})]))[
                0
            ]

    def _is_usable(self, face: TrackFace, known: EnrolledGallery) -> bool:
        settings = self._config.gallery
        enough = face.samples >= settings.min_samples and face.quality >= settings.min_quality
        return face.template is not None and enough and face.model_id == known.gallery.model_id


def audited(
    settings: Settings,
    known: EnrolledGallery,
    impostors: ImpostorScores,
    references: Sequence[EmbeddedReference],
    faces: Sequence[tuple[datetime, TrackFace]] = (),
    people: People = NOBODY,
    stored: Mapping[str, StoredReference] = MappingProxyType({}),
) -> Audit:
    """Audit a gallery. `references`: those that it is made of; `faces`: past tracks, oldest first, with their times."""
    images: dict[str, list[EmbeddedReference]] = {}
    for one in references:
        images.setdefault(one.person, []).append(one)
    gallery = known.gallery
    images = {name: images[name] for name in gallery.names if name in images}  # the newest change may not be in it yet
    left = leave_one_out(gallery, images)
    found = confusable(gallery, images, known.threshold, impostors)
    pairs = [one for one in found if frozenset({one.one, one.other}) not in people.different]
    own = [one.own for one in left if one.own is not None]
    genuine = float(np.median(own)) if own else None
    learnt = {one.details.get("track") for one in stored.values() if one.source == "TRACK"}
    used = [(at, one) for at, one in faces if one.track_id not in learnt]
    seen, accepts, certain = _searched(settings, known, impostors, used, people, genuine)
    tracks = by_person(seen)
    named = [
        _named(
            name, some, known.threshold, settings.margin, tracks.get(name, halves([])), _newest(name, people, stored)
        )
        for name, some in _by_person(left, images).items()
    ]
    named.sort(key=lambda one: (one.first / one.searched if one.searched else 2.0, one.score))
    made = Audit(
        at=datetime.now(UTC),
        model_id=gallery.model_id,
        people=len(gallery),
        references=len(references),
        threshold=known.threshold,
        stated=settings.false_accept_rate,
        certain_from=certain_from(impostors, len(gallery)),
        pairs=tuple(pairs),
        distinguished=len(found) - len(pairs),
        doubtful=tuple(doubtful(left, pairs, images, known.threshold, impostors)),
        named=tuple(named),
        false_accepts=accepts,
        certain_strangers=certain,
        weeks=tuple(by_week(seen)),
        cameras=tuple(by_camera(seen)),
        all_tracks=halves(seen),
        best={name: max(some, key=lambda one: one.quality).name for name, some in images.items()},
        attention=(),
    )
    return replace(made, attention=tuple(attention(made)))


def _by_person(left: Sequence[Left], names: Iterable[str]) -> dict[str, list[Left]]:
    found: dict[str, list[Left]] = {name: [] for name in names}
    for one in left:
        found[one.person].append(one)
    return found


def _newest(name: str, people: People, stored: Mapping[str, StoredReference]) -> datetime | None:
    person = people.people.get(name)
    created = [stored[one].created for one in person.references if one in stored] if person is not None else []
    return max(created, default=None)


def _named(
    name: str, left: Sequence[Left], threshold: float, margin: float, tracks: Halves, newest: datetime | None
) -> Named:
    mine = [(one.own, one.other_score) for one in left if one.own is not None]
    return Named(
        person=name,
        searched=len(mine),
        first=sum(own > other for own, other in mine),
        named=sum(own >= threshold and own - other >= margin for own, other in mine),
        score=float(np.median([own for own, _ in mine])) if mine else 0.0,
        newest=newest,
        tracks=tracks,
    )


def _searched(
    settings: Settings,
    known: EnrolledGallery,
    impostors: ImpostorScores,
    used: Sequence[tuple[datetime, TrackFace]],
    people: People,
    genuine: float | None,
) -> tuple[list[Seen], FalseAccepts, int]:
    """Return the identified tracks, how often strangers are named, and how many are certain strangers."""
    gallery, said = known.gallery, known.corrections
    templates = [one.template for _, one in used if one.template is not None]
    probes = np.stack(templates) if templates else np.zeros((0, 512))
    places, scores = gallery.nearest(np.asarray(probes, np.float32), BESIDE)
    seen = list[Seen]()
    unsaid = list[tuple[TrackFace, float, bool]]()  # track, best score, certainly a stranger
    for (at, face), row, similar in zip(used, places, scores, strict=True):
        decision = face.decision
        if decision is not None and decision.status is IdentityStatus.IDENTIFIED:
            person = people.root(decision.person_id)
            match = [float(s) for p, s in zip(row, similar, strict=True) if gallery.names[p] == person]
            seen += [Seen(at, face.camera, person, score, face.quality) for score in match]
        if said.person_of(face.joined) is None and len(row):
            unsaid.append((face, float(similar[0]), gallery.names[row[0]] in said.not_of(face.joined)))
    unsaid = unsaid[-MOST_STRANGERS:]
    tracklets = [Tracklet(one.track_id, one.template, one.quality) for one, _, _ in unsaid]
    certain = np.array([one for _, _, one in unsaid], np.bool_)
    accepts = estimated(
        np.array([score for _, score, _ in unsaid], np.float64),
        cluster(tracklets, Links(), impostors, VISITOR_RATE) if tracklets else [],
        impostors,
        len(gallery),
        known.threshold,
        settings.false_accept_rate,
        genuine,
        certain,
    )
    return seen, accepts, int(certain.sum())


def attention(found: Audit) -> list[str]:
    """Return what needs a look, in words."""
    lines, stated = list[str](), found.stated
    same = sum(one.verdict is not Verdict.LOOK_ALIKE for one in found.pairs)
    if same:
        lines.append(f"{_count(same, 'pair')} of people may be one person who was enrolled twice")
    if len(found.pairs) > same:
        lines.append(f"{_count(len(found.pairs) - same, 'pair')} of people are as similar as one person")
    aside = sum(one.aside for one in found.doubtful)
    if aside:
        lines.append(f"{_count(aside, 'reference')} should be set aside")
    if found.false_accepts.rate is not None and found.false_accepts.low > stated:
        lines.append(
            f"strangers are named more often than stated: {found.false_accepts.rate:.2%} of searches "
            f"({found.false_accepts.low:.2%} to {found.false_accepts.high:.2%}), stated is {stated:.2%}"
        )
    outdated = sum(one.tracks.fallen for one in found.named)
    if outdated:
        lines.append(f"the references of {_count(outdated, 'person', 'people')} grow old: scores of tracks fall")
    if found.all_tracks.fallen:
        lines.append(f"the scores of all tracks fall: {found.all_tracks.earlier:.3f} to {found.all_tracks.later:.3f}")
    worse = worse_cameras(found.cameras)
    return [*lines, *(f"stream {one.camera} gives lower scores than others: {one.score:.3f}" for one in worse)]


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _is_aside(aside: frozenset[str], entry: Entry) -> bool:
    return entry.data["reference"] in aside
