"""Implement `streamer people`: see and change the people of a running streamer."""

import argparse
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from faceanalytics.errors import PARTIAL_RESULT, ConfigError, InputError
from faceanalytics.gallery_file import is_gallery
from faceanalytics.json_form import as_dict
from faceanalytics.names import printable
from faceanalytics.v1 import gallery_pb2, gallery_pb2_grpc
from streamer.tools.connection import Connect
from streamer.tools.identity_words import who
from streamer.tools.pages import pages
from streamer.tools.people_audit import audit, different
from streamer.tools.people_sources import Left, Source, calls, people_of, sources_of
from streamer.tools.printed import print_table
from streamer.tools.streams import connected

ANSWER_S = 60.0  # longest wait for an answer
LONG_S = 3600.0  # of calls with many images, and of erasing
ID = re.compile(r"folder-[0-9a-f]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # of a person
JUDGEMENTS = {
    "off": gallery_pb2.JUDGEMENT_OFF,
    "standard": gallery_pb2.JUDGEMENT_STANDARD,
    "strict": gallery_pb2.JUDGEMENT_STRICT,
}


def run(address: str, connect: Connect, arguments: argparse.Namespace) -> int:
    """Run one command and return its exit code. Raises ConfigError, InputError and LostDependency."""
    with connected(address, connect) as channel:
        from streamer.tools import people_split, people_transfer  # they use what is defined here

        actions = ACTIONS | people_split.ACTIONS | people_transfer.ACTIONS
        return actions[arguments.action](Gallery(channel, arguments), arguments)


class Gallery:
    """The gallery of a streamer, and how answers are printed."""

    def __init__(self, channel: grpc.Channel, arguments: argparse.Namespace) -> None:
        self.stub = gallery_pb2_grpc.GalleryServiceStub(channel)
        self.json: bool = arguments.json
        self.judgement = JUDGEMENTS[getattr(arguments, "judgement", "standard")]
        self.track: int = getattr(arguments, "use", None) or 0

    def find(self, who: str) -> str:
        """Return the id of a person named by id or name. Raises ConfigError."""
        if ID.fullmatch(who):
            return who
        found = list(self.people(name=who))
        if not found:
            raise ConfigError(f"there is nobody called {who}; `streamer people list` shows everybody")
        if len(found) > 1:
            ids = ", ".join(one.person_id for one in found)
            raise ConfigError(f"{len(found)} people are called {who}: give an id ({ids})")
        return found[0].person_id

    def people(self, name: str = "", labels: Iterable[str] = (), text: str = "") -> Iterator[gallery_pb2.Person]:
        """Yield all people of a name (empty: any) with these labels, and with a text in name or label."""
        request = gallery_pb2.ListPeopleRequest(display_name=name, labels=labels, text=text)
        for answer in pages(self.stub.ListPeople, request, ANSWER_S):
            yield from answer.people

    def add(self, person_id: str, sources: Iterator[Source], left: Left) -> int:
        """Add images and videos to a person, print what became of each file, and return the exit code."""
        first = gallery_pb2.AddReferencesRequest(person_id=person_id, judgement=self.judgement, track=self.track)
        added, refused, answer = 0, 0, None
        for parts in calls(sources, first, left):
            answer = self.stub.AddReferences(parts, timeout=LONG_S)
            failed = [one for one in answer.results if not one.reference_id and not one.duplicate_of]
            added, refused = added + len(answer.results) - len(failed), refused + len(failed)
            if self.json:
                self.print(answer)
                continue
            for one in answer.results:
                print(_result(one), file=sys.stderr if one.reason and not one.duplicate_of else sys.stdout)
        refused += len(left.refused)
        self.report(left)
        if answer is not None and not self.json:
            print(f"{person_line(answer.person)}")
        if not refused:
            return 0
        return PARTIAL_RESULT if added else InputError("").exit_code

    def report(self, left: Left) -> None:
        """Print what was not sent, and forget it."""
        for name, reason in left.refused:
            print(f"{printable(name)}: {reason}", file=sys.stderr)
        if left.others:
            print(f"left out: {left.others} files that are neither images nor videos", file=sys.stderr)
        left.refused, left.others = [], 0

    def print(self, message: Any) -> None:
        """Print an answer as JSON."""
        print(json.dumps(as_dict(message), ensure_ascii=False), flush=True)

    def said(self, answer: Any, dry_run: bool, done: str) -> int:
        """Print the answer to a correction, and return the exit code 0."""
        if self.json:
            self.print(answer)
        elif dry_run:
            for one in answer.changes:
                print(f"{one.track_id} ({one.stream_id}): {who(one.before)} -> {who(one.after)}")
            print(f"{len(answer.changes)} tracks would change")
        else:
            print(f"{done} (entry {answer.entry_id}; `streamer people undo {answer.entry_id}` takes it back)")
        return 0


def _add(gallery: Gallery, arguments: argparse.Namespace) -> int:
    left = Left([])
    sources = sources_of(arguments.images, left)
    data = dict(_pair(one) for one in arguments.data)
    new = gallery_pb2.Person(display_name=arguments.name, labels=arguments.label, metadata=data)
    made = gallery.stub.CreatePerson(gallery_pb2.CreatePersonRequest(person=new), timeout=ANSWER_S).person
    if arguments.images:
        return gallery.add(made.person_id, sources, left)
    gallery.print(made) if gallery.json else print(person_line(made))
    return 0


def _list(gallery: Gallery, arguments: argparse.Namespace) -> int:
    people = list(gallery.people(arguments.name, arguments.label, arguments.text))
    if gallery.json:
        print(json.dumps({"people": [as_dict(one) for one in people]}, ensure_ascii=False))
        return 0
    rows = [
        (one.person_id, printable(one.display_name), str(one.reference_count), str(one.used_count), _notes(one))
        for one in people
    ]
    print_table(("id", "name", "references", "used", "labels"), rows)
    return 0


def _show(gallery: Gallery, arguments: argparse.Namespace) -> int:
    person_id = gallery.find(arguments.person)
    person = gallery.stub.GetPerson(gallery_pb2.GetPersonRequest(person_id=person_id), timeout=ANSWER_S).person
    asked = pages(gallery.stub.ListReferences, gallery_pb2.ListReferencesRequest(person_id=person_id), ANSWER_S)
    references = [one for answer in asked for one in answer.references]
    asked = pages(gallery.stub.ListLedger, gallery_pb2.ListLedgerRequest(person_id=person_id), ANSWER_S)
    entries = [one for answer in asked for one in answer.entries]
    if gallery.json:
        parts = {"references": [as_dict(one) for one in references], "entries": [as_dict(one) for one in entries]}
        print(json.dumps({"person": as_dict(person), **parts}, ensure_ascii=False))
        return 0
    print(person_line(person))
    for key, value in sorted(person.metadata.items()):
        print(f"  {printable(key)}: {printable(value)}")
    rows = [
        (
            one.reference_id,
            printable(one.file_name) or f"track {one.track_id}",
            f"{one.quality:.2f}",
            "set aside" if one.set_aside else "used" if one.used else f"not used: embedded by {one.model_id}",
        )
        for one in references
    ]
    print_table(("reference", "from", "quality", "state"), rows)
    _entries(entries)
    return 0


def _enrol(gallery: Gallery, arguments: argparse.Namespace) -> int:
    left = Left([])
    return gallery.add(gallery.find(arguments.person), sources_of(arguments.images, left), left)


def _confirm(gallery: Gallery, arguments: argparse.Namespace) -> int:
    request = gallery_pb2.EnrollFromTrackRequest(track_id=arguments.track, dry_run=arguments.dry_run)
    if arguments.new:
        request.new_person.display_name = arguments.new
    elif arguments.person:
        person_id = gallery.find(arguments.person)
        said = gallery_pb2.ConfirmMatchRequest(track_id=arguments.track, person_id=person_id, dry_run=arguments.dry_run)
        answer: Any = gallery.stub.ConfirmMatch(said, timeout=ANSWER_S)
        learnt = "" if answer.reference_id else ", whose face there is not good enough to learn from"
        return gallery.said(answer, arguments.dry_run, f"{arguments.track} shows {printable(arguments.person)}{learnt}")
    else:
        request.best_candidate = True
    answer = gallery.stub.EnrollFromTrack(request, timeout=ANSWER_S)
    name = printable(answer.person.display_name) or answer.person.person_id
    return gallery.said(answer, arguments.dry_run, f"{arguments.track} shows {name}")


def _reject(gallery: Gallery, arguments: argparse.Namespace) -> int:
    person_id = gallery.find(arguments.person) if arguments.person else ""
    request = gallery_pb2.RejectMatchRequest(track_id=arguments.track, person_id=person_id, dry_run=arguments.dry_run)
    answer = gallery.stub.RejectMatch(request, timeout=ANSWER_S)
    return gallery.said(answer, arguments.dry_run, f"{arguments.track} does not show this person")


def _merge(gallery: Gallery, arguments: argparse.Namespace) -> int:
    request = gallery_pb2.MergePeopleRequest(
        person_id=gallery.find(arguments.person),
        other_person_id=gallery.find(arguments.other),
        dry_run=arguments.dry_run,
    )
    answer = gallery.stub.MergePeople(request, timeout=ANSWER_S)
    return gallery.said(answer, arguments.dry_run, person_line(answer.person))


def _rename(gallery: Gallery, arguments: argparse.Namespace) -> int:
    request = gallery_pb2.UpdatePersonRequest(
        person_id=gallery.find(arguments.person),
        person=gallery_pb2.Person(display_name=arguments.name),
        update_mask=FieldMask(paths=["display_name"]),
    )
    person = gallery.stub.UpdatePerson(request, timeout=ANSWER_S).person
    gallery.print(person) if gallery.json else print(person_line(person))
    return 0


def _undo(gallery: Gallery, arguments: argparse.Namespace) -> int:
    request = gallery_pb2.UndoRequest(entry_id=arguments.entry, dry_run=arguments.dry_run)
    answer = gallery.stub.Undo(request, timeout=ANSWER_S)
    return gallery.said(answer, arguments.dry_run, f"entry {arguments.entry} is undone")


def _ledger(gallery: Gallery, arguments: argparse.Namespace) -> int:
    request = gallery_pb2.ListLedgerRequest(page_size=min(max(arguments.limit, 1), 1000))
    answer = gallery.stub.ListLedger(request, timeout=ANSWER_S)
    if gallery.json:
        gallery.print(answer)
    else:
        _entries(answer.entries)
    return 0


def _aside(gallery: Gallery, arguments: argparse.Namespace) -> int:
    request = gallery_pb2.SetReferenceAsideRequest(
        reference_id=arguments.reference, aside=arguments.action == "set-aside"
    )
    person = gallery.stub.SetReferenceAside(request, timeout=ANSWER_S).person
    gallery.print(person) if gallery.json else print(person_line(person))
    return 0


def _delete(gallery: Gallery, arguments: argparse.Namespace) -> int:
    request = gallery_pb2.DeleteReferenceRequest(reference_id=arguments.reference)
    answer = gallery.stub.DeleteReference(request, timeout=ANSWER_S)
    gallery.print(answer) if gallery.json else print(f"{arguments.reference}: deleted")
    return 0


def _search(gallery: Gallery, arguments: argparse.Namespace) -> int:
    limit = min(max(arguments.limit, 1), 100)
    request = gallery_pb2.SearchPeopleRequest(limit=limit, past=arguments.past)
    if arguments.track:
        request.track_id = arguments.track
    else:
        try:
            request.image = arguments.image.read_bytes()
        except OSError as error:
            raise InputError(f"{printable(arguments.image)}: {error.strerror}") from error
    answer = gallery.stub.SearchPeople(request, timeout=ANSWER_S)
    if gallery.json:
        gallery.print(answer)
        return 0
    rows = [
        (printable(one.person), f"{one.similarity:.3f}", "yes" if one.similarity >= answer.threshold else "no")
        for one in answer.people
    ]
    print_table(("person", "cosine", "named"), rows)
    if arguments.past:
        found = [
            (one.track.track_id, one.track.stream_id, f"{one.similarity:.3f}", who(one.track.decision))
            for one in answer.tracks
        ]
        print_table(("track", "stream", "cosine", "identity"), found)
    return 0


def _erase(gallery: Gallery, arguments: argparse.Namespace) -> int:
    person_id = gallery.find(arguments.person)
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise ConfigError("people erase: add --yes, because it cannot be undone")
        if input(f"Erase {printable(arguments.person)} ({person_id}) for good? [y/N] ").strip().lower() != "y":
            return 0
    answer = gallery.stub.ErasePerson(gallery_pb2.ErasePersonRequest(person_id=person_id), timeout=LONG_S)
    report = answer.report
    if gallery.json:
        gallery.print(answer)
    else:
        print(f"{person_id}: erased at {report.erased_at.ToDatetime():%Y-%m-%d %H:%M:%S} UTC")
        print(
            "removed: " + ", ".join(f"{count} {name}" for name, count in sorted(report.removed_rows.items()) if count)
        )
        print("searched: " + (", ".join(report.searched_files) or "the tables"))
        for one in report.found:
            print(f"STILL THERE: {one}")
        for one in report.remaining:
            print(f"not in reach: {one}")
        for export in report.exports:
            made = f"{export.at.ToDatetime():%Y-%m-%d %H:%M:%S} UTC by {printable(export.actor)}"
            print(f"not in reach: the export {printable(export.file_name)}, made at {made}")
        print(f"signature: {report.signature}")
    return 1 if report.found else 0


def _import(gallery: Gallery, arguments: argparse.Namespace) -> int:
    if is_gallery(arguments.folder):
        from streamer.tools.people_transfer import import_gallery

        return import_gallery(gallery, arguments)
    known: dict[str, list[str]] = {}  # ids by name
    for one in gallery.people():
        if not one.read_only:
            known.setdefault(_folded(one.display_name), []).append(one.person_id)
    left, codes = Left([]), []
    for name, sources in people_of(arguments.folder, left):
        there = known.setdefault(_folded(name), [])
        if len(there) > 1:
            raise ConfigError(f"{len(there)} people are called {name}; add the images by id")
        if not there:
            new = gallery_pb2.CreatePersonRequest(person=gallery_pb2.Person(display_name=name))
            there.append(gallery.stub.CreatePerson(new, timeout=ANSWER_S).person.person_id)
        codes.append(gallery.add(there[0], sources, left))
    gallery.report(left)
    if not any(codes):
        return 0
    return codes[0] if len(set(codes)) == 1 else PARTIAL_RESULT


def _folded(name: str) -> str:
    """Return the form in which the streamer compares names."""
    return unicodedata.normalize("NFC", name).strip().casefold()


ACTIONS: dict[str, Callable[[Gallery, argparse.Namespace], int]] = {
    "add": _add,
    "list": _list,
    "show": _show,
    "enrol": _enrol,
    "confirm": _confirm,
    "reject": _reject,
    "merge": _merge,
    "rename": _rename,
    "undo": _undo,
    "ledger": _ledger,
    "set-aside": _aside,
    "restore": _aside,
    "delete-reference": _delete,
    "search": _search,
    "erase": _erase,
    "import": _import,
    "audit": audit,
    "different": different,
}


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--data: write KEY=VALUE, not {text!r}")
    return key, value


def _result(one: gallery_pb2.ReferenceResult) -> str:
    line = f"{printable(one.file_name)}: {one.reason or f'quality {one.quality:.2f}, reference {one.reference_id}'}"
    alike = ", ".join(f"{printable(each.person)} {each.similarity:.2f}" for each in one.resembles)
    return f"{line}; as similar as one person to {alike}" if alike else line


def person_line(one: gallery_pb2.Person) -> str:
    used = f"{one.used_count} of {one.reference_count} references used"
    return f"{one.person_id} {printable(one.display_name)}: {used}{f'; {_notes(one)}' if _notes(one) else ''}"


def _notes(one: gallery_pb2.Person) -> str:
    notes = [printable(label) for label in one.labels] + (["from gallery.folder"] if one.read_only else [])
    return ", ".join(notes)


def _entries(entries: Iterable[gallery_pb2.LedgerEntry]) -> None:
    rows = []
    for one in entries:
        action = gallery_pb2.LedgerAction.Name(one.action).removeprefix("LEDGER_ACTION_").lower().replace("_", " ")
        about = one.track_id or one.other_person_id or (f"entry {one.undoes}" if one.undoes else "")
        name = printable(one.display_name) or one.person_id
        undone = f"undone by {one.undone_by}" if one.undone_by else ""
        at = f"{one.at.ToDatetime():%Y-%m-%d %H:%M:%S}"
        rows.append((str(one.entry_id), at, printable(one.actor), action, name, about, undone))
    print_table(("entry", "at (UTC)", "by", "what", "person", "about", ""), rows)
