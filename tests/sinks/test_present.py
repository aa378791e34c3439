"""The number of faces in front of a camera follows from the events of the log, which may come twice."""

from streamer.sinks.present import Present
from tests.sinks.events import event, visit


def test_a_track_is_present_from_its_beginning_to_its_end() -> None:
    present = Present()
    assert present.add([event(1, track="a"), event(2, track="b"), event(3, camera="hall", track="c")]) == {
        "door",
        "hall",
    }
    assert (present.faces("door"), present.faces("hall"), present.faces("attic")) == (2, 1, 0)
    present.add([event(4, "END", track="a"), event(5, "MERGE", track="b"), event(6, "SPLIT", "hall", "c")])
    assert (present.faces("door"), present.faces("hall")) == (0, 0)


def test_events_that_come_twice_count_once() -> None:
    present = Present()
    present.add([event(1, track="a"), event(1, track="a")])
    assert present.faces("door") == 1
    present.add([*visit(2, "b"), *visit(2, "b")])
    assert present.faces("door") == 1


def test_the_end_of_a_track_of_an_earlier_run_changes_nothing() -> None:
    present = Present()
    assert present.add([event(1, "END", track="old"), event(2, "DECISION", track="old", person="Anna")]) == set()
    assert present.faces("door") == 0


def test_people_are_those_whose_tracks_are_present() -> None:
    present = Present()
    present.add([event(1, track="a"), event(2, track="b"), event(3, track="c")])
    assert present.people("door") == []
    assert present.add([event(4, "DECISION", track="a", person="Zoë"), event(5, "DECISION", track="b", person="Anna")])
    present.add([event(6, "DECISION", track="c", person="Anna")])
    assert present.people("door") == ["Anna", "Zoë"]
    present.add([event(7, "DECISION", track="a"), event(8, "END", track="b", person="Anna")])
    assert present.people("door") == ["Anna"]
    present.forget("door")
    assert (present.faces("door"), present.people("door")) == (0, [])
