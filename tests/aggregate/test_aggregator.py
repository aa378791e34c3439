import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from streamer.aggregate.aggregator import MODEL_SILENT_S, Aggregator
from streamer.config import Aggregate
from streamer.values import (
    ClockSource,
    Detections,
    EndReason,
    FaceAnalysis,
    FaceCrop,
    Observation,
    Quality,
    Reason,
    Track,
    TrackEnd,
    TrackKey,
    TrackState,
    TrackSummary,
    Undescribed,
)
from tests.support.builders import model, split_key

KEY = TrackKey("t1", "door", 1)
CONFIRMED, LOST, TENTATIVE = TrackState.CONFIRMED, TrackState.LOST, TrackState.TENTATIVE
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
PIXELS = np.zeros((112, 112, 3), np.uint8)


def track(time: float, state: TrackState = CONFIRMED, seen: bool = True, left: float = 10.0) -> Track:
    box = np.array([left, 20, left + 30, 60], np.float32)
    return Track(KEY, state, box, 0.9, 0 if seen else None, 1.0, time)


def observation(
    time: float,
    *tracks: Track,
    crops: tuple[FaceCrop, ...] = (),
    skipped: tuple[Reason, ...] = (),
    captured_at: datetime | None = None,
    clock: ClockSource = ClockSource.FILE_PTS,
) -> Observation:
    boxes = np.array([[10, 20, 40, 60]], np.float32)
    landmarks = np.full((1, 5, 2), time, np.float32)
    return Observation(
        camera="door",
        epoch=3,
        media_time=time,
        captured_at=captured_at,
        clock_source=clock,
        received=100.0 + time,
        frame_size=(640, 480),
        detections=Detections(boxes, np.array([0.9], np.float32), landmarks),
        tracks=tracks,
        crops=crops,
        skipped={KEY.id: skipped} if skipped else {},
    )


def crop(time: float, quality: float = 0.5, score: float = 0.9, key: TrackKey = KEY) -> FaceCrop:
    return FaceCrop(key, time, 100.0 + time, score, Quality(quality), PIXELS)


def analysis(age: float = 30.0, model_id: str = "a", direction: int = 0, norm: float = 20.0) -> FaceAnalysis:
    expression, embedding = np.zeros(7, np.float32), np.zeros(512, np.float32)
    expression[6], embedding[direction] = 1.0, 1.0
    return FaceAnalysis(model(model_id), age, expression, np.full(40, 0.25, np.float32), embedding, norm)


def look(place: int, age: float = 30.0, direction: int = 0) -> FaceAnalysis:
    """The analysis of one of several different looks of the person of this direction."""
    found = analysis(age, direction=direction)
    assert found.embedding is not None
    embedding = 0.9 * found.embedding
    embedding[100 + 10 * direction + place] = np.sqrt(1 - 0.9**2)
    return replace(found, embedding=embedding)


def opened(at: float = 1.0) -> Aggregator:
    aggregator = Aggregator(Aggregate(), split_key)
    aggregator.observe(observation(at, track(at)))
    return aggregator


def added(aggregator: Aggregator, crop: FaceCrop, analysis: FaceAnalysis) -> TrackSummary:
    (summary,) = aggregator.add_analysis(crop, analysis)
    return summary


def end(time: float = 9.0, reason: EndReason = EndReason.TIMEOUT) -> TrackEnd:
    return TrackEnd(KEY, reason, time, True)


def test_a_tentative_track_is_not_published() -> None:
    aggregator = Aggregator(Aggregate(), split_key)
    assert aggregator.observe(observation(1.0, track(1.0, TENTATIVE))) == []
    assert aggregator.add_analysis(crop(1.0), analysis()) == []
    assert aggregator.finish(end()) is None


def test_a_confirmed_track_is_published_with_what_the_frame_says_of_it() -> None:
    (summary,) = Aggregator(Aggregate(), split_key).observe(
        observation(1.2, track(1.2), skipped=(Reason.LOW_SHARPNESS,), crops=(crop(1.2, 0.7),))
    )
    assert (summary.key, summary.epoch, summary.state) == (KEY, 3, CONFIRMED)
    assert (summary.first_seen, summary.last.time, summary.received) == (1.0, 1.2, 101.2)
    assert summary.last.box.tolist() == [10, 20, 40, 60]
    assert summary.last.landmarks is not None
    assert summary.last.landmarks[0].tolist() == pytest.approx([1.2, 1.2])
    assert (summary.last.frame_size, summary.last.score, summary.quality) == ((640, 480), 0.9, 0.7)
    assert summary.reasons == (Reason.LOW_SHARPNESS,)
    assert (summary.estimates.samples, summary.estimates.model_id, summary.revision, summary.final) == (0, "", 1, False)
    assert [
        summary.estimates.age,
        summary.estimates.expression,
        summary.estimates.attributes,
        summary.estimates.identity,
    ] == [None] * 4


