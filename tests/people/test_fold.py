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
    return plain, people.merged, people.confirmed, people.rejected, people.negatives, people.erased


@st.composite
def ledgers(draw: st.DrawFn) -> list[Entry]:
    made: list[tuple[Any, ...]] = []
    for number in range(draw(st.integers(1, 14))):
        action = draw(st.sampled_from([*Action, Action.CREATE, Action.CREATE]))
        person, track, reference = draw(WHO), draw(TRACKS), draw(REFERENCES)
        data: dict[Action, dict[str, Any]] = {
            Action.CREATE: {"name": person, "labels": [], "metadata": {}},
            Action.UPDATE: {"name": f"{person}{number}"},
            Action.ENROL: {"references": [f"{reference}-{number}"]},
            Action.CONFIRM: {"track": track, "reference": draw(st.sampled_from(["", "c"]))},
            Action.REJECT: {"track": track, "reference": draw(st.sampled_from(["", "n"]))},
            Action.MERGE: {"other": draw(WHO)},
            Action.UNDO: {"entry": draw(st.integers(1, max(number, 1)))},
            Action.ERASE: {},
        }
        if action is Action.CREATE and any(one[:2] == (action, person) for one in made):
            continue  # ids are unique
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


@given(ledgers())
def test_of_an_erased_person_nothing_is_left(ledger: list[Entry]) -> None:
    people = fold(ledger)
    for name in people.erased:
        assert name not in people.people
        assert name not in people.merged
        assert name not in people.confirmed.values()
        assert name not in people.negatives
        assert not any(name in each for each in people.rejected.values())
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
