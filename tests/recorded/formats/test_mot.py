"""MOT text of results, and what TrackEval says of it."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import trackeval

from streamer.recorded.formats.mot import write_mot
from streamer.recorded.formats.stays import clock_of
from streamer.recorded.stored import Stored
from tests.support.stored_results import Seen, write_results

TIMES = [frame / 29.97 for frame in range(60)]
# person 1 leaves and returns, person 2 stays, the hand is nobody
TRACKS = [
    Seen("a", 1, 1, 0, 19, step=1.0),
    Seen("b", 2, 2, 0, 59, (200.0, 60.5, 50.0, 55.25)),
    Seen("c", 5, 1, 30, 59, step=1.0),
    Seen("hand", 6, None, 5, 9, (10.0, 10.0, 20.0, 20.0)),
]


def write(folder: Path, people: bool = False) -> list[str]:
    results = Stored(folder)
    return write_mot(results, clock_of(results), folder, people).tracks.read_text().splitlines()


def test_a_line_is_a_face_of_a_frame_and_frames_count_from_one(tmp_path: Path) -> None:
    write_results(tmp_path, TRACKS, times=TIMES)
    lines = write(tmp_path)
    assert lines[:3] == ["1,1,100,80,60,60,0.9,-1,-1,-1", "1,2,200,60.5,50,55.25,0.9,-1,-1,-1", lines[2]]
    assert lines[2].startswith("2,1,101,80,")
    assert lines[-1].startswith("60,5,129,80,")
    assert len(lines) == 20 + 60 + 30 + 5
    assert (tmp_path / "mot" / "clip" / "seqinfo.ini").read_text() == (
        "[Sequence]\nname=clip\nimDir=img1\nframeRate=30\nseqLength=60\nimWidth=320\nimHeight=240\nimExt=.jpg\n"
    )


def test_people_keep_their_number_and_a_false_face_is_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_results(tmp_path, TRACKS, times=TIMES)
    with caplog.at_level(logging.INFO):
        lines = write(tmp_path, people=True)
    assert {line.split(",")[1] for line in lines} == {"1", "2"}
    assert len(lines) == 20 + 60 + 30
    assert "left out 5 faces that belong to no person" in caplog.text


def test_the_faces_of_a_joined_track_have_its_number(tmp_path: Path) -> None:
    folder = write_results(tmp_path, [Seen("a", 1, 1, 0, 9, joined=("before",)), Seen("x", 7, 7, 0, 1)], times=TIMES)
    observations = folder / "observations.jsonl"
    observations.write_text(observations.read_text().replace('"track_id": "x", "number": 7', '"track_id": "before"'))
    tracks = folder / "tracks.jsonl"
    tracks.write_text("".join(line + "\n" for line in tracks.read_text().splitlines()[:2]))
    people = folder / "people.jsonl"
    people.write_text("".join(line + "\n" for line in people.read_text().splitlines()[:2]))
    lines = write(tmp_path)
    assert {line.split(",")[1] for line in lines} == {"1"}


def test_an_id_is_in_a_frame_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """TrackEval refuses files in which it is not: somebody beside a mirror has two faces of one name."""
    mirrored = [Seen("a", 1, 1, 0, 9), Seen("b", 2, 1, 5, 9, (10.0, 10.0, 40.0, 40.0))]
    write_results(tmp_path, mirrored, times=TIMES)
    assert len(write(tmp_path, people=True)) == 10
    assert "left out 5 faces of a person who has another face in the same frame" in caplog.text


def test_a_video_without_faces_has_an_empty_file(tmp_path: Path) -> None:
    write_results(tmp_path, [], times=TIMES, name="no face here!.mp4")
    assert write(tmp_path) == []
    assert (tmp_path / "mot" / "no_face_here_.txt").exists()


def score(truth: Path, tracker: Path) -> dict[str, float]:
    """IDF1 and the number of switches by TrackEval, in its folders as written; `truth` has gt/gt.txt."""
    settings = {
        "GT_FOLDER": str(truth / "mot"),
        "TRACKERS_FOLDER": str(tracker),
        "TRACKERS_TO_EVAL": ["mot"],
        "TRACKER_SUB_FOLDER": "",
        "SEQ_INFO": {"clip": None},  # its length is that of seqinfo.ini
        "SKIP_SPLIT_FOL": True,
        "DO_PREPROC": False,
        "PRINT_CONFIG": False,
    }
    dataset = trackeval.datasets.MotChallenge2DBox(settings)
    raw = dataset.get_raw_seq_data("mot", "clip")
    data = dataset.get_preprocessed_seq_data(raw, "pedestrian")
    quiet = {"PRINT_CONFIG": False}
    clear = trackeval.metrics.CLEAR(quiet).eval_sequence(data)
    identity = trackeval.metrics.Identity(quiet).eval_sequence(data)
    hota = trackeval.metrics.HOTA().eval_sequence(data)["HOTA"].mean()
    return {"IDF1": float(identity["IDF1"]), "IDSW": float(clear["IDSW"]), "HOTA": float(hota)}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Folders with the people as ground truth, in the columns that it has: class 1, visible."""
    folder = tmp_path / "truth"
    write_results(folder, TRACKS[:3], times=TIMES)
    lines = write(folder, people=True)
    (folder / "mot" / "clip" / "gt").mkdir()
    truth = [line.replace(",0.9,-1,-1,-1", ",1,1,1") for line in lines]
    (folder / "mot" / "clip" / "gt" / "gt.txt").write_text("\n".join(truth) + "\n")
    return folder


@pytest.mark.parametrize(
    ("people", "tracks", "right"),
    [(True, TRACKS, True), (False, TRACKS[:3], False)],
    ids=["people are right", "tracks are not: somebody returns under another number"],
)
def test_trackeval_accepts_the_folder(
    people: bool, tracks: Sequence[Seen], right: bool, truth: Path, tmp_path: Path
) -> None:
    write_results(tmp_path / "ours", tracks, times=TIMES)
    write(tmp_path / "ours", people)
    found = score(truth, tmp_path / "ours")
    assert (found["IDF1"] == pytest.approx(1)) is right
    assert (found["HOTA"] == pytest.approx(1)) is right
    assert found["IDSW"] == (0 if right else 1)
    shutil.rmtree(tmp_path / "ours")