def test_a_predicted_box_does_not_replace_that_of_the_last_detection() -> None:
    aggregator = opened()
    (summary,) = aggregator.observe(observation(2.0, track(1.0, LOST, seen=False, left=300.0)))
    assert (summary.state, summary.last.time, summary.received) == (LOST, 1.0, 102.0)
    assert summary.last.box.tolist() == [10, 20, 40, 60]
    assert summary.last.landmarks is not None
    assert summary.last.landmarks[0].tolist() == [1.0, 1.0]


def test_the_revision_grows_with_states_and_analyses_but_not_with_positions() -> None:
    aggregator = opened()
    revisions = [aggregator.observe(observation(1.1, track(1.1, left=12.0)))[0].revision]
    revisions.append(aggregator.observe(observation(1.2, track(1.1, LOST, seen=False)))[0].revision)
    revisions.append(aggregator.observe(observation(1.3, track(1.3)))[0].revision)
    revisions.append(added(aggregator, crop(1.0), analysis()).revision)
    final = aggregator.finish(end())
    assert final is not None
    assert [*revisions, final.revision] == [1, 2, 3, 4, 5]


def test_the_final_summary_keeps_the_estimates_and_closes_the_track() -> None:
    aggregator = opened()
    added(aggregator, crop(1.0), analysis(age=44.0))
    final = aggregator.finish(end(9.0, EndReason.LEFT_FRAME))
    assert final is not None
    assert final.estimates.age is not None
    assert (final.state, final.final, final.end_reason) == (TrackState.ENDED, True, EndReason.LEFT_FRAME)
    assert (final.estimates.age.years, final.estimates.samples, final.last.time) == (44.0, 1, 1.0)
    assert aggregator.finish(end()) is None
    assert aggregator.add_analysis(crop(1.0), analysis()) == []


def test_the_reasons_last_until_a_crop_is_sent_or_analysed() -> None:
    aggregator = opened()
    skipped = (Reason.EXTREME_POSE,)
    assert aggregator.observe(observation(1.1, track(1.1), skipped=skipped))[0].reasons == skipped
    unseen = aggregator.observe(observation(1.2, track(1.1, LOST, seen=False)))
    assert unseen[0].reasons == skipped
    assert aggregator.observe(observation(1.3, track(1.3)))[0].reasons == ()
    aggregator.observe(observation(1.4, track(1.4), skipped=skipped))
    assert added(aggregator, crop(1.3), analysis()).reasons == ()
    assert aggregator.observe(observation(1.5, track(1.5), skipped=skipped))[0].reasons == ()


def test_an_analysis_is_as_old_as_the_frame_of_its_crop() -> None:
    aggregator = opened()
    aggregator.observe(observation(2.0, track(2.0)))
    assert added(aggregator, crop(1.0), analysis()).received == 101.0


def test_the_first_capture_is_reckoned_back_from_the_confirmation() -> None:
    aggregator = Aggregator(Aggregate(), split_key)
    (summary,) = aggregator.observe(observation(1.2, track(1.2), captured_at=NOON, clock=ClockSource.ARRIVAL))
    assert summary.first_captured_at == NOON - timedelta(seconds=0.2)
    assert summary.last.captured_at == NOON


def test_both_captures_are_of_the_same_clock_when_the_camera_begins_to_tell_its_own() -> None:
    aggregator = Aggregator(Aggregate(), split_key)
    aggregator.observe(observation(1.2, track(1.2), captured_at=NOON, clock=ClockSource.ARRIVAL))
    hour = timedelta(hours=1)
    later = observation(2.0, track(1.2, LOST, seen=False), captured_at=NOON + hour, clock=ClockSource.RTCP_NTP)
    (summary,) = aggregator.observe(later)
    assert summary.clock_source is ClockSource.RTCP_NTP
    assert summary.first_captured_at == NOON + hour - timedelta(seconds=1.0)
    assert summary.last.captured_at == NOON + hour - timedelta(seconds=0.8)


def test_a_file_has_no_wall_clock() -> None:
    (summary,) = Aggregator(Aggregate(), split_key).observe(observation(1.0, track(1.0)))
    assert summary.first_captured_at is summary.last.captured_at is None


