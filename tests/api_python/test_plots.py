"""The timeline of people as Matplotlib draws it."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import faceanalytics as fa
from tests.support.stored_results import Seen, write_results

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

TIMES = [frame / 10 for frame in range(100)]
TRACKS = [
    Seen("a", 1, 1, 0, 39, segments=[("happiness", 0.5, 2.0), ("sadness", 2.0, 3.5)]),
    Seen("b", 2, 1, 60, 79, segments=[("happiness", 6.0, 8.0)]),
    Seen("c", 3, 2, 20, 99),
]


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    yield
    pyplot.close("all")


def draw(folder: Path, tracks: Sequence[Seen], ax: Axes | None = None, **results: object) -> Axes:
    given = {"times": TIMES, **results}
    drawn = fa.read_results(write_results(folder, tracks, **given)).plot_timeline(ax)  # type: ignore[arg-type]
    drawn.figure.canvas.draw()
    return drawn


def bars(ax: Axes) -> list[tuple[int, str, float, float]]:
    """Row, kind, start (s) and end (s) of each bar."""
    found = []
    for collection in ax.collections:
        for path in collection.get_paths():
            corners = np.asarray(path.vertices)
            (left, low), (right, high) = corners.min(axis=0), corners.max(axis=0)
            found.append((round((low + high) / 2), str(collection.get_gid()), round(left, 6), round(right, 6)))
    return sorted(found, key=lambda bar: (bar[0], bar[2]))


def legend(ax: Axes) -> list[str]:
    box = ax.get_legend()
    return [] if box is None else [text.get_text() for text in box.get_texts()]


def test_each_person_has_a_row_with_a_bar_per_expression(tmp_path: Path) -> None:
    ax = draw(tmp_path, TRACKS, names={1: "Anna"}, undescribed={2: ["LOW_QUALITY"]}, cuts=[60])
    assert bars(ax) == [
        (0, "no clear expression", 0.0, 0.5),
        (0, "happiness", 0.5, 2.0),
        (0, "sadness", 2.0, 3.5),
        (0, "no clear expression", 3.5, 4.0),
        (0, "happiness", 6.0, 8.0),
        (1, "not described", 2.0, 10.0),
    ]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Anna", "person 2"]
    first, last = ax.get_ylim()
    assert first > last  # the first person is on top
    assert [np.asarray(line.get_xdata())[0] for line in ax.lines if line.get_gid() == "cut"] == [6.0]
    assert ax.get_title() == "clip.mp4"
    assert ax.get_xlim() == pytest.approx((0, 10.0))


def test_the_legend_explains_what_is_there_and_nothing_else(tmp_path: Path) -> None:
    ax = draw(tmp_path, TRACKS, undescribed={2: ["LOW_QUALITY"]}, cuts=[60])
    assert legend(ax) == [
        *("appears: happiness", "appears: sadness", "no clear expression", "not described", "new shot"),
    ]
    assert legend(draw(tmp_path, TRACKS[2:])) == ["no clear expression"]


def test_axes_of_ones_own_are_drawn_into(tmp_path: Path) -> None:
    _, (one, other) = pyplot.subplots(2)
    assert draw(tmp_path, TRACKS, ax=other) is other
    assert not one.collections


def test_a_short_bar_is_still_seen_in_a_long_recording(tmp_path: Path) -> None:
    times = [0.0, 0.04, 7200.0]
    ax = draw(tmp_path, [Seen("a", 1, 1, 0, 0, segments=[("anger", 0.0, 0.04)])], times=times)
    figure = ax.figure
    pixels = np.asarray(figure.canvas.buffer_rgba())[:, :, :3].astype(int)  # type: ignore[attr-defined]
    red = (pixels[:, :, 0] > 140) & (pixels[:, :, 1] < 110) & (pixels[:, :, 2] < 110)
    assert red.any()
    assert "1:00:00" in [label.get_text() for label in ax.get_xticklabels()] or ax.get_xlim()[1] > 7200


def test_results_without_people_say_so(tmp_path: Path) -> None:
    ax = draw(tmp_path, [])
    assert [text.get_text() for text in ax.texts] == ["no person was found"]
    assert legend(ax) == []


def test_untrained_weights_are_named_in_the_title(tmp_path: Path) -> None:
    assert "UNTRAINED" in draw(tmp_path, TRACKS, model_id="untrained").get_title()


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = fa.read_results(write_results(tmp_path, TRACKS, times=TIMES))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(fa.MissingPackage, match=r"matplotlib is not installed: pip install .*\[analysis\]"):
        results.plot_timeline()
