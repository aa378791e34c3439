"""The calls of GalleryService about the health of the gallery, and their messages; see gallery_audit.proto."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any

from grpc import aio

from faceanalytics.v1 import gallery_audit_pb2 as audit_pb2
from streamer.api.callers import calling, visible_cameras
from streamer.api.messages import timestamp
from streamer.identity.health import Doubtful, Pair
from streamer.identity.strangers import FalseAccepts
from streamer.people.audit import Audit, Named
from streamer.people.curator import Curator
from streamer.people.drift import Period
from streamer.people.parts import PeopleParts

Context = aio.ServicerContext[Any, Any]

Shown = Callable[[str], tuple[str, str] | None]

MOST, MOST_PEOPLE = 200, 1000  # findings of a kind, and people, in an answer
MOST_FACES = 400  # pictures in an answer
DAY_S = 24 * 3600
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class AuditCalls:
    """Serves what is known about the health of the gallery."""

    def _serving(self, context: Context) -> AbstractAsyncContextManager[PeopleParts]:
        raise NotImplementedError

    async def AuditGallery(self, request: audit_pb2.AuditGalleryRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            found = await people.auditing.audit(request.days, visible_cameras.get())
            audit_id, ids = "", list[str]()
            if request.set_aside:
                audit_id, ids = await people.auditing.set_aside(calling.get(), found)
            faces = await _faces(found, people.curator) if request.include_faces else {}
            stored = people.curator.book.references
            files = {name: stored[name].details.get("file", "") for name in _listed(found) if name in stored}
            audit = audit_message(found, people.curator.shown, faces, files)
            return audit_pb2.AuditGalleryResponse(audit=audit, set_aside_ids=ids, audit_id=audit_id)

    async def RestoreAudit(self, request: audit_pb2.RestoreAuditRequest, context: Context) -> Any:  # noqa: N802
        async with self._serving(context) as people:
            ids = await people.auditing.restore(calling.get(), request.audit_id)
            return audit_pb2.RestoreAuditResponse(reference_ids=ids)

    async def DistinguishPeople(  # noqa: N802
        self, request: audit_pb2.DistinguishPeopleRequest, context: Context
    ) -> Any:
        async with self._serving(context) as people:
            entry = await people.auditing.distinguish(calling.get(), request.person_id, request.other_person_id)
            return audit_pb2.DistinguishPeopleResponse(entry_id=entry.id)


def _listed(found: Audit) -> list[str]:
    """Return the references that an answer lists."""
    return [one.left.reference for one in found.doubtful[:MOST]]


async def _faces(found: Audit, curator: Curator) -> dict[str, bytes]:
    """Return the pictures of the references that are listed, at most MOST_FACES, by reference."""
    people = [name for one in found.pairs[:MOST] for name in (one.one, one.other)]
    people += [name for one in found.doubtful[:MOST] for name in (one.left.person, one.left.other)]
    wanted = _listed(found) + [found.best[name] for name in people if name in found.best]
    wanted = [name for name in dict.fromkeys(wanted) if name in curator.book.references]
    return {name: await curator.book.crop(name) for name in wanted[:MOST_FACES]}


class _People:
    """Makes messages of people."""

    def __init__(self, shown: Shown, found: Audit, faces: Mapping[str, bytes]) -> None:
        self._shown = shown
        self._best = found.best
        self._faces = faces

    def __call__(self, person_id: str) -> audit_pb2.AuditedPerson:
        name = (self._shown(person_id) or ("", ""))[1]
        face = self._faces.get(self._best.get(person_id, ""), b"")
        return audit_pb2.AuditedPerson(person_id=person_id, display_name=name, face_jpeg=face)


def audit_message(
    found: Audit, shown: Shown, faces: Mapping[str, bytes], files: Mapping[str, str] = MappingProxyType({})
) -> audit_pb2.GalleryAudit:
    """Return an audit as a message. `shown` returns id and name of a person; pictures and files are by reference."""
    person = _People(shown, found, faces)
    searched = sum(one.searched for one in found.named)
    return audit_pb2.GalleryAudit(
        made_at=timestamp(found.at),
        model_id=found.model_id,
        people=found.people,
        references=found.references,
        threshold=found.threshold,
        false_accept_rate=found.stated,
        attention=found.attention,
        pairs=[_pair(one, found.certain_from, person) for one in found.pairs[:MOST]],
        distinguished=found.distinguished,
        references_in_doubt=[_doubtful(one, person, faces, files) for one in found.doubtful[:MOST]],
        rank_one=sum(one.first for one in found.named) / searched if searched else None,
        identified=sum(one.named for one in found.named) / searched if searched else None,
        people_health=[_health(one, found, person) for one in found.named[:MOST_PEOPLE]],
        false_accepts=_accepts(found.false_accepts, found.certain_strangers),
        weeks=_periods(found.weeks),
        streams=_periods(found.cameras),
    )


def _pair(one: Pair, certain_from: float, person: _People) -> audit_pb2.ConfusablePair:
    return audit_pb2.ConfusablePair(
        person=person(one.one),
        other=person(one.other),
        similarity=one.score,
        certain_from=certain_from,
        verdict=audit_pb2.PairVerdict.Value(f"PAIR_VERDICT_{one.verdict.value}"),
        pulling_reference_ids=[name for name in one.pulling if _is_id(name)],
    )


def _doubtful(
    one: Doubtful, person: _People, faces: Mapping[str, bytes], files: Mapping[str, str]
) -> audit_pb2.DoubtfulReference:
    left = one.left
    return audit_pb2.DoubtfulReference(
        reference_id=left.reference if _is_id(left.reference) else "",
        person=person(left.person),
        doubts=[audit_pb2.ReferenceDoubt.Value(f"REFERENCE_DOUBT_{doubt.value}") for doubt in one.doubts],
        own_similarity=left.own or 0.0,
        other=person(left.other) if left.other else None,
        other_similarity=left.other_score,
        advise_aside=one.aside,
        face_jpeg=faces.get(left.reference, b""),
        file_name=files.get(left.reference, "") if _is_id(left.reference) else left.reference,
    )


def _is_id(reference: str) -> bool:
    """Return whether a reference is named by an id; one of gallery.folder is a path, with the name of the person."""
    return UUID.fullmatch(reference) is not None


def _health(one: Named, found: Audit, person: _People) -> audit_pb2.PersonHealth:
    days = max(0, int((found.at - one.newest).total_seconds() // DAY_S)) if one.newest else 0
    return audit_pb2.PersonHealth(
        person=audit_pb2.AuditedPerson(person_id=one.person, display_name=person(one.person).display_name),
        searched=one.searched,
        first=one.first,
        named=one.named,
        similarity=one.score,
        newest_days=days,
        tracks=one.tracks.tracks,
        earlier_similarity=one.tracks.earlier,
        later_similarity=one.tracks.later,
        outdated=one.tracks.fallen,
    )


def _accepts(one: FalseAccepts, certain: int) -> audit_pb2.FalseAcceptEstimate:
    return audit_pb2.FalseAcceptEstimate(
        tracks=one.tracks,
        visitors=one.visitors,
        named=one.named,
        rate=one.rate,
        low=one.low,
        high=one.high,
        members=one.members,
        suggested_threshold=one.suggested,
        certain=certain,
    )


def _periods(some: Sequence[Period]) -> list[audit_pb2.DriftPeriod]:
    return [
        audit_pb2.DriftPeriod(
            begin_at=timestamp(one.begin),
            stream_id=one.camera,
            tracks=one.tracks,
            similarity=one.score,
            quality=one.quality,
        )
        for one in some
    ]
