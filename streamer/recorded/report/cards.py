"""The people of a recording as cards: picture, age with its interval, expressions, when seen, and the evidence."""

from collections.abc import Mapping, Sequence

from streamer.labels import EXPRESSIONS
from streamer.recorded.records import Record
from streamer.recorded.report import words
from streamer.recorded.report.markup import Markup, Part, element, join, table
from streamer.recorded.report.rows import Row, pictured_tracks, undescribed
from streamer.recorded.report.timeline import moment, picture_id

OLDEST = 100  # years, right end of the bar that shows an age
MOST_LINKS, MOST_TRACKS, MOST_STRETCHES = 24, 60, 60  # per card
FEMALE = {("male", "PRESENT"): "male", ("male", "ABSENT"): "female"}


def cards(rows: Sequence[Row], pictures: Mapping[str, str], video: str | None) -> Markup:
    """Return a card per person."""
    return element("div", [_card(row, pictures, video) for row in rows], class_="cards")


def _card(row: Row, pictures: Mapping[str, str], video: str | None) -> Markup:
    person = row.person
    mostly = person["expression"]["mostly"] if person["expression"] else ""
    shown = sorted({one.expression for span in row.spans if not span.why_not for one in span.stretches})
    facts = [
        _age(person["age"]) if person["age"] else None,
        _shares(person["expression"]["shares"]) if person["expression"] else None,
        _why_not(row) if row.why_not else None,
        element("p", "Too few good crops to compare with the others; may be one of them.", class_="why")
        if person.get("uncertain") and not row.why_not
        else None,
        _seen(row, video),
        _attributes(person["attributes"]),
        _evidence(row, video),
    ]
    seen = f"{words.length(person['seen_s'])} in view, {words.count(len(row.spans), 'time')}"
    title = element("h4", element("bdi", row.title), title=row.title)
    subtitle = element("p", seen, class_="muted")
    return element(
        "article",
        _pictures(row, pictures),
        element("div", title, subtitle, facts, class_="facts"),
        class_="card",
        id=row.id,
        data_row=row.id,
        data_text=_searched(row),
        data_age=None if person["age"] is None else f"{person['age']['years']:.1f}",
        data_mostly=mostly or None,
        data_shown=" ".join(shown) or None,
        data_described="no" if row.why_not else "yes",
        data_shots=" ".join(map(str, row.shots)),
        data_seen=f"{person['seen_s']:.2f}",
        data_first=f"{person['first_seen_s']:.3f}",
        tabindex="-1",
    )


def _searched(row: Row) -> str:
    """Return what the text filter looks in."""
    return f"{row.title} person {row.person['number']} {row.why_not}".lower()


def _pictures(row: Row, pictures: Mapping[str, str]) -> Markup:
    """Return the best picture of the person, below it those of the other tracks."""
    tracks = {track["track_id"]: track for track in row.tracks}
    found = [(tracks[track_id], pictures[track_id]) for track_id in pictured_tracks(row, pictures)]
    if not found:
        return element("div", element("span", class_="noface", aria_hidden="true"), class_="faces")
    images = [
        element(
            "img",
            src=source,
            id=picture_id(row.id, track["track_id"]),
            alt=f"{row.title}, track {track['number']}",
            title=f"Track {track['number']}",
        )
        for track, source in found
    ]
    return element("div", images, class_="faces")


def _age(age: Record) -> Markup:
    """Return an age with its interval drawn."""
    low, high, years = (min(max(age[key], 0), OLDEST) for key in ("low_years", "high_years", "years"))
    bar = element("i", style=f"left:{low:.1f}%;width:{high - low:.1f}%")
    mark = element("b", style=f"left:{years:.1f}%")
    scale = element("span", bar, mark, class_="scale", aria_hidden="true")
    text = element("strong", f"about {words.age(age)}")
    return element("div", text, scale, class_="age", title="Appears this old; 80 % interval in brackets")


def _shares(shares: Record) -> Markup:
    """Return the shares of the expressions as one bar, with the largest in words."""
    parts = [(name, shares.get(name, 0.0)) for name in EXPRESSIONS]
    bar = [
        element("i", class_=words.CODES[name], style=f"width:{100 * share:.1f}%")
        for name, share in parts
        if share >= 0.005
    ]
    largest = sorted(parts, key=lambda part: -part[1])[:3]
    text = ", ".join(f"{words.APPEARS[name]} {words.percent(share)}" for name, share in largest if share >= 0.05)
    return element("div", element("span", "appears ", text), element("span", bar, class_="shares", aria_hidden="true"))


