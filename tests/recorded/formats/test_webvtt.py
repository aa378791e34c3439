"""Subtitles of people and expressions, read by another library, and the JSON of the metadata track."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import webvtt

from streamer.recorded.formats.stays import clock_of, find_stays
from streamer.recorded.formats.webvtt import METADATA, SUBTITLES, write_webvtt
from streamer.recorded.stored import Stored
from tests.support.browser import browser_page
from tests.support.stored_results import AGE, Seen, write_results

TIMES = [frame / 25 for frame in range(100)]


def write(folder: Path) -> None:
    results = Stored(folder)
    write_webvtt(results, find_stays(results, clock_of(results)), folder)


def cues(path: Path) -> list[tuple[str | None, str, str, str]]:
    return [(cue.identifier, cue.start, cue.end, cue.text) for cue in webvtt.read(str(path)).captions]


def test_each_run_of_an_expression_is_a_cue_up_to_the_first_frame_without_the_person(tmp_path: Path) -> None:
    segments = [("happiness", 0.4, 1.0), ("sadness", 1.3, 9.0)]
    write_results(
        tmp_path, [Seen("a", 1, 1, 0, 49, segments=segments), Seen("b", 2, 2, 40, 99)], times=TIMES, names={1: "Anna"}
    )
    write(tmp_path)
    assert cues(tmp_path / SUBTITLES) == [
        ("person-1-1", "00:00:00.000", "00:00:00.400", "Anna"),
        ("person-1-2", "00:00:00.400", "00:00:01.000", "Anna appears happy"),
        ("person-1-3", "00:00:01.000", "00:00:01.300", "Anna"),
        ("person-1-4", "00:00:01.300", "00:00:02.000", "Anna appears sad"),
        ("person-2-1", "00:00:01.600", "00:00:04.000", "person 2"),
    ]


def test_subtitles_leave_out_a_name_that_would_flicker_beside_expressions(tmp_path: Path) -> None:
    segments = [("happiness", 0.08, 0.9), ("sadness", 1.0, 1.96)]
    tracks = [Seen("a", 1, 1, 0, 49, segments=segments), Seen("b", 2, 2, 0, 1)]
    write_results(tmp_path, tracks, times=TIMES)
    write(tmp_path)
    assert [cue[0] for cue in cues(tmp_path / SUBTITLES)] == ["person-2-1", "person-1-2", "person-1-4"]
    metadata = {cue[0] for cue in cues(tmp_path / METADATA)}
    assert metadata == {f"person-1-{number}" for number in range(1, 6)} | {"person-2-1"}


def test_the_metadata_track_has_the_same_cues_with_json(tmp_path: Path) -> None:
    tracks = [Seen("a", 1, 1, 0, 49, segments=[("fear", 0.0, 2.0)]), Seen("b", 2, 2, 60, 99)]
    write_results(tmp_path, tracks, times=TIMES, undescribed={2: ["LOW_QUALITY"]})
    write(tmp_path)
    assert [cue[:3] for cue in cues(tmp_path / METADATA)] == [cue[:3] for cue in cues(tmp_path / SUBTITLES)]
    first, second = (json.loads(cue[3]) for cue in cues(tmp_path / METADATA))
    assert first == {
        "number": 1,
        "person_id": "p1",
        "name": None,
        "described": True,
        "undescribed_reasons": [],
        "age": AGE,
        "track_ids": ["a"],
        "appears": "fear",
        "confidence": 0.8,
        "start_s": 0.0,
        "end_s": 2.0,
    }
    assert (second["described"], second["undescribed_reasons"], second["age"]) == (False, ["LOW_QUALITY"], None)
    assert (second["appears"], second["start_s"], second["end_s"]) == (None, 2.4, 4.0)


@pytest.mark.parametrize("name", ["A & <b>B</b>", "x --> y", "two\nlines\n\nhere", "Žofie 漢字", "WEBVTT"])
def test_any_name_is_a_cue_of_its_own(name: str, tmp_path: Path) -> None:
    write_results(tmp_path, [Seen("a", 1, 1, 0, 49)], times=TIMES, names={1: name}, name="a --> b\n\n00:01.mp4")
    write(tmp_path)
    ((_, _, _, text),) = cues(tmp_path / SUBTITLES)
    for written, meant in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(written, meant)
    assert text == " ".join(name.split())
    ((_, _, _, payload),) = cues(tmp_path / METADATA)
    assert json.loads(payload)["name"] == name
    for path in (tmp_path / SUBTITLES, tmp_path / METADATA):
        assert path.read_text(encoding="utf-8").count("-->") == 1
        assert path.read_text(encoding="utf-8").startswith("WEBVTT\n\nNOTE ")


def test_times_beyond_an_hour_and_a_hundred_hours(tmp_path: Path) -> None:
    times = [3599.96, 3600.0, 362_521.5]
    write_results(tmp_path, [Seen("a", 1, 1, 0, 0), Seen("b", 2, 2, 2, 2)], times=times)
    write(tmp_path)
    shown = [cue[1:3] for cue in cues(tmp_path / SUBTITLES)]
    assert shown[0] == ("00:59:59.960", "01:00:00.000")
    assert shown[1][0] == "100:42:01.500"


def test_tracks_of_a_person_that_follow_each_other_are_one_stay(tmp_path: Path) -> None:
    tracks = [
        Seen("a", 1, 1, 0, 24, segments=[("anger", 0.0, 1.0)]),
        Seen("b", 2, 1, 25, 49, segments=[("anger", 0.98, 2.0)]),  # it overlaps by half a frame
        Seen("c", 3, 1, 80, 99),
    ]
    write_results(tmp_path, tracks, times=TIMES)
    results = Stored(tmp_path)
    first, second = find_stays(results, clock_of(results))[1]
    assert (first.start_s, first.end_s, first.track_ids) == (0.0, 2.0, ("a", "b"))
    assert [(run.start_s, run.end_s, run.appears) for run in first.runs] == [(0.0, 1.0, "anger"), (1.0, 2.0, "anger")]
    assert (second.start_s, second.end_s, second.track_ids) == (3.2, 4.0, ("c",))


def test_untrained_weights_and_no_faces_are_said(tmp_path: Path) -> None:
    write_results(tmp_path, [], times=TIMES, model_id="untrained")
    write(tmp_path)
    assert "UNTRAINED" in (tmp_path / SUBTITLES).read_text()
    assert cues(tmp_path / SUBTITLES) == []


def test_a_video_without_frames_that_were_analysed_has_no_cues(tmp_path: Path) -> None:
    write_results(tmp_path, [], times=[])
    write(tmp_path)
    assert cues(tmp_path / METADATA) == []


# --- in a browser

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><video></video><script>
const video = document.querySelector("video");
const load = (kind, src) => new Promise((done, failed) => {
  const element = Object.assign(document.createElement("track"), {kind, src, srclang: "en", label: kind});
  element.onload = () => done([...element.track.cues]);
  element.onerror = () => failed(new Error(src));
  video.append(element);
  element.track.mode = "hidden";
});
const row = (cue, text) => [cue.id, cue.startTime, cue.endTime, text];
const subtitles = load("subtitles", "people.vtt")
  .then(cues => cues.map(cue => row(cue, cue.getCueAsHTML().textContent)));
const metadata = load("metadata", "people.metadata.vtt")
  .then(cues => cues.map(cue => row(cue, JSON.parse(cue.text).name)));
</script>"""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a web server for a folder: a browser reads no subtitles from a file."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.browser
def test_a_browser_reads_both_tracks(tmp_path: Path) -> None:
    names = {1: "A & <b>B</b> --> C", 2: "Žofie 漢字"}
    times = [*TIMES, 7200.0, 7200.04]
    tracks = [
        Seen("a", 1, 1, 0, 49, segments=[("happiness", 0.0, 2.0)]),
        Seen("b", 2, 2, 40, 80),
        Seen("c", 3, 1, 100, 101),
    ]
    write_results(tmp_path, tracks, times=times, names=names)
    write(tmp_path)
    (tmp_path / "page.html").write_text(PAGE)
    expected = [
        ["person-1-1", 0, 2, f"{names[1]} appears happy", names[1]],
        ["person-2-1", 1.6, 3.24, names[2], names[2]],
        ["person-1-2", 7200, 7200.08, names[1], names[1]],
    ]
    with serving(tmp_path) as address, browser_page(tmp_path / "profile") as page:
        page.call("Page.navigate", url=f"{address}/page.html")
        page.until("document.readyState === 'complete' && typeof metadata !== 'undefined'")
        assert page.value("subtitles") == [cue[:4] for cue in expected]
        assert page.value("metadata") == [[*cue[:3], cue[4]] for cue in expected]
        assert page.problems == []
