"""The first part of a report over several recordings: a line for each, and the people who are in more than one."""

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from streamer.recorded.records import Record
from streamer.recorded.report import words
from streamer.recorded.report.across import across
from streamer.recorded.report.markup import Markup, Part, element, table
from streamer.recorded.report.rows import pictured_tracks
from streamer.recorded.report.timeline import small

MOST_FACES = 6  # per line

if TYPE_CHECKING:
    from streamer.recorded.report.page import Chapter


def overview(chapters: "Sequence[Chapter]", people: Sequence[Record]) -> Markup:
    """Return the head of the page; `people`: those of several recordings, if they were compared."""
    length = sum(chapter.recording.end_s for chapter in chapters)
    subtitle = f"{words.length(length)} in {words.count(len(chapters), 'recording')}"
    title = element("h1", words.count(len(chapters), "recording"))
    heading = element("header", element("p", "Faces in", class_="over"), title, element("p", subtitle, class_="muted"))
    heads = ("Recording", "Who", "Length", "People", "Described", "Not described", "False faces", "Shots", "Complete")
    lines = [_line(chapter) for chapter in chapters]
    listed = table(heads, lines, class_="numeric overview")
    places = {
        (chapter.recording.header["source"]["sha256"], row.person["number"]): (chapter.recording.name, row)
        for chapter in reversed(chapters)  # of the same content twice, the first counts
        for row in chapter.rows
    }
    pictured = {row.id: pictured_tracks(row, chapter.pictures) for chapter in chapters for row in chapter.rows}
    shared = across(people, places, pictured)
    sections = [element("section", element("h3", "Recordings"), listed), element("section", shared) if shared else None]
    return element("main", heading, sections, class_="chapter first")


def _line(chapter: "Chapter") -> list[Part]:
    recording, rows = chapter.recording, chapter.rows
    false = recording.summary.get("false_faces")
    silent = sum(bool(row.why_not) for row in rows)
    found = ((row.id, tracks[0]) for row in rows if (tracks := pictured_tracks(row, chapter.pictures)))
    shown = list(islice(found, MOST_FACES))
    return [
        element("a", element("bdi", recording.name), href=f"#{chapter.id}"),
        element("span", [small(track_id, row_id) for row_id, track_id in shown], class_="strip"),
        words.clock(recording.end_s),
        str(len(rows)),
        str(len(rows) - silent),
        str(silent),
        "" if false is None else str(false),
        str(len(recording.shots)) if recording.shots else "",
        "yes" if recording.summary["complete"] else element("strong", "no"),
    ]
