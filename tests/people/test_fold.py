"""The people are the fold of the ledger, and an undone entry leaves no trace in them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.people.entries import FINAL, Action, Entry
from streamer.people.fold import People, extended, fold
from streamer.people.ledger import ALL, Ledger

NOW = datetime(2030, 1, 1, tzinfo=UTC)
WHO, TRACKS, REFERENCES = st.sampled_from("ABC"), st.sampled_from(["t1", "t2"]), st.sampled_from(["r1", "r2", "r3"])


def entries(*made: tuple[Any, ...]) -> list[Entry]:
    """A ledger of (action, person, data)."""
    return [Entry(number, NOW, "me", *one) for number, one in enumerate(made, 1)]


def create(person: str) -> tuple[Any, ...]:
    return Action.CREATE, person, {"name": f"Name of {person}", "labels": ["staff"], "metadata": {"room": "7"}}


def content(people: People) -> Any:
    """All but when it was last changed."""
    plain = {name: replace(one, version=0, updated=NOW) for name, one in people.people.items()}
    said = people.confirmed, people.rejected, people.negatives, people.links, people.named, people.different
    return plain, people.merged, *said, people.erased


@st.composite
def ledgers(draw: st.DrawFn) -> list[Entry]:
    there = draw(st.lists(WHO, unique=True, max_size=2))
    made: list[tuple[Any, ...]] = [(Action.CREATE, one, {"name": one, "labels": [], "metadata": {}}) for one in there]
    for number in range(len(made), draw(st.integers(max(1, len(made)), 14))):
        action = draw(st.sampled_from([*Action, Action.CREATE, Action.CREATE]))
        person, track, reference = draw(WHO), draw(TRACKS), draw(REFERENCES)
        data: dict[Action, dict[str, Any]] = {
            Action.CREATE: {"name": person, "labels": [], "metadata": {}},
            Action.UPDATE: {"name": f"{person}{number}"},
            Action.ENROL: {"references": [f"{reference}-{number}"]},
            Action.CONFIRM: {"track": track, "reference": draw(st.sampled_from(["", "c"]))},
            Action.REJECT: {"track": track, "reference": draw(st.sampled_from(["", "n"]))},
            Action.MERGE: {"other": draw(WHO)},
            Action.DIFFERENT_PEOPLE: {"other": draw(WHO)},
            Action.UNDO: {"entry": draw(st.integers(1, max(number, 1)))},
            Action.ERASE: {},
            Action.SPLIT: {
                "other": draw(WHO),
                "references": [f"{reference}-{draw(st.integers(0, 14))}"],
                "tracks": draw(st.sampled_from([[], [track]])),
            },
            Action.IMPORT: {
                **{"name": person, "labels": [], "metadata": {}},
                **{"references": [f"{reference}-{number}"], "aside": []},
            },
            Action.JOIN_TRACKS: {"tracks": [track, draw(TRACKS), "t3"]},
            Action.PART_TRACKS: {"tracks": [track], "others": [draw(TRACKS)], "one": draw(st.booleans())},
            Action.NAME_VISITOR: {"visitor": draw(st.sampled_from("vw")), "tracks": [track], "references": [reference]}
            | draw(st.sampled_from([{}, {"name": person, "labels": [], "metadata": {}}])),
        }
        creates = action is Action.CREATE or "name" in data.get(action, {})
        if creates and any(person in (one[1], one[2].get("other")) for one in made):
            continue  # ids are unique, and nothing was said about somebody before
        made.append((action, person, data.get(action, {"reference": reference})))
    return entries(*made)


@given(ledgers(), st.data())
def test_undoing_an_entry_gives_the_people_without_it(ledger: list[Entry], data: st.DataObject) -> None:
    can = [one for one in ledger if one.action not in FINAL and one.action is not Action.UNDO]
    can = [one for one in can if one.id not in fold(ledger).undone]
    if not can:
        return
    target = data.draw(st.sampled_from(can))
    undo = Entry(len(ledger) + 1, NOW, "me", Action.UNDO, target.person_id, {"entry": target.id})
    assert content(fold([*ledger, undo])) == content(fold([one for one in ledger if one is not target]))
    redo = Entry(len(ledger) + 2, NOW, "me", Action.UNDO, target.person_id, {"entry": undo.id})
    assert content(fold([*ledger, undo, redo])) == content(fold(ledger))


@given(ledgers())
def test_one_more_entry_gives_what_all_of_them_give(ledger: list[Entry]) -> None:
    more = extended(fold(ledger[:-1]), ledger[-1])
    if more is not None:
        assert more == fold(ledger)


@given(ledgers(), st.data())
def test_what_is_kept_up_is_what_all_entries_give(ledger: list[Entry], data: st.DataObject) -> None:
    kept, at = Ledger(), 0
    while at < len(ledger):
        some = ledger[at : at + data.draw(st.integers(1, 3))]
        before = kept.people
        touched = kept.add(some)
        at += len(some)
        assert kept.people == fold(ledger[:at])
        both = {**before.people, **kept.people.people}
        changed = {one for one in both if before.people.get(one) != kept.people.people.get(one)}
        assert ALL in touched or touched >= changed


@given(ledgers())
def test_of_an_erased_person_nothing_is_left(ledger: list[Entry]) -> None:
    people = fold(ledger)
    for name in people.erased:
        assert name not in people.people
        assert name not in people.merged
        assert name not in people.confirmed.values()
        assert name not in people.negatives
        assert not any(name in each for each in people.rejected.values())
        assert name not in people.named.values()
    assert content(fold([*ledger])) == content(people)


def test_merging_joins_references_and_corrections_and_undoing_it_parts_them() -> None:
    ledger = entries(
        create("A"),
        create("B"),
        (Action.ENROL, "A", {"references": ["a"]}),
        (Action.ENROL, "B", {"references": ["b"]}),
        (Action.CONFIRM, "B", {"track": "t1", "reference": "c"}),
        (Action.REJECT, "B", {"track": "t2", "reference": "n"}),
        (Action.MERGE, "A", {"other": "B"}),
    )
    joined = fold(ledger)
    assert joined.people["A"].references == ("a", "b", "c")
    assert (joined.merged, joined.confirmed) == ({"B": "A"}, {"t1": "A"})
    assert (joined.rejected, joined.negatives) == ({"t2": frozenset("A")}, {"A": frozenset("n")})
    assert joined.people["A"].version == 7
    parted = fold([*ledger, *entries(*[create("X")] * 7, (Action.UNDO, "A", {"entry": 7}))[7:]])
    assert parted.people["A"].references == ("a",)
    assert parted.people["B"].references == ("b", "c")
    assert parted.confirmed == {"t1": "B"}
    assert parted.undone == {7: 8}


@pytest.mark.parametrize(
    ("said", "confirmed", "rejected"),
    [
        (["CONFIRM"], {"t": "A"}, {}),
        (["REJECT"], {}, {"t": frozenset("A")}),
        (["CONFIRM", "REJECT"], {}, {"t": frozenset("A")}),
        (["REJECT", "CONFIRM"], {"t": "A"}, {}),
    ],
)
def test_the_newest_word_about_a_track_counts(
    said: Sequence[str], confirmed: dict[str, str], rejected: dict[str, frozenset[str]]
) -> None:
    made = [(Action(one), "A", {"track": "t", "reference": "r"}) for one in said]
    people = fold(entries(create("A"), *made))
    assert people.confirmed == confirmed
    assert people.rejected == rejected
    assert people.people["A"].references == (("r",) if "CONFIRM" in said else ())


def test_what_was_removed_for_good_cannot_be_undone() -> None:
    ledger = entries(create("A"), (Action.ERASE, "A", {}), (Action.UNDO, "A", {"entry": 2}))
    assert fold(ledger).people == {}
    assert fold(ledger).undone == {}


def test_people_of_the_folder_can_be_confirmed_and_rejected_but_have_no_entry_of_their_own() -> None:
    ledger = entries(
        (Action.CONFIRM, "folder-1", {"track": "t1", "reference": ""}),
        (Action.REJECT, "folder-1", {"track": "t2", "reference": "n"}),
        (Action.UPDATE, "folder-1", {"name": "x"}),
    )
    people = fold(ledger)
    assert people.people == {}
    assert people.confirmed == {"t1": "folder-1"}
    assert people.negatives == {"folder-1": frozenset("n")}


def test_people_who_are_two_are_so_after_merging_and_until_it_is_undone() -> None:
    made = [create("A"), create("B"), create("C"), (Action.DIFFERENT_PEOPLE, "A", {"other": "B"})]
    assert fold(entries(*made)).different == {frozenset("AB")}
    merged = [*made, (Action.MERGE, "C", {"other": "B"})]
    assert fold(entries(*merged)).different == {frozenset("AC")}
    assert not fold(entries(*made, (Action.MERGE, "A", {"other": "B"}))).different
    assert not fold(entries(*made, (Action.UNDO, "A", {"entry": 4}))).different
    assert not fold(entries(*made, (Action.ERASE, "B", {}))).different


def enrol(person: str, *references: str) -> tuple[Any, ...]:
    return Action.ENROL, person, {"references": [*references]}


def split(person: str, other: str, *references: str, tracks: Sequence[str] = ()) -> tuple[Any, ...]:
    return Action.SPLIT, person, {"other": other, "references": [*references], "tracks": [*tracks]}


def test_a_split_gives_references_and_tracks_to_the_other_person() -> None:
    said = (Action.CONFIRM, "A", {"track": "t1", "reference": "r3"})
    aside = (Action.SET_ASIDE, "A", {"reference": "r2"})
    before = [create("A"), enrol("A", "r1", "r2"), said, aside, create("B")]
    people = fold(entries(*before, split("B", "A", "r2", "r3", tracks=["t1"])))
    assert people.people["A"].references == ("r1",)
    assert people.people["B"].references == ("r2", "r3")
    assert not people.people["A"].set_aside
    assert people.people["B"].set_aside == {"r2"}
    assert people.confirmed == {"t1": "B"}
    undone = fold(entries(*before, split("B", "A", "r2", "r3", tracks=["t1"]), (Action.UNDO, "B", {"entry": 6})))
    assert content(undone) == content(fold(entries(*before)))


def test_a_split_takes_references_of_people_who_were_merged_long_ago() -> None:
    merged = [create("A"), create("B"), enrol("A", "a"), enrol("B", "b"), (Action.MERGE, "A", {"other": "B"})]
    people = fold(entries(*merged, create("C"), split("C", "A", "b")))
    assert (people.people["A"].references, people.people["C"].references) == (("a",), ("b",))


def test_what_a_split_gave_stays_when_the_person_who_was_split_is_erased() -> None:
    ledger = entries(create("A"), enrol("A", "r1", "r2"), create("B"), split("B", "A", "r2"), (Action.ERASE, "A", {}))
    assert fold(ledger).people["B"].references == ("r2",)
    without = entries(
        create("A"), enrol("A", "r1", "r2"), create("B"), split("B", "A", "r2"), (Action.UNDO, "A", {"entry": 2})
    )
    assert fold(without).people["B"].references == ()


def test_an_import_adds_who_is_missing_and_renames_nobody() -> None:
    data = {"name": "Other", "labels": [], "metadata": {}, "references": ["r1", "r2"], "aside": ["r2"]}
    people = fold(entries(create("A"), enrol("A", "r1"), (Action.IMPORT, "A", data), (Action.IMPORT, "B", data)))
    assert people.people["A"].name == "Name of A"
    assert people.people["A"].references == ("r1", "r2")
    assert people.people["B"].name == "Other"
    assert people.people["B"].set_aside == {"r2"}


def test_naming_a_visitor_makes_a_person_whom_undoing_it_removes() -> None:
    new = {"name": "Ada", "labels": [], "metadata": {}}
    said = {"visitor": "v", "tracks": ["t1", "t2"], "references": ["r"]}
    ledger = entries(
        (Action.NAME_VISITOR, "A", {**new, **said}), (Action.REJECT, "A", {"track": "t2", "reference": ""})
    )
    people = fold(ledger)
    assert (people.people["A"].name, people.people["A"].references) == ("Ada", ("r",))
    assert (people.confirmed, people.named) == ({"t1": "A"}, {"v": "A"})
    undone = fold([*ledger, Entry(3, NOW, "me", Action.UNDO, "A", {"entry": 1})])
    assert (undone.people, undone.confirmed, undone.named) == ({}, {}, {})


def test_what_is_said_of_a_track_holds_for_those_that_are_one_with_it() -> None:
    ledger = entries(
        create("A"),
        (Action.CONFIRM, "A", {"track": "t1", "reference": ""}),
        (Action.JOIN_TRACKS, "tracks", {"tracks": ["t1", "t2"]}),
        (Action.JOIN_TRACKS, "tracks", {"tracks": ["t3", "t2"]}),
        (Action.PART_TRACKS, "tracks", {"tracks": ["t4"], "others": ["t3"]}),
    )
    people = fold(ledger)
    assert people.confirmed == {"t1": "A", "t2": "A", "t3": "A"}
    assert people.rejected == {"t4": frozenset("A")}
    assert people.links.contradicts("t1", "t4")
    parted = fold([*ledger, Entry(6, NOW, "me", Action.PART_TRACKS, "tracks", {"tracks": ["t1"], "others": ["t2"]})])
    assert parted.confirmed == {"t1": "A"}
    assert parted.rejected == {"t2": frozenset("A"), "t3": frozenset("A")}
    assert fold([*ledger, Entry(6, NOW, "me", Action.UNDO, "tracks", {"entry": 3})]).confirmed == {"t1": "A"}
