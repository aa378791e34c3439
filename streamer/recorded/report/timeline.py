"""The timeline of a recording as HTML: one row per person on a common axis, above them the shots and all faces."""

from collections.abc import Mapping, Sequence

from streamer.labels import EXPRESSIONS
from streamer.recorded.report import words
from streamer.recorded.report.markup import Markup, element, join
from streamer.recorded.report.reading import Recording
from streamer.recorded.report.rows import Row, Span, Stretch, pictured_tracks
from streamer.recorded.report.seen import STEP_S

TICKS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)  # s
COLUMNS = 600  # of the area that shows the faces over time, at most


def legend(unavailable: bool) -> Markup:
    """Return the colours and letters of the expressions, and the marks of the timeline."""
    if unavailable:
        shown: list[Markup] = []
    else:
        shown = [_key(words.CODES[name], words.appears(name)) for name in EXPRESSIONS]
    shown += [_key("seen", "seen, expression unknown"), _key("not", "not described")]
    return element("ul", shown, class_="legend", aria_label="Legend")


def timeline(recording: Recording, rows: Sequence[Row], pictures: Mapping[str, str], video: str | None) -> Markup:
    """Return the timeline; `video` is the address of the video that its links lead into."""
    end_s = recording.end_s
    canvas = [
        element("div", _bands(recording), class_="bands", aria_hidden="true"),
        _line("axis", "Time", _ticks(end_s)),
        _line("shots", "Shots", _shots(recording, video)) if recording.shots else None,
        _line("crowd", "Faces", _crowd(recording)),
        *(_row(row, end_s, pictures, video) for row in rows),
        element("div", class_="playhead", aria_hidden="true", hidden=True),
    ]
    buttons = [
        element("button", text, type="button", data_zoom=zoom, title=title)
        for text, zoom, title in (
            ("Whole", "whole", "Show the whole recording (key 0)"),
            ("Fit", "fit", "Fill the width with the people shown (key F)"),
            ("\N{MINUS SIGN}", "out", "Zoom out (key -)"),
            ("+", "in", "Zoom in (key +)"),
        )
    ]
    hint = element("span", "Ctrl + wheel zooms. Click a bar to see the moment.", class_="hint")
    shown = element("output", words.count(len(rows), "person", "people"), class_="shown", aria_live="polite")
    tools = element("div", element("span", buttons, class_="buttons"), hint, shown, class_="tools")
    inner = element("div", canvas, class_="canvas", data_end=f"{end_s:.3f}")
    scroll = element("div", inner, class_="timeline", tabindex="0", role="group", aria_label="Timeline of all people")
    return join(tools, scroll)


def place(start_s: float, end_s: float, whole_s: float, from_s: float = 0.0) -> str:
    """Return the style of a bar between two times, in a bar that begins at `from_s` and lasts `whole_s`."""
    left = 100 * (start_s - from_s) / whole_s
    return f"left:{_short(left)}%;width:{_short(100 * (end_s - start_s) / whole_s)}%"


def jump(video: str | None, seconds: float) -> str | None:
    """Return the address of a moment in the video."""
    return None if video is None else f"{video}#t={round(seconds, 2):g}"


def moment(video: str | None, seconds: float, *parts: str, **attributes: str | None) -> Markup:
    """Return a link to a moment of the video, or a button if the page has no video beside it."""
    text = parts or (words.clock(seconds),)
    if video is None:
        return element("button", text, type="button", class_="jump", data_t=f"{seconds:.2f}", **attributes)
    return element("a", text, href=jump(video, seconds), class_="jump", data_t=f"{seconds:.2f}", **attributes)


