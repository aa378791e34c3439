"""The keys of people: wrapped with the key of the store, renewed with it, and gone for good."""

from collections.abc import Callable
from pathlib import Path

import pytest

from streamer.config import Store
from streamer.encryption import NotReadable, Sealer, new_key
from streamer.people.book import Book, Draft
from streamer.people.entries import Action
from streamer.people.keys import Keys
from streamer.store.tables import ledger, person_keys
from tests.support.stored import running

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
ADA = {"name": "Ada Lovelace", "labels": [], "metadata": {}}


def test_a_key_is_read_with_the_key_of_the_store_only_and_renewed_with_it() -> None:
    plain, sealed = Keys(None).new("ada")
    assert Keys(None).renewed(plain, "ada") is None
    value = sealed.data({"name": "Ada"}, "1")
    wrapped = Keys(Sealer([OLD])).renewed(plain, "ada")
    assert wrapped is not None
    assert plain[1:] not in wrapped
    assert Keys(Sealer([OLD])).read(wrapped, "ada").read_data(value, "1") == {"name": "Ada"}
    with pytest.raises(NotReadable, match=r"store\.key_file"):
        Keys(None).read(wrapped, "ada")
    with pytest.raises(NotReadable):
        Keys(Sealer([OLD])).read(wrapped, "bob")
    again = Keys(Sealer([NEW, OLD])).renewed(wrapped, "ada")
    assert again is not None
    assert Keys(Sealer([NEW])).read(again, "ada").read_data(value, "1") == {"name": "Ada"}


def test_a_value_is_bound_to_its_row() -> None:
    _, sealed = Keys(None).new("ada")
    with pytest.raises(NotReadable):
        sealed.read_data(sealed.data({"name": "Ada"}, "1"), "2")


async def test_a_store_that_gets_a_key_encrypts_the_keys_of_people(place: Callable[..., Store], tmp_path: Path) -> None:
    config = place()
    async with running(config) as one:
        book = Book(one.store)
        await book.open()
        await book.append("me", [Draft(Action.CREATE, "ada", ADA)])
        (row,) = await one.rows(person_keys)
        (entry,) = await one.rows(ledger)
        assert row.key[:1] == b"\0"
        assert b"Ada" not in entry.payload
    (tmp_path / "store.key").write_text(new_key())
    async with running(config.model_copy(update={"key_file": str(tmp_path / "store.key")})) as one:
        book = Book(one.store)
        await book.open()
        assert book.people.people["ada"].name == "Ada Lovelace"
        (renewed,) = await one.rows(person_keys)
        assert row.key[1:] not in renewed.key
