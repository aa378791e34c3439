"""What is stored with a key cannot be read from the files of either database, and can be searched and rotated."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select, text

from faceanalytics.errors import ConfigError
from faceanalytics.v1 import tracks_pb2
from streamer.cli import main
from streamer.config import Store as StoreConfig
from streamer.config import Stream
from streamer.encryption import FORM, VARIABLE, new_key
from streamer.store.backup import backup, restore
from streamer.store.encrypt import encrypt
from streamer.store.streams import StoredCameras
from streamer.store.tables import events, faces, meta, streams, tracks
from streamer.store.values import StoreUnavailable, TrackQuery
from streamer.values import Candidate, IdentityDecision, IdentityStatus, TrackSummary
from tests.api.test_server import KeptCameras
from tests.support import builders
from tests.support.builders import summary
from tests.support.postgres import Postgres
from tests.support.stored import Running, final, running

Place = Callable[..., StoreConfig]
NAME, OTHER = "Ada Lovelace-Byron", "Charles Babbage"
ADDRESS = "rtsp://watchman:opensesame@camera.example.org/live"
CAMERA = "gate-17-east"
JPEG = b"JFIF"  # each picture begins with it


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "store.key"
    file.write_text(new_key())
    return file


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """As `place`, on a server whose files have nothing of other tests."""
    if request.param == "sqlite":
        yield lambda **settings: StoreConfig(folder=str(tmp_path / "store"), **settings)
        return
    with Postgres() as server:
        url = server.database()
        yield lambda **settings: StoreConfig(url=url, **settings)


def person(track: str, name: str, ended: bool = False) -> TrackSummary:
    candidates = (Candidate(name, 0.8), Candidate(OTHER, 0.3))
    decision = IdentityDecision(IdentityStatus.IDENTIFIED, name, None, candidates, 0.3, 0.4, 3, 0.9, 1)
    return final(track, decision=decision) if ended else summary(track, decision=decision)


async def fill(one: Running, *names: str) -> None:
    """Tracks of people with pictures, one of them still open, and a camera with a password."""
    for number, name in enumerate(names):
        one.put(person(f"t{number}", name))
        one.store.see(f"t{number}", builders.crop())
        await one.settle()
        if number:
            one.put(person(f"t{number}", name, ended=True))
    cameras = StoredCameras(KeptCameras(), one.store, ())
    await asyncio.to_thread(cameras.add, Stream(id=CAMERA, uri=ADDRESS))
    await one.settle()


def secrets() -> tuple[bytes, ...]:
    return (NAME.encode(), OTHER.encode(), JPEG, b"opensesame", b"camera.example.org")


def bytes_of(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """The content of all files of a database: SQLite's with its log, or the whole data folder of PostgreSQL."""
    for file in folder.rglob("*"):
        if file.is_file():
            with suppress(FileNotFoundError):  # PostgreSQL writes some of its files again under the same name
                yield file, file.read_bytes()


def found(folder: Path, *wanted: bytes) -> set[bytes]:
    return {one for _, content in bytes_of(folder) for one in wanted if one in content}


def folder_of(config: StoreConfig) -> Path:
    """The folder with the files of the database."""
    if config.folder:
        return Path(config.folder)
    return Path(config.database().rpartition("host=")[2]) / "data"


async def names_found(one: Running, *persons: str) -> list[str]:
    payloads = await one.store.history.ended(TrackQuery(persons=persons), "", 100)
    return [tracks_pb2.Track.FromString(payload).track_id for payload in payloads]


async def test_names_faces_and_addresses_are_in_no_file_of_the_database(alone: Place, key: Path) -> None:
    sealed = alone(faces=True, key_file=str(key))
    async with running(sealed) as one:
        await fill(one, NAME, NAME, OTHER)
        if sealed.url:
            await one.store.execute(text("CHECKPOINT"))
        assert found(folder_of(sealed), *secrets(), CAMERA.encode()) == {CAMERA.encode()}
        # and everything is there for those who have the key
        assert await names_found(one, NAME) == ["t1"]
        assert await names_found(one, OTHER, NAME) == ["t1", "t2"]
        assert await names_found(one, "Eve") == []
        assert (await one.store.history.face("t1"))[:2] == b"\xff\xd8"
        assert (await one.track("t0")).decision.person == NAME
        kinds = [kind for _, kind, _ in await one.events()]
        assert kinds == ["NEW", "NEW", "END", "NEW", "END", "CAMERA"]
        people = [tracks_pb2.Track.FromString(event.payload).decision.person for event in (await one.log())[:5]]
        assert people == [NAME, NAME, NAME, OTHER, OTHER]
    async with running(sealed) as one:  # the open track is ended from its encrypted values
        assert (await one.events())[-1] == (7, "END", "t0")
        assert (await one.track("t0")).decision.person == NAME


async def test_the_search_finds_what_is_stored_without_a_key(alone: Place) -> None:
    config = alone(faces=True)
    async with running(config) as one:
        await fill(one, NAME, OTHER)
        if config.url:
            await one.store.execute(text("CHECKPOINT"))
        assert found(folder_of(config), *secrets()) == set(secrets())


async def test_a_missing_or_wrong_key_is_an_error_at_the_start(place: Place, key: Path, tmp_path: Path) -> None:
    async with running(place(key_file=str(key))) as one:
        await fill(one, NAME)
    with pytest.raises(ConfigError, match=r"it is encrypted; name its key with store.key_file"):
        await Running(place()).store.open()
    other = tmp_path / "other.key"
    other.write_text(new_key())
    with pytest.raises(ConfigError, match=r"another key \(id [0-9a-f]{8}; store.key_file has [0-9a-f]{8}\)"):
        await Running(place(key_file=str(other))).store.open()
    async with running(place(key_file=str(key))) as one:
        assert (await one.track("t0")).decision.person == NAME


