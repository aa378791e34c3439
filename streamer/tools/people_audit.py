"""Implement `streamer people audit` and `different`: the health of the gallery, as a table, as JSON and as a page."""

import argparse
import json
from pathlib import Path
from typing import Any, Protocol

from faceanalytics.commandline import number_of
from faceanalytics.errors import ConfigError
from faceanalytics.files import replacing
from faceanalytics.json_form import as_dict
from faceanalytics.names import printable
from faceanalytics.v1 import gallery_audit_pb2 as audit_pb2
from streamer.tools.audit_page import page
from streamer.tools.printed import print_table

LONG_S = 3600.0  # longest wait for an answer
ATTENTION = 1  # exit code if something needs a look
MOST = 20  # people, weeks and streams that are printed
VERDICTS = {
    audit_pb2.PAIR_VERDICT_LOOK_ALIKE: "look alike",
    audit_pb2.PAIR_VERDICT_PROBABLY_SAME: "probably one person twice",
    audit_pb2.PAIR_VERDICT_SAME_IMAGE: "have the same image",
}
DOUBTS = {
    audit_pb2.REFERENCE_DOUBT_UNLIKE_OTHERS: "unlike the others of the person",
    audit_pb2.REFERENCE_DOUBT_RESEMBLES_OTHER: "resembles another person more",
    audit_pb2.REFERENCE_DOUBT_PULLS_TOGETHER: "makes two people alike",
}


class Gallery(Protocol):
    """The gallery of a streamer."""

    stub: Any
    json: bool

    def find(self, who: str) -> str: ...

    def print(self, message: Any) -> None: ...


def audit(gallery: Gallery, arguments: argparse.Namespace) -> int:
    """Audit the gallery of a streamer, or restore what an audit has set aside. Returns the exit code."""
    if arguments.restore is not None:
        request = audit_pb2.RestoreAuditRequest(audit_id=arguments.restore)
        answer = gallery.stub.RestoreAudit(request, timeout=LONG_S)
        gallery.print(answer) if gallery.json else print(
            f"compared again: {number_of(len(answer.reference_ids), 'reference')}"
        )
        return 0
    asked = audit_pb2.AuditGalleryRequest(
        set_aside=arguments.set_aside, days=arguments.days, include_faces=arguments.faces
    )
    answer = gallery.stub.AuditGallery(asked, timeout=LONG_S)
    return show(answer, arguments.html, gallery.json)


def show(answer: audit_pb2.AuditGalleryResponse, html: Path | None, as_json: bool) -> int:
    """Print an audit, and write it as a page to `html`. Returns the exit code. Raises ConfigError."""
    found = answer.audit
    if html is not None:
        with replacing(html) as partial:
            partial.write_text(page(found), encoding="utf-8", newline="\n")
    if as_json:
        print(json.dumps(as_dict(answer), ensure_ascii=False))
    else:
        _print(found)
        for name in answer.set_aside_ids:
            print(f"set aside: {name}")
        if answer.audit_id:
            print(f"`streamer people audit --restore {answer.audit_id}` takes that back")
        if html is not None:
            print(f"{html}: written")
    return ATTENTION if found.attention else 0


def show_folder(found: audit_pb2.GalleryAudit, html: Path | None, as_json: bool) -> int:
    """Do the same with the audit of a folder, of which nothing can be set aside."""
    return show(audit_pb2.AuditGalleryResponse(audit=found), html, as_json)


def different(gallery: Gallery, arguments: argparse.Namespace) -> int:
    """Say that two people are two people."""
    request = audit_pb2.DistinguishPeopleRequest(
        person_id=gallery.find(arguments.person), other_person_id=gallery.find(arguments.other)
    )
    answer = gallery.stub.DistinguishPeople(request, timeout=60.0)
    if gallery.json:
        gallery.print(answer)
    else:
        one, other = printable(arguments.person), printable(arguments.other)
        back = f"`streamer people undo {answer.entry_id}` takes it back"
        print(f"{one} and {other} are two people (entry {answer.entry_id}; {back})")
    return 0


