"""Previews: attention decides which frames are searched, on painted frames and the detector that finds them."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.config import StreamerConfig
from streamer.configfile import parse_config
from streamer.detect.detector import Detector
from streamer.observe import CALM_S, Observer
from streamer.series import forget_stream, know_stream
from streamer.source.luma import luma_of
from streamer.track.keys import live_keys, recorded_keys
from streamer.values import Bytes, ClockSource, EndReason, FaceCrop, Model, Observation, Preview, SourceEnd, TrackState
from tests.source.test_reader import counter
from tests.support.patch_detector import paint, write_lite_patch_detector

FPS = 25


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    path = write_lite_patch_detector(tmp_path_factory.mktemp("detector") / "patches.onnx")
    return Detector(config(path).detect)


def config(weights: Path | None = None, **attention: object) -> StreamerConfig:
    detect: dict[str, object] = {"attention": attention} if attention else {}
    if weights:
        detect["weights"] = str(weights)
    return parse_config({"detect": detect, "track": {"confirm_hits": 2}}, "test")


def image(*places: tuple[int, int]) -> Bytes:
    pixels = np.full((480, 640, 3), 90, np.uint8)
    pixels[::16] = 60
    for left, top in places:
        paint(pixels, left, top)
    return pixels


def preview(media_time: float, *places: tuple[int, int], camera: str = "cam", epoch: int = 1) -> Preview:
    pixels = image(*places)
    moment = media_time, None, ClockSource.FILE_PTS, time.monotonic()
    return Preview(camera, epoch, *moment, (640, 480), luma_of(pixels), lambda: pixels)


def recorded(detector: Detector, effort: int) -> Observer:
    return Observer(config(None, effort=effort), detector, recorded_keys("content"))


def walk(observer: Observer, frames: int, place: Callable[[int], tuple[int, int] | None]) -> list[Observation]:
    given = []
    for frame in range(frames):
        where = place(frame)
        given += observer.observe([preview(frame / FPS, *([where] if where else []))])
    return given + observer.observe([SourceEnd("cam", 1, EndReason.END_OF_FILE)])


def test_every_frame_has_its_observation_in_order_and_few_are_searched(detector: Detector) -> None:
    observations = walk(recorded(detector, 3), 200, lambda frame: None)
    assert [each.media_time for each in observations[:200]] == [frame / FPS for frame in range(200)]
    searched = [each.media_time for each in observations[:200] if each.searched]
    assert searched[0] == 0
    assert 3 <= len(searched) <= 6  # every three seconds at least, although nothing happens
    assert max(np.diff([*searched, 200 / FPS])) <= 3.0 + 1 / FPS


def test_a_face_that_enters_is_searched_at_once_and_followed_without_a_gap(detector: Detector) -> None:
    def enters(frame: int) -> tuple[int, int] | None:
        return None if frame < 50 else (40 + 2 * (frame - 50), 100)

    observations = walk(recorded(detector, 3), 200, enters)
    found = {each.media_time: each for each in observations[:-1] if len(each.detections)}
    assert min(found) <= 50 / FPS + 0.2
    assert len(found) >= 145
    for moment, each in found.items():
        left, top = enters(round(moment * FPS)) or (0, 0)
        assert each.detections.boxes[0] == pytest.approx([left, top, left + 64, top + 64], abs=6)
        assert len(each.tracks) == 1
    assert len({track.key for each in observations for track in each.tracks}) == 1
    assert sum(each.searched for each in observations[50:200]) < 75
    assert {len(each.filled) for each in observations if len(each.detections) and not each.searched} == {1}


def test_the_same_frames_give_the_same_observations(detector: Detector) -> None:
    def moves(frame: int) -> tuple[int, int] | None:
        return (40 + 3 * frame, 100) if frame % 60 < 40 else None

    def digest(observations: list[Observation]) -> list[tuple[object, ...]]:
        return [
            (
                each.media_time,
                each.searched,
                each.detections.boxes.tolist(),
                [track.box.tolist() for track in each.tracks],
            )
            for each in observations
        ]

    first, second = (digest(walk(recorded(detector, 2), 120, moves)) for _ in range(2))
    assert first == second


def test_effort_5_searches_every_frame(detector: Detector) -> None:
    observations = walk(recorded(detector, 5), 30, lambda frame: (100, 60))
    assert all(each.searched for each in observations)


def test_frames_that_cannot_be_converted_are_passed_over(detector: Detector) -> None:
    observer = recorded(detector, 3)
    broken = replace(preview(0.0, (100, 60)), convert=lambda: None)
    given = observer.observe([broken]) + observer.observe([preview(0.04, (100, 60))])
    given += observer.observe([SourceEnd("cam", 1, EndReason.END_OF_FILE)])
    assert [each.searched for each in given] == [False, True, True]
    assert len(given[1].detections) == 1


def test_live_frames_are_counted_by_what_became_of_them(detector: Detector) -> None:
    observer = Observer(config(), detector, live_keys(), live=True)
    know_stream("count")
    for frame in range(50):
        observer.observe([preview(frame / FPS, camera="count")])
    searched, skipped = counter("frames_analysed", "count"), counter("frames_unsearched", "count", reason="quiet")
    assert searched + skipped == 50
    assert searched >= 1
    assert counter("searches", "count", reason="new_camera") == 1
    forget_stream("count")


def test_a_calm_camera_is_reported_and_one_with_a_face_is_not(detector: Detector) -> None:
    reports: list[frozenset[str]] = []
    observer = Observer(config(), detector, live_keys(), live=True, relax=reports.append)
    frames = int((CALM_S + 1) * FPS)
    for frame in range(frames):
        time = frame / FPS
        observer.observe([preview(time, camera="empty"), preview(time, (100, 60), camera="busy")])
    assert reports == [frozenset({"empty"})]
    observer.observe([preview(frames / FPS, (100, 60), camera="empty")])
    assert reports[-1] == frozenset()
    observer.observe([SourceEnd("empty", 1, EndReason.SOURCE_REMOVED)])


def test_a_new_epoch_is_searched_at_once_and_its_tracks_are_new(detector: Detector) -> None:
    observer = Observer(config(), detector, live_keys(), live=True)
    for frame in range(5):
        observer.observe([preview(frame / FPS, (100, 60))])
    given = observer.observe([SourceEnd("cam", 1, EndReason.SOURCE_LOST), preview(0.0, (100, 60), epoch=2)])
    assert [end.reason for end in given[0].ended] == [EndReason.SOURCE_LOST]
    assert given[1].searched
    assert [(track.state, track.first_seen) for track in given[1].tracks] == [(TrackState.TENTATIVE, 0.0)]


def test_a_removed_camera_that_comes_back_is_searched_at_once(detector: Detector) -> None:
    observer = Observer(config(), detector, live_keys(), live=True)
    for frame in range(5):
        observer.observe([preview(frame / FPS, camera="gone")])
    observer.observe([SourceEnd("gone", 1, EndReason.SOURCE_REMOVED)])
    assert observer.observe([preview(0.0, camera="gone", epoch=2)])[0].searched


def test_a_crop_that_has_waited_is_sent_with_a_quiet_frame_of_another_camera(detector: Detector) -> None:
    observer = Observer(config(), detector, live_keys(), live=True)
    crops = list[FaceCrop]()
    for frame in range(4):
        for each in observer.observe([preview(frame / FPS, (100, 60), camera="busy"), preview(frame / FPS)]):
            crops += each.crops
    assert crops == []  # without a worker
    observer.set_workers({Model("a", True, True, (), True): 1})
    (given,) = observer.observe([preview(4 / FPS)])
    assert (given.searched, [crop.key.camera for crop in given.crops]) == (False, ["busy"])


def test_frames_that_were_replaced_count_as_overload_only_if_they_had_been_wanted(detector: Detector) -> None:
    know_stream("late")
    observer = Observer(config(), detector, live_keys(), live=True)
    for frame in range(10):
        observer.observe([preview(frame / FPS, camera="late")])
    quiet = counter("frames_unsearched", "late", reason="quiet")
    for _ in range(3):
        observer.note_replaced("late")
    observer.observe([preview(10 / FPS, camera="late")])
    assert counter("frames_unsearched", "late", reason="quiet") == quiet + 4
    assert counter("frames_dropped", "late", reason="overload") == 0
    observer.note_replaced("late")
    time.sleep(0.5)  # what has moved for a moment only may wait
    observer.observe([preview(11 / FPS, (100, 60), camera="late")])
    assert counter("frames_dropped", "late", reason="overload") == 1
    forget_stream("late")
