"""What of the files becomes a row: spans, expressions within them, shots, reasons."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from faceanalytics.errors import InputError
from streamer.recorded.report.reading import Recording, read_recording
from streamer.recorded.report.rows import Row, rows
from tests.support.result_files import ADA, USUAL, Person, Results, Track


def read(results: Results, folder: Path) -> Recording:
    return read_recording(results.write(folder))


def made(results: Results, folder: Path, budget: int = 10_000) -> list[Row]:
    return rows(read(results, folder), "f1", budget)


def test_a_person_has_a_span_per_interval_with_the_expressions_in_it(tmp_path: Path) -> None:
    ada, bob, poor = made(USUAL, tmp_path)
    assert [row.title for row in (ada, bob, poor)] == ["Ada", "Person 2", "Person 3"]
    assert [(span.start_s, span.end_s) for span in ada.spans] == [(0.0, 4.0), (6.0, 9.5)]
    assert [tuple(one) for one in ada.spans[0].stretches] == [(0.0, 2.0, "neutral"), (2.0, 4.0, "happiness")]
    assert (ada.shots, bob.shots, poor.shots) == ([1, 2, 3], [1, 2, 3], [1, 2])
    assert (ada.why_not, poor.why_not) == ("", "crops too poor, cut off by the border of the picture")
    assert poor.spans[0].why_not == poor.why_not


def test_a_track_in_two_intervals_shows_its_expressions_within_each(tmp_path: Path) -> None:
    track = Track(1, 0.0, 8.0, expressions=("fear", "anger"))
    intervals = [
        {"track_id": track.id, "start_s": 1.0, "end_s": 3.0},
        {"track_id": track.id, "start_s": 3.5, "end_s": 6.0},
    ]
    (row,) = made(replace(USUAL, people=(Person((track,), changes={"intervals": intervals}),), others=()), tmp_path)
    shown = [[tuple(one) for one in span.stretches] for span in row.spans]
    assert shown == [[(1.0, 3.0, "fear")], [(3.5, 4.0, "fear"), (4.0, 6.0, "anger")]]
    assert len(row.tracks) == 1


def test_beyond_the_budget_each_step_of_time_shows_what_lasted_longest(tmp_path: Path) -> None:
    quick = ("neutral", "neutral", "neutral", "happiness") * 250
    person = Person((Track(1, 0.0, 1000.0, expressions=quick),))
    long = Results((person,), length_s=1000.0, fps=1.0)
    (fine,) = made(long, tmp_path / "fine")
    (coarse,) = made(long, tmp_path / "coarse", budget=60)
    assert len(fine.spans[0].stretches) == 1000
    stretches = coarse.spans[0].stretches
    assert 1 <= len(stretches) <= 60
    assert (stretches[0].start_s, stretches[-1].end_s) == (0.0, 1000.0)
    lasted = sum(one.end_s - one.start_s for one in stretches if one.expression == "neutral")
    assert lasted > 700
    for one, other in pairwise(stretches):
        assert one.end_s == pytest.approx(other.start_s)


def test_many_short_spans_are_joined_where_nobody_could_see_the_gap(tmp_path: Path) -> None:
    tracks = tuple(Track(number, number * 2.0, number * 2.0 + 1.9) for number in range(1, 400))
    (row,) = made(Results((Person(tracks),), length_s=802.0, fps=1.0), tmp_path, budget=50)
    assert len(row.spans) <= 50
    assert len(row.tracks) == 399
    assert (row.spans[0].start_s, row.spans[-1].end_s) == (2.0, 799.9)


def test_the_observations_are_counted(tmp_path: Path) -> None:
    seen = read(USUAL, tmp_path).seen
    assert seen.frames == 100
    assert seen.faces == sum(one.faces for one in seen.tracks.values()) == 41 + 41 + 11 + 36 + 7
    assert seen.skipped == {"LOW_SHARPNESS": 4}
    assert sum(seen.widths.values()) == seen.faces
    assert sum(seen.qualities.values()) == 4 * len(USUAL.tracks)
    best = seen.tracks[ADA.tracks[0].id].at_best
    assert best is not None
    assert best.media_time_s == 2.0


@pytest.mark.parametrize("name", ["summary.json", "tracks.jsonl", "observations.jsonl", "people.jsonl", "shots.jsonl"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (USUAL.write(tmp_path) / name).unlink()
    with pytest.raises(InputError, match=f"{name} does not exist: "):
        read_recording(tmp_path)


@pytest.mark.parametrize("name", ["tracks", "people", "shots", "observations", "explain"])
def test_a_file_of_another_run_is_refused(tmp_path: Path, name: str) -> None:
    folder = replace(USUAL, explained=True).write(tmp_path)
    path = folder / f"{name}.jsonl"
    header, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps(json.loads(header) | {"run_id": "other"}) + "\n", *rest]))
    with pytest.raises(
        InputError, match=rf"{name}\.jsonl .* it is of another run than summary\.json; analyse the video"
    ):
        read_recording(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "the header is missing"),
        ("no json", "was not written by"),
        ('{"type":"track"}', "the header is missing"),
        ("", "was not written by"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, line: str, message: str) -> None:
    folder = USUAL.write(tmp_path)
    (folder / "tracks.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        read_recording(folder)


def test_results_of_another_schema_are_refused(tmp_path: Path) -> None:
    folder = replace(USUAL, header={"schema_version": 3}).write(tmp_path)
    with pytest.raises(InputError, match=r"it has schema_version 3, this version reads .*; analyse the video again"):
        read_recording(folder)


def test_people_of_tracks_that_are_not_there_are_refused(tmp_path: Path) -> None:
    stray = Person((Track(1, 0.0, 4.0),), changes={"intervals": [{"track_id": "gone", "start_s": 0, "end_s": 1}]})
    recording = read(replace(USUAL, people=(stray,)), tmp_path)
    with pytest.raises(InputError, match=r"people\.jsonl names the track gone, which tracks\.jsonl lacks"):
        rows(recording, "f1")
