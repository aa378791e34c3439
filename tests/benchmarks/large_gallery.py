"""One change of a large gallery: a part of the benchmark `Search`."""

import asyncio
import resource
import statistics
import time
from datetime import UTC, datetime

import numpy as np

from streamer.config import Store as StoreConfig
from streamer.config import StreamerConfig
from streamer.identity.identification import EnrolledGallery
from streamer.people.book import Book
from streamer.people.entries import Action, Entry
from streamer.people.growing import Growing
from streamer.people.ledger import ALL, Ledger
from streamer.people.recognition import FolderPeople
from streamer.people.stored import StoredReference
from streamer.values import Floats, ImpostorScores, Model

STRANGERS = ImpostorScores(10**12, 10**6, np.array([1e-11, 1.0]), np.array([0.6, -1.0]), "benchmark")
MODEL = Model("m", False, False, (), True, impostors=STRANGERS)
CHANGES = 20
NOW = datetime(2030, 1, 1, tzinfo=UTC)
NOBODY = FolderPeople((), {}, ())


def measure(people: int, each: int) -> dict[str, float]:
    """Change a gallery of some people with as many references each, in memory: the store is not measured."""
    return asyncio.run(_measure(people, each))


def table(one: dict[str, float]) -> list[str]:
    """Return the lines of the table."""
    return [
        f"gallery of {one['references']:,.0f}    change ms   loop stands ms   search ms   as a whole s   memory GB",
        f"{'median':<24}{one['change_ms']:>12.1f}{one['stall_ms']:>17.1f}{one['search_ms']:>12.1f}"
        f"{one['whole_s']:>15.1f}{one['memory_gb']:>12.1f}",
        f"{'largest':<24}{one['worst_change_ms']:>12.1f}{one['worst_stall_ms']:>17.1f}",
    ]


async def _measure(people: int, each: int) -> dict[str, float]:
    dice = np.random.default_rng(0)
    basis = np.linalg.qr(dice.standard_normal((512, 128)))[0].astype(np.float32)
    book, entries = Book.__new__(Book), list[Entry]()
    book.references, book.touched, made = {}, {ALL}, list[StoredReference]()
    for number in range(people):
        new, references = _person(dice, basis, f"p{number}", each, len(entries) + 1)
        entries += new
        made += references
    book.references = {one.reference_id: one for one in made}
    book._ledger = Ledger(entries)
    growing = Growing(StreamerConfig(store=StoreConfig(folder="unused")))
    began = time.process_time()
    known, _ = await growing.renewed(MODEL, NOBODY, book)
    whole = time.process_time() - began
    changes, stalls, searches = list[float](), list[float](), list[float]()
    for number in range(CHANGES):
        new, references = _person(dice, basis, f"q{number}", each, book._ledger.newest() + 1)
        stop = asyncio.Event()
        watching = asyncio.create_task(_longest_stall(stop))
        await asyncio.sleep(0.02)
        began = time.perf_counter()
        book.references |= {one.reference_id: one for one in references}
        for entry in new:
            book.touched |= book._ledger.add([entry])
        known, _ = await growing.renewed(MODEL, NOBODY, book)
        changes.append(time.perf_counter() - began)
        await asyncio.sleep(0)
        stop.set()
        stalls.append(await watching)
        searches.append(_search(known, references[0].embedding, f"q{number}"))
    return {
        "references": people * each,
        "change_ms": 1000 * statistics.median(changes),
        "worst_change_ms": 1000 * max(changes),
        "stall_ms": 1000 * statistics.median(stalls),
        "worst_stall_ms": 1000 * max(stalls),
        "search_ms": 1000 * statistics.median(searches),
        "whole_s": whole,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def _person(
    dice: np.random.Generator, basis: Floats, who: str, each: int, entry: int
) -> tuple[list[Entry], list[StoredReference]]:
    near = dice.standard_normal(128, np.float32)
    vectors = (near + 0.6 * dice.standard_normal((each, 128), np.float32)) @ basis.T
    references = [
        StoredReference(f"{who}-{at}", who, MODEL.id, "IMAGE", 0.5, vector, False, {}, NOW)
        for at, vector in enumerate(vectors)
    ]
    created = Entry(entry, NOW, "", Action.CREATE, who, {"name": who, "labels": [], "metadata": {}})
    enrolled = Entry(entry + 1, NOW, "", Action.ENROL, who, {"references": [one.reference_id for one in references]})
    return [created, enrolled], references


def _search(known: EnrolledGallery, vector: Floats, who: str) -> float:
    """Return the time to find the person who was enrolled last."""
    probe = vector / np.float32(np.linalg.norm(vector))
    began = time.perf_counter()
    found = known.gallery.search(probe, 3)
    assert found[0].person == who
    return time.perf_counter() - began


async def _longest_stall(stop: asyncio.Event) -> float:
    longest, before = 0.0, time.perf_counter()
    while not stop.is_set():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, before = max(longest, now - before - 0.001), now
    return longest
