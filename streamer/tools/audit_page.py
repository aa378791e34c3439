"""The health of a gallery as one page of HTML that needs no script and loads nothing."""

import base64
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from faceanalytics.v1 import gallery_audit_pb2 as audit_pb2
from streamer.recorded.report import page as report_page
from streamer.recorded.report.markup import Markup, Part, element, join, table
from streamer.recorded.report.words import count

STYLE = Path(report_page.__file__).parent / "page.css"  # of the report of recordings, which looks the same
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
OWN = """
.pairs { list-style: none; margin: 0; padding: 0; display: grid; gap: 12px;
  grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); }
.pairs li { border: 1px solid var(--line); border-radius: 10px; padding: 12px; display: grid; gap: 8px; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
.two > span { display: flex; gap: 8px; align-items: center; min-width: 0; font-weight: 600; }
.two img, .face { width: 56px; height: 56px; border-radius: 8px; object-fit: cover; flex: none; display: block; }
.scale { position: relative; height: 10px; border-radius: 5px; background: var(--raised);
  box-shadow: inset 0 0 0 1px var(--line); }
.scale b { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 5px; background: var(--bar); }
.scale i { position: absolute; top: -3px; bottom: -3px; width: 2px; background: var(--ink); }
.bad { color: var(--wrong); font-weight: 600; }
.wide table { width: 100%; }
.wide td:has(bdi), .wide td:has(code) { min-width: 9em; }
.spark { display: block; width: 100%; height: 120px; }
.spark polyline { fill: none; stroke: var(--bar); stroke-width: 2; vector-effect: non-scaling-stroke; }
.spark circle { fill: var(--bar); }
.spark line { stroke: var(--line); vector-effect: non-scaling-stroke; }
"""
VERDICTS = {
    audit_pb2.PAIR_VERDICT_LOOK_ALIKE: "They look alike: tracks of either may be ambiguous.",
    audit_pb2.PAIR_VERDICT_PROBABLY_SAME: "Probably one person who was enrolled twice: merge them, or say that they "
    "are different.",
    audit_pb2.PAIR_VERDICT_SAME_IMAGE: "They have the same image.",
}
DOUBTS = {
    audit_pb2.REFERENCE_DOUBT_UNLIKE_OTHERS: "resembles the others of the person no more than strangers do",
    audit_pb2.REFERENCE_DOUBT_RESEMBLES_OTHER: "resembles another person more than its own",
    audit_pb2.REFERENCE_DOUBT_PULLS_TOGETHER: "makes two people as similar as one",
}
MOST_PEOPLE = 100  # rows


