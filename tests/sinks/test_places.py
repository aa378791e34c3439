"""The places of sinks, and the names of events, over updates and restored backups."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, text

from faceanalytics.errors import ConfigError
from faceanalytics.extras import MissingPackage
from streamer.config import Store as StoreConfig
from streamer.configfile import load_config, parse_config, show_config
from streamer.sinks.make import make_sink
from streamer.store.backup import backup, contents, restore
from streamer.store.database import postgres_url
from streamer.store.migrate import _scripts
from tests.sinks.test_runner import files, lines
from tests.support.builders import summary
from tests.support.sinking import settings, sinking
from tests.support.stored import final

Place = Callable[..., StoreConfig]
FILE = {"type": "files", "name": "a", "folder": "out"}
HOOK = {"type": "webhook", "name": "b", "url": "https://example.org/hook?key=geheim"}


async def test_a_store_of_the_first_version_gets_the_table(place: Place, tmp_path: Path) -> None:
    config = place()
    if config.folder:
        Path(config.folder).mkdir()
    url: Any = postgres_url(config) if config.url else f"sqlite:///{config.folder}/store.sqlite"
    engine = create_engine(url)
    with engine.connect() as connection:
        scripts, _ = _scripts()
        scripts.attributes["connection"] = connection
        command.upgrade(scripts, "0001")
    engine.dispose()
    assert contents(config).sinks == []
    async with sinking(config, files(tmp_path / "out")) as (one, _):
        one.put(final("t1"))
    assert [sink.sequence for sink in contents(config).sinks] == [2]


async def test_after_a_restore_known_events_have_their_ids_and_new_ones_others(tmp_path: Path) -> None:
    before, after = StoreConfig(folder=str(tmp_path / "before")), StoreConfig(folder=str(tmp_path / "after"))
    async with sinking(before, files(tmp_path / "out")) as (one, _):
        one.put(final("t1"))
    backup(before, tmp_path / "copy.sqlite")
    async with sinking(before, files(tmp_path / "out")) as (one, _):
        one.put(final("t2"))
    restore(after, tmp_path / "copy.sqlite")
    everything = settings(type="files", name="all", folder=str(tmp_path / "out"))
    async with sinking(after, files(tmp_path / "out"), everything) as (one, _):
        one.put(final("t3"))
    ids = {name: [one["id"] for one in lines(tmp_path / "out", name)] for name in ("file", "all")}
    numbers = [int(one["sequence"]) for one in lines(tmp_path / "out", "file")]
    assert numbers == [1, 2, 3, 4, 3, 4]  # t2 is in no backup, and t3 gets its numbers
    assert len(set(ids["file"])) == 6
    assert ids["all"] == [*ids["file"][:2], *ids["file"][4:]]
    assert len({one["source"] for one in lines(tmp_path / "out", "all")}) == 1


async def test_a_place_behind_the_end_of_the_log_is_its_end(tmp_path: Path) -> None:
    config = StoreConfig(folder=str(tmp_path / "store"))
    async with sinking(config, files(tmp_path / "out")) as (one, _):
        one.put(final("t1"))
    engine = create_engine(f"sqlite:///{config.folder}/store.sqlite")
    with engine.begin() as connection:
        connection.execute(text("UPDATE sinks SET sequence = 1000"))
    engine.dispose()
    async with sinking(config, files(tmp_path / "out")) as (one, _):
        one.put(summary("t2"))
    assert [one["subject"] for one in lines(tmp_path / "out")] == ["t1", "t1", "t2"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"sinks": [FILE], "store": None}, "store: null"),
        ({"sinks": [FILE, {**HOOK, "name": "a"}]}, "name used twice: a"),
        ({"sinks": [{**FILE, "events": ["GALLERY"]}]}, "biometric: true"),
        ({"sinks": [{**FILE, "events": ["END", "JOURNEY"]}]}, "JOURNEY says where"),
        ({"sinks": [{**FILE, "events": ["REVISION"]}]}, "REVISION says that a track shows somebody else"),
        ({"sinks": [{**FILE, "events": []}]}, "sinks.0.events"),
        ({"sinks": [{**FILE, "name": "../a"}]}, "sinks.0.name"),
        ({"sinks": [{**FILE, "maxmb": 1}]}, "sinks.0.maxmb: unknown key"),
        ({"sinks": [{**FILE, "type": "file"}]}, "does not match any of the expected tags"),
    ],
)
def test_sinks_that_cannot_work_are_errors(data: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_config(data, "live.yaml")


def test_secrets_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "geheim-" * 5)
    path = tmp_path / "live.yaml"
    path.write_text(
        "sinks: [{type: webhook, name: b, url: 'https://example.org/hook?key=geheim', secret: '${HOOK_SECRET}', "
        "headers: {Authorization: Bearer geheim}}]"
    )
    config = load_config(path)
    assert config.sinks[0].secret == "geheim-" * 5  # type: ignore[union-attr]  # it is a webhook
    text_of = show_config(config)
    assert "https://example.org/hook" in text_of
    assert "geheim" not in text_of + repr(config)


def test_a_webhook_without_httpx_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceanalytics.extras.find_spec", lambda name: None)
    (hook,) = parse_config({"sinks": [HOOK]}, "live.yaml").sinks
    with pytest.raises(MissingPackage, match=r"sink b: httpx is not installed: pip install 'faceanalytics\[sinks\]'"):
        make_sink(hook, "store")
