"""Which crops are sent: the best first, each face in time, never more than the budget. Time is a value here."""

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from streamer.config import Schedule
from streamer.select.budget import Budget
from streamer.select.gain import UNKNOWN, ModelOutputs, after, expected_gain
from streamer.select.scheduler import HURRY_S, Scheduler
from streamer.values import FaceCrop, Model, SendDecision
from tests.support.builders import crop

FRAME_S = 0.04


def film(
    scheduler: Scheduler, faces: dict[str, tuple[float, float]], end: float, seed: int = 0
) -> Iterator[tuple[float, FaceCrop]]:
    """Faces in view between two times in seconds, of random quality; each crop with the time at which it is sent."""
    dice = random.Random(seed)
    for index in range(round(end / FRAME_S)):
        now = index * FRAME_S
        for name, (first, last) in faces.items():
            if first <= now <= last:
                scheduler.keep(crop(name, now, dice.uniform(0.1, 0.9)), now)
        for sent, _ in scheduler.choose(now):
            yield now, sent


def test_a_face_is_sent_at_once_and_then_less_and_less_often_but_for_its_expression() -> None:
    sent = [now for now, _ in film(Scheduler(Schedule()), {"a": (0, 60)}, 60)]
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert sent[0] == 0
    assert gaps[0] == pytest.approx(0.5, abs=0.05)  # per_track_per_second: 2
    assert max(gaps) < 1.5
    assert sum(gaps[-10:]) > sum(gaps[:10])
    assert len(sent) <= 60 / FRAME_S / 10  # a tenth of the frames


def test_of_each_face_the_best_crop_of_the_last_moments_is_sent() -> None:
    scheduler = Scheduler(Schedule(choose_s=0.3, per_track_per_second=2.5))
    scheduler.keep(crop("a", 0.0, 0.5), 0.0)
    assert len(scheduler.choose(0.0)) == 1
    for index, quality in enumerate([0.3, 0.8, 0.4, 0.7]):  # 0.1 s apart, in the time before it may be sent again
        decision = scheduler.keep(crop("a", 0.15 + index / 10, quality), 0.15 + index / 10)
        assert decision is (SendDecision.BETTER_CROP if quality in (0.4, 0.7) else None)
        sent = scheduler.choose(0.15 + index / 10)
    ((best, gain),) = sent
    assert (best.quality.value, best.media_time) == (0.8, 0.25)
    assert gain >= 1


def test_a_first_answer_comes_within_its_bound_if_the_budget_suffices_and_nobody_starves_if_not() -> None:
    settings = Schedule(analyses_per_second=4, first_answer_s=0.5)
    old = {f"old{index:02}": (0.0, 30.0) for index in range(20)}
    new = {f"new{index:02}": (10.0 + index / 2, 30.0) for index in range(30)}  # two new faces per second
    first: dict[str, float] = {}
    for now, sent in film(Scheduler(settings), old | new, 30):
        first.setdefault(sent.key.id, now)
    assert sorted(first) == sorted(old | new)
    assert max(first[name] for name in old) < 20 / 4 + 1
    assert max(first[name] - start for name, (start, _) in new.items()) <= 0.5 + 2 * FRAME_S


def test_a_brief_visitor_is_analysed_after_it_has_left() -> None:
    scheduler = Scheduler(Schedule(analyses_per_second=1))
    faces = {"a": (0.0, 9.0), "b": (0.0, 9.0), "c": (0.0, 0.1)}
    sent = [(now, face.key.id) for now, face in film(scheduler, faces, 9)]
    (late,) = [now for now, name in sent if name == "c"]
    assert 0.5 < late < 2


@pytest.mark.parametrize("rate", [0.7, 3.0, 20.0])
def test_the_budget_is_never_exceeded_in_any_time(rate: float) -> None:
    faces = {f"{index:02}": (index / 10, 20.0) for index in range(40)}
    times = [now for now, _ in film(Scheduler(Schedule(analyses_per_second=rate)), faces, 20)]
    assert len(times) >= rate * 19  # and it is used
    burst = max(2, rate / 4)
    for index, begin in enumerate(times):
        for count, until in enumerate(times[index:], 1):
            assert count <= rate * (until - begin) + burst + 1e-6


