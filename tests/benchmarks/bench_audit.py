"""The audit of a large gallery: 10,000 people with 10 references each, and 50,000 past tracks, of which two of five
show strangers. Vectors are made in 128 dimensions, as those of the bundled model are to 99.99 % of their length.

`audit`: all of `audited`, without reading the store, `memory`: what it adds to the gallery and what it is made from.
It is computed by one thread of its own. `live`: the search that decides about one track, twenty times a second on the
event loop, before an audit and during one, and how late the loop wakes for it (median, 99 of 100, longest).

Limits: people and past tracks are made up, so this says how long the audit of such a gallery takes, and nothing of how
good it is (accuracy_strangers.py does). Vectors that fill 512 dimensions take longer. The time grows with the square
of the references: ten times as many take about a hundred times as long. The times depend on what else the machine does.
"""

import asyncio
import resource
import statistics
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from streamer.config import Gallery as Settings
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.identification import EnrolledGallery
from streamer.identity.impostors import threshold
from streamer.people.apart import in_background
from streamer.people.audit import Audit, audited
from streamer.people.track_faces import TrackFace
from streamer.values import Floats, IdentityDecision, IdentityStatus, ImpostorScores

PEOPLE, EACH, TRACKS = 10_000, 10, 50_000
STRANGERS = ImpostorScores(10**8, 10**4, np.array([1e-7, 1e-4, 0.5, 1.0]), np.array([0.5, 0.33, 0.0, -1.0]), "made")
TWICE = 50  # people who are enrolled a second time
EVERY_S = 0.05
BEFORE_S = 5.0
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def measure() -> dict[str, Any]:
    """How long it takes, and what it does to live decisions."""
    dice = np.random.default_rng(0)
    basis = np.linalg.qr(dice.standard_normal((512, 128)))[0].astype(np.float32)
    near = dice.standard_normal((PEOPLE, 128), np.float32)
    near[-TWICE:] = near[:TWICE]
    images = {f"p{n:05}": _references(f"p{n:05}", one, dice, basis) for n, one in enumerate(near)}
    faces = list(_faces(near, dice, basis))
    gallery = Gallery(images, "m")
    gallery.prepare()
    settings = Settings()
    cosine = threshold(STRANGERS, settings.false_accept_rate, PEOPLE, "gallery.false_accept_rate")
    known = EnrolledGallery(gallery, cosine)
    references = [one for some in images.values() for one in some]
    return asyncio.run(_measure(settings, known, references, faces))


def table(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['references']:,} references, {figures['tracks']:,} past tracks",
        f"audit: {figures['cpu_s']:.1f} s of processor time, {figures['wall_s']:.1f} s in all; "
        f"memory {figures['memory_gb']:.2f} GB; {figures['pairs']} pairs found of {TWICE} planted",
        "live                 search ms                  late ms",
        "              median    99 %     max    median    99 %     max",
    ]
    for name in ("before", "during"):
        one = figures[name]
        lines.append(f"{name:<10}" + "".join(f"{value:>8.1f}" + "  " * (at == 2) for at, value in enumerate(one)))
    return "\n".join(lines)


async def _measure(
    settings: Settings,
    known: EnrolledGallery,
    references: list[EmbeddedReference],
    faces: list[tuple[datetime, TrackFace]],
) -> dict[str, Any]:
    before = await _live(known, faces, asyncio.create_task(asyncio.sleep(BEFORE_S)))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), list[float]()

    def work() -> Audit:
        at = time.thread_time()
        found = audited(settings, known, STRANGERS, references, faces)
        cpu.append(time.thread_time() - at)
        return found

    audit = asyncio.create_task(in_background(work))
    during = await _live(known, faces, audit)
    return {
        "references": len(references),
        "tracks": len(faces),
        "pairs": len((await audit).pairs),
        "cpu_s": cpu[0],
        "wall_s": time.perf_counter() - began,
        "memory_gb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1e6,
        "threads": threading.active_count(),
        "before": before,
        "during": during,
    }


async def _live(
    known: EnrolledGallery, faces: list[tuple[datetime, TrackFace]], until: asyncio.Task[Any]
) -> list[float]:
    """Search by one track after the other until a task ends; return durations and delays in ms."""
    searches, late, row = list[float](), list[float](), 0
    while not until.done():
        due = time.perf_counter() + EVERY_S
        await asyncio.sleep(EVERY_S)
        now = time.perf_counter()
        template = faces[row % len(faces)][1].template
        assert template is not None
        known.gallery.search(template, 3)
        searches.append(1000 * (time.perf_counter() - now))
        late.append(1000 * (now - due))
        row += 1
    return [
        figure
        for some in (searches, late)
        for figure in (statistics.median(some), float(np.quantile(some, 0.99)), max(some))
    ]


def _references(name: str, near: Floats, dice: np.random.Generator, basis: Floats) -> list[EmbeddedReference]:
    vectors = (near + 0.6 * dice.standard_normal((EACH, 128), np.float32)) @ basis.T
    return [EmbeddedReference(name, f"{name}/{at}", one, 0.5 + 0.04 * at) for at, one in enumerate(vectors)]


def _faces(near: Floats, dice: np.random.Generator, basis: Floats) -> Any:
    """Yield past tracks: of 5,000 people, and of strangers of whom each comes five times."""
    strangers = dice.standard_normal((TRACKS // 12, 128), np.float32)
    for number in range(TRACKS):
        stranger = number % 5 < 2
        person = int(dice.integers(0, len(strangers) if stranger else PEOPLE // 2))
        vector = (strangers if stranger else near)[person] + 0.6 * dice.standard_normal(128, np.float32)
        template = basis @ (vector / np.linalg.norm(vector))
        decision = (
            None
            if stranger
            else IdentityDecision(
                IdentityStatus.IDENTIFIED, f"p{person}", None, (), 0.1, 0.5, 9, 0.7, 1, person_id=f"p{person:05}"
            )
        )
        at = NOW - timedelta(days=84) * (1 - number / TRACKS)
        yield at, TrackFace(f"t{number}", f"c{number % 8}", (f"t{number}",), "m", 9, 0.7, template, decision)
