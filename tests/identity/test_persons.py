"""Tracks of one face are joined after an absence: one id, one record, each end published exactly once."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceanalytics.files import JsonLines
from streamer.config import Aggregate, Relink, StreamerConfig
from streamer.config import Gallery as GallerySettings
from streamer.hub import Hub, Kind
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.identification import EnrolledGallery
from streamer.identity.persons import Persons
from streamer.recorded.batches import CropBatches
from streamer.recorded.writer import ResultWriter, VideoResult
from streamer.values import (
    Agreement,
    Bytes,
    ClockSource,
    Detections,
    EndReason,
    FaceAnalysis,
    Floats,
    ImpostorScores,
    Observation,
    Track,
    TrackEnd,
    TrackKey,
    TrackState,
    TrackSummary,
    Undescribed,
)
from tests.support.builders import analysis, crop, split_key

# one pair in a thousand reaches 0.5
STRANGERS = ImpostorScores(10_000, 142, np.array([0.001, 0.01, 1]), np.array([0.5, 0.4, -1]), "test")
CONFIG = StreamerConfig(relink=Relink(gap_s=5, false_link_rate=0.005))


def face(*parts: float) -> Floats:
    vector = np.zeros(512, np.float32)
    vector[: len(parts)] = parts
    return vector / np.float32(np.linalg.norm(vector))


ADA, BOB, BOTH = face(1), face(0, 1), face(1, 0.98)


class Stage:
    """What the observer and the workers would say, one observation per second."""

    def __init__(
        self, config: StreamerConfig = CONFIG, known: ImpostorScores | None = STRANGERS, quality: float = 0.8
    ) -> None:
        self.quality = quality  # of all crops
        self.persons = Persons(config, split_key)
        if known is not None:
            self.persons.use_impostors(known, "test")
        self.published: list[TrackSummary] = []

    def second(self, time: float, faces: dict[str, Floats], ended: Sequence[str] = (), epoch: int = 0) -> None:
        """These tracks are seen, analysed, and those have ended."""
        observed = observation(time, list(faces), ended, epoch)
        self.published += self.persons.observe(observed)[1]
        for name, template in faces.items():
            answer = replace(analysis(age=10 * time), embedding=template)
            self.published += self.persons.add_analysis(
                replace(crop(name, time, self.quality, received=time), key=key(name)), answer
            )
        for end in observed.ended:
            self.published += self.persons.finish(end)

    def events(self) -> list[str]:
        """What a subscriber hears, as `KIND track[>merged into]`, without updates."""
        hub = Hub(CONFIG.publish)
        subscriber = hub.subscribe()
        for summary in self.published:
            hub.offer(summary, 0.0)
        heard = []
        while (event := subscriber.take(0.0)) is not None:
            assert event.summary is not None
            merged = f">{event.summary.merged_into}" if event.summary.merged_into else ""
            heard.append(f"{event.kind.value} {event.summary.key.id}{merged}")
        return [line for line in heard if not line.startswith(Kind.UPDATE.value)]


def key(name: str) -> TrackKey:
    return TrackKey(name, "cam", ord(name))


def observation(time: float, names: Sequence[str], ended: Sequence[str] = (), epoch: int = 0) -> Observation:
    boxes = np.array([[10, 10, 50, 60 + time]] * len(names), np.float32).reshape(-1, 4)
    found = Detections(boxes, np.full(len(names), 0.9, np.float32), np.zeros((len(names), 5, 2), np.float32))
    tracks = [Track(key(n), TrackState.CONFIRMED, boxes[row], 0.9, row, FIRST[n], time) for row, n in enumerate(names)]
    ends = tuple(TrackEnd(key(name), EndReason.TIMEOUT, time, confirmed=True) for name in ended)
    return Observation(
        camera="cam", epoch=epoch, media_time=time, captured_at=None, clock_source=ClockSource.FILE_PTS,
        received=time, frame_size=(640, 480), detections=found, tracks=tuple(tracks), ended=ends,
    )  # fmt: skip


FIRST = {"a": 0.0, "b": 4.0, "c": 10.0, "x": 0.0}  # s, when each track begins


def ada_goes_and_returns(stage: Stage, returned: Floats = ADA) -> None:
    stage.second(0, {"a": ADA})
    stage.second(1, {"a": ADA})
    stage.second(3, {}, ended=["a"])
    stage.second(4, {"b": returned})
    stage.second(5, {"b": returned})
    stage.second(6, {"b": returned})


def test_a_face_that_returns_goes_on_under_its_id_with_all_that_was_known() -> None:
    stage = Stage()
    ada_goes_and_returns(stage)
    stage.second(8, {}, ended=["b"])
    stage.second(9, {})
    assert stage.events() == ["NEW a", "NEW b", "MERGE b>a"]  # the end of a waits again
    stage.second(12, {})
    assert stage.events() == ["NEW a", "NEW b", "MERGE b>a", "END a"]
    final = stage.published[-1]
    assert (final.estimates.samples, final.first_seen, final.last.time, final.end_reason) == (
        5,
        0,
        6,
        EndReason.TIMEOUT,
    )
    assert [(one.track_id, one.first_seen, one.last_seen) for one in final.intervals] == [("a", 0, 1), ("b", 4, 6)]
    assert final.last.box[3] == 66
    assert final.estimates.age is not None
    assert final.estimates.age.evidence.samples == 5
    (gone,) = [one for one in stage.published if one.merged_into]
    assert (gone.key.id, gone.end_reason, gone.final, gone.estimates.samples) == ("b", EndReason.MERGED, True, 2)


def test_it_may_go_and_return_again() -> None:
    stage = Stage()
    ada_goes_and_returns(stage)
    stage.second(8, {}, ended=["b"])
    stage.second(10, {"c": ADA})
    stage.second(11, {"c": ADA})
    stage.second(12, {"c": ADA})
    stage.published += stage.persons.release()
    assert stage.events() == ["NEW a", "NEW b", "MERGE b>a", "NEW c", "MERGE c>a"]
    assert [one.key.id for one in stage.persons.open_ends(EndReason.SHUTDOWN)] == ["a"]
    assert [one.track_id for one in stage.published[-1].intervals] == ["a", "b", "c"]


def test_a_track_that_changes_persons_goes_on_as_another_in_all_that_is_published(tmp_path: Path) -> None:
    stage = Stage(CONFIG.model_copy(update={"relink": Relink(enabled=False)}))
    for second in range(8):
        stage.second(second, {"a": ADA if second < 4 else BOB})
    published, _ = stage.persons.observe(observation(8, ["a"]))
    assert [track.key for track in published.tracks] == [split_key(key("a"))]
    stage.second(9, {}, ended=["a"])
    assert stage.events() == ["NEW a", "END a", "NEW a+", "END a+"]
    old, new = [one for one in stage.published if one.final]
    assert (old.end_reason, old.last.time, new.end_reason, new.split_from) == (
        EndReason.SPLIT,
        3,
        EndReason.TIMEOUT,
        "a",
    )
    assert [(one.track_id, one.first_seen, one.last_seen) for one in new.intervals] == [("a+", 4, 8)]
    assert (old.estimates.samples, new.estimates.samples) == (4, 4)


@pytest.mark.parametrize(
    ("quality", "returned", "joined"),
    [(0.8, face(0.7, 0.714), True), (0.6, face(0.7, 0.714), True), (0.3, face(0.7, 0.714), False), (0.3, ADA, True)],
)
def test_poor_crops_must_be_more_alike(quality: float, returned: Floats, joined: bool) -> None:
    stage = Stage(quality=quality)
    ada_goes_and_returns(stage, returned)
    assert ("MERGE b>a" in stage.events()) == joined


@pytest.mark.parametrize(
    ("returned", "config", "known"),
    [
        (BOB, CONFIG, STRANGERS),  # somebody else
        (face(0.6, 0.8), CONFIG, STRANGERS),  # strangers may resemble each other so much in one scene
        (ADA, CONFIG, None),  # nobody knows how similar strangers are
        (ADA, CONFIG.model_copy(update={"relink": Relink(enabled=False)}), STRANGERS),
        (ADA, CONFIG.model_copy(update={"relink": Relink(gap_s=2.5)}), STRANGERS),  # too late
        (ADA, CONFIG.model_copy(update={"relink": Relink(false_link_rate=0.0005)}), STRANGERS),  # too few pairs
    ],
    ids=["other", "unlike", "unknown", "off", "late", "rate"],
)
def test_what_is_not_surely_the_same_face_stays_apart(
    returned: Floats, config: StreamerConfig, known: ImpostorScores | None
) -> None:
    stage = Stage(config, known)
    ada_goes_and_returns(stage, returned)
    stage.published += stage.persons.release()
    assert sorted(stage.events()) == ["END a", "NEW a", "NEW b"]


def test_two_lost_faces_that_are_about_as_similar_are_not_chosen_between() -> None:
    stage = Stage()
    for time in (0, 1):
        stage.second(time, {"a": ADA, "x": BOB})
    stage.second(3, {}, ended=["a", "x"])
    for half in (8, 9):
        stage.second(half / 2, {"b": BOTH})
    assert not [one for one in stage.published if one.merged_into]
    stage.second(5, {"b": ADA})
    stage.second(5.5, {"b": ADA})  # with twice the analyses the lead is clear
    assert [one.merged_into for one in stage.published if one.merged_into] == ["a"]


def test_a_face_beside_a_lost_one_is_never_its_continuation_and_an_early_return_waits_for_the_end() -> None:
    stage = Stage()
    for time in (0, 1):
        stage.second(time, {"a": ADA, "x": ADA})
    stage.second(3, {"x": ADA}, ended=["a"])
    stage.second(4, {"x": ADA})
    assert not [one for one in stage.published if one.merged_into]
    early = Stage()
    for time in (0, 1):
        early.second(time, {"a": ADA})
    for time in (4, 5):
        early.second(time, {"b": ADA})  # the tracker still holds on to a
    assert not [one for one in early.published if one.merged_into]
    early.second(5.5, {}, ended=["a"])
    assert [one.merged_into for one in early.published if one.merged_into] == ["a"]


def test_held_ends_come_with_a_new_epoch_with_other_reasons_and_when_no_frame_comes() -> None:
    for finish in ("epoch", "source", "time"):
        stage = Stage()
        for time in (0, 1):
            stage.second(time, {"a": ADA, "x": BOB})
        stage.second(3, {"x": BOB}, ended=["a"])
        assert "END a" not in stage.events()
        if finish == "epoch":
            stage.second(0, {}, epoch=1)
        elif finish == "source":
            stage.published += stage.persons.finish(TrackEnd(key("x"), EndReason.SOURCE_LOST, 3, confirmed=True))
        else:
            assert stage.persons.release_overdue(5.9) == []
            stage.published += stage.persons.release_overdue(6.1)
        assert [one.end_reason for one in stage.published if one.final and one.key.id == "a"] == [EndReason.TIMEOUT]


def test_the_name_stays_with_the_person_and_is_counted_as_one_decision() -> None:
    stage = Stage(CONFIG.model_copy(update={"gallery": GallerySettings(folder="people")}))
    people = {"ada": [EmbeddedReference("ada", "1", ADA, 0.9)], "bob": [EmbeddedReference("bob", "1", BOB, 0.9)]}
    stage.persons.use_gallery(EnrolledGallery(Gallery(people, "test"), 0.5))
    ada_goes_and_returns(stage)
    decisions = [(one.key.id, one.decision.person, one.decision.revision) for one in stage.published if one.decision]
    assert decisions[-1] == ("a", "ada", 2)
    assert ("b", "ada", 2) in decisions


def test_a_track_that_conflicts_gets_no_name() -> None:
    aggregate = Aggregate(identity_suspect_cosine=-1, identity_min_cosine=-1)
    stage = Stage(CONFIG.model_copy(update={"gallery": GallerySettings(folder="people"), "aggregate": aggregate}))
    people = {"ada": [EmbeddedReference("ada", "1", ADA, 0.9)]}
    stage.persons.use_gallery(EnrolledGallery(Gallery(people, "test"), 0.3))
    stage.second(0, {"a": ADA})
    stage.second(1, {"a": ADA})
    assert stage.published[-1].decision is not None
    assert stage.published[-1].decision.person == "ada"
    for place in range(2, 8):
        stage.second(place, {"a": face(*[0] * place, 1)})  # somebody else every second
    newest = stage.published[-1]
    assert newest.undescribed == (Undescribed.CONFLICTING,)
    assert (newest.decision, newest.estimates.age, newest.estimates.expression) == (None, None, None)
    assert newest.estimates.identity is not None
    assert newest.estimates.identity.status is Agreement.CONFLICTING


def test_a_recording_has_one_record_with_both_intervals_and_says_so_each_time(tmp_path: Path) -> None:
    seen = [
        (0, {"a": ADA}, ""), (1, {"a": ADA}, ""), (3, {}, "a"), (4, {"b": ADA}, ""), (5, {"b": ADA}, ""),
        (6, {"b": ADA}, ""), (7, {}, "b"),
    ]  # fmt: skip

    async def record(folder: Path) -> Iterator[bytes]:
        folder.mkdir()
        result = VideoResult(folder / "video", folder)
        names = ("tracks.jsonl", "observations.jsonl")
        with JsonLines(folder / names[0]) as tracks, JsonLines(folder / names[1]) as observations:
            persons = Persons(CONFIG, split_key)
            persons.use_impostors(STRANGERS, "test")
            writer = ResultWriter(persons, tracks, observations, result, lambda: None, (640, 480))

            async def analyse(crops: Sequence[Bytes]) -> list[FaceAnalysis | None]:
                return [replace(analysis(), embedding=ADA) for _ in crops]

            async with asyncio.TaskGroup() as group:
                batches = CropBatches(group, analyse, writer.on_result, size=2, max_waiting=4)
                for time, faces, ended in seen:
                    crops = tuple(replace(crop(name, time), key=key(name)) for name in faces)
                    await writer.accept(batches, replace(observation(time, list(faces), ended), crops=crops))
                await batches.seal()
            writer.close()
        assert result.tracks == 1
        return ((folder / name).read_bytes() for name in names)

    first, second = (list(asyncio.run(record(tmp_path / name))) for name in ("one", "two"))
    assert first == second
    (track,) = [json.loads(line) for line in first[0].splitlines()]
    assert (track["track_id"], track["samples"]) == ("a", 5)
    assert [(one["track_id"], one["first_seen_s"], one["last_seen_s"]) for one in track["intervals"]] == [
        ("a", 0, 1),
        ("b", 4, 6),
    ]
    lines = [json.loads(line) for line in first[1].splitlines()]
    ids = [line["track_id"] for line in lines if line["type"] == "observation"]
    assert ids == ["a", "a", "b", "b", "a"]  # under the id that was valid then; both are in the record's intervals
