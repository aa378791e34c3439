"""The stages together, on painted frames and the detector that finds them."""

import itertools
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from streamer.config import StreamerConfig
from streamer.configfile import parse_config
from streamer.detect.detector import Detector
from streamer.observe import Observer
from streamer.track.keys import live_keys, recorded_keys
from streamer.values import (
    Bytes,
    ClockSource,
    EndReason,
    FaceCrop,
    Frame,
    Model,
    Observation,
    Reason,
    SourceEnd,
    TrackState,
)
from tests.support.patch_detector import paint, write_lite_patch_detector


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    path = write_lite_patch_detector(tmp_path_factory.mktemp("detector") / "patches.onnx")
    return Detector(config(path).detect)


def config(weights: Path | None = None, /, **schedule: object) -> StreamerConfig:
    detect = {"weights": str(weights)} if weights else {}
    return parse_config({"detect": detect, "track": {"confirm_hits": 2}, "schedule": schedule}, "test")


def image(*places: tuple[int, int]) -> Bytes:
    pixels = np.full((480, 640, 3), 90, np.uint8)
    for left, top in places:
        paint(pixels, left, top)
    return pixels


def frame(time: float, *places: tuple[int, int], camera: str = "cam", epoch: int = 1) -> Frame:
    return Frame(camera, epoch, time, None, ClockSource.FILE_PTS, 0.0, image(*places))


def observer(detector: Detector, **schedule: object) -> Observer:
    return Observer(config(None, **schedule), detector, recorded_keys("content"))


def one(observations: list[Observation]) -> Observation:
    (observation,) = observations
    return observation


def test_a_face_is_found_followed_and_its_crop_sent_once_it_is_confirmed(detector: Detector) -> None:
    watching = observer(detector)
    first = one(watching.observe([frame(0.0, (100, 60))]))
    assert [track.state for track in first.tracks] == [TrackState.TENTATIVE]
    assert first.crops == ()
    second = one(watching.observe([frame(0.04, (102, 60))]))
    assert [track.state for track in second.tracks] == [TrackState.CONFIRMED]
    (crop,) = second.crops
    assert crop.key == second.tracks[0].key
    assert crop.media_time == 0.04
    magenta = crop.pixels[56, 30]  # between an eye and a corner of the mouth: RGB, so red and blue
    assert magenta[0] > 200 > 100 > magenta[1]
    assert magenta[2] > 200


def test_the_same_face_is_sent_again_only_when_its_answers_would_change(detector: Detector) -> None:
    watching = observer(detector, per_track_per_second=1)
    sent, decisions = [], Counter[str]()
    for index in range(60):
        observation = one(watching.observe([frame(index / 25, (100, 60))]))
        sent += [crop.media_time for crop in observation.crops]
        decisions.update(choice.decision.value for choice in observation.choices)
    assert sent == pytest.approx([0.04, 1.04, 2.04], abs=0.3)
    assert decisions["SENT"] == 3
    assert set(decisions) <= {"SENT", "TOO_SOON", "BETTER_CROP"}
    assert sum(decisions.values()) in range(59, 62)  # a crop that has waited is one more choice


def test_a_face_that_waits_for_the_budget_says_so_and_the_budget_is_that_of_all_cameras(detector: Detector) -> None:
    watching = Observer(config(None, analyses_per_second=1), detector, live_keys())
    for time in (0.0, 0.04):
        left = frame(time, (100, 60), (300, 60), camera="left")
        right = frame(time, (100, 60), (300, 60), camera="right")
        observations = watching.observe([left, right])
    assert sum(len(each.crops) for each in observations) == 2
    waiting = [reasons for each in observations for reasons in each.skipped.values()]
    assert waiting == [(Reason.BUDGET,)] * 2
    for each in observations:
        assert {crop.key.camera for crop in each.crops} <= {each.camera}


