"""Kill a streamer's store while people are enrolled and erased, again and again, and look for half a person.

`python -m tests.benchmarks.people_drill --rounds 100` does so on SQLite and on PostgreSQL: a process enrols people with
two references each and erases them, and is killed with SIGKILL at a random moment; on PostgreSQL a second streamer
does the same meanwhile and goes on. After each round all people are read: each has both references and a key that
opens them, an erased one has neither key, reference nor name, and the second streamer has the same people in memory as
the database. `together` enrols, searches and erases at the same time, and each search must find who was enrolled before
it began and nobody who was erased before it began. The last line of each is JSON. Returns 1 if something is wrong.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from streamer.config import Store as StoreConfig
from streamer.config import StreamerConfig
from streamer.people.book import Book, Draft
from streamer.people.curator import Curator, new_id
from streamer.people.entries import Action
from streamer.people.live import LiveGallery, Workers
from streamer.people.stored import StoredReference
from streamer.store.tables import ledger, person_keys, person_references
from streamer.values import Floats, ImpostorScores, Model
from tests.support.patience import WAIT_S
from tests.support.postgres import Postgres, programs
from tests.support.stored import running

SEED = 1
LONGEST_S = 0.05  # between the beginning of a change and the kill
MOST_CHANGES = 4  # of a process before it is killed
TOGETHER_S = 10.0
KEPT = 2  # people whom a process leaves
STRANGERS = ImpostorScores(10**9, 10**5, np.array([1e-8, 1.0]), np.array([0.6, -1.0]), "drill")
MODEL = Model("m", False, False, (), True, impostors=STRANGERS)
FORKS = get_context("forkserver")  # a process is there at once, with all modules
FORKS.set_forkserver_preload(["streamer.people.curator", "tests.support.stored"])


def vector_of(name: str) -> Floats:
    """The face of a person, of unit length."""
    found = np.random.default_rng([*name.encode()]).standard_normal(512)
    return np.asarray(found / np.linalg.norm(found), np.float32)


def person(count: int = 2) -> tuple[list[Draft], list[tuple[StoredReference, bytes]]]:
    """The entries of a new person, and the references."""
    who = new_id()
    made = [
        StoredReference(new_id(), who, MODEL.id, "IMAGE", 0.5, vector_of(who), True, {"file": who}, datetime.now(UTC))
        for _ in range(count)
    ]
    created = Draft(Action.CREATE, who, {"name": f"Name {who}", "labels": [], "metadata": {}})
    enrolled = Draft(Action.ENROL, who, {"references": [one.reference_id for one in made]})
    return [created, enrolled], [(one, b"jpeg" * 500) for one in made]


@asynccontextmanager
async def curating(config: StoreConfig) -> AsyncIterator[Curator]:
    """The people of a store as a streamer has them, recognised by references without a worker."""

    async def model() -> Model:
        return MODEL

    async def analyse(crops: Any) -> Any:
        raise AssertionError(f"{len(crops)} crops of nobody")

    async with running(config) as one:
        workers = Workers(analyse, lambda: [MODEL], model, lambda: False)
        live = LiveGallery(StreamerConfig(store=config), [], [], workers, lambda *_: None)
        curator = Curator(one.store, live)
        await curator.open()
        tasks = [asyncio.create_task(curator.run()), asyncio.create_task(live.run())]
        try:
            yield curator
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await curator.changing.close()


async def change(curator: Curator, mine: list[str]) -> None:
    """Enrol a person, and erase one if there are enough."""
    drafts, references = person()
    async with curator.changing:
        await curator.write("drill", drafts, references)
    mine.append(drafts[0].person_id)
    if len(mine) > KEPT:
        gone = mine.pop(0)
        async with curator.changing:
            await curator.book.erase("drill", [gone])
            curator.after_change(Action.ERASE, gone)


def work(config: str, says: Connection) -> None:
    """Change people until killed."""

    async def changing() -> None:
        async with curating(StoreConfig.model_validate_json(config)) as curator:
            mine = list(curator.book.people.people)
            while True:
                says.send("a change begins")
                await change(curator, mine)

    asyncio.run(changing())


async def halves(book: Book) -> list[str]:
    """What is wrong with the people of a store."""
    wrong = list[str]()
    async with book.store.database.reading(one_moment=True) as connection:
        keys = set(await connection.scalars(select(person_keys.c.owner)))
        rows = (await connection.execute(select(person_references.c.reference_id, person_references.c.person_id))).all()
        entries = (await connection.execute(select(ledger).order_by(ledger.c.id))).all()
    fresh = Book(book.store)
    await fresh.open()  # each key opens what is stored under it
    people = fresh.people
    for name, one in people.people.items():
        there = [row.reference_id for row in rows if row.person_id == name]
        if len(one.references) != 2 or {*one.references} != {*there} or name not in keys:
            wrong.append(f"half a person: {name}")
    wrong += [f"a reference of nobody: {row.reference_id}" for row in rows if row.person_id not in people.people]
    wrong += [f"a key of nobody: {name}" for name in keys if name not in people.people and name != "templates"]
    left = [row.id for row in entries if row.person_id in people.erased and row.payload]
    wrong += [f"entries of an erased person: {number}" for number in left]
    if [row.id for row in entries] != list(range(1, len(entries) + 1)):
        wrong.append("holes in the ledger")
    return wrong


async def killed(first: StoreConfig, second: StoreConfig | None, rounds: int) -> dict[str, Any]:
    """Kill a process again and again; `second` is that of a streamer that goes on."""
    dice, wrong, began = random.Random(SEED), list[str](), time.monotonic()
    entries = changes = 0
    async with AsyncExitStack() as closing:
        other = await closing.enter_async_context(curating(second)) if second is not None else None
        mine = list[str]()
        for number in range(rounds):
            ready, says = FORKS.Pipe(duplex=False)
            process = FORKS.Process(target=work, args=(first.model_dump_json(), says), daemon=True)
            await asyncio.to_thread(process.start)
            if not await asyncio.to_thread(ready.poll, WAIT_S):
                wrong.append(f"round {number}: it does not start")
            for _ in range(dice.randint(1, MOST_CHANGES)):
                await asyncio.to_thread(ready.poll, WAIT_S)
                ready.recv()  # a change begins
                if other is not None:
                    await change(other, mine)
                    changes += 1
            await asyncio.sleep(dice.uniform(0, LONGEST_S))
            process.kill()  # SIGKILL
            await asyncio.to_thread(process.join)
            if other is not None:
                await change(other, mine)  # the lock of the killed one is given back
                await other.changing.take_in()
                wrong += [f"round {number}: {one}" for one in await halves(other.book)]
                fresh = Book(other.book.store)
                await fresh.open()
                if fresh.people != other.book.people or fresh.references.keys() != other.book.references.keys():
                    wrong.append(f"round {number}: what is in memory differs from the database")
                entries = len(fresh.entries)
            else:
                async with running(first) as one:
                    book = Book(one.store)
                    await book.open()
                    wrong += [f"round {number}: {one}" for one in await halves(book)]
                    entries = len(book.entries)
    found = {"rounds": rounds, "entries": entries, "wrong": len(wrong), "seconds": round(time.monotonic() - began, 1)}
    return {**found, "by_the_other": changes, "examples": wrong[:5]}


async def together(config: StoreConfig, seconds: float) -> dict[str, Any]:
    """Enrol, search and erase at the same time, and check each answer."""
    known, erased, wrong = dict[str, float](), dict[str, float](), list[str]()
    counts = {"enrolled": 0, "searched": 0, "erased": 0}
    async with curating(config) as curator:
        until = time.monotonic() + seconds

        def goes_on() -> bool:
            return time.monotonic() < until or not counts["searched"]  # a loaded machine may be slow to begin

        async def enrol() -> None:
            while goes_on():
                drafts, references = person()
                async with curator.changing:
                    await curator.write("drill", drafts, references)
                await curator.live.settled(60)
                known[drafts[0].person_id] = time.monotonic()
                counts["enrolled"] += 1

        async def erase() -> None:
            while goes_on():
                if len(known) > 20:
                    gone = next(iter(known))
                    known.pop(gone)
                    async with curator.changing:
                        await curator.book.erase("drill", [gone])
                        curator.after_change(Action.ERASE, gone)
                    await curator.live.settled(60)
                    erased[gone] = time.monotonic()
                    counts["erased"] += 1
                await asyncio.sleep(0.005)

        async def search() -> None:
            dice = random.Random(SEED)
            while goes_on():
                if known:
                    wanted, gone = dice.choice([*known]), dice.choice([*erased]) if erased else ""
                    gallery = curator.live.known
                    assert gallery is not None
                    best = gallery.gallery.search(vector_of(wanted), 1)
                    if wanted in known and (not best or best[0].person != wanted):
                        wrong.append(f"{wanted} is not found")
                    if gone and any(one.person == gone for one in gallery.gallery.search(vector_of(gone), 3)):
                        wrong.append(f"{gone} is found, and was erased")
                    counts["searched"] += 1
                await asyncio.sleep(0)

        await asyncio.gather(enrol(), enrol(), enrol(), erase(), search())
        wrong += await halves(curator.book)
    return {"seconds": seconds, **counts, "wrong": len(wrong), "examples": wrong[:5]}


async def run(drill: str, store: str, rounds: int) -> dict[str, Any]:
    """Run one drill on one store."""
    with tempfile.TemporaryDirectory(prefix="people-drill-") as folder:
        if store == "sqlite":
            first, second = StoreConfig(folder=str(Path(folder) / "store"), commit_within_s=60), None
            return await (killed(first, second, rounds) if drill == "killed" else together(first, TOGETHER_S))
        with Postgres() as server:
            url = server.database()
            first = StoreConfig(url=url, streamer="a", commit_within_s=60)
            second = StoreConfig(url=url, streamer="b", commit_within_s=60)
            return await (killed(first, second, rounds) if drill == "killed" else together(first, TOGETHER_S))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="kills of each store (100)")
    parser.add_argument("--store", choices=["sqlite", "postgres"], help="only this one")
    chosen = parser.parse_args()
    failed = False
    there = ["sqlite", *(["postgres"] if programs() is not None else [])]
    for store in [chosen.store] if chosen.store else there:
        for drill in ("killed", "together"):
            found = asyncio.run(run(drill, store, chosen.rounds))
            print(json.dumps({"store": store, "drill": drill, **found}), flush=True)
            failed |= found["wrong"] > 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