def test_another_model_restarts_the_estimates(caplog: pytest.LogCaptureFixture) -> None:
    aggregator = opened()
    added(aggregator, crop(1.0, quality=0.9), analysis(20.0, "a", direction=0))
    with caplog.at_level(logging.WARNING):
        summary = added(aggregator, crop(2.0), analysis(60.0, "b", direction=1))
    assert summary.estimates.age is not None
    assert summary.estimates.identity is not None
    assert (summary.estimates.model_id, summary.estimates.samples, summary.estimates.age.years) == ("b", 1, 60.0)
    assert summary.estimates.identity.template[:2].tolist() == [0.0, 1.0]
    assert (summary.quality, summary.estimates.age.evidence.best_quality) == (0.9, 0.5)
    assert summary.revision == 3
    assert "model changed from a to b" in caplog.text


def test_two_models_do_not_take_turns() -> None:
    aggregator = opened()
    added(aggregator, crop(1.0), analysis(20.0, "a"))
    added(aggregator, crop(2.0), analysis(60.0, "b"))
    assert aggregator.add_analysis(crop(3.0), analysis(20.0, "a")) == []
    summary = added(aggregator, crop(4.0), analysis(62.0, "b"))
    assert (summary.estimates.samples, summary.estimates.model_id) == (2, "b")


def test_a_track_returns_to_its_old_model_when_the_new_one_is_silent() -> None:
    aggregator = opened()
    added(aggregator, crop(1.0), analysis(20.0, "a"))
    added(aggregator, crop(2.0), analysis(60.0, "b"))
    summary = added(aggregator, crop(2.1 + MODEL_SILENT_S), analysis(22.0, "a"))
    assert summary.estimates.age is not None
    assert (summary.estimates.samples, summary.estimates.model_id, summary.estimates.age.years) == (1, "a", 22.0)


def test_tracks_do_not_mix() -> None:
    aggregator = opened()
    other = TrackKey("t2", "door", 2)
    second = Track(other, CONFIRMED, np.zeros(4, np.float32), 0.8, None, 1.0, 1.0)
    assert [one.key for one in aggregator.observe(observation(1.5, track(1.5), second))] == [KEY, other]
    added(aggregator, crop(1.5), analysis(20.0))
    summary = added(aggregator, crop(1.5, key=other), analysis(50.0))
    assert summary.estimates.age is not None
    assert (summary.key, summary.estimates.age.years, summary.estimates.samples) == (other, 50.0, 1)


def swapped(seconds: int = 8, swap: int = 4) -> tuple[Aggregator, list[TrackSummary]]:
    """Add one analysis a second, of another person from `swap` on; return all changed summaries."""
    aggregator = Aggregator(Aggregate(identity_swap_crops=3), split_key)
    changed: list[TrackSummary] = []
    for second in range(1, seconds + 1):
        place = track(float(second), left=10.0 * second)._replace(key=changed[-1].key if changed else KEY)
        face, moment = crop(float(second), 0.8, key=place.key), NOON + timedelta(seconds=second)
        aggregator.observe(observation(float(second), place, crops=(face,), captured_at=moment))
        answer = analysis(30.0 if second < swap else 60.0, direction=int(second >= swap))
        changed += aggregator.add_analysis(face, answer)
    return aggregator, changed


def test_a_track_that_has_changed_persons_is_split_where_it_happened() -> None:
    _, changed = swapped()
    (old,) = [one for one in changed if one.final]
    after = changed[changed.index(old) + 1 :]
    assert (old.key, old.end_reason, old.state, old.last.time) == (KEY, EndReason.SPLIT, TrackState.ENDED, 3.0)
    assert old.estimates.age is not None
    assert (round(old.estimates.age.years), old.estimates.samples, old.last.box[0]) == (30, 3, 30.0)
    assert old.last.captured_at == NOON + timedelta(seconds=3)
    assert [one.key for one in after] == [split_key(KEY)] * 3
    assert [one.revision for one in after] == [1, 2, 3]
    new = after[-1]
    assert new.estimates.age is not None
    assert (new.split_from, new.first_seen, new.first_captured_at) == (KEY.id, 4.0, NOON + timedelta(seconds=4))
    assert (round(new.estimates.age.years), new.estimates.samples, new.last.time, new.final) == (60, 5, 8.0, False)


