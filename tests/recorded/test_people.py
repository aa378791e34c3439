"""The people of one recording and across several: their records, their estimates, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceanalytics.errors import ConfigError, InputError
from streamer.config import People, StreamerConfig
from streamer.identity.combined import combined_age, combined_attributes, combined_expression
from streamer.recorded.across import find_across, read_recording, table, write_across
from streamer.recorded.export import result_folders
from streamer.recorded.outputs import run_files
from streamer.recorded.people import FoundPeople, Recording, at_least, find_people, recording
from streamer.recorded.presence import Presence
from streamer.recorded.records import person_record, track_record
from streamer.values import (
    AgeEstimate,
    AttributeEstimate,
    ExpressionEstimate,
    Floats,
    IdentityDecision,
    IdentityEstimate,
    IdentityStatus,
    ImpostorScores,
    Interval,
    TrackSummary,
    Undescribed,
)
from streamer.values import Presence as Has
from tests.support.builders import evidence, summary

STRANGERS = ImpostorScores(200_000, 600, np.array([1e-4, 1e-2, 1.0]), np.array([0.6, 0.4, -1.0]), "a made-up cohort")
CONFIG = StreamerConfig()


def look(who: int, number: int) -> Floats:
    """A look of a person: two of one have the cosine 0.85, two people 0."""
    vector = np.zeros(512, np.float32)
    vector[who], vector[100 + number] = np.sqrt(0.85), np.sqrt(0.15)
    return vector


def track(name: str, start: float, end: float, who: int = 0, **changes: Any) -> TrackSummary:
    """A final summary; `who` from 1: with an identity."""
    number = int(name.strip("t"))
    if who and "identity" not in changes:
        changes["identity"] = IdentityEstimate(look(who, number), 0.9, 0, evidence(samples=4, best_quality=0.7))
    intervals = (Interval(name, start, end),)
    values = {"samples": 4, "first_seen": start, "time": end, "intervals": intervals, "final": True}
    return summary(name, **{**values, **changes})


def named(person: str) -> IdentityDecision:
    return IdentityDecision(IdentityStatus.IDENTIFIED, person, None, (), None, 0.5, 4, 0.7, 1)


def found(*tracks: TrackSummary, impostors: ImpostorScores | None = STRANGERS) -> FoundPeople:
    return find_people(tracks, Presence(), CONFIG, impostors)


def test_the_people_are_in_the_order_of_appearance_with_their_tracks_and_times() -> None:
    tracks = [track("t3", 20, 24, 1), track("t1", 1, 5, 2), track("t2", 2, 3, 1), track("t4", 30, 31.5, 2)]
    first, second = map(person_record, found(*tracks).people)
    assert (first["number"], first["track_ids"]) == (1, ["t1", "t4"])
    assert (second["number"], second["track_ids"]) == (2, ["t2", "t3"])
    assert first["intervals"] == [
        {"track_id": "t1", "start_s": 1, "end_s": 5},
        {"track_id": "t4", "start_s": 30, "end_s": 31.5},
    ]
    assert (first["first_seen_s"], first["last_seen_s"], first["seen_s"]) == (1, 31.5, 5.5)
    assert first["samples"] == 8
    assert first["described"]
    assert "uncertain" not in first
    assert first["person_id"] != second["person_id"]
    again = map(person_record, found(*reversed(tracks)).people)
    assert [one["person_id"] for one in again] == [first["person_id"], second["person_id"]]


def test_a_track_that_is_too_poor_to_compare_is_a_person_and_says_so() -> None:
    few = IdentityEstimate(look(1, 2), None, 0, evidence(samples=1, best_quality=0.7))
    poor = IdentityEstimate(look(1, 3), 0.9, 0, evidence(samples=4, best_quality=0.3))
    tracks = (track("t1", 0, 1, 1), track("t2", 2, 3, identity=few), track("t3", 4, 5, identity=poor))
    nothing = replace(track("t4", 6, 7, samples=0), undescribed=(Undescribed.NOT_ANALYSED,))
    records = [person_record(one) for one in found(*tracks, nothing).people]
    assert [one.get("uncertain", False) for one in records] == [False, True, True, True]
    assert [one["undescribed_reasons"] for one in records] == [[], [], [], ["NOT_ANALYSED"]]
    assert records[3]["age"] is records[3]["expression"] is records[3]["best"] is None


def test_a_name_of_the_gallery_is_that_of_the_person(caplog: pytest.LogCaptureFixture) -> None:
    tracks = track("t1", 0, 1, 1), track("t2", 5, 6, 1, decision=named("Ann")), track("t3", 7, 8, 2)
    assert [(one.name, len(one.tracks)) for one in found(*tracks).people] == [("Ann", 2), ("", 1)]
    assert not caplog.records


def test_without_an_identity_or_scores_of_strangers_every_track_is_a_person_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert all(one.uncertain for one in found(track("t1", 0, 1), track("t2", 2, 3)).people)
    assert "not trained for identity" in caplog.text
    assert len(found(track("t1", 0, 1, 1), track("t2", 2, 3, 1), impostors=None).people) == 2
    assert "impostor_scores" in caplog.text


def test_the_age_of_a_person_is_surer_than_those_of_the_tracks_but_not_than_the_network() -> None:
    ages = [AgeEstimate(30, 20, 40, evidence(samples=4)), AgeEstimate(36, 16, 56, evidence(samples=2))]
    both = combined_age(ages, bias_years=5)
    assert both is not None
    assert 30 < both.years < 32
    assert 2 * 1.28 * 5 < both.high - both.low < 20
    assert both.evidence.samples == 6
    one = combined_age(ages[:1], bias_years=5)
    assert one is not None
    assert (one.years, one.low, one.high) == pytest.approx((30, 20, 40))
    assert combined_age([], 5) is None


def test_expressions_and_attributes_of_a_person_count_by_their_analyses() -> None:
    def shown(happy: float, samples: int) -> ExpressionEstimate:
        shares = np.array([0, 0, 0, happy, 0, 0, 1 - happy], np.float32)
        return ExpressionEstimate(None, 0.0, shares, (), evidence(samples=samples))

    shares = combined_expression([shown(1.0, 3), shown(0.0, 1)])
    assert shares is not None
    assert shares.mostly == 3
    assert shares.shares[3] == pytest.approx(0.75)

    def has(score: float, presence: Has, samples: int) -> AttributeEstimate:
        return AttributeEstimate((4,), np.array([score], np.float32), (presence,), evidence(samples=samples))

    agreed = combined_attributes([has(0.9, Has.PRESENT, 3), has(0.6, Has.UNDECIDED, 1)])
    assert agreed is not None
    assert agreed.presence == (Has.PRESENT,)
    assert 0.8 < agreed.scores[0] < 0.9
    disputed = combined_attributes([has(0.9, Has.PRESENT, 3), has(0.1, Has.ABSENT, 1)])
    assert disputed is not None
    assert disputed.presence == (Has.UNDECIDED,)


def header(name: str, **changes: Any) -> dict[str, Any]:
    source = {"name": f"{name}.mp4", "sha256": name * 8, "video_stream": 0}
    outputs = {"identity": True}
    base = {"type": "header", "schema_version": 5, "run_id": f"run {name}", "source": source, "model_id": "small"}
    return {**base, "outputs": outputs, **changes}


def made(name: str, *tracks: TrackSummary, **changes: Any) -> Recording:
    return recording(Path("out") / name, header(name, **changes), found(*tracks), STRANGERS)


MONDAY = made("m", track("t1", 0, 4, 1), track("t2", 5, 6, 2), track("t3", 50, 60, 1))
TUESDAY = made("t", track("t4", 2, 3, 2), track("t5", 7, 8, 3), track("t6", 9, 9.5))


def test_people_of_several_recordings_are_one_list_with_their_appearances() -> None:
    across = find_across([MONDAY, TUESDAY], 0.001, Path("out"))
    assert [(one["number"], one["files"], one["seen_s"]) for one in across.people] == [
        (1, 1, 14),
        (2, 2, 2),
        (3, 1, 1),
        (4, 1, 0.5),
    ]
    assert [one.get("uncertain", False) for one in across.people] == [False, False, False, True]
    one, other = across.people[1]["appearances"]
    assert (one["source"], one["sha256"], one["folder"], one["person_number"]) == ("m.mp4", "m" * 8, "m", 2)
    assert (other["source"], other["track_ids"], other["first_seen_s"]) == ("t.mp4", ["t4"], 2)
    assert [one["people"] for one in across.header["recordings"]] == [2, 3]
    assert "4 people in 2 recordings" in "\n".join(table(across))


def test_two_people_of_one_recording_stay_two_and_names_join() -> None:
    beside = Presence()
    apart = find_people([track("t1", 0, 4, 1), track("t2", 0, 4, 1)], beside, CONFIG, None)  # not joined there
    other = made("t", track("t4", 2, 3, 1))
    across = find_across([recording(Path("m"), header("m"), apart, STRANGERS), other], 0.001, None)
    assert len(across.people) == 2
    ann = [made(name, track(f"t{place}", 0, 1, place, decision=named("Ann"))) for place, name in enumerate("xyz", 1)]
    (one,) = find_across(ann, 0.001, None).people
    assert (one["name"], one["files"]) == ("Ann", 3)


def test_the_same_content_counts_once_and_models_are_not_mixed() -> None:
    again = Recording(Path("copy"), MONDAY.header, MONDAY.people, MONDAY.tracklets, STRANGERS)
    across = find_across([MONDAY, TUESDAY, again], 0.001, None)
    assert len(across.header["recordings"]) == 2
    assert across.repeated == [(again, MONDAY)]
    with pytest.raises(ConfigError, match="large, small"):
        find_across([MONDAY, made("t", track("t4", 2, 3, 2), model_id="large")], 0.001, None)


def write(folder: Path, name: str, *tracks: TrackSummary, embeddings: bool = True, **changes: Any) -> Path:
    """Results as an analysis writes them."""
    folder.mkdir(parents=True)
    with run_files(folder, header(name, **changes), explain=False) as files:
        for one in tracks:
            files.tracks.write(track_record(one, (640, 480)))
        for person in found(*tracks).people:
            files.people.write(person_record(person))
        files.finish({}, tracks if embeddings else None, STRANGERS)
    return folder


def test_results_with_embeddings_are_compared_as_those_of_one_run(tmp_path: Path) -> None:
    write(tmp_path / "monday", "m", track("t1", 0, 4, 1), track("t2", 5, 6, 2), track("t3", 50, 60, 1))
    write(tmp_path / "more" / "tuesday", "t", track("t4", 2, 3, 2), track("t5", 7, 8, 3), track("t6", 9, 9.5))
    folders = result_folders([tmp_path, tmp_path / "monday"])
    assert folders == [tmp_path / "monday", tmp_path / "more" / "tuesday"]
    read = [read_recording(folder, People()) for folder in folders]
    across = find_across(read, 0.001, tmp_path)
    assert [one["person_id"] for one in across.people] == [
        one["person_id"] for one in find_across([MONDAY, TUESDAY], 0.001, None).people
    ]
    write_across(tmp_path / "people.jsonl", across)
    lines = [json.loads(line) for line in (tmp_path / "people.jsonl").read_text().splitlines()]
    assert lines == [across.header, *across.people]
    assert lines[0]["recordings"][1]["folder"] == "more/tuesday"


def test_results_that_cannot_be_compared_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="with --embeddings"):
        read_recording(write(tmp_path / "a", "a", track("t1", 0, 4, 1), embeddings=False), People())
    with pytest.raises(InputError, match="schema_version 4"):
        read_recording(write(tmp_path / "b", "b", track("t1", 0, 4, 1), schema_version=4), People())
    mixed = write(tmp_path / "c", "c", track("t1", 0, 4, 1))
    (mixed / "embeddings.npz").write_bytes((write(tmp_path / "d", "d") / "embeddings.npz").read_bytes())
    with pytest.raises(InputError, match="another run"):
        read_recording(mixed, People())
    (mixed / "people.jsonl").unlink()
    with pytest.raises(InputError, match="not complete"):
        read_recording(mixed, People())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no results"):
        result_folders([tmp_path / "empty"])


def test_who_cannot_be_compared_counts_only_where_others_of_the_kind_are_in_view() -> None:
    def one(*times: tuple[float, float], uncertain: bool = True) -> dict[str, Any]:
        spans = [{"track_id": "t", "start_s": start, "end_s": end} for start, end in times]
        return {"intervals": spans, **({"uncertain": True} if uncertain else {})}

    assert at_least([]) == 0
    assert at_least([one((0, 5), uncertain=False), one((0, 3), uncertain=False)]) == 2
    # half a face at the edge, again in each turn of a loop
    assert at_least([one((0, 5), uncertain=False), *(one((5 * turn, 5 * turn + 2)) for turn in range(300))]) == 2
    assert at_least([one((0, 4)), one((1, 3)), one((2, 6)), one((4, 9))]) == 3  # far away, beside each other
