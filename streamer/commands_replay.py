"""The command that decides past tracks by other settings: options in, exit code out."""

import argparse
import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from faceanalytics.errors import ConfigError, LostDependency
from streamer.config import StreamerConfig
from streamer.configfile import load_config

if TYPE_CHECKING:
    from streamer.people.book import Book
    from streamer.people.recognition import FolderPeople
    from streamer.people.replay import LeftOut, Replayed, Thresholds
    from streamer.store.reader import StoreReader
    from streamer.store.store import Store
    from streamer.values import Model


def replay(arguments: argparse.Namespace) -> int:
    """Run `streamer replay` and return its exit code."""
    from streamer.people.replay import changed_settings
    from streamer.tools.replayed import show

    config = load_config(arguments.config)
    other = changed_settings(config, arguments.set)
    found, names, thresholds, left_out = asyncio.run(_replayed(config, other, arguments))
    show(found, names, thresholds, left_out.other_model, arguments.json)
    return 0


async def _replayed(
    config: StreamerConfig, other: StreamerConfig, arguments: argparse.Namespace
) -> tuple[list["Replayed"], dict[str, str], "Thresholds", "LeftOut"]:
    from streamer.encryption import NotReadable
    from streamer.people.book import Book
    from streamer.people.replay import LeftOut, Replay, replayed
    from streamer.store.reader import read_store
    from streamer.store.values import StoreUnavailable

    if config.store is None:
        raise ConfigError("the configuration has no store (store: null), so there are no past tracks")
    since, until = _time(arguments.since, "--since"), _time(arguments.until, "--until")
    async with read_store(config.store, arguments.backup) as store:
        book = Book(cast("Store", store))  # of which it needs what a reader offers
        try:
            await book.open()
            model, folder = await _model(config, store, arguments)
            made = await asyncio.to_thread(Replay, config, other, book, model, folder)
            left_out = LeftOut()
            found = await replayed(store, book, made, arguments.stream, since, until, left_out)
        except (StoreUnavailable, NotReadable) as error:
            raise LostDependency(f"store: cannot be read: {error}") from error
    return found, _names(book, folder), made.thresholds, left_out


async def _model(
    config: StreamerConfig, store: "StoreReader", arguments: argparse.Namespace
) -> tuple["Model", "FolderPeople"]:
    """Return the weights by which the gallery is searched, and the people of the folder. Raises ConfigError."""
    from streamer.commands_people_audit import embedded
    from streamer.people.recognition import FolderPeople, with_ids
    from streamer.people.strangers_kept import kept

    model = await kept(store)
    if config.gallery.folder is None:
        if model is None:
            raise ConfigError(
                "replay: the store does not know how similar strangers are by its weights; run a streamer of this "
                "version with a worker on it once"
            )
        return model, FolderPeople((), {}, ())
    found = await embedded(config, arguments.weights, arguments.device)
    if model is not None and model.id != found.model.id:
        raise ConfigError(f"--weights: they are {found.model.id}, but the store is of {model.id}")
    people, names = with_ids(found.people, store.secret)
    return found.model, FolderPeople(people, names, found.strangers)


def _names(book: "Book", folder: "FolderPeople") -> dict[str, str]:
    return {**folder.names, **{one.person_id: one.name for one in book.people.people.values()}}


def _time(text: str | None, option: str) -> datetime | None:
    """Return a time in UTC, or one that is so far back."""
    from streamer.access.tokens import read_lifetime

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except ValueError:
        ago = read_lifetime(text, option)
        return None if ago is None else datetime.now(UTC) - ago
