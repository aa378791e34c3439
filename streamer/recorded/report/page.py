"""The whole page: a head, a filter bar, a section per recording, and its own styles and script inline."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from streamer.labels import EXPRESSIONS
from streamer.recorded.records import Record
from streamer.recorded.report import words
from streamer.recorded.report.cards import cards
from streamer.recorded.report.charts import charts
from streamer.recorded.report.markup import Markup, Part, element, join
from streamer.recorded.report.overview import overview
from streamer.recorded.report.reading import Recording
from streamer.recorded.report.rows import Row
from streamer.recorded.report.tables import about, dropped, incomplete, shots
from streamer.recorded.report.timeline import legend, timeline

HERE = Path(__file__).parent
SORTS = (("first", "first appearance"), ("name", "name"), ("age", "age"), ("seen", "time in view"))
MANY = 60  # people; beyond it, those out of view are not laid out
OPEN = 3  # sections of a report over more recordings than this are closed at first


@dataclass(frozen=True, slots=True, eq=False)
class Chapter:
    """One recording with all that is shown of it."""

    id: str  # unique in the page
    recording: Recording
    rows: list[Row]
    video: str | None  # address of the video, relative to the page
    drawn: bool  # it is the annotated one
    pictures: Mapping[str, str] = field(default_factory=dict)  # data URIs by track id, and `shot 1`
    no_pictures: str = ""  # why there are none


def page(chapters: Sequence[Chapter], people: Sequence[Record] = ()) -> str:
    """Return the page as text; `people`: those of several recordings, if they were compared."""
    several = len(chapters) > 1
    title = f"{words.count(len(chapters), 'recording')}" if several else chapters[0].recording.name
    style = (HERE / "page.css").read_text(encoding="utf-8")
    script = (HERE / "page.js").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="generator", content=f"faceanalytics {version('faceanalytics')}"),
        element("title", f"Faces in {title}"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        overview(chapters, people) if several else None,
        [_chapter(chapter, several, len(chapters) <= OPEN) for chapter in chapters],
        element("footer", "Ages and expressions are how faces appear to a model, not facts about people. ",
                f"Made by faceanalytics {version('faceanalytics')}; this page loads nothing from a network."),
        element("noscript", "Filters, zoom and jumps within the page need JavaScript."),
        element("script", Markup(script)),
    )  # fmt: skip
    return f'<!DOCTYPE html>\n<html lang="en">{head}{body}</html>\n'


def _policy(script: str) -> str:
    """Return a content security policy that allows this script and pictures and videos at hand, and no network."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "media-src 'self' file: blob:; base-uri 'none'; form-action 'none'"
    )


def _chapter(chapter: Chapter, several: bool, opened: bool) -> Markup:
    recording, rows = chapter.recording, chapter.rows
    kind = "chapter" + (" many" if len(rows) > MANY else "") + ("" if chapter.pictures else " bare")
    parts: list[Part] = [
        _notices(chapter),
        element("div", _numbers(recording, rows), _player(chapter, "metadata" if opened else "none"), class_="top"),
    ]
    if rows:
        outputs = recording.header["outputs"]
        parts += [
            _section("People over time", legend(not outputs["expression"]),
                     _filters(recording, rows), timeline(recording, rows, chapter.pictures, chapter.video)),
            _section("People", cards(rows, chapter.pictures, chapter.video), element("p", "Nobody matches the filters.",
                     class_="muted nobody", hidden=True)),
        ]  # fmt: skip
    elif not recording.tracks:
        parts.append(_section("People", element("p", "No face was found in this recording.", class_="empty")))
    if recording.shots:
        parts.append(_section("Shots", shots(recording, rows, chapter.pictures, chapter.video)))
    parts.append(_section("Dropped, or not described", dropped(recording, rows, chapter.pictures, chapter.video)))
    if recording.tracks:
        parts.append(_section("In numbers", charts(recording, rows)))
    parts.append(_section("How it was analysed", about(recording)))
    name = element("bdi", recording.name)
    size = f"{recording.header['source']['width']}\N{MULTIPLICATION SIGN}{recording.header['source']['height']}"
    facts = [words.length(recording.end_s), words.count(recording.summary["frames"], "frame"), f"{size} px"]
    subtitle = element("p", " \N{MIDDLE DOT} ".join(facts), class_="muted")
    if not several:
        heading = element("header", element("p", "Faces in", class_="over"), element("h1", name), subtitle)
        return element("main", heading, parts, class_=kind, id=chapter.id)
    heading = element("summary", element("h2", name), subtitle)
    return element("details", heading, parts, class_=kind, id=chapter.id, open=opened)


def _section(title: str, *parts: Part) -> Markup:
    return element("section", element("h3", title), parts)


