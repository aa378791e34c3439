"""Past tracks that were there at the same time are not named as one person."""

from dataclasses import replace

from faceanalytics.v1 import tracks_pb2
from streamer.config import Gallery, StreamerConfig, Track
from streamer.people.rivals import Rivals
from streamer.store.past import Span, spans_of
from streamer.values import Candidate, IdentityDecision, IdentityStatus

CONFIG = StreamerConfig(track=Track(lost_s=2.0))


def named(similarity: float, person: str = "p-ada", confirmed: bool = False) -> IdentityDecision:
    best = (Candidate("Ada", similarity, person),)
    return IdentityDecision(
        IdentityStatus.IDENTIFIED, "Ada", None, best, None, 0.4, 4, 0.9, 1, person_id=person, confirmed=confirmed
    )


def decided(*tracks: tuple[str, Span, IdentityDecision], config: StreamerConfig = CONFIG) -> dict[str, str]:
    rivals, found = Rivals[str](config, frozenset({"p-twin"})), []
    for number, (name, span, decision) in enumerate(tracks):
        found += rivals.add(name, "door", f"{number:04d}", (span,), decision)
    found += rivals.close()
    assert len(found) == len(tracks)
    return {name: one.person or f"{one.reason.value} {one.beside_track_id}" for name, one in found if True}  # type: ignore[union-attr]


def test_of_tracks_at_one_time_the_most_similar_keeps_the_name() -> None:
    three = [("x", (0.0, 10.0), named(0.5)), ("y", (5.0, 20.0), named(0.7)), ("z", (30.0, 40.0), named(0.5))]
    assert decided(*three) == {"x": "SAME_FRAME 0001", "y": "Ada", "z": "Ada"}
    assert decided(three[0], ("y", (9.0, 20.0), named(0.7))) == {"x": "Ada", "y": "Ada"}  # it may be a lost track
    said = [("x", (0.0, 10.0), named(0.5, confirmed=True)), three[1]]
    assert decided(*said) == {"x": "Ada", "y": "SAME_FRAME 0000"}
    assert decided(three[0], ("y", (5.0, 20.0), named(0.7, "p-other"))) == {"x": "Ada", "y": "Ada"}


def test_mirrors_and_twins_are_named_twice() -> None:
    two = [("x", (0.0, 10.0), named(0.5)), ("y", (0.0, 10.0), named(0.7))]
    mirrored = CONFIG.model_copy(update={"gallery": Gallery(mirrors=("door",))})
    assert set(decided(*two, config=mirrored).values()) == {"Ada"}
    twins = [(name, span, replace(one, person_id="p-twin")) for name, span, one in two]
    assert set(decided(*twins).values()) == {"Ada"}


def test_a_track_without_a_clock_of_its_camera_was_there_since_its_id_was_made() -> None:
    track = tracks_pb2.Track(track_id="018bcfe5-6800-7000-8000-000000000000", first_seen_s=3, last_seen_s=5)
    assert spans_of(track) == ((1_700_000_000.0, 1_700_000_002.0),)
    track.first_captured_at.FromSeconds(100)
    track.intervals.add(first_seen_s=3, last_seen_s=4)
    track.intervals.add(first_seen_s=9, last_seen_s=10)
    assert spans_of(track) == ((100.0, 101.0), (106.0, 107.0))
    assert spans_of(tracks_pb2.Track(track_id="from-a-file", last_seen_s=5)) == ()


def test_tracks_are_given_back_as_soon_as_no_later_one_can_compete() -> None:
    rivals = Rivals[str](CONFIG, frozenset())
    assert rivals.add("x", "door", "1", ((0.0, 10.0),), named(0.5)) == []
    assert [name for name, _ in rivals.add("y", "door", "2", ((60.0, 70.0),), named(0.5))] == ["x"]
    assert [name for name, _ in rivals.add("u", "door", "3", (), named(0.5))] == ["u"]  # nobody knows when
    assert [name for name, _ in rivals.close()] == ["y"]
