"""What is too much: huge images, bombs, too many references; and what a kill leaves."""

import asyncio
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from grpc import aio

from faceanalytics.v1 import gallery_pb2
from streamer.config import Store
from streamer.people import enrolling
from streamer.people.book import Book
from streamer.people.entries import Action
from tests.support.painted_people import person, write_image
from tests.support.patience import WAIT_S
from tests.support.recognising import recognising, settings
from tests.support.stored import running

Place = Callable[..., Store]


def png_bomb(path: Path, side: int) -> Path:
    """A PNG of some kilobytes that claims to have side x side pixels, all black."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = zlib.compress(bytes(side // 8 + 1) * 100, 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return path


async def test_images_that_are_too_large_are_refused_one_by_one(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "ada.png", [person(1)])
    bomb, large = png_bomb(tmp_path / "bomb.png", 60_000), png_bomb(tmp_path / "large.png", 14_200)  # 200 megapixels
    async with recognising(settings(tmp_path, place())) as client:
        ada = await client.create("Ada")
        answer = await client.add(ada.person_id, bomb, large, tmp_path / "ada.png")
        assert "megapixels" in answer.results[0].reason
        assert "megapixels" in answer.results[1].reason
        assert answer.results[2].reference_id
        monkeypatch.setattr("streamer.api.gallery_files.MOST_BYTES", 1000)
        with pytest.raises(aio.AioRpcError, match="a file of more than"):
            await client.add(ada.person_id, tmp_path / "ada.png")
        monkeypatch.undo()
        monkeypatch.setattr(enrolling, "MOST_REFERENCES", 1)
        write_image(tmp_path / "bob.png", [person(2)])
        full = (await client.add(ada.person_id, tmp_path / "bob.png")).results[0]
        assert "which is the most a person may have" in full.reason
        small = gallery_pb2.SearchPeopleRequest(image=b"no image")
        with pytest.raises(aio.AioRpcError, match="not an image"):
            await client.gallery.SearchPeople(small)


KILLED = """
import asyncio, sys
import numpy as np
from datetime import UTC, datetime
from pathlib import Path
from streamer.config import Store
from streamer.people.book import Book, Draft, StoredReference
from streamer.people.curator import new_id
from streamer.people.entries import Action
from tests.support.stored import running

async def main():
    async with running(Store.model_validate_json(sys.argv[1])) as one:
        book = Book(one.store)
        await book.open()
        print("ready", flush=True)
        while True:
            who = new_id()
            created = Draft(Action.CREATE, who, {"name": "N", "labels": [], "metadata": {}})
            vector = np.ones(512, np.float32)
            parts = (who, "m", "IMAGE", 0.5, vector, True, {}, datetime.now(UTC))
            made = [StoredReference(new_id(), *parts) for _ in "ab"]
            ids = {"references": [each.reference_id for each in made]}
            await book.append("me", [created, Draft(Action.ENROL, who, ids)], [(each, b"jpeg" * 500) for each in made])
            people = list(book.people.people)
            if len(people) > 3:
                await book.erase("me", people[:1])

asyncio.run(main())
"""


async def test_a_kill_never_leaves_half_a_person(place: Place) -> None:
    config = place(commit_within_s=WAIT_S)
    for number in range(3):
        command = [sys.executable, "-c", KILLED, config.model_dump_json()]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        assert process.stdout is not None
        assert (await asyncio.to_thread(process.stdout.readline)).strip() == "ready"
        await asyncio.sleep(0.05 + 0.06 * number)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(WAIT_S)
        process.stdout.close()
        async with running(config) as one:
            book = Book(one.store)
            await book.open()  # every key opens what is stored under it
            for who in book.people.people.values():
                assert len(who.references) == 2
                assert all(name in book.references for name in who.references)
            whole = {entry.person_id for entry in book.entries if entry.action is Action.ENROL}
            assert {entry.person_id for entry in book.entries if entry.action is Action.CREATE} == whole
            there = {one.person_id for one in book.references.values()}
            assert there == set(book.people.people)
            assert not there & book.people.erased
