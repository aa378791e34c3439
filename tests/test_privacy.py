"""The privacy modes as values: which one holds, what they let through, what is counted, and pseudonyms."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from faceanalytics.errors import ConfigError
from streamer.camera_aggregates import Intervals
from streamer.config import StreamerConfig
from streamer.configfile import parse_config
from streamer.jobs.frozen import frozen, thawed
from streamer.privacy import Mode, Modes, Privacy, strictest
from streamer.privacy_filter import PrivacyFilter
from streamer.pseudonyms import Pseudonyms
from streamer.values import (
    AgeEstimate,
    Candidate,
    EndReason,
    ExpressionEstimate,
    IdentityDecision,
    IdentityEstimate,
    IdentityStatus,
    TrackSummary,
)
from tests.support.builders import evidence, model, summary

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
ADA = IdentityDecision(
    IdentityStatus.IDENTIFIED, "Ada", None, (Candidate("Ada", 0.8, "p1"),), None, 0.6, 4, 0.7, 1, "p1", confirmed=True
)


def track(name: str = "t1", camera: str = "door", dwell_s: float = 3.0, age: float = 30.0) -> TrackSummary:
    template = np.zeros(512, np.float32)
    template[0] = 1
    shares = np.eye(7, dtype=np.float32)[6]
    return summary(
        name,
        camera=camera,
        time=dwell_s,
        age=AgeEstimate(age, age - 5, age + 5, evidence()),
        expression=ExpressionEstimate(6, 0.0, shares, (), evidence()),
        identity=IdentityEstimate(template, 0.9, 0, evidence()),
        decision=ADA,
    )


def ended(one: TrackSummary, merged_into: str = "") -> TrackSummary:
    return replace(one, final=True, end_reason=EndReason.TIMEOUT, revision=9, merged_into=merged_into)


def filtering(mode: Mode, own: Mode | None = None, **settings: object) -> PrivacyFilter:
    privacy = Privacy.model_validate({"mode": mode, **settings})
    modes = Modes(privacy)
    modes.learn("door", own)
    return PrivacyFilter(privacy, modes, lambda: NOON)


def test_the_strictest_mode_holds() -> None:
    assert strictest(*Mode) is Mode.AGGREGATE_ONLY
    modes = Modes(Privacy(mode=Mode.PSEUDONYMOUS))
    modes.learn("door", Mode.AGGREGATE_ONLY)
    modes.learn("yard", Mode.IDENTITY)
    assert [modes.of(one) for one in ("door", "yard", "new")] == [Mode.AGGREGATE_ONLY, *[Mode.PSEUDONYMOUS] * 2]
    assert (modes.counted, modes.withheld) == (["door"], {"door", "yard"})
    modes.leave("door")
    assert (modes.counted, modes.of("door")) == ([], Mode.AGGREGATE_ONLY)


def test_a_camera_that_is_less_strict_and_a_gallery_that_is_not_used_are_errors() -> None:
    stream = {"id": "a", "uri": "rtsp://camera", "privacy": "identity"}
    with pytest.raises(ConfigError, match=r"streams\.0\.privacy: identity is less strict than privacy\.mode"):
        parse_config({"privacy": {"mode": "pseudonymous"}, "streams": [stream]}, "test")
    with pytest.raises(ConfigError, match=r"gallery\.folder: nobody is recognised"):
        parse_config({"privacy": {"mode": "aggregate_only"}, "gallery": {"folder": "people"}}, "test")


def test_pseudonyms_hold_for_a_period_and_are_of_another_key_afterwards() -> None:
    names = Pseudonyms(24)
    midnight = names.start(NOON).astimezone()
    first = names.of("p1", midnight)
    assert names.of("p1", midnight + timedelta(hours=23, minutes=59)) == first
    assert names.of("p2", midnight) != first
    assert names.of("p1", midnight + timedelta(hours=24, seconds=1)) != first
    assert names.of("p1", midnight) != first, "a clock that is set back does not bring back the key"
    assert Pseudonyms(24).of("p1", midnight) != first


def test_the_key_of_pseudonyms_is_overwritten_when_its_period_ends() -> None:
    names = Pseudonyms(1)
    names.of("p1", NOON)
    key = names._key
    assert any(key)
    names.destroy_old(NOON + timedelta(hours=2))
    assert not any(key)


def test_pseudonymous_tracks_have_no_name_no_candidates_and_no_template() -> None:
    shown = [*filtering(Mode.PSEUDONYMOUS).shown([track("t1"), track("t2")])]
    for one in shown:
        assert one.decision is not None
        decision = one.decision
        assert (decision.person, decision.person_id, decision.candidates, decision.threshold) == ("", "", (), None)
        assert (decision.status, decision.confirmed) == (IdentityStatus.IDENTIFIED, False)
        assert one.estimates.identity is None
        assert one.estimates.age is not None
        assert "Ada" not in repr(one)
    assert len({one.decision.pseudonym for one in shown if one.decision}) == 1


def test_a_track_keeps_its_pseudonym_over_midnight_so_that_it_does_not_join_two_of_them() -> None:
    now = [NOON]
    privacy = Privacy(mode=Mode.PSEUDONYMOUS)
    some = PrivacyFilter(privacy, Modes(privacy), lambda: now[0])
    (before,) = some.shown([track("t1")])
    now[0] += timedelta(days=1)
    (after,), (new,) = some.shown([track("t1")]), some.shown([track("t2")])
    assert before.decision is not None
    assert after.decision is not None
    assert new.decision is not None
    assert before.decision.pseudonym == after.decision.pseudonym != new.decision.pseudonym


def test_of_a_camera_that_only_counts_nothing_is_published() -> None:
    some = filtering(Mode.IDENTITY, Mode.AGGREGATE_ONLY)
    assert [*some.shown([track(), ended(track())])] == []
    assert len([*some.shown([track(camera="yard")])]) == 1


def test_a_track_that_was_published_ends_bare_when_its_camera_becomes_stricter() -> None:
    some = filtering(Mode.IDENTITY)
    assert len([*some.shown([track()])]) == 1
    some.modes.learn("door", Mode.AGGREGATE_ONLY)
    assert [*some.shown([track()])] == []
    some.modes.learn("door", None)  # and a later, less strict mode does not bring it back
    (end,) = some.shown([ended(track())])
    assert (end.decision, end.estimates.identity, end.estimates.age) == (None, None, None)
    assert not some.keeps_face(track(camera="door").key) or some.modes.of("door") is Mode.IDENTITY


def test_models_are_used_without_embeddings_only_if_no_camera_wants_them() -> None:
    models = {model(): 2}
    assert filtering(Mode.IDENTITY, Mode.AGGREGATE_ONLY).models(models) == models
    assert filtering(Mode.AGGREGATE_ONLY).models(models) == {model(identity=False): 2}


def test_an_interval_counts_the_tracks_that_end_in_it_and_says_little_of_few() -> None:
    intervals = Intervals(Privacy(aggregate_s=60, min_tracks=3), now=1000.0)
    for name, dwell_s, age in (("a", 1.0, 20.0), ("b", 4.0, 34.0)):
        intervals.add(ended(track(name, dwell_s=dwell_s, age=age)))
    assert intervals.ended(1019.0, ["door", "yard"]) == []
    (door, few), (yard, nobody) = intervals.ended(1020.0, ["door", "yard"])
    assert (door, yard) == ("door", "yard")
    assert few == {"start_s": 1000.0, "end_s": 1020.0, "tracks": 2, "described": 2}
    assert nobody["tracks"] == 0
    for name, dwell_s, age in (("c", 1.0, 20.0), ("d", 4.0, 34.0), ("e", 400.0, 70.0)):
        intervals.add(ended(track(name, dwell_s=dwell_s, age=age)))
    ((_, some),) = intervals.ended(1085.0, ["door"])
    assert (some["start_s"], some["end_s"], some["mean_dwell_s"]) == (1020.0, 1080.0, 135.0)
    assert {one["min_years"]: one["tracks"] for one in some["ages"] if one["tracks"]} == {18: 1, 25: 1, 65: 1}
    assert {one["min_s"]: one["tracks"] for one in some["dwell"] if one["tracks"]} == {0: 1, 2: 1, 300: 1}
    assert [one["expression"] for one in some["expressions"] if one["share"]] == ["neutral"]
    assert some["ages"][-1]["max_years"] is None


def test_a_merged_track_counts_once_and_the_last_interval_is_cut_when_the_streamer_stops() -> None:
    some = filtering(Mode.AGGREGATE_ONLY, aggregate_s=3600)
    assert [*some.shown([ended(track("a"), merged_into="b"), ended(track("b"))])] == []
    assert some.counts() == []
    ((_, record),) = some.counts(stopping=True)
    assert record["tracks"] == 1


def test_a_job_has_the_stricter_mode_of_when_it_was_added_and_now(tmp_path: Path) -> None:
    added = frozen(StreamerConfig.model_validate({"gallery": {"folder": "people"}}))
    now, _ = thawed(added, tmp_path / "s", 16, Mode.AGGREGATE_ONLY)
    assert (now["privacy"]["mode"], now["gallery"]["folder"]) == ("aggregate_only", None)
    strict = frozen(StreamerConfig(privacy=Privacy(mode=Mode.PSEUDONYMOUS)))
    assert thawed(strict, tmp_path / "s", 16)[0]["privacy"]["mode"] == "pseudonymous"