def _why_not(row: Row) -> Markup:
    return element("p", f"Not described: {row.why_not}.", class_="why")


def _seen(row: Row, video: str | None) -> Markup:
    links: list[Part] = [moment(video, span.start_s, title=_until(span.end_s)) for span in row.spans[:MOST_LINKS]]
    more = len(row.spans) - MOST_LINKS
    shots = [" in ", words.count(len(row.shots), "shot")] if row.shots else []
    return element(
        "p", "seen at ", _commas(links), f" and {more} more times" if more > 0 else None, shots, class_="seen-at"
    )


def _until(end_s: float) -> str:
    return f"to {words.clock(end_s)}"


def _commas(parts: Sequence[Part]) -> list[Part]:
    return [part for number, one in enumerate(parts) for part in ((", ", one) if number else (one,))]


def _attributes(attributes: Record | None) -> Markup | None:
    """Return the attributes that the model finds present; those that it is not sure of are left out."""
    presence = (attributes or {}).get("presence", {})
    found = [
        FEMALE.get((name, value), words.words(name))
        for name, value in presence.items()
        if value == "PRESENT" or (name, value) in FEMALE
    ]
    return element("p", "appears ", ", ".join(found), class_="muted") if found else None


def _evidence(row: Row, video: str | None) -> Markup:
    person = row.person
    samples = words.count(person["samples"], "crop") if person["samples"] else "no crop"
    quality = f", best quality {person['best_quality']:.2f}" if person["best_quality"] else ""
    tracks = table(
        ("Track", "Seen", "Age", "Crops", "Quality", "Identity", "Notes"),
        [_track(track, video) for track in row.tracks[:MOST_TRACKS]],
    )
    more = len(row.tracks) - MOST_TRACKS
    rest = element("p", f"And {words.count(more, 'more track')}: see tracks.jsonl.") if more > 0 else None
    stretches = [(one, span) for span in row.spans if not span.why_not for one in span.stretches]
    lines = [
        (moment(video, one.start_s), words.length(one.end_s - one.start_s), words.appears(one.expression))
        for one, _ in stretches[:MOST_STRETCHES]
    ]
    timeline = table(("At", "For", "Expression"), lines) if lines else None
    if len(stretches) > MOST_STRETCHES:
        timeline = join(timeline, element("p", f"And {len(stretches) - MOST_STRETCHES} more stretches."))
    number = element("p", "Id ", element("code", person["person_id"]), class_="muted id")
    return element("details", element("summary", f"{samples} analysed{quality}"), tracks, rest, timeline, number)


def _track(track: Record, video: str | None) -> list[Part]:
    notes = [undescribed(track), words.reasons(track["reasons"]) if not undescribed(track) else ""]
    identity = track["identity"] or {}
    if identity.get("status") == "CONFLICTING":
        notes.append("its crops disagree on the person")
    if track["split_from"]:
        notes.append("split off another track")
    notes.append(words.ENDS.get(track["end_reason"] or "", ""))
    return [
        str(track["number"]),
        element(
            "span",
            moment(video, track["first_seen_s"]),
            f"\N{EN DASH}{words.clock(track['last_seen_s'])}",
            class_="whole",
        ),
        element("span", words.age(track["age"]) or "\N{EN DASH}", class_="whole"),
        str(track["samples"]),
        f"{track['quality']:.2f}",
        decision(track["decision"]) or "\N{EN DASH}",
        "; ".join(note for note in notes if note),
    ]


def decision(record: Record | None) -> Part:
    """Return who a track was found to be, with similarities; never a bare name where it is not sure."""
    if record is None:
        return None
    candidates = [[element("bdi", one["person"]), f" {one['similarity']:.2f}"] for one in record["candidates"][:2]]
    if record["status"] == "IDENTIFIED":
        return [
            element("bdi", record["person"]),
            f" ({record['candidates'][0]['similarity']:.2f})" if candidates else None,
        ]
    if record["status"] == "UNDECIDED" and candidates:
        return ["maybe ", _commas(candidates)]
    return ["unknown", [", nearest ", candidates[0]] if candidates else None]
