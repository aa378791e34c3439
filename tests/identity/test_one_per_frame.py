"""Two faces of one frame are never named as one person, whatever happens to their tracks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from streamer.config import Gallery as Settings
from streamer.config import Relink, StreamerConfig
from streamer.identity.beside import Beside
from streamer.identity.corrections import Corrections
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.identification import EnrolledGallery
from streamer.identity.one_per_frame import in_one_picture
from streamer.identity.persons import Persons
from streamer.values import (
    Candidate,
    ClockSource,
    Detections,
    EndReason,
    Floats,
    IdentityDecision,
    IdentityReason,
    IdentityStatus,
    ImpostorScores,
    Observation,
    Track,
    TrackEnd,
    TrackKey,
    TrackState,
    TrackSummary,
    Transition,
)
from tests.support.builders import analysis, crop, split_key

STRANGERS = ImpostorScores(10_000, 142, np.array([0.001, 0.01, 1]), np.array([0.5, 0.4, -1]), "test")
PLACES = {"a": 0, "b": 200, "c": 400}  # px, left edges
FIRST = {"a": 0.0, "b": 0.0, "c": 3.0}  # s, when each track begins


def face(*parts: float) -> Floats:
    vector = np.zeros(512, np.float32)
    vector[: len(parts)] = parts
    return vector / np.float32(np.linalg.norm(vector))


ADA, LIKE_ADA, BOB = face(1, 0, 0, 0.5), face(1, 0, 0, 0, 1), face(0, 1)  # cosines to ada 0.89 and 0.71
PEOPLE = {
    "ada": [EmbeddedReference("ada", "1", face(1), 0.9)],
    "bob": [EmbeddedReference("bob", "1", BOB, 0.9)],
}


def key(name: str) -> TrackKey:
    return TrackKey(name, "cam", ord(name))


def observation(
    time: float, names: Sequence[str], left: Mapping[str, float] | None = None, shot: int = 1, fade: bool = False
) -> Observation:
    """A frame with these tracks, side by side unless `left` (px) says where."""
    at = [(left or PLACES)[name] for name in names]
    boxes = np.array([[x, 10, x + 100, 150] for x in at], np.float32).reshape(-1, 4)
    found = Detections(boxes, np.full(len(names), 0.9, np.float32), np.zeros((len(names), 5, 2), np.float32))
    tracks = [Track(key(n), TrackState.CONFIRMED, boxes[row], 0.9, row, FIRST[n], time) for row, n in enumerate(names)]
    transition = Transition.FADE if fade else Transition.CUT if shot > 1 else Transition.START
    return Observation(
        camera="cam", epoch=0, media_time=time, captured_at=None, clock_source=ClockSource.FILE_PTS, received=time,
        frame_size=(640, 480), detections=found, tracks=tuple(tracks), shot=shot, transition=transition,
    )  # fmt: skip


class Stage:
    """One camera, and what is published of it."""

    def __init__(self, settings: Settings | None = None, twins: frozenset[str] = frozenset()) -> None:
        config = StreamerConfig(relink=Relink(gap_s=5, false_link_rate=0.005), gallery=settings or Settings())
        self.persons = Persons(config, split_key)
        self.persons.use_impostors(STRANGERS, "test")
        self.twins = twins
        self.published: list[TrackSummary] = []
        self.time = 0.0
        self.say(Corrections())

    def say(self, corrections: Corrections) -> None:
        known = EnrolledGallery(Gallery(PEOPLE, "test"), 0.5, corrections=corrections, twins=self.twins)
        self.take(self.persons.use_gallery(known))

    def take(self, summaries: list[TrackSummary]) -> None:
        """Publish. Nobody hears of two live tracks of one person at the end of a step."""
        self.published += summaries

    def seconds(self, faces: Mapping[str, Floats], count: int = 2) -> None:
        for _ in range(count):
            self.take(self.persons.observe(observation(self.time, list(faces)))[1])
            for name, template in faces.items():
                answer = replace(analysis(age=30), embedding=template)
                image = replace(crop(name, self.time, 0.8, received=self.time), key=key(name))
                self.take(self.persons.add_analysis(image, answer))
            self.time += 1

    def end(self, name: str, reason: EndReason = EndReason.SOURCE_LOST) -> None:
        self.take(self.persons.finish(TrackEnd(key(name), reason, self.time, confirmed=True)))

    def now(self) -> dict[str, str]:
        """What was published last of each track: the name, or the reason why there is none."""
        found = {}
        for one in self.published:
            assert one.decision is not None
            found[one.key.id] = one.decision.person or (one.decision.reason.value if one.decision.reason else "")
        return found


def test_the_less_similar_of_two_faces_in_one_frame_is_undecided_and_says_why() -> None:
    stage = Stage()
    stage.seconds({"b": LIKE_ADA})
    assert stage.now() == {"b": "ada"}
    stage.seconds({"b": LIKE_ADA, "a": ADA})  # b was first, and loses its name at once
    assert stage.now() == {"a": "ada", "b": "SAME_FRAME"}
    (newest,) = [one for one in stage.published if one.key.id == "b"][-1:]
    decision = newest.decision
    assert decision is not None
    assert (decision.beside_track_id, decision.candidates[0].person) == ("a", "ada")
    revisions = [one.decision.revision for one in stage.published if one.key.id == "b" and one.decision]
    assert revisions == sorted(revisions)
    assert len({one.revision for one in stage.published if one.key.id == "b"}) > 2
    stage.seconds({"b": BOB, "a": ADA}, 12)
    assert stage.now()["b"] != "ada"


def test_a_name_passes_to_the_other_when_it_is_said_not_to_be_the_first() -> None:
    stage = Stage()
    stage.seconds({"a": ADA, "b": LIKE_ADA})
    stage.say(Corrections(rejected={"a": frozenset({"ada"})}))
    assert stage.now() == {"a": "REJECTED", "b": "ada"}
    stage.say(Corrections(confirmed={"b": "ada"}))  # what somebody says comes before any similarity
    assert stage.now() == {"a": "SAME_FRAME", "b": "ada"}
    stage.say(Corrections(confirmed={"b": "ada", "a": "ada"}))  # and both, if somebody says so
    assert stage.now() == {"a": "ada", "b": "ada"}


def test_a_track_that_ended_under_a_name_keeps_it_until_it_is_corrected() -> None:
    stage = Stage()
    stage.seconds({"a": LIKE_ADA, "b": LIKE_ADA}, 1)
    stage.seconds({"a": LIKE_ADA}, 1)
    stage.end("a")
    stage.seconds({"b": ADA}, 6)
    assert stage.now() == {"a": "ada", "b": "SAME_FRAME"}  # although it is more similar now
    stage.say(Corrections(rejected={"a": frozenset({"ada"})}))
    assert stage.now() == {"a": "ada", "b": "ada"}  # and a is decided again among the past ones
    stage.say(Corrections(confirmed={"a": "ada"}))
    assert stage.now()["b"] == "SAME_FRAME"


def test_tracks_that_are_never_in_one_frame_may_both_be_the_person() -> None:
    stage = Stage()
    stage.seconds({"a": ADA})
    stage.end("a")
    stage.seconds({"b": LIKE_ADA})
    assert stage.now() == {"a": "ada", "b": "ada"}


@pytest.mark.parametrize(
    ("settings", "twins"),
    [(Settings(mirrors=("cam",)), frozenset()), (Settings(mirrors=("*",)), frozenset()), (Settings(), {"ada"})],
    ids=["camera", "all", "twin"],
)
def test_mirrors_and_twins_are_named_twice(settings: Settings, twins: frozenset[str]) -> None:
    stage = Stage(settings, frozenset(twins))
    stage.seconds({"a": ADA, "b": LIKE_ADA})
    assert stage.now() == {"a": "ada", "b": "ada"}


def test_a_track_that_continues_another_one_inherits_its_company() -> None:
    stage = Stage()
    stage.seconds({"a": ADA, "b": LIKE_ADA})
    stage.end("b", EndReason.TIMEOUT)  # it is held back
    stage.time += 1
    stage.seconds({"c": LIKE_ADA}, 3)
    merged = [one for one in stage.published if one.merged_into]
    assert [(one.key.id, one.merged_into) for one in merged] == [("c", "b")]
    assert stage.now()["b"] == "SAME_FRAME"
    assert stage.now()["a"] == "ada"


def test_the_decisions_of_one_order_of_events_are_always_the_same() -> None:
    def run() -> list[tuple[str, object]]:
        stage = Stage()
        stage.seconds({"a": ADA, "b": LIKE_ADA, "c": LIKE_ADA})
        for name in "abc":
            stage.end(name)
        return [(one.key.id, one.decision) for one in stage.published]

    assert run() == run()


def together(*frames: Observation) -> list[str]:
    beside = Beside()
    for frame in frames:
        beside.observe(frame)
    return beside.others("a")


def test_boxes_that_overlap_are_one_face() -> None:
    assert together(observation(0, ["a", "b"])) == ["b"]
    assert together(observation(0, ["a", "b"], {"a": 0, "b": 20})) == []
    assert together(observation(0, ["a", "b"], {"a": 0, "b": 20}), observation(1, ["a", "b"])) == ["b"]


def test_a_cross_fade_shows_one_person_twice_for_a_moment() -> None:
    before = observation(8.5, ["a", "c"])
    fading = observation(9.7, ["a", "b", "c"])
    middle = observation(10.0, ["b"], shot=2, fade=True)
    after = observation(10.4, ["a", "b"], shot=2, fade=True)
    assert together(before, fading) == ["b", "c"]
    assert together(before, fading, middle, after) == ["c"]
    assert together(before, fading, middle, after, observation(11.5, ["a", "b"], shot=2, fade=True)) == ["b", "c"]


def test_what_nobody_needs_any_more_is_forgotten() -> None:
    beside = Beside()
    beside.observe(observation(0, ["a", "b"]))
    beside.observe(observation(1, ["b", "c"]))
    assert beside.end("a") == []  # b is still there
    assert beside.end("c") == []
    assert sorted(beside.end("b")) == ["a", "b", "c"]
    assert beside.others("b") == []


def test_a_part_that_is_split_off_takes_its_own_company_along() -> None:
    beside = Beside()
    beside.observe(observation(0, ["a", "b"]))
    beside.observe(observation(5, ["a", "c"]))
    beside.split("a", "a+", 4.0)
    assert (beside.others("a"), beside.others("a+")) == (["b"], ["c"])


def test_people_who_look_alike_need_more_than_the_threshold_of_the_gallery() -> None:
    twins = {
        "eva": [EmbeddedReference("eva", "1", face(1, 0.8), 0.9)],
        "ida": [EmbeddedReference("ida", "1", face(0.8, 1), 0.9)],  # 0.976 to eva
        "bob": [EmbeddedReference("bob", "1", face(0, 0, 1), 0.9)],
    }
    stage = Stage()
    stage.take(stage.persons.use_gallery(EnrolledGallery(Gallery(twins, "test"), 0.5)))
    stage.seconds({"a": face(1, 0.3, 0, 0.9)})  # 0.81 to eva and 0.72 to ida
    decision = stage.published[-1].decision
    assert decision is not None
    assert (decision.reason, decision.threshold) == (IdentityReason.LOOK_ALIKE, 0.5)
    assert decision.required == pytest.approx(0.976, abs=0.01)
    stage.seconds({"b": face(0, 0, 1, 0.9)})
    assert stage.now()["b"] == "bob"
    (last,) = [one.decision for one in stage.published if one.key.id == "b"][-1:]
    assert last is not None
    assert last.required is None


def test_of_a_picture_the_most_similar_face_has_the_name_unless_it_is_one_face_found_twice() -> None:
    def found(person: str, similarity: float) -> IdentityDecision:
        return IdentityDecision(
            IdentityStatus.IDENTIFIED, person, None, (Candidate(person, similarity),), None, 0.3, 1, 0.9, 1
        )

    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [21, 0, 31, 10], [40, 0, 50, 10]], np.float64)
    some = [found("ada", 0.5), found("ada", 0.7), found("ada", 0.6), found("bob", 0.4)]
    shown = in_one_picture(some, boxes)
    assert [one.person for one in shown] == ["", "ada", "ada", "bob"]
    assert shown[0].reason is IdentityReason.SAME_FRAME
    assert shown[0].candidates == some[0].candidates
    assert in_one_picture(some, boxes, {"ada"}) == some
    assert in_one_picture([], np.zeros((0, 4))) == []
