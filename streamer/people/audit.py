"""Says what is wrong in a gallery, how often strangers are named, and whether references grow old. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from types import MappingProxyType

import numpy as np

from streamer.config import Gallery as Settings
from streamer.identity.cluster import Links, Tracklet, cluster
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.health import Doubtful, Pair, Verdict, certain_from, confusable, doubtful
from streamer.identity.identification import EnrolledGallery
from streamer.identity.left_out import Left, leave_one_out
from streamer.identity.mass_search import NOBODY as NOBODY_THERE
from streamer.identity.mass_search import MassSearch
from streamer.identity.strangers import FalseAccepts, estimated
from streamer.people.drift import Halves, Period, Seen, by_camera, by_person, by_week, halves, worse_cameras
from streamer.people.fold import People, fold
from streamer.people.stored import StoredReference
from streamer.people.track_faces import TrackFace
from streamer.values import Floats, IdentityStatus, ImpostorScores

MOST_STRANGERS = 2_000  # that are grouped to visitors, the newest
VISITOR_RATE = 0.001  # of visitors who are taken for another one
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
    search = MassSearch(gallery)
    left = leave_one_out(gallery, images, search)
    found = confusable(gallery, images, known.threshold, impostors, search)
    pairs = [one for one in found if frozenset({one.one, one.other}) not in people.different]
    own = [one.own for one in left if one.own is not None]
    genuine = float(np.median(own)) if own else None
    learnt = {one.details.get("track") for one in stored.values() if one.source == "TRACK"}
    used = [(at, one) for at, one in faces if one.track_id not in learnt]
    seen, accepts, certain = _searched(settings, known, impostors, used, people, genuine, search)
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
        score=median(own for own, _ in mine) if mine else 0.0,
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
    search: MassSearch,
) -> tuple[list[Seen], FalseAccepts, int]:
    """Return the identified tracks, how often strangers are named, and how many are certain strangers."""
    gallery, said = known.gallery, known.corrections
    templates = [one.template for _, one in used if one.template is not None]
    probes = np.stack(templates).astype(np.float32) if templates else np.zeros((0, 512), np.float32)
    rows = [row for row, (_, face) in enumerate(used) if said.person_of(face.joined) is None][-MOST_STRANGERS:]
    places, scores = search.best(probes[rows], np.full(len(rows), NOBODY_THERE))
    unsaid = [used[row][1] for row, place in zip(rows, places.tolist(), strict=True) if place != NOBODY_THERE]
    nearest = [gallery.names[place] for place in places.tolist() if place != NOBODY_THERE]
    seen = _identified(gallery, used, probes, people, search)
    tracklets = [Tracklet(one.track_id, one.template, one.quality) for one in unsaid]
    certain = [name in said.not_of(one.joined) for one, name in zip(unsaid, nearest, strict=True)]
    accepts = estimated(
        scores[places != NOBODY_THERE],
        cluster(tracklets, Links(), impostors, VISITOR_RATE) if tracklets else [],
        impostors,
        len(gallery),
        known.threshold,
        settings.false_accept_rate,
        genuine,
        np.array(certain, np.bool_),
    )
    return seen, accepts, sum(certain)


def _identified(
    gallery: Gallery,
    used: Sequence[tuple[datetime, TrackFace]],
    probes: Floats,
    people: People,
    search: MassSearch,
) -> list[Seen]:
    """Return the tracks that were identified as somebody of the gallery, with their scores for whom."""
    place = {name: number for number, name in enumerate(gallery.names)}
    found = []
    for row, (at, face) in enumerate(used):
        if face.decision is not None and face.decision.status is IdentityStatus.IDENTIFIED:
            person = people.root(face.decision.person_id)
            if person in place:
                found.append((row, at, face, person))
    rows = np.array([row for row, *_ in found], np.int64)
    scores = search.scores_of(probes[rows], np.array([place[person] for *_, person in found], np.int64))
    return [
        Seen(at, face.camera, person, score, face.quality)
        for (_, at, face, person), score in zip(found, scores.tolist(), strict=True)
    ]


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
