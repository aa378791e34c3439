"""Converts what is known of people to messages."""

from collections.abc import Iterable

from faceanalytics.v1 import faces_pb2, gallery_pb2, gallery_transfer_pb2, tracks_pb2
from streamer.api.messages import duration, timestamp
from streamer.identity.references import FoundFace
from streamer.people.book import Book
from streamer.people.curator import Curator
from streamer.people.enrolling import Outcome
from streamer.people.entries import TRACKS, Entry, Person
from streamer.people.erasing import Report
from streamer.people.stored import StoredReference
from streamer.people.track_faces import Change
from streamer.store.decisions import to_message
from streamer.values import Candidate


def person_message(person: Person, curator: Curator) -> gallery_pb2.Person:
    """Return the message of a person."""
    of_folder = person.version == 0
    count = curator.folder_images(person.person_id) if of_folder else len(person.references)
    return gallery_pb2.Person(
        person_id=person.person_id,
        display_name=person.name,
        labels=person.labels,
        metadata=dict(person.metadata),
        version=person.version,
        created_at=None if of_folder else timestamp(person.created),
        updated_at=None if of_folder else timestamp(person.updated),
        reference_count=count,
        used_count=count if of_folder else sum(curator.is_used(person, name) for name in person.references),
        read_only=of_folder,
    )


def reference_message(
    reference: StoredReference, person: Person, curator: Curator, jpeg: bytes
) -> gallery_pb2.PersonReference:
    """Return the message of a reference."""
    return gallery_pb2.PersonReference(
        reference_id=reference.reference_id,
        source=gallery_pb2.ReferenceSource.Value(f"REFERENCE_SOURCE_{reference.source}"),
        file_name=reference.details.get("file", ""),
        track_id=reference.details.get("track", ""),
        quality=reference.quality,
        model_id=reference.model_id,
        set_aside=reference.reference_id in person.set_aside,
        used=curator.is_used(person, reference.reference_id),
        created_at=timestamp(reference.created),
        face_jpeg=jpeg,
    )


def result_message(outcome: Outcome) -> gallery_pb2.ReferenceResult:
    """Return the message of what became of an image."""
    return gallery_pb2.ReferenceResult(
        file_name=outcome.file,
        reference_id=outcome.reference_id,
        quality=outcome.quality,
        reason=outcome.reason,
        faces=[_face_message(one) for one in outcome.faces],
        duplicate_of=outcome.duplicate_of,
        resembles=candidates(outcome.resembles),
        at=None if outcome.media_time is None else duration(outcome.media_time),
    )


def _face_message(one: FoundFace) -> gallery_pb2.ReferenceFace:
    x1, y1, x2, y2 = one.box
    message = gallery_pb2.ReferenceFace(
        box=faces_pb2.Box(x=x1, y=y1, width=x2 - x1, height=y2 - y1), score=one.score, quality=one.quality
    )
    if one.number:
        message.track, message.frame = one.number, one.frame
        message.at.CopyFrom(duration(one.media_time))
        message.first_seen.CopyFrom(duration(one.first_seen))
        message.last_seen.CopyFrom(duration(one.last_seen))
    return message


def candidates(found: Iterable[Candidate]) -> list[tracks_pb2.Candidate]:
    """Return the messages of people who resemble a face."""
    return [
        tracks_pb2.Candidate(person=one.person, similarity=one.similarity, person_id=one.person_id) for one in found
    ]


def change_messages(changes: Iterable[Change], curator: Curator) -> list[gallery_pb2.IdentityChange]:
    """Return the messages of what would change."""
    messages = []
    for change in changes:
        before = tracks_pb2.Track(decision=to_message(change.before)) if change.before else tracks_pb2.Track()
        curator.book.store.naming.fill(before)
        messages.append(
            gallery_pb2.IdentityChange(
                track_id=change.track_id,
                stream_id=change.camera,
                before=before.decision if change.before else None,
                after=to_message(change.after),
            )
        )
    return messages


def entry_message(entry: Entry, book: Book, name: str) -> gallery_pb2.LedgerEntry:
    """Return the message of an entry; `name` is that of the person today."""
    data = entry.data
    references = [*data.get("references", ()), *([data["reference"]] if data.get("reference") else ())]
    return gallery_pb2.LedgerEntry(
        entry_id=entry.id,
        at=timestamp(entry.at),
        actor=entry.actor,
        action=gallery_pb2.LedgerAction.Value(f"LEDGER_ACTION_{entry.action.value}"),
        person_id="" if entry.person_id == TRACKS else entry.person_id,
        display_name=name,
        track_id=data.get("track", ""),
        reference_ids=references,
        other_person_id=data.get("other", ""),
        undoes=data.get("entry", 0),
        undone_by=book.people.undone.get(entry.id, 0),
        track_ids=data.get("tracks", ()),
        other_track_ids=data.get("others", ()),
        visitor_id=data.get("visitor", ""),
    )


def report_message(report: Report) -> gallery_pb2.ErasureReport:
    """Return the message of an erasure."""
    return gallery_pb2.ErasureReport(
        person_id=report.person_id,
        merged_ids=report.merged_ids,
        erased_at=timestamp(report.at),
        removed_rows=report.removed,
        searched_files=report.searched,
        found=report.found,
        remaining=report.remaining,
        signature=report.signature,
        exports=[
            gallery_transfer_pb2.GalleryExport(at=timestamp(one.at), actor=one.actor, file_name=one.file)
            for one in report.exports
        ],
    )