def _notices(chapter: Chapter) -> Markup:
    """Return what a reader has to know before anything else."""
    recording = chapter.recording
    found: list[Part] = []
    if recording.header["model_id"] == "untrained":
        text = "The weights are untrained: all ages, expressions, attributes and identities here are noise."
        found.append(element("p", element("strong", "Noise. "), text, class_="notice wrong", role="alert"))
    if not recording.summary["complete"]:
        text = " ".join(incomplete(recording))
        found.append(element("p", element("strong", "Not complete. "), text, class_="notice attention"))
    if chapter.no_pictures and recording.tracks:
        found.append(element("p", f"Without pictures: {chapter.no_pictures}.", class_="notice"))
    return join(*found)


def _numbers(recording: Recording, rows: Sequence[Row]) -> Markup:
    """Return the totals."""
    summary, least = recording.summary, recording.summary["people"]
    silent = sum(bool(row.why_not) for row in rows)
    name = "people at least" if least != len(rows) else "person" if least == 1 else "people"
    found: list[tuple[str, int, str]] = [
        (name, least, "main"),
        ("of them described", len(rows) - silent, ""),
        ("shots" if len(recording.shots) != 1 else "shot", len(recording.shots), ""),
        ("tracks" if len(recording.tracks) != 1 else "track", len(recording.tracks), ""),
        ("tracks not described", summary["undescribed_tracks"], ""),
        ("false faces", summary["false_faces"], ""),
        ("faces in frames", recording.seen.faces, ""),
        ("crops analysed", summary["crops"] - summary["lost_crops"], ""),
    ]
    return element(
        "dl",
        [element("div", element("dt", title), element("dd", f"{number:,}"), class_=kind or None)
         for title, number, kind in found],
        class_="numbers",
    )  # fmt: skip


def _player(chapter: Chapter, preload: str) -> Markup:
    """Return the video, or the choice of one: a page from a disk may play a file that its reader opens."""
    chooser = element("label", "Open the video\N{HORIZONTAL ELLIPSIS}", element("input", type="file", accept="video/*"),
                      class_="choose")  # fmt: skip
    if chapter.video is None:
        text = "No video lies beside this page. Open it here to jump to its moments."
        return element("div", element("div", element("p", text), chooser, class_="blank"), class_="player")
    kind = "Annotated video" if chapter.drawn else "The video that was analysed"
    video = element("video", src=chapter.video, controls=True, preload=preload, playsinline=True,
                    aria_label=kind)  # fmt: skip
    lost = element(
        "p", f"This browser cannot play {chapter.video}, or it was moved. ", chooser, class_="lost", hidden=True
    )
    bar = element("p", element("span", kind, class_="kind"), element("output", "", class_="now"),
                  element("button", "Close", type="button", class_="close"), class_="under")  # fmt: skip
    return element("div", element("div", video, bar, class_="dock"), lost, class_="player")


def _filters(recording: Recording, rows: Sequence[Row]) -> Markup:
    """Return the filters of a recording's people; those that could change nothing are left out."""
    shown = {one.expression for row in rows for span in row.spans if not span.why_not for one in span.stretches}
    fields: list[Part] = [_field("Name or number", element("input", type="search", name="text", size="14"))]
    if shown:
        options = [_option("", "any")]
        options += [_option(name, words.appears(name)) for name in EXPRESSIONS if name in shown]
        fields.append(_field("At some time", element("select", options, name="shown")))
    if any(row.person["age"] for row in rows):
        bounds = [
            element("input", type="number", name=name, min="0", max="120", placeholder=text, aria_label=f"Age {text}")
            for name, text in (("youngest", "from"), ("oldest", "to"))
        ]
        fields.append(element("span", element("span", "Age"), bounds, class_="field"))
    if len(recording.shots) > 1:
        last = str(recording.shots[-1]["shot"])
        fields.append(
            _field("Shot", element("input", type="number", name="shot", min="1", max=last, placeholder="any"))
        )
    least = element("input", type="number", name="least", min="0", step="0.5", placeholder="0")
    fields.append(_field("In view, at least s", least))
    if any(row.why_not for row in rows) and not all(row.why_not for row in rows):
        box = element("input", type="checkbox", name="described")
        fields.append(element("label", box, element("span", "described only"), class_="field check"))
    sorts = [_option(name, text) for name, text in SORTS]
    fields.append(_field("Sort by", element("select", sorts, name="sort")))
    fields.append(element("button", "Clear", type="reset"))
    return element("form", fields, class_="filters", autocomplete="off", aria_label="Filters")


def _field(title: str, control: Markup) -> Markup:
    return element("label", element("span", title), control, class_="field")


def _option(value: str, text: str) -> Markup:
    return element("option", text, value=value)