def _short(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _key(code: str, text: str) -> Markup:
    return element("li", element("i", class_=f"key {code}"), text)


def _line(kind: str, label: str, content: Markup) -> Markup:
    who = element("div", label, class_="who")
    return element("div", who, element("div", content, class_="lane"), class_=f"line {kind}")


def _row(row: Row, end_s: float, pictures: Mapping[str, str], video: str | None) -> Markup:
    person = row.person
    face = small(next(iter(pictured_tracks(row, pictures)), None), row.id)
    name = element("a", element("bdi", row.title), href=f"#{row.id}", title=row.title)
    who = element(
        "div", face, element("div", name, [element("small", one) for one in summary(row)], class_="text"), class_="who"
    )
    lane = element("div", [_span(row, span, end_s, video) for span in row.spans], class_="lane")
    start_s = f"{person['first_seen_s']:.3f}"
    return element("div", who, lane, class_="line person", data_row=row.id, data_from=start_s,
                   data_to=f"{person['last_seen_s']:.3f}")  # fmt: skip


def picture_id(row_id: str, track_id: str) -> str:
    """Return the id of the picture of a track in the card of its person."""
    return f"{row_id}-{track_id}"


def small(track_id: str | None, row_id: str) -> Markup:
    """Return the picture of a track once more; the script copies it from the card. None: an empty space."""
    if track_id is None:
        return element("span", class_="noface", aria_hidden="true")
    return element("img", data_of=picture_id(row_id, track_id), alt="")


def summary(row: Row) -> list[str]:
    """Return age and expression of a person in two short lines, or why there are none."""
    person = row.person
    if row.why_not:
        return ["not described:", row.why_not]
    parts = [f"about {words.age(person['age'])}" if person["age"] else ""]
    parts.append(words.appears(person["expression"]["mostly"]) if person["expression"] else "")
    return [part for part in parts if part] or ["age and expression unknown"]


def _span(row: Row, span: Span, end_s: float, video: str | None) -> Markup:
    lasts = max(span.end_s - span.start_s, 1e-3)
    title = f"{row.title}: {words.clock(span.start_s)} to {words.clock(span.end_s)}"
    title += f", not described: {span.why_not}" if span.why_not else _mostly(span.stretches)
    inner = [] if span.why_not else [_stretch(one, span.start_s, lasts) for one in span.stretches]
    return element(
        "a",
        inner,
        class_="span not" if span.why_not else "span",
        style=place(span.start_s, span.end_s, end_s),
        href=jump(video, span.start_s),
        data_t=f"{span.start_s:.2f}",
        tabindex="0",
        role=None if video else "button",
        aria_label=title,
        title=title,
    )


def _stretch(one: Stretch, start_s: float, lasts: float) -> Markup:
    return element("i", class_=words.CODES[one.expression], style=place(one.start_s, one.end_s, lasts, start_s))


def _mostly(stretches: Sequence[Stretch]) -> str:
    lasting: dict[str, float] = {}
    for one in stretches:
        lasting[one.expression] = lasting.get(one.expression, 0) + one.end_s - one.start_s
    return f", mostly {words.appears(max(lasting, key=lasting.__getitem__))}" if lasting else ", expression unknown"


def _bands(recording: Recording) -> Markup:
    """Return every second shot as a band behind the rows."""
    return join(
        element("i", style=place(shot["start_s"], shot_end(recording, number), recording.end_s))
        for number, shot in enumerate(recording.shots)
        if number % 2
    )


def _shots(recording: Recording, video: str | None) -> Markup:
    found = []
    for number, shot in enumerate(recording.shots):
        title = f"Shot {shot['shot']}, {words.TRANSITIONS.get(shot['transition'], words.words(shot['transition']))}"
        title += f" at {words.clock(shot['start_s'])}"
        style = place(shot["start_s"], shot_end(recording, number), recording.end_s)
        data = f"{shot['start_s']:.2f}"
        fade = "shot fade" if shot["transition"] == "FADE" else "shot"
        href = jump(video, shot["start_s"])
        text = element("span", str(shot["shot"]))
        found.append(element("a", text, class_=fade, style=style, href=href, data_t=data, title=title))
    return join(found)


def shot_end(recording: Recording, number: int) -> float:
    """Return where the shot at a place ends: where the next one starts."""
    later = recording.shots[number + 1 :][:1]
    return float(later[0]["start_s"]) if later else recording.end_s


def _ticks(end_s: float) -> Markup:
    step = next((step for step in TICKS if end_s / step <= 12), 14400 * max(1, round(end_s / 14400 / 12)))
    times = [number * step for number in range(int(end_s / step) + 1)]
    return join(
        element("span", words.clock(time).removesuffix(".0"), style=f"left:{_short(100 * time / end_s)}%")
        for time in times
        if time <= end_s * 0.97
    )


def _crowd(recording: Recording) -> Markup:
    """Return the number of faces over time as an area."""
    density, end_s = recording.seen.density, recording.end_s
    wide = max(1, -(-int(end_s / STEP_S + 1) // COLUMNS))  # steps of time per column
    columns = -(-int(end_s / STEP_S + 1) // wide)
    heights = [sum(density[column * wide + step] for step in range(wide)) for column in range(columns)]
    largest = max(heights, default=0) or 1
    path = "M0 20" + "".join(f"V{_short(20 - 19 * height / largest)}h1" for height in heights) + "V20Z"
    drawn = element("path", d=path)
    return element("svg", drawn, viewBox=f"0 0 {_short(end_s / STEP_S / wide)} 20", preserveAspectRatio="none",
                   role="img", aria_label="Faces over time")  # fmt: skip
