"""Implement `streamer visitors` and `streamer journeys`: see and change the visitors of a running streamer."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from faceanalytics.errors import ConfigError
from faceanalytics.json_form import as_dict
from faceanalytics.names import printable
from faceanalytics.v1 import gallery_pb2, tracks_pb2, visitors_pb2, visitors_pb2_grpc
from streamer.tools.connection import Connect
from streamer.tools.pages import pages
from streamer.tools.people import ANSWER_S, LONG_S, Gallery
from streamer.tools.printed import print_table
from streamer.tools.streams import connected

AGO = {"m": 60, "h": 3600, "d": 86_400}  # units of a time before now, s
CLOCKS = {
    tracks_pb2.CLOCK_SOURCE_RTCP_NTP: "camera",
    tracks_pb2.CLOCK_SOURCE_ARRIVAL: "arrival",
    tracks_pb2.CLOCK_SOURCE_FILE_PTS: "file",
}


def run(address: str, connect: Connect, arguments: argparse.Namespace) -> int:
    """Run one command and return its exit code. Raises ConfigError and LostDependency."""
    with connected(address, connect) as channel:
        return ACTIONS[arguments.action](_Visitors(channel, arguments), arguments)


def journeys(address: str, connect: Connect, arguments: argparse.Namespace) -> int:
    """Print journeys and return the exit code 0. Raises ConfigError and LostDependency."""
    with connected(address, connect) as channel:
        return _journeys(_Visitors(channel, arguments), arguments)


class _Visitors:
    """The visitors of a streamer, and how answers are printed."""

    def __init__(self, channel: grpc.Channel, arguments: argparse.Namespace) -> None:
        self.stub = visitors_pb2_grpc.VisitorServiceStub(channel)
        self.gallery = Gallery(channel, arguments)
        self.json: bool = arguments.json

    def print(self, message: Any) -> None:
        """Print an answer as JSON."""
        print(json.dumps(as_dict(message), ensure_ascii=False), flush=True)

    def said(self, answer: Any, dry_run: bool, done: str) -> int:
        """Print the answer to a change, and return the exit code 0."""
        if self.json:
            self.print(answer)
            return 0
        if not dry_run:
            print(f"{done} (entry {answer.entry_id}; `streamer people undo {answer.entry_id}` takes it back)")
            return 0
        lines = list[str]()
        for field in ("changes", "visitor_changes", "identity_changes"):
            lines += [_change(one) for one in getattr(answer, field, ())]
        print("\n".join([*lines, f"{len(lines)} changes"]))
        return 0


def _list(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    request = visitors_pb2.ListVisitorsRequest(
        stream_ids=arguments.camera,
        min_visits=arguments.min_visits,
        include_named=arguments.named,
        **_period(arguments),
    )
    found = [one for answer in pages(visitors.stub.ListVisitors, request, ANSWER_S) for one in answer.visitors]
    if visitors.json:
        print(json.dumps({"visitors": [as_dict(one) for one in found]}, ensure_ascii=False))
        return 0
    columns = ("visitor", "first seen (UTC)", "last seen", "visits", "tracks", "dwell", "streams", "")
    print_table(columns, [_row(one) for one in found])
    return 0


def _show(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    answer = visitors.stub.GetVisitor(visitors_pb2.GetVisitorRequest(visitor_id=arguments.visitor), timeout=ANSWER_S)
    if visitors.json:
        visitors.print(answer)
        return 0
    one = answer.visitor
    print(f"{one.visitor_id}: {_number(one.visits, 'visit')}, {_time(one.dwell)}{_notes(one)}")
    if one.merged_ids:
        print(f"  also {', '.join(one.merged_ids)}")
    _appearances(answer.appearances)
    return 0


def _count(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    request = visitors_pb2.CountVisitorsRequest(
        stream_ids=arguments.camera, by_hour=arguments.hours, by_stream=arguments.cameras, **_period(arguments)
    )
    request.utc_offset.FromTimedelta(datetime.now().astimezone().utcoffset() or timedelta())
    answer = visitors.stub.CountVisitors(request, timeout=ANSWER_S)
    if visitors.json:
        visitors.print(answer)
        return 0
    rows = [_numbers("all", answer.total)]
    rows += [_numbers(f"{one.hour.ToDatetime(UTC).astimezone():%Y-%m-%d %H:00}", one) for one in answer.hours]
    rows += [_numbers(printable(one.stream_id), one) for one in answer.streams]
    columns = ("", "visitors", "between", "returning", "visits", "median dwell", "90 % below", "undecided tracks")
    print_table(columns, rows)
    return 0


def _merge(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    request = visitors_pb2.MergeVisitorsRequest(
        visitor_id=arguments.visitor, other_visitor_id=arguments.other, dry_run=arguments.dry_run
    )
    answer = visitors.stub.MergeVisitors(request, timeout=ANSWER_S)
    return visitors.said(answer, arguments.dry_run, f"{arguments.other} is {answer.visitor.visitor_id}")


def _split(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    request = visitors_pb2.SplitVisitorRequest(
        visitor_id=arguments.visitor, track_ids=arguments.tracks, dry_run=arguments.dry_run
    )
    answer = visitors.stub.SplitVisitor(request, timeout=ANSWER_S)
    count = _number(len(arguments.tracks), "track")
    return visitors.said(answer, arguments.dry_run, f"{count} of {arguments.visitor} show {answer.visitor_id}")


def _name(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    request = visitors_pb2.NameVisitorRequest(visitor_id=arguments.visitor, dry_run=arguments.dry_run)
    if arguments.person:
        request.person_id = visitors.gallery.find(arguments.person)
    else:
        request.new_person.display_name = arguments.name
    answer = visitors.stub.NameVisitor(request, timeout=ANSWER_S)
    name = printable(answer.person.display_name)
    learnt = _number(answer.references, "face")
    return visitors.said(answer, arguments.dry_run, f"{arguments.visitor} is {name}; {learnt} learnt")


def _erase(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise ConfigError("visitors erase: add --yes, because it cannot be undone")
        if input(f"Erase {arguments.visitor} for good? [y/N] ").strip().lower() != "y":
            return 0
    request = visitors_pb2.EraseVisitorRequest(visitor_id=arguments.visitor)
    answer = visitors.stub.EraseVisitor(request, timeout=LONG_S)
    if visitors.json:
        visitors.print(answer)
    else:
        removed = ", ".join(f"{count} {name}" for name, count in sorted(answer.removed_rows.items()) if count)
        print(f"{arguments.visitor}: erased; removed: {removed or 'nothing'}")
        for one in answer.found:
            print(f"STILL THERE: {one}")
        for one in answer.remaining:
            print(f"not in reach: {one}")
    return 1 if answer.found else 0


def _same(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    request = visitors_pb2.JoinTracksRequest(
        track_id=arguments.track, other_track_id=arguments.other, dry_run=arguments.dry_run
    )
    answer = visitors.stub.JoinTracks(request, timeout=ANSWER_S)
    return visitors.said(answer, arguments.dry_run, f"{arguments.track} and {arguments.other} show the same face")


def _different(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    request = visitors_pb2.PartTracksRequest(
        track_id=arguments.track, other_track_id=arguments.other, dry_run=arguments.dry_run
    )
    answer = visitors.stub.PartTracks(request, timeout=ANSWER_S)
    return visitors.said(answer, arguments.dry_run, f"{arguments.track} and {arguments.other} show two people")


def _regroup(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    del arguments
    answer = visitors.stub.RegroupVisitors(visitors_pb2.RegroupVisitorsRequest(), timeout=LONG_S)
    if visitors.json:
        visitors.print(answer)
    else:
        changed = _number(answer.changed_tracks, "track")
        print(f"{answer.visitors_before} visitors before, {answer.visitors} now; {changed} changed")
    return 0


ACTIONS: dict[str, Callable[[_Visitors, argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "count": _count,
    "merge": _merge,
    "split": _split,
    "name": _name,
    "erase": _erase,
    "same": _same,
    "different": _different,
    "regroup": _regroup,
}


def _journeys(visitors: _Visitors, arguments: argparse.Namespace) -> int:
    who: dict[str, Any] = {
        "visitor_ids": arguments.visitor,
        "person_ids": [visitors.gallery.find(one) for one in arguments.person],
    }
    request = visitors_pb2.ListJourneysRequest(
        stream_ids=arguments.camera, min_streams=arguments.min_cameras, **who, **_period(arguments)
    )
    found = [one for answer in pages(visitors.stub.ListJourneys, request, ANSWER_S) for one in answer.journeys]
    if visitors.json:
        print(json.dumps({"journeys": [as_dict(one) for one in found]}, ensure_ascii=False))
        return 0
    if not found:
        print("no journeys")
    for one in found:
        name = printable(one.person) or one.person_id or one.visitor_id
        print(f"{name}: {_number(len(one.appearances), 'appearance')}, {_time(one.duration)}")
        _appearances(one.appearances)
    return 0


def _appearances(found: Sequence[visitors_pb2.Appearance]) -> None:
    rows, before = [], None
    for one in found:
        gap = ""
        if before is not None:
            seconds = (one.first_seen_at.ToDatetime() - before.last_seen_at.ToDatetime()).total_seconds()
            gap = f"{seconds:+.1f} s" + (f" ±{_unsure(before, one):.1f}" if before.stream_id != one.stream_id else "")
            gap = gap.replace("±nan", "±?")
        stay = one.last_seen_at.ToDatetime() - one.first_seen_at.ToDatetime()
        clock = CLOCKS.get(one.clock_source, "?")
        times = f"{one.first_seen_at.ToDatetime():%Y-%m-%d %H:%M:%S}"
        now = "there now" if one.present else ""
        rows.append((printable(one.stream_id), times, f"{stay.total_seconds():.1f} s", gap, clock, one.track_id, now))
        before = one
    print_table(("stream", "from (UTC)", "for", "after the one before", "clock", "track", ""), rows)


def _unsure(one: visitors_pb2.Appearance, other: visitors_pb2.Appearance) -> float:
    """Return how far the time between two appearances may be wrong, s; not a number: unknown."""
    if not one.HasField("uncertainty") or not other.HasField("uncertainty"):
        return float("nan")
    return (one.uncertainty.ToTimedelta() + other.uncertainty.ToTimedelta()).total_seconds()


def _row(one: visitors_pb2.Visitor) -> tuple[str, ...]:
    first, last = one.first_seen_at.ToDatetime(), one.last_seen_at.ToDatetime()
    streams = ", ".join(printable(name) for name in one.stream_ids)
    times = f"{first:%Y-%m-%d %H:%M:%S}", f"{last:%Y-%m-%d %H:%M:%S}"
    return one.visitor_id, *times, str(one.visits), str(one.tracks), _time(one.dwell), streams, _notes(one).lstrip("; ")


def _notes(one: visitors_pb2.Visitor) -> str:
    notes = [printable(one.person) or one.person_id] if one.person_id else []
    notes += ["there now"] if one.present else []
    return "".join(f"; {note}" for note in notes)


def _numbers(title: str, one: visitors_pb2.VisitorCount) -> tuple[str, ...]:
    numbers = (str(one.returning), str(one.visits), _time(one.median_dwell), _time(one.p90_dwell))
    return title, str(one.visitors), f"{one.low} and {one.high}", *numbers, str(one.undecided_tracks)


def _change(one: Any) -> str:
    if isinstance(one, visitors_pb2.VisitorChange):
        return f"{one.track_id} ({one.stream_id}): {one.before or 'nobody'} -> {one.after}"
    assert isinstance(one, gallery_pb2.IdentityChange)
    return f"{one.track_id} ({one.stream_id}): {_decided(one.before)} -> {_decided(one.after)}"


def _decided(decision: tracks_pb2.IdentityDecision) -> str:
    if decision.status == tracks_pb2.IDENTITY_STATUS_IDENTIFIED:
        return printable(decision.person) or decision.person_id
    return tracks_pb2.IdentityStatus.Name(decision.status).removeprefix("IDENTITY_STATUS_").lower()


def _period(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of a request for the times of the command line. Raises ConfigError."""
    found = dict[str, Any]()
    for option, field in (("since", "seen_since"), ("before", "seen_before")):
        text = getattr(arguments, option)
        if text:
            found[field] = Timestamp()
            found[field].FromDatetime(moment(text, option))
    return found


def moment(text: str, option: str) -> datetime:
    """Return a time such as 2h (ago), 2026-05-01 or 2026-05-01T08:30 (local), in UTC. Raises ConfigError."""
    if text[-1:] in AGO and text[:-1].isdecimal():
        return datetime.now(UTC) - timedelta(seconds=AGO[text[-1]] * int(text[:-1]))
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"--{option}: write a time such as 2h, 7d, 2026-05-01 or 2026-05-01T08:30, not {text}"
        ) from None


def _time(value: Duration) -> str:
    total = value.ToTimedelta().total_seconds()
    if total < 60:
        return f"{total:.1f} s"
    hours, rest = divmod(round(total), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
