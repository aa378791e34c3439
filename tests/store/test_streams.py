"""Streams that were added over the API return after a restart; those of the configuration file are the file's."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError, LostDependency
from streamer.api.allowed import check_allowed
from streamer.config import Sources, Stream
from streamer.config import Store as StoreConfig
from streamer.encryption import new_key
from streamer.store.encrypt import encrypt
from streamer.store.streams import StoredCameras, add_stored, kept_cameras
from streamer.store.tables import streams
from streamer.store.values import LogKind
from tests.api.test_server import KeptCameras
from tests.support.builders import summary
from tests.support.disk import small_files
from tests.support.patience import WAIT_S
from tests.support.stored import Running, running

Place = Callable[..., StoreConfig]
SECRET = "rtsp://user:pass@camera/live"


def checking(cameras: KeptCameras) -> Callable[[Stream], None]:
    return lambda stream: check_allowed(stream, None, cameras.sources)


async def started(one: Running, *of_file: Stream) -> tuple[KeptCameras, StoredCameras]:
    """The cameras after a start with these streams in the configuration file."""
    cameras = KeptCameras(*of_file)
    kept = kept_cameras(cameras, one.store, of_file)
    assert isinstance(kept, StoredCameras)
    await add_stored(cameras, one.store, of_file, checking(cameras))
    return cameras, kept


def settings(cameras: KeptCameras) -> dict[str, tuple[str, float | None]]:
    return {stream.id: (stream.uri, stream.max_fps) for stream, _ in cameras.list()}


async def changed(function: Callable[..., None], *arguments: object) -> None:
    """As the API does it: in a thread."""
    await asyncio.to_thread(function, *arguments)


async def test_what_was_added_over_the_api_returns_with_its_last_settings(place: Place) -> None:
    async with running(place()) as one:
        cameras, kept = await started(one)
        await changed(kept.add, Stream(id="a", uri=SECRET))
        await changed(kept.add, Stream(id="b", uri="b.mp4"))
        await changed(kept.replace, Stream(id="a", uri=SECRET, max_fps=5))
        await changed(kept.remove, "b")
        assert settings(cameras) == {"a": (SECRET, 5)}
        await one.settle()
        log = await one.log()
        assert [(event.kind, event.camera) for event in log] == [(LogKind.CAMERA, name) for name in "abab"]
        assert [json.loads(event.payload)["change"] for event in log] == ["added", "added", "changed", "removed"]
        assert b"pass" not in b"".join(event.payload for event in log)
    async with running(place()) as one:
        cameras, _ = await started(one)
        assert settings(cameras) == {"a": (SECRET, 5)}


async def stored(one: Running) -> dict[str, str]:
    return {row.id: row.settings for row in await one.rows(streams)}


async def test_passwords_are_encrypted_with_a_key_and_again_with_a_new_one(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = new_key(), new_key()
    key = tmp_path / "store.key"
    key.write_text(first)
    with_key = place(key_file=str(key))
    async with running(place()) as one:  # before there was a key
        _, kept = await started(one)
        await changed(kept.add, Stream(id="a", uri=SECRET))
        assert "pass" in (await stored(one))["a"]
    async with running(with_key) as one:
        cameras, kept = await started(one)
        await changed(kept.add, Stream(id="b", uri=SECRET))
        before = await stored(one)
        assert not any("pass" in text or "camera" in text for text in before.values())
        assert settings(cameras) == {"a": (SECRET, None), "b": (SECRET, None)}
    key.write_text(f"{second}\n{first}")
    async with running(with_key) as one:
        cameras, _ = await started(one)
        assert settings(cameras) == {"a": (SECRET, None), "b": (SECRET, None)}
        after = await stored(one)
        assert before.keys() == after.keys()
        assert not set(before.values()) & set(after.values())
    assert encrypt(with_key).unreadable == {}
    key.write_text(second)  # the first key is retired
    async with running(with_key) as one:
        cameras, _ = await started(one)
        assert settings(cameras) == {"a": (SECRET, None), "b": (SECRET, None)}
        assert await stored(one) == after
    (tmp_path / "other").write_text(new_key())
    for config, reason in (
        (place(), "it is encrypted; name its key with store.key_file"),
        (place(key_file=str(tmp_path / "other")), "it has rows encrypted with another key"),
    ):
        with pytest.raises(ConfigError, match=reason):
            await Running(config).store.open()
    async with running(with_key) as one:
        assert await stored(one) == after
        await one.store.execute(streams.update().values(settings=next(iter(before.values()))))  # by a key that is gone
        cameras, _ = await started(one)
        assert settings(cameras) == {}
        assert "camera a from the store is not started: streams.settings: sealed with a key" in caplog.text


def test_a_key_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the encryption key"):
        Running(StoreConfig(folder=str(tmp_path), key_file=str(tmp_path / "none")))


async def test_the_file_has_precedence(place: Place) -> None:
    of_file: Sequence[Stream] = [Stream(id="a", uri="file.mp4")]
    async with running(place()) as one:
        _, kept = await started(one)
        await changed(kept.add, Stream(id="a", uri="api.mp4"))
    async with running(place()) as one:
        cameras, kept = await started(one, *of_file)
        assert settings(cameras) == {"a": ("file.mp4", None)}
        await changed(kept.replace, Stream(id="a", uri="changed.mp4"))  # until the restart
        await changed(kept.remove, "a")
    async with running(place()) as one:
        assert settings((await started(one, *of_file))[0]) == {"a": ("file.mp4", None)}
    async with running(place()) as one:  # the one of the API does not come back when the file forgets it
        assert settings((await started(one))[0]) == {}


async def test_a_stored_stream_that_cannot_be_used_is_skipped(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async with running(place()) as one:
        _, kept = await started(one)
        await changed(kept.add, Stream(id="a", uri="a.mp4"))
        await changed(kept.add, Stream(id="b", uri="b.mp4"))
    async with running(place()) as one:
        cameras = KeptCameras(Stream(id="a", uri="other.mp4"))  # the id is in use
        await add_stored(cameras, one.store, [], checking(cameras))
        assert set(settings(cameras)) == {"a", "b"}
    assert "camera a from the store is not started" in caplog.text


async def test_what_clients_may_no_longer_add_is_skipped(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "inside").mkdir()
    async with running(place()) as one:
        _, kept = await started(one)
        await changed(kept.add, Stream(id="a", uri=str(tmp_path / "inside" / "a.mp4")))
        await changed(kept.add, Stream(id="b", uri=str(tmp_path / "b.mp4")))
    async with running(place()) as one:
        cameras = KeptCameras(sources=Sources(folders=(str(tmp_path / "inside"),)))
        await add_stored(cameras, one.store, [], checking(cameras))
        assert set(settings(cameras)) == {"a"}
    assert "camera b from the store is not started: settings.uri: " in caplog.text


async def test_while_the_store_does_not_work_no_stream_is_changed(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    async with running(StoreConfig(folder=str(folder), commit_within_s=WAIT_S)) as one:
        cameras, kept = await started(one)
        await changed(kept.add, Stream(id="a", uri="a.mp4"))
        one.put(summary("t1"))
        await one.settle()
        with small_files((folder / "store.sqlite-wal").stat().st_size + 100):
            for change in (
                (kept.add, Stream(id="b", uri="b.mp4")),
                (kept.replace, Stream(id="a", uri="other.mp4")),
                (kept.remove, "a"),
            ):
                with pytest.raises(LostDependency, match="the store does not work now, so nothing was changed"):
                    await changed(*change)
        assert settings(cameras) == {"a": ("a.mp4", None)}
