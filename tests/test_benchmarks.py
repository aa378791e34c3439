"""The parts of the benchmarks that everybody's numbers depend on."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.benchmarks.__main__ import title_of
from tests.benchmarks.pipeline_stages import ORDER, OTHER, profile
from tests.benchmarks.stage_clock import Spent, StageClock, Usage, difference


class Work:
    """Spends CPU time, and waits."""

    def outer(self) -> None:
        spend()
        self.inner()

    def inner(self) -> None:
        spend()
        spend()

    def items(self) -> Iterator[int]:
        spend()
        yield 1
        spend()

    async def answer(self) -> int:
        spend()
        await asyncio.sleep(0)
        return 42


def spend() -> None:
    """Use 20 ms of CPU time, however busy the machine is."""
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass


@pytest.fixture
def clock() -> Iterator[StageClock]:
    clock = StageClock()
    yield clock
    clock.detach()


def test_a_stage_is_counted_without_the_stages_inside_it(clock: StageClock) -> None:
    clock.attach("outer", Work, "outer")
    clock.attach("inner", Work, "inner")
    Work().outer()
    stages = clock.usage().stages
    assert stages["outer"].cpu == pytest.approx(0.02, abs=0.01)
    assert stages["inner"].cpu == pytest.approx(0.04, abs=0.01)


def test_a_stage_can_be_counted_with_all_that_it_calls(clock: StageClock) -> None:
    clock.attach("outer", Work, "outer", whole=True)
    clock.attach("inner", Work, "inner")
    Work().outer()
    assert clock.usage().stages["outer"].cpu == pytest.approx(0.06, abs=0.015)


def test_generators_and_coroutines_are_counted_only_while_they_run(clock: StageClock) -> None:
    clock.attach("items", Work, "items")
    clock.attach("answer", Work, "answer")

    async def both() -> tuple[int, int]:
        first, second = await asyncio.gather(Work().answer(), Work().answer())
        return first, second

    for _ in Work().items():
        spend()
    assert asyncio.run(both()) == (42, 42)
    stages = clock.usage().stages
    assert stages["items"].cpu == pytest.approx(0.04, abs=0.01)
    assert stages["answer"].cpu == pytest.approx(0.04, abs=0.01)
    assert stages["answer"].calls == 2


def test_detaching_puts_the_functions_back() -> None:
    clock, before = StageClock(), Work.inner
    clock.attach("inner", Work, "inner")
    assert Work.inner is not before
    clock.detach()
    assert Work.inner is before


def test_a_profile_sums_to_the_whole() -> None:
    before = Usage(cpu=1.0, wall=5.0, stages={"track": Spent(0.5, 0.6, 3)}, python={"observe": 0.6})
    after = Usage(
        cpu=3.0,
        wall=9.0,
        stages={"track": Spent(1.0, 1.2, 6)},
        python={"observe": 1.4, "metrics": 0.1},
        in_stages={"observe": 0.5},
        native={"detector": 0.4, "unknown": 0.05},
    )
    rows = profile(difference(before, after), worker_s=0.5, frames=10)
    assert rows["track"]["cpu_ms"] == pytest.approx(50)
    assert rows["observe, the rest"]["cpu_ms"] == pytest.approx(30)
    assert rows["detector: network"]["cpu_ms"] == pytest.approx(40)
    assert rows["face model"]["cpu_ms"] == pytest.approx(50)
    assert rows[OTHER]["cpu_ms"] == pytest.approx(80)  # the metrics, a thread of unknown name, and what was not seen
    assert rows["total"]["cpu_ms"] == pytest.approx(250)
    assert sum(rows[stage]["cpu_ms"] for stage in ORDER) == pytest.approx(250)


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("Whole pipeline", "Whole pipeline"),
        ("pipeline", "Whole pipeline"),
        ("swinface", "SwinFace"),
        ("TRACKERS", "Trackers"),
    ],
)
def test_a_benchmark_is_found_by_its_words(words: str, title: str) -> None:
    assert title_of(words) == title


@pytest.mark.parametrize(("words", "message"), [("track", "name one of"), ("nothing like it", "unknown: nothing")])
def test_words_that_name_no_single_benchmark_are_refused(words: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        title_of(words)