def test_those_who_gain_most_go_first() -> None:
    scheduler = Scheduler(Schedule(analyses_per_second=2))
    for name, quality in (("poor", 0.1), ("good", 0.9), ("fair", 0.5)):
        scheduler.keep(crop(name, 0.0, quality), 0.0)
    assert [sent.key.id for sent, _ in scheduler.choose(0.0)] == ["good", "fair"]
    assert scheduler.why_not("poor", 0.0) is SendDecision.BUDGET
    assert [sent.key.id for sent, _ in scheduler.choose(0.6)] == ["poor"]


def test_an_analysis_is_worth_more_the_better_the_crop_and_the_older_and_fewer_the_answers() -> None:
    settings = Schedule()
    beliefs = [UNKNOWN]
    for index in range(5):
        beliefs.append(after(beliefs[-1], float(index), 0.5))
    gains = [expected_gain(belief, 10.0, 0.5, settings, ModelOutputs()) for belief in beliefs]
    assert gains == sorted(gains, reverse=True)
    assert expected_gain(beliefs[1], 10.0, 0.9, settings, ModelOutputs()) > expected_gain(
        beliefs[1], 10.0, 0.5, settings, ModelOutputs()
    )
    assert expected_gain(beliefs[1], 2.0, 0.5, settings, ModelOutputs()) > expected_gain(
        beliefs[1], 0.1, 0.5, settings, ModelOutputs()
    )
    assert expected_gain(beliefs[1], 0.0, 0.5, settings, ModelOutputs()) == 0  # the very image that was analysed


def test_an_output_that_no_worker_has_adds_no_gain() -> None:
    settings, each = Schedule(), [ModelOutputs(*(place == which for place in range(3))) for which in range(3)]
    alone = [expected_gain(UNKNOWN, 1.0, 0.5, settings, which) for which in each]
    assert min(alone) > 1
    assert sum(alone) == pytest.approx(expected_gain(UNKNOWN, 1.0, 0.5, settings, ModelOutputs()))
    scheduler = Scheduler(settings)
    scheduler.outputs = ModelOutputs(age=True, expression=False, identity=False)
    ages = [now for now, _ in film(scheduler, {"a": (0, 60)}, 60)]
    assert 2 < len(ages) < len(list(film(Scheduler(settings), {"a": (0, 60)}, 60))) / 3
    assert ages[-1] < 30  # the age is known, and it does not change


def test_the_outputs_of_any_worker_count() -> None:
    age, identity = Model("a", True, False, (), False), Model("b", False, False, (3,), True)
    assert ModelOutputs.union([age, identity]) == ModelOutputs(age=True, expression=False, identity=True)
    assert ModelOutputs.union([]) == ModelOutputs.union([Model("c", False, False, (3,), False)]) == ModelOutputs()


def test_the_same_film_is_decided_the_same() -> None:
    faces = {f"{index:02}": (index / 10, 10.0) for index in range(20)}

    def run() -> list[tuple[float, str, float]]:
        scheduler = Scheduler(Schedule(analyses_per_second=7))
        return [(now, face.key.id, face.media_time) for now, face in film(scheduler, faces, 10, seed=3)]

    assert run() == run()


def test_a_lost_crop_counts_as_not_sent_and_a_track_waits_for_the_answer_to_its_last_one() -> None:
    scheduler = Scheduler(Schedule(), live=True)
    scheduler.keep(crop("a", 0.0, 0.5), 100.0)
    assert scheduler.choose(100.0) == []  # nobody is there to answer
    scheduler.budget.workers(1)
    assert len(scheduler.choose(100.1)) == 1
    scheduler.keep(crop("a", 1.0, 0.9), 101.0)
    assert scheduler.choose(101.0) == []
    assert scheduler.why_not("a", 101.0) is SendDecision.TOO_SOON
    scheduler.lost("a", 101.1)
    assert scheduler.expected_gain("a", 1.0, 0.5) == expected_gain(UNKNOWN, 1.0, 0.5, Schedule(), ModelOutputs())
    assert len(scheduler.choose(101.2)) == 1
    scheduler.forget("a")
    scheduler.answered("a", 101.3)  # an answer to a track that has ended