def test_live_nothing_is_sent_without_a_worker_and_a_lost_crop_is_sent_again(detector: Detector) -> None:
    watching = Observer(config(None, per_track_per_second=1000), detector, live_keys(), live=True)
    times = itertools.count()

    def crops() -> list[FaceCrop]:
        return list(one(watching.observe([frame(next(times) / 25, (100, 60))])).crops)

    assert [crops() for _ in range(4)] == [[]] * 4
    watching.set_workers({Model("a", True, True, (), True): 1})
    (crop,) = crops()
    assert crops() == []  # its answer is awaited
    watching.on_result(crop.key.id, answered=False)
    assert len(crops()) == 1


def test_cameras_are_detected_together_and_followed_apart(detector: Detector) -> None:
    watching = observer(detector)
    for time in (0.0, 0.04):
        left = frame(time, (100, 60), camera="left")
        right = frame(time, (300, 200), (100, 60), camera="right")
        observations = watching.observe([left, right])
    assert [(each.camera, len(each.tracks)) for each in observations] == [("left", 1), ("right", 2)]
    keys = [track.key for each in observations for track in each.tracks]
    assert len({(key.camera, key.number) for key in keys}) == 3


def test_the_end_of_a_source_ends_its_tracks_with_the_reason(detector: Detector) -> None:
    watching = observer(detector)
    for time in (0.0, 0.04):
        watching.observe([frame(time, (100, 60))])
    (ended,) = one(watching.observe([SourceEnd("cam", 1, EndReason.SOURCE_LOST)])).ended
    assert (ended.reason, ended.confirmed) == (EndReason.SOURCE_LOST, True)
    assert watching.observe([SourceEnd("cam", 1, EndReason.SOURCE_LOST)]) == []


def test_nothing_is_kept_of_a_camera_that_was_removed(detector: Detector) -> None:
    watching = observer(detector)
    for time in (0.0, 0.04):
        watching.observe([frame(time, (100, 60))])
    watching.observe([SourceEnd("cam", 1, EndReason.END_OF_FILE)])
    assert watching.observe([SourceEnd("cam", 1, EndReason.SOURCE_REMOVED)]) == []
    assert one(watching.observe([frame(0.0, (100, 60), epoch=2)])).tracks[0].key.number == 1  # as if it were new


def test_a_new_epoch_ends_the_tracks_of_the_old_one_and_its_time_restarts(detector: Detector) -> None:
    watching = observer(detector)
    for time in (10.0, 10.04):
        watching.observe([frame(time, (100, 60))])
    ends, now = watching.observe([frame(0.0, (100, 60), epoch=2)])
    assert [end.reason for end in ends.ended] == [EndReason.SOURCE_LOST]
    assert now.tracks[0].key.number > ends.ended[0].key.number


def test_a_face_too_small_to_analyse_says_so(detector: Detector) -> None:
    settings = parse_config({"track": {"confirm_hits": 1}, "crop": {"min_eye_distance_px": 40}}, "test")
    watching = Observer(settings, detector, recorded_keys("content"))
    observation = one(watching.observe([frame(0.0, (100, 60))]))
    assert observation.crops == ()
    assert [reason.value for reason in observation.skipped[observation.tracks[0].key.id]] == ["SMALL_BOUNDING_BOX"]


def test_live_ids_sort_by_birth_and_are_uuid_version_7() -> None:
    new_key = live_keys()
    ids = [new_key("cam", number).id for number in range(2000)]
    assert len(set(ids)) == len(ids)
    assert [uuid.UUID(name).version for name in ids[:3]] == [7, 7, 7]
    assert ids == sorted(ids)


def test_recorded_ids_depend_on_content_and_number_only() -> None:
    ids = [recorded_keys("content")("any", number).id for number in range(1, 300)]
    assert ids == [recorded_keys("content")("other", number).id for number in range(1, 300)]
    assert ids == sorted(ids)
    assert not set(ids) & {recorded_keys("else")("any", number).id for number in range(1, 300)}
    assert uuid.UUID(ids[0]).version == 8
