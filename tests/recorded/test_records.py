"""What a recorded analysis writes of tracks, models and analyses."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceanalytics.errors import InputError
from faceanalytics.files import hash_file
from streamer.recorded.records import (
    analysis_record,
    answer_record,
    frame_record,
    model_record,
    observation_record,
    track_record,
)
from streamer.recorded.writer import VideoResult
from streamer.values import (
    AgeEstimate,
    AttributeEstimate,
    ClockSource,
    Detections,
    ExpressionEstimate,
    FaceAnalysis,
    IdentityEstimate,
    Observation,
    Presence,
    Quality,
    Segment,
    Track,
    TrackState,
    Undescribed,
)
from tests.support.builders import analysis, crop, evidence, key, model, summary

SIZE = (640, 480)


def test_an_age_below_zero_is_written_as_zero() -> None:
    record = analysis_record(crop(), 0, analysis(age=-1.7))
    assert record["analysis"]["age_years"] == 0.0


def test_outputs_that_the_model_lacks_are_null_and_the_header_lists_its_outputs() -> None:
    silent = model("m", age=False, expression=False, attributes=(4,), identity=False)
    assert model_record(silent)["outputs"] == {
        "age": False, "expression": False, "attributes": ["male"], "identity": False
    }  # fmt: skip
    one = np.array([0.75], np.float32)
    record = analysis_record(crop(), 0, FaceAnalysis(silent, None, None, one, None, None))
    assert record["analysis"] == {
        "age_years": None, "expression": None, "attributes": {"male": 0.75}, "embedding_norm": None
    }  # fmt: skip
    final = track_record(summary(attributes=AttributeEstimate((4,), one, (Presence.PRESENT,), evidence())), SIZE)
    assert (final["age"], final["expression"]) == (None, None)
    assert (final["attributes"]["scores"], final["attributes"]["presence"]) == ({"male": 0.75}, {"male": "PRESENT"})


def test_the_final_record_says_what_was_shown_when_and_how_sure_the_rest_is() -> None:
    shown = ExpressionEstimate(None, 1.0, np.full(7, 1 / 7, np.float32), (Segment(3, 0.5, 2.0, 0.9),), evidence())
    who = IdentityEstimate(np.zeros(512, np.float32), 0.5, 1, evidence(samples=4))
    age = AgeEstimate(31.0, 25.5, 36.5, evidence())
    record = track_record(summary(age=age, expression=shown, identity=who, split_from="t0"), SIZE)
    rest = {"samples": 2, "best_quality": 0.5, "last_inferred_s": 1.5, "revision": 1}
    assert record["age"] == {"years": 31.0, "low_years": 25.5, "high_years": 36.5, **rest}
    assert record["expression"]["appears"] is None
    assert record["expression"]["timeline"] == [
        {"appears": "happiness", "start_s": 0.5, "end_s": 2.0, "confidence": 0.9}
    ]
    assert record["identity"] == {"status": "CONSISTENT", "consistency": 0.5, "outliers": 1, **rest, "samples": 4}
    assert record["split_from"] == "t0"


def test_a_face_has_its_quality_and_pose_where_they_are_known() -> None:
    box = np.array([[10, 10, 50, 60]], np.float32)
    found = Detections(box, np.full(1, 0.9, np.float32), np.zeros((1, 5, 2), np.float32))
    track = Track(key(), TrackState.CONFIRMED, box[0], 0.9, 0, 0.0, 1.0)
    seen = Observation("cam", 0, 1.0, None, ClockSource.FILE_PTS, 0.0, SIZE, found, (track,))
    assert frame_record(seen, 25, 1, SIZE) == {"type": "frame", "frame": 25, "media_time_s": 1.0, "shot": 1, "faces": 1}
    known = Quality(0.61234, (), 40, -12.34, 5.06, -0.04, factors={"size": 1.0})
    record = observation_record(seen, track, 25, known, SIZE)
    assert (record["frame"], record["quality"]) == (25, 0.6123)
    assert (record["yaw_deg"], record["pitch_deg"], record["roll_deg"]) == (-12.3, 5.1, 0.0)
    turned = replace(known, factors={"turned": 0.0})
    for unknown in (turned, Quality(0.0), None):
        assert observation_record(seen, track, 25, unknown, SIZE)["yaw_deg"] is None
    assert observation_record(seen, track, 25, None, SIZE)["quality"] is None


def test_a_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "large"
    content = bytes(range(256)) * 10_000
    path.write_bytes(content)
    assert hash_file(path) == hashlib.sha256(content).hexdigest()


def test_hashing_stops_on_request(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 34)  # a minute to read
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(len(asked) >= 2)
        return asked[-1]

    with pytest.raises(InputError, match="stopped before it began"):
        hash_file(path, stopped)
    assert len(asked) == 3


def test_a_record_says_the_frame_size_only_if_it_is_not_that_of_the_header() -> None:
    assert "frame_width" not in track_record(summary(), SIZE)
    record = track_record(summary(), (1280, 720))
    assert (record["frame_width"], record["frame_height"]) == SIZE


def test_a_track_that_is_not_described_says_why_and_the_summary_counts_it() -> None:
    cases = [
        ((), 1, 0, 0),
        ((Undescribed.BORDER, Undescribed.LOW_QUALITY), 0, 1, 0),
        ((Undescribed.CONFLICTING,), 0, 1, 0),
        ((Undescribed.FALSE_FACE, Undescribed.LOW_QUALITY), 0, 0, 1),
    ]
    whole = VideoResult(Path("video"), Path("out"))
    for reasons, described, undescribed, false in cases:
        record = track_record(summary(undescribed=reasons), SIZE)
        assert (record["described"], record["undescribed_reasons"]) == (not reasons, [one.value for one in reasons])
        assert answer_record(summary(undescribed=reasons))["described"] is not bool(reasons)
        result = VideoResult(Path("video"), Path("out"))
        for each in (result, whole):
            each.count_track(summary(undescribed=reasons))
        counts = result.counts()
        assert (counts["described_tracks"], counts["undescribed_tracks"], counts["false_faces"]) == (
            described, undescribed, false
        )  # fmt: skip
    counts = whole.counts()
    assert counts["tracks"] == counts["described_tracks"] + counts["undescribed_tracks"] + counts["false_faces"] == 4