@pytest.mark.parametrize(("capacity", "batch"), [(1.0, 1), (5.0, 4), (40.0, 16), (400.0, 16)])
def test_live_the_budget_finds_what_the_workers_answer_in_time(capacity: float, batch: int) -> None:
    """One worker takes up to `batch` waiting crops at once, and 1 / capacity s for each; there is always demand."""
    budget, answer_s = Budget(None, 0.5), 0.5
    budget.workers(1)
    waiting: list[tuple[float, int]] = []  # sent when, how many others were out then
    taken: list[tuple[float, int]] = []
    free = 0.0
    late = done = 0
    for tick in range(60 * 50):
        now = tick / 50
        if taken and now >= free:
            for sent, others in taken:
                budget.answered(sent, others, now)
                if now > 30:
                    done += 1
                    late += now - sent > max(1.5 * answer_s, 3 / capacity)
            taken = []
        budget.refill(now)
        while budget.take():
            waiting.append((now, budget.out - 1))
        if not taken and waiting:
            taken, waiting = waiting[:batch], waiting[batch:]
            free = now + len(taken) / capacity
    assert done > 0.6 * capacity * 30
    assert late < 0.1 * done


def test_the_crop_that_decides_whom_a_track_shows_follows_soon() -> None:
    def second_after(hurry: bool) -> float:
        scheduler = Scheduler(Schedule(per_track_per_second=0.5))
        scheduler.keep(crop("a", 0.0, 0.6), 0.0)
        assert len(scheduler.choose(0.0)) == 1
        if hurry:
            scheduler.hurry("a")
        for index in range(1, 100):
            now = index * FRAME_S
            scheduler.keep(crop("a", now, 0.6), now)
            if scheduler.choose(now):
                return now
        return 0.0

    assert second_after(hurry=True) == pytest.approx(HURRY_S, abs=FRAME_S)
    assert second_after(hurry=False) == pytest.approx(2.0, abs=FRAME_S)
    Scheduler(Schedule()).hurry("gone")  # a track that has ended meanwhile


def test_a_face_in_doubt_is_sent_at_once_like_a_new_one_and_not_with_an_older_crop() -> None:
    scheduler = Scheduler(Schedule())
    for index in range(30):
        scheduler.keep(crop("a", index * FRAME_S, 0.8), index * FRAME_S)
        scheduler.choose(index * FRAME_S)
    now = 30 * FRAME_S
    assert scheduler.consider("a", now, now, 0.5) is not None
    scheduler.doubt("a")
    scheduler.doubt("unknown")
    assert scheduler.choose(now) == []
    assert scheduler.keep(crop("a", now, 0.5), now) is None
    ((sent, _),) = scheduler.choose(now)
    assert sent.media_time == now


def test_an_undecided_track_gets_its_next_crop_sooner_and_before_new_ones_but_not_for_ever() -> None:
    scheduler = Scheduler(Schedule(analyses_per_second=1.0), live=True)
    scheduler.budget.workers(1)
    sent = dict[str, list[float]]()
    for step in range(600):
        now = step / 30
        for name in ("decided", "undecided", *(["new"] if now >= 10 else [])):
            scheduler.keep(crop(name, now, 0.5), now)
        for one, _ in scheduler.choose(now):
            sent.setdefault(one.key.id, []).append(now)
            scheduler.answered(one.key.id, now)
            scheduler.decide(one.key.id, one.key.id == "undecided")
    first, second, *others = sent["undecided"]
    assert 0.3 <= second - first < 1.5, "the crop that decides is the next one"
    assert all(at not in sent["decided"][1:2] or at > second for at in sent["decided"][1:])
    assert sent["new"][0] < 12, "it does not wait for what stays undecided"
    assert len(others) < len(sent["decided"]) + 8