def check(arguments: argparse.Namespace) -> None:
    """Refuse options that contradict each other. Raises ConfigError."""
    if arguments.folder is not None and (arguments.set_aside or arguments.restore is not None or arguments.days):
        raise ConfigError("people audit: --folder has no references to set aside, and no tracks")
    if arguments.restore is not None and (arguments.set_aside or arguments.html):
        raise ConfigError("people audit: --restore makes no audit; leave out --set-aside and --html")
    if arguments.days < 0:
        raise ConfigError("people audit: --days: give a number of days")


def _print(found: audit_pb2.GalleryAudit) -> None:
    print(
        f"{found.people} people, {found.references} references, embedded by {found.model_id}; named from cosine "
        f"{found.threshold:.3f} (false-accept rate {found.false_accept_rate:g})"
    )
    if found.pairs:
        rows = [
            (_who(one.person), _who(one.other), f"{one.similarity:.3f}", VERDICTS[one.verdict]) for one in found.pairs
        ]
        print_table(("people", "and", "cosine", "they"), rows)
    if found.distinguished:
        print(f"not listed, because they were said to be two people: {number_of(found.distinguished, 'pair')}")
    if found.references_in_doubt:
        print_table(
            ("reference", "of", "own", "other", "cosine", "why", "advice"),
            [
                (
                    " ".join(printable(text) for text in (one.reference_id, one.file_name) if text),
                    _who(one.person),
                    f"{one.own_similarity:.3f}",
                    _who(one.other),
                    f"{one.other_similarity:.3f}",
                    ", ".join(DOUBTS[doubt] for doubt in one.doubts),
                    "set aside" if one.advise_aside else "look at it",
                )
                for one in found.references_in_doubt
            ],
        )
    if found.HasField("rank_one"):
        searched = sum(one.searched for one in found.people_health)
        print(
            f"each reference searched for without itself ({searched}): {found.rank_one:.1%} find their person first, "
            f"{found.identified:.1%} are named"
        )
        worst = [one for one in found.people_health if one.searched and one.named < one.searched][:MOST]
        if worst:
            columns = ("people found worst", "references", "first", "named", "median cosine")
            found_worst = [
                (_who(one.person), str(one.searched), str(one.first), str(one.named), f"{one.similarity:.3f}")
                for one in worst
            ]
            print_table(columns, found_worst)
    print(accepts_in_words(found))
    for title, periods in (("week of", found.weeks), ("stream", found.streams)):
        if periods:
            rows = [
                (
                    printable(one.stream_id) or f"{one.begin_at.ToDatetime():%Y-%m-%d}",
                    str(one.tracks),
                    f"{one.similarity:.3f}",
                    f"{one.quality:.2f}",
                )
                for one in periods[-MOST:]
            ]
            print_table((title, "identified tracks", "median cosine", "median quality"), rows)
    old = [one for one in found.people_health if one.outdated]
    if old:
        outdated = [
            (
                _who(one.person),
                str(one.newest_days),
                str(one.tracks),
                f"{one.earlier_similarity:.3f}",
                f"{one.later_similarity:.3f}",
            )
            for one in old
        ]
        columns = ("people whose references grow old", "days since the newest", "tracks", "cosine before", "now")
        print_table(columns, outdated)
    for line in found.attention:
        print(f"LOOK: {printable(line)}")
    if not found.attention:
        print("nothing needs a look")


def accepts_in_words(found: audit_pb2.GalleryAudit) -> str:
    """Return how often strangers are named, in a sentence or two."""
    one = found.false_accepts
    if not one.tracks:
        return "strangers: there are no past tracks to estimate from"
    seen = f"{one.tracks} unconfirmed tracks of about {one.visitors} visitors, {one.named} of them named"
    if not one.HasField("rate"):
        return f"strangers: at most {one.high:.1%} of searches name one (95 %); too few for an estimate ({seen})"
    return (
        f"strangers: about {one.rate:.2%} of searches name one (95 %: {one.low:.2%} to {one.high:.2%}), stated is "
        f"{found.false_accept_rate:.2%}; about {one.members:.0%} of the tracks show people of the gallery ({seen}). "
        f"The stated rate would hold from cosine {one.suggested_threshold:.3f}"
    )


def _who(person: audit_pb2.AuditedPerson) -> str:
    return printable(person.display_name) or person.person_id
