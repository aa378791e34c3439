"""Results as a picture: when each person was in view, and what the face appeared to show."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from faceanalytics.extras import require
from streamer.labels import EXPRESSIONS
from streamer.recorded.formats.stays import Clock, Run, join, notice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from faceanalytics.people import Person
    from faceanalytics.results import Results

# the same hue for moods that are alike; light and dark for those who see fewer colours
COLOURS = {
    "surprise": "#e8743b",
    "fear": "#7b4ea3",
    "disgust": "#4c8c4a",
    "happiness": "#f2b701",
    "sadness": "#2f6db5",
    "anger": "#b3261e",
    "neutral": "#a9c4dd",
}
UNCLEAR, UNDESCRIBED = "no clear expression", "not described"
GREYS = {UNCLEAR: "#e4e4e4", UNDESCRIBED: "#bdbdbd"}
HEIGHT = 0.7  # of a bar, in rows


def plot_timeline(results: "Results", ax: "Axes | None" = None) -> "Axes":
    """Draw a row per person over time into `ax`, or into a new figure, and return the axes. Raises MissingPackage."""
    require("analysis", "matplotlib", use="plot_timeline")
    from matplotlib import pyplot

    people, clock = results.people, Clock([frame.media_time_s for frame in results.frames])
    if ax is None:
        size = 10, 1.6 + 0.42 * max(2, min(len(people), 45))
        _, ax = pyplot.subplots(figsize=size, layout="constrained")
    drawn: set[str] = set()
    for row, person in enumerate(people):
        spans: dict[str, list[tuple[float, float]]] = {}
        for start, end, kind in _bars(person, clock):
            spans.setdefault(kind, []).append((start, end - start))
        for kind, bars in spans.items():
            colour, hatch = (COLOURS | GREYS)[kind], "////" if kind == UNDESCRIBED else None
            border = "white" if hatch else colour  # without a border of its colour, a short bar would vanish
            rows = row - HEIGHT / 2, HEIGHT
            ax.broken_barh(bars, rows, facecolor=colour, edgecolor=border, linewidth=0.5, hatch=hatch, gid=kind)
        drawn |= spans.keys()
    cuts = [shot.start_s for shot in results.shots[1:]]
    for time in cuts:
        ax.axvline(time, color="#555555", linewidth=0.8, linestyle=":", zorder=0, gid="cut")
    _label(results, clock, ax)
    _legend(ax, drawn, bool(cuts))
    return ax


def _bars(person: "Person", clock: Clock) -> Iterator[tuple[float, float, str]]:
    """Yield start (s), end (s) and kind of each bar of a person."""
    runs = [
        Run(one.start_s, one.end_s, one.appears, one.confidence)
        for track in person.tracks
        if track.expression is not None
        for one in track.expression.timeline
    ]
    nothing = UNCLEAR if person.described else UNDESCRIBED
    for stay in join([(one.start_s, clock.after(one.end_s), one.track_id) for one in person.intervals], runs):
        for run in stay.runs:
            yield run.start_s, run.end_s, run.appears or nothing


def _label(results: "Results", clock: Clock, ax: "Axes") -> None:
    """Label the rows and the time, and name the video."""
    people, source = results.people, results.header.source
    ax.set_yticks(range(len(people)), [person.name or f"person {person.number}" for person in people])
    ax.set_ylim(max(1, len(people)) - 0.5, -0.5)  # who appears first is on top
    ax.set_xlim(0, clock.after(results.frames[-1].media_time_s) if results.frames else 1)
    ax.xaxis.set_major_formatter(lambda seconds, _: _clock(seconds))
    ax.set_xlabel("time from the first frame (min:s)")
    warning = notice({"model_id": results.header.model_id})
    ax.set_title(f"{source.name}\n{warning}" if warning else source.name, color="#b3261e" if warning else "black")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    if not people:
        ax.text(0.5, 0.5, "no person was found", transform=ax.transAxes, ha="center", va="center", color="#555555")


def _legend(ax: "Axes", drawn: set[str], cuts: bool) -> None:
    """Explain the colours that are there, beside the picture."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Patch | Line2D] = [
        Patch(facecolor=COLOURS[one], label=f"appears: {one}") for one in EXPRESSIONS if one in drawn
    ]
    handles += [Patch(facecolor=GREYS[UNCLEAR], label=UNCLEAR)] if UNCLEAR in drawn else []
    undescribed = Patch(facecolor=GREYS[UNDESCRIBED], hatch="////", edgecolor="white", label=UNDESCRIBED)
    handles += [undescribed] if UNDESCRIBED in drawn else []
    handles += [Line2D([], [], color="#555555", linewidth=0.8, linestyle=":", label="new shot")] if cuts else []
    if handles:
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _clock(seconds: float) -> str:
    """Return m:ss, with decimals where they differ from zero; from an hour on h:mm:ss."""
    minutes, rest = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{rest:05.2f}".rstrip("0").rstrip(".")
    shown = shown if len(shown.partition(".")[0]) == 2 else shown.zfill(2)
    return f"{hours}:{minutes:02}:{shown}" if hours else f"{minutes}:{shown}"