async def test_what_was_stored_before_there_was_a_key_is_encrypted_by_the_command(
    place: Place, key: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain, sealed = place(faces=True), place(faces=True, key_file=str(key))
    async with running(plain) as one:
        await fill(one, NAME, NAME, OTHER)
        before = await one.log()
    async with running(sealed) as one:
        assert "run `streamer store encrypt`" in caplog.text
        one.put(person("t9", NAME, ended=True))
        await one.settle()
        assert await names_found(one, NAME) == ["t0", "t1", "t9"]  # plain and encrypted rows
        # beside the streamer
        done = await asyncio.to_thread(encrypt, sealed)
        assert (done.rewritten, done.unreadable) == (False, {})
        assert done.changed["tracks"] == 2
        assert await names_found(one, NAME) == ["t0", "t1", "t9"]
        assert (await one.log())[: len(before)] == before
        assert all(row.payload[:1] == FORM for row in [*await one.rows(events), *await one.rows(tracks)])
        assert all(row.jpeg[:1] == FORM for row in await one.rows(faces))
        assert all(NAME not in (row.person or "") for row in await one.rows(tracks))
        assert all(row.settings.startswith("sealed:") for row in await one.rows(streams))
    caplog.clear()
    done = encrypt(sealed)
    assert (done.rewritten, done.changed, done.unreadable) == (True, {}, {})
    if not sealed.url:  # PostgreSQL keeps old bytes in its log of changes, which it uses again
        assert found(folder_of(sealed), *secrets()) == set()
    async with running(sealed) as one:
        assert "store encrypt" not in caplog.text
        assert await names_found(one, NAME) == ["t0", "t1", "t9"]


async def test_keys_are_changed_without_losing_anything(place: Place, key: Path, tmp_path: Path) -> None:
    first, second = key.read_text(), new_key()
    config = place(faces=True, key_file=str(key))
    async with running(config) as one:
        await fill(one, NAME, NAME)
        token = one.store.log.token(3)
        key.write_text(f"{second}\n{first}")
        with pytest.raises(ConfigError, match="began without this key; restart it first"):
            await asyncio.to_thread(encrypt, config)
    async with running(config) as one:
        one.put(person("t5", NAME, ended=True))
        await one.settle()
        assert await names_found(one, NAME) == ["t0", "t1", "t5"]
        assert one.store.log.place_of(token) == 3
    key.write_text(second)
    with pytest.raises(ConfigError, match="another key"):
        await Running(config).store.open()
    key.write_text(f"{second}\n{first}")
    assert encrypt(config).unreadable == {}
    key.write_text(second)
    async with running(config) as one:
        assert await names_found(one, NAME) == ["t0", "t1", "t5"]
        assert one.store.log.place_of(token) == 3
        assert (await one.store.history.face("t1"))[:2] == b"\xff\xd8"
        async with one.store.database.reading() as connection:
            keys = await connection.scalar(select(meta.c.value).where(meta.c.name == "encryption_keys"))
        assert len((keys or "").split()) == 1
    copy = tmp_path / "copy.sqlite"
    backup(config, copy)
    assert found(copy.parent, b"opensesame", NAME.encode()) == set()
    folder = str(tmp_path / "other")
    restore(StoreConfig(folder=folder), copy)
    with pytest.raises(ConfigError, match="name its key"):
        await Running(StoreConfig(folder=folder)).store.open()
    async with running(StoreConfig(folder=folder, key_file=str(key))) as one:
        assert await names_found(one, NAME) == ["t0", "t1", "t5"]
        assert one.store.log.place_of(token) == 3


async def test_a_row_that_was_moved_or_changed_is_not_taken_for_another(place: Place, key: Path) -> None:
    async with running(place(key_file=str(key))) as one:
        await fill(one, NAME, NAME, OTHER)
        stolen = next(row.payload for row in await one.rows(tracks) if row.track_id == "t2")
        await one.store.execute(tracks.update().where(tracks.c.track_id == "t1").values(payload=stolen))
        with pytest.raises(StoreUnavailable, match=r"row t1: tracks.payload: damaged, or of another row"):
            await one.store.history.get("t1")
        assert (await asyncio.to_thread(encrypt, place(key_file=str(key)))).changed == {}


def test_the_command_encrypts_and_says_what_it_did(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "live.yaml"
    store = {"folder": str(tmp_path / "store"), "faces": True}
    config.write_text(json.dumps({"store": store}))

    async def prepare() -> None:
        async with running(StoreConfig.model_validate(store)) as one:
            await fill(one, NAME, OTHER)

    asyncio.run(prepare())
    command = ["store", "encrypt", "--config", str(config)]
    assert main(command) == 2
    assert "name a key with store.key_file; `streamer keys encryption` makes one" in capsys.readouterr().err
    monkeypatch.setenv(VARIABLE, key.read_text())
    assert main(command) == 0
    assert capsys.readouterr().out == "encrypted: 4 events, 2 tracks, 2 faces, 1 streams\n"
    assert found(tmp_path / "store", *secrets()) == set()
    assert main(command) == 0
    assert capsys.readouterr().out == "encrypted: nothing to do\n"
    assert main([*command[:2], "x", *command[2:]]) == 2
    assert "encrypt takes no file" in capsys.readouterr().err