def page(found: audit_pb2.GalleryAudit) -> str:
    """Return the page as text."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="generator", content=f"faceanalytics {version('faceanalytics')}"),
        element("title", "Health of the gallery"),
        element("style", Markup(STYLE.read_text(encoding="utf-8") + OWN)),
    )
    made = f"{found.made_at.ToDatetime():%Y-%m-%d %H:%M} UTC, weights {found.model_id}"
    main = element(
        "main",
        element("header", element("h1", "Health of the gallery"), element("p", made, class_="muted")),
        _attention(found),
        _numbers(found),
        _section("People who may be taken for each other", _pairs(found)),
        _section("References that may harm", _doubtful(found)),
        _section("Each reference, searched for without itself", _people(found)),
        _section("Strangers", _accepts(found)),
        _section("Scores over time", _drift(found)),
        class_="chapter",
    )
    foot = element("footer", "Scores are cosines, not probabilities. ",
                   f"Made by faceanalytics {version('faceanalytics')}; this page loads nothing from a network.",
                   )  # fmt: skip
    return f'<!DOCTYPE html>\n<html lang="en">{head}{element("body", main, foot)}</html>\n'


def _section(title: str, *parts: Part) -> Markup:
    return element("section", element("h2", title), element("div", parts))


def _attention(found: audit_pb2.GalleryAudit) -> Markup:
    if not found.attention:
        return element("p", "Nothing needs a look.", class_="notice")
    lines = element("ul", [element("li", line[:1].upper() + line[1:]) for line in found.attention])
    return element("div", element("strong", "Needs a look"), lines, class_="notice attention", role="status")


def _numbers(found: audit_pb2.GalleryAudit) -> Markup:
    shown = [
        ("people", f"{found.people:,}"),
        ("references", f"{found.references:,}"),
        ("named from cosine", f"{found.threshold:.3f}"),
        ("stated false accepts", f"{found.false_accept_rate:.2%}"),
    ]
    if found.HasField("rank_one"):
        shown += [("find their person first", f"{found.rank_one:.1%}"), ("would be named", f"{found.identified:.1%}")]
    if found.false_accepts.HasField("rate"):
        shown.append(("strangers named, estimate", f"{found.false_accepts.rate:.2%}"))
    return element(
        "dl", [element("div", element("dt", name), element("dd", value)) for name, value in shown], class_="numbers"
    )


def _pairs(found: audit_pb2.GalleryAudit) -> Markup:
    said = f" {count(found.distinguished, 'pair')} said to be two people, not listed." if found.distinguished else None
    if not found.pairs:
        return element("p", "No two people are as similar as one person.", said)
    items = []
    for one in found.pairs:
        certain = one.verdict != audit_pb2.PAIR_VERDICT_LOOK_ALIKE
        pulling = len(one.pulling_reference_ids)
        which = "one reference" if pulling == 1 else f"any of {pulling} references"
        why = f" Without {which} they are not as similar." if pulling else ""
        items.append(
            element(
                "li",
                element("div", _person(one.person), _person(one.other), class_="two"),
                _scale(one.similarity, found.threshold),
                element("p", element("strong", f"Cosine {one.similarity:.3f}. ", class_="bad" if certain else None),
                        VERDICTS[one.verdict], why),
            )
        )  # fmt: skip
    note = "The mark on each bar is the cosine from which a person is named."
    return join(element("p", note, said, class_="muted"), element("ul", items, class_="pairs"))


def _person(one: audit_pb2.AuditedPerson) -> Markup:
    return element("span", _face(one.face_jpeg), _name(one))


def _name(one: audit_pb2.AuditedPerson) -> Markup:
    return element("bdi", one.display_name or one.person_id)


def _face(jpeg: bytes) -> Markup | None:
    """Return a picture, which the name beside it describes."""
    if not jpeg:
        return None
    source = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return element("img", src=source, alt="", class_="face", width="56", height="56")


def _scale(score: float, threshold: float) -> Markup:
    """Return a bar from 0 to 1 with a mark at the threshold."""
    bar = element("b", style=f"width:{100 * min(max(score, 0.0), 1.0):.1f}%")
    mark = element("i", style=f"left:{100 * min(max(threshold, 0.0), 1.0):.1f}%")
    return element("div", bar, mark, class_="scale", role="img", aria_label=f"{score:.3f} of 1, named {threshold:.3f}")


def _doubtful(found: audit_pb2.GalleryAudit) -> Markup:
    if not found.references_in_doubt:
        return element("p", "Every reference resembles its person.")
    pictures = any(one.face_jpeg for one in found.references_in_doubt)
    rows = [
        [
            *([_face(one.face_jpeg)] if pictures else []),
            [element("code", one.reference_id), " ", element("bdi", one.file_name)],
            _name(one.person),
            f"{one.own_similarity:.3f}",
            [_name(one.other), f" {one.other_similarity:.3f}"],
            "; ".join(DOUBTS[doubt] for doubt in one.doubts),
            element("span", "set aside", class_="bad") if one.advise_aside else "look at it",
        ]
        for one in found.references_in_doubt
    ]
    heads = ("Face",) if pictures else ()
    columns = (*heads, "Reference", "Of", "Own cosine", "Most similar other", "It \N{HORIZONTAL ELLIPSIS}", "Advice")
    return table(columns, rows, "Scores of each reference for its person without it, and for somebody else")


def _people(found: audit_pb2.GalleryAudit) -> Markup:
    searched = [one for one in found.people_health if one.searched]
    if not searched:
        return element("p", "Nobody has two references.")
    rows: list[list[Part]] = [
        [
            _name(one.person),
            f"{one.searched}",
            f"{one.first}",
            f"{one.named}",
            f"{one.similarity:.3f}",
            f"{one.newest_days}" if one.newest_days else "-",
            f"{one.tracks}",
            element("span", f"{one.earlier_similarity:.3f} \N{RIGHTWARDS ARROW} {one.later_similarity:.3f}",
                    class_="bad" if one.outdated else None) if one.tracks > 1 else "-",
        ]
        for one in searched[:MOST_PEOPLE]
    ]  # fmt: skip
    heads = ("Person", "References", "First", "Named", "Median cosine", "Days old", "Tracks", "Cosine of tracks")
    more = len(searched) - MOST_PEOPLE
    rest = element("p", f"And {count(more, 'more person', 'more people')}, found better.") if more > 0 else None
    return join(table(heads, rows, "Those who are found worst come first"), rest)


def _accepts(found: audit_pb2.GalleryAudit) -> Markup:
    one = found.false_accepts
    if not one.tracks:
        return element("p", "There are no past tracks to estimate from.")
    facts: list[tuple[str, str]] = [
        ("Tracks that nobody has confirmed", f"{one.tracks:,}, of about {count(one.visitors, 'visitor')}"),
        ("Of these, named", f"{one.named:,}"),
    ]
    if one.certain:
        facts.append(("Said not to show whom they resemble", f"{one.certain:,}"))
    if one.HasField("rate"):
        facts += [
            ("Estimated to show people of the gallery", f"{one.members:.0%}"),
            ("Strangers who are named, estimate", f"{one.rate:.2%} of searches, 95 %: {one.low:.2%} to {one.high:.2%}"),
            ("Stated false-accept rate", f"{found.false_accept_rate:.2%}, now from cosine {found.threshold:.3f}"),
            ("It would hold from cosine", f"{one.suggested_threshold:.3f}"),
        ]
    else:
        facts.append(("Strangers who are named", f"at most {one.high:.1%} (95 %); too few visitors for an estimate"))
    note = (
        "Some unconfirmed tracks show people of the gallery. Their share is estimated from the distribution of all "
        "scores, together with that of strangers; the interval is from resampling visitors."
    )
    lines = [[name, value] for name, value in facts]
    return join(table(("", ""), lines), element("p", note, class_="muted"))


def _drift(found: audit_pb2.GalleryAudit) -> Markup:
    if not found.weeks:
        return element("p", "No past track was identified.")
    parts = [_line([one.similarity for one in found.weeks])] if len(found.weeks) > 1 else []
    return join(*parts, _periods("Week of", found.weeks), _periods("Stream", found.streams))


def _line(scores: Sequence[float]) -> Markup:
    """Return the median scores of weeks as a line from 0 to 1."""
    width = 100 / (len(scores) - 1)
    points = " ".join(f"{place * width:.2f},{100 - 100 * min(max(s, 0), 1):.2f}" for place, s in enumerate(scores))
    rules = [element("line", x1=0, x2=100, y1=y, y2=y) for y in (0, 50, 100)]
    text = f"Median cosine by week: from {scores[0]:.3f} to {scores[-1]:.3f}"
    return element("svg", element("title", text), rules, element("polyline", points=points), class_="spark",
                   viewBox="0 0 100 100", preserveAspectRatio="none", role="img")  # fmt: skip


def _periods(title: str, periods: Iterable[audit_pb2.DriftPeriod]) -> Markup:
    rows = [
        [
            element("bdi", one.stream_id) if one.stream_id else f"{one.begin_at.ToDatetime():%Y-%m-%d}",
            f"{one.tracks:,}",
            f"{one.similarity:.3f}",
            f"{one.quality:.2f}",
        ]
        for one in periods
    ]
    return table((title, "Identified tracks", "Median cosine", "Median quality"), rows)