def test_a_split_track_goes_on_by_the_key_of_the_new_one_and_late_answers_of_the_old_one_are_not_used() -> None:
    aggregator, _ = swapped()
    new = split_key(KEY)
    assert aggregator.add_analysis(crop(2.5), analysis()) == []
    assert aggregator.add_analysis(crop(2.5, key=new), analysis()) == []
    (seen,) = aggregator.observe(observation(9.0, track(9.0)._replace(key=new)))
    assert (seen.key, seen.split_from, seen.first_seen) == (new, KEY.id, 4.0)
    assert [(one.key, one.reason) for one in aggregator.open_ends(EndReason.SHUTDOWN)] == [(new, EndReason.SHUTDOWN)]
    assert aggregator.finish(end()) is None


def test_an_expression_that_nobody_looked_at_for_long_is_not_the_current_one() -> None:
    aggregator = opened()
    added(aggregator, crop(1.0), analysis())
    for time, current in ((2.9, 6), (3.1, None)):
        (summary,) = aggregator.observe(observation(time, track(time)))
        assert summary.estimates.expression is not None
        assert summary.estimates.expression.current == current


def test_a_suspect_changes_neither_answer_nor_revision_and_the_next_crop_splits_at_the_jump_of_the_box() -> None:
    aggregator = opened()
    for time in (1.0, 2.0):
        aggregator.observe(observation(time, track(time)))
        before = added(aggregator, crop(time, 0.7), look(int(time)))
    for time in (2.5, 2.75, 3.0, 3.5):  # somebody else, at another place from 2.75 s on
        at = 300.0 if time >= 2.75 else 10.0
        found = Detections(
            np.array([[at, 20, at + 30, 60]], np.float32), np.array([0.9], np.float32), np.zeros((1, 5, 2), np.float32)
        )
        aggregator.observe(replace(observation(time, track(time, left=at)), detections=found))
    waiting = added(aggregator, crop(3.0, 0.7), look(3, 60.0, direction=1))
    assert aggregator.waits(KEY.id)
    assert (waiting.revision, waiting.estimates) == (before.revision, before.estimates)
    old, new = aggregator.add_analysis(crop(3.5, 0.7), look(4, 60.0, direction=1))
    assert (old.end_reason, old.last.time, new.first_seen, new.split_from) == (EndReason.SPLIT, 2.5, 2.75, KEY.id)
    assert old.estimates.age is not None
    assert new.estimates.age is not None
    assert (round(old.estimates.age.years), round(new.estimates.age.years)) == (30, 60)
    assert not aggregator.waits(new.key.id)


def test_a_crop_that_nothing_decides_any_more_is_an_outlier_of_the_final_summary() -> None:
    aggregator = opened()
    for time in (1.0, 2.0):
        added(aggregator, crop(time, 0.7), look(int(time)))
    added(aggregator, crop(3.0, 0.7), look(3, 60.0, direction=1))
    final = aggregator.finish(end())
    assert final is not None
    assert final.estimates.identity is not None
    assert final.estimates.age is not None
    assert (final.estimates.samples, final.estimates.identity.outliers) == (2, 1)
    assert round(final.estimates.age.years) == 30


def test_a_track_that_is_not_described_has_reasons_and_no_age_expression_and_attributes() -> None:
    aggregator = Aggregator(Aggregate(), split_key)
    (first,) = aggregator.observe(observation(1.0, track(1.0)))
    assert (first.described, first.undescribed) == (False, (Undescribed.NOT_ANALYSED,))
    poor = added(aggregator, crop(1.0, quality=0.1), analysis())
    assert poor.undescribed == (Undescribed.LOW_QUALITY, Undescribed.TOO_FEW_SAMPLES)
    estimates = poor.estimates
    assert (estimates.age, estimates.expression, estimates.attributes, estimates.samples) == (None, None, None, 1)
    assert estimates.identity is not None
    good = added(aggregator, crop(2.0, quality=0.6), analysis())
    assert (good.described, good.undescribed) == (True, ())
    assert good.estimates.age is not None


def test_what_looks_like_nothing_to_the_network_is_no_face_if_the_detector_doubts_it_too() -> None:
    aggregator = Aggregator(Aggregate(), split_key)
    nothing = analysis().embedding
    assert nothing is not None
    aggregator.use_blank("a", nothing)
    weak = observation(1.0, track(1.0)._replace(score=0.5))
    landmarks = np.array([[[17, 32], [33, 32], [25, 42], [19, 50], [31, 50]]], np.float32)
    weak = replace(weak, detections=Detections(weak.detections.boxes, np.array([0.6], np.float32), landmarks))
    aggregator.observe(weak)
    assert Undescribed.FALSE_FACE in added(aggregator, crop(1.0, 0.7), analysis()).undescribed
    assert Undescribed.FALSE_FACE not in added(aggregator, crop(2.0, 0.7), analysis(model_id="b")).undescribed
