"""Histograms of a recording as inline SVG, each with its numbers as a table."""

from collections.abc import Sequence
from typing import NamedTuple

from streamer.labels import EXPRESSIONS
from streamer.recorded.report import words
from streamer.recorded.report.markup import Markup, element, table
from streamer.recorded.report.reading import Recording
from streamer.recorded.report.rows import Row
from streamer.recorded.report.seen import GRADES, WIDTHS

WIDTH, HEIGHT, FOOT, TOP = 320, 150, 22, 16  # of a chart; FOOT holds the labels, TOP the numbers
DECADES = 10  # classes of age


class Bar(NamedTuple):
    """One class of a histogram."""

    label: str
    value: float
    shown: str  # the value in words
    code: str = ""  # class for its colour


def charts(recording: Recording, rows: Sequence[Row]) -> Markup:
    """Return the histograms of the recording: those that have any value."""
    outputs = recording.header["outputs"]
    found = [
        _chart("Ages", "people, by their most likely age", _ages(rows)) if outputs["age"] else None,
        _chart("Expressions", "share of the time in which one is known", _expressions(rows))
        if outputs["expression"]
        else None,
        _chart("Width of faces", "faces in frames, by pixels", _widths(recording)),
        _chart("Quality of crops", "analysed crops, 0 poor to 1 good", _qualities(recording)),
    ]
    return element("div", found, class_="charts")


def _ages(rows: Sequence[Row]) -> list[Bar]:
    counts = [0] * DECADES
    for row in rows:
        if row.person["age"]:
            counts[min(max(0, int(row.person["age"]["years"] // 10)), DECADES - 1)] += 1
    names = [f"{10 * number}s" if number else "0\N{EN DASH}9" for number in range(DECADES - 1)] + ["90+"]
    return [Bar(name, number, str(number)) for name, number in zip(names, counts, strict=True)]


def _expressions(rows: Sequence[Row]) -> list[Bar]:
    lasting = dict.fromkeys(EXPRESSIONS, 0.0)
    for row in rows:
        for span in row.spans:
            for one in span.stretches if not span.why_not else ():
                lasting[one.expression] += one.end_s - one.start_s
    whole = sum(lasting.values())
    return [
        Bar(words.APPEARS[name], lasting[name], words.percent(lasting[name] / whole if whole else 0), words.CODES[name])
        for name in EXPRESSIONS
    ]


def _widths(recording: Recording) -> list[Bar]:
    names = [f"<{WIDTHS[0]}", *map(str, WIDTHS)]
    counts = [recording.seen.widths[number] for number in range(len(names))]
    return [Bar(name, number, _thousands(number)) for name, number in zip(names, counts, strict=True)]


def _qualities(recording: Recording) -> list[Bar]:
    counts = [recording.seen.qualities[number] for number in range(GRADES)]
    return [Bar(f".{number}", value, _thousands(value)) for number, value in enumerate(counts)]


def _thousands(number: int) -> str:
    return str(number) if number < 10_000 else f"{number / 1000:.0f}k"


def _chart(title: str, unit: str, bars: Sequence[Bar]) -> Markup:
    largest = max((bar.value for bar in bars), default=0)
    heading = element("h4", title, element("small", unit))
    if not largest:
        return element("figure", heading, element("p", "Nothing to show.", class_="muted"), class_="chart")
    step = WIDTH / len(bars)
    drawn = []
    for place, bar in enumerate(bars):
        height = (HEIGHT - FOOT - TOP) * bar.value / largest
        x, y = place * step + step * 0.12, HEIGHT - FOOT - height
        middle = f"{place * step + step / 2:.1f}"
        if bar.value:
            drawn.append(
                element("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{step * 0.76:.1f}", height=f"{max(height, 1):.1f}",
                        rx="2", class_=f"bar {bar.code}".strip())
            )  # fmt: skip
            drawn.append(element("text", bar.shown, x=middle, y=f"{y - 4:.1f}"))
        drawn.append(element("text", bar.label, x=middle, y=HEIGHT - 7, class_="label"))
    drawn.append(element("path", d=f"M0 {HEIGHT - FOOT}H{WIDTH}", class_="base"))
    svg = element("svg", drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{title}: {unit}")
    numbers = element(
        "details", element("summary", "Numbers"), table((title, unit), [(b.label, b.shown) for b in bars])
    )
    return element("figure", heading, svg, numbers, class_="chart")
