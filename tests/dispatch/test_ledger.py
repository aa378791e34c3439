from collections import Counter
from dataclasses import replace

import numpy as np

from streamer.config import Dispatch
from streamer.dispatch.ledger import MAX_IN_A_ROW, Batch, Ledger, Priority, Request, Worker
from streamer.values import Bytes
from tests.support.builders import crop, end, model

RECORDED, SEARCH, ENROLMENT = Priority.RECORDED, Priority.SEARCH, Priority.ENROLMENT


def ledger(**settings: object) -> Ledger:
    return Ledger(Dispatch.model_validate(settings))


def add_worker(book: Ledger, name: bytes = b"w", max_batch: int = 16, now: float = 0.0) -> None:
    book.workers[name] = Worker(name.decode(), model(), max_batch, now)


def crops(count: int, first: int = 0) -> list[Bytes]:
    return [np.full((112, 112, 3), (first + index) % 256, np.uint8) for index in range(count)]


def fills(batch: Batch) -> list[int]:
    """What the crops of a batch are painted with."""
    return [int(job.pixels[0, 0, 0]) for job in batch.jobs.values()]


def serve(book: Ledger, name: bytes = b"w") -> Batch | None:
    """Give an idle worker its next batch and take the answer, all at once."""
    book.workers[name].idle = True
    assigned = book.assign(0.0)
    if not assigned:
        return None
    ((address, batch),) = assigned
    assert book.answered(address, batch.id) is batch
    return batch


# --- the live lane ---


def test_live_replaces_a_waiting_crop_of_the_same_track() -> None:
    lane = ledger().live
    assert lane.offer(crop("a", 1.0)) is None
    pushed_out = lane.offer(crop("a", 2.0))
    assert pushed_out is not None
    assert (pushed_out[0].media_time, pushed_out[1]) == (1.0, "superseded")
    assert len(lane) == 1


def test_live_drops_the_worst_crop_when_too_many_wait() -> None:
    lane = ledger(max_waiting=2).live
    for name, quality in (("a", 0.9), ("b", 0.2)):
        assert lane.offer(crop(name, quality=quality)) is None
    pushed_out = lane.offer(crop("c", quality=0.5))
    assert pushed_out is not None
    assert (pushed_out[0].key.id, pushed_out[1]) == ("b", "overload")


def test_live_sends_what_is_there_to_each_idle_worker_once() -> None:
    book = ledger(batch=16)
    add_worker(book)
    book.live.offer(crop("a", fill=1))
    ((address, batch),) = book.assign(0.0)
    assert (address, fills(batch)) == (b"w", [1])
    book.live.offer(crop("b"))
    assert book.assign(0.0) == []  # the worker has not said READY since


def test_a_live_batch_is_never_larger_than_the_worker_takes() -> None:
    book = ledger(batch=16)
    add_worker(book, max_batch=2)
    for name in "abc":
        book.live.offer(crop(name))
    ((_, batch),) = book.assign(0.0)
    assert len(batch.jobs) == 2
    assert book.waiting == 1


def test_an_ended_track_is_finished_by_its_last_crop() -> None:
    lane = ledger().live
    first, second = crop("a", 0.0), crop("a", 1.0)
    lane.offer(first)
    lane.take(1)
    lane.offer(second)
    assert lane.end(end("a")) is None
    assert lane.resolve(first) is None
    finished = lane.resolve(second)
    assert finished is not None
    assert finished.key.id == "a"


def test_a_track_without_unresolved_crops_is_finished_at_once() -> None:
    finished = ledger().live.end(end("a"))
    assert finished is not None
    assert finished.key.id == "a"


def test_live_crops_do_not_wait_for_ever_and_those_of_requests_do() -> None:
    book = ledger(max_wait_s=5)
    book.live.offer(crop("a", received=100.0))
    book.add(crops(1), RECORDED)
    assert book.stale(104.0) == []
    assert [job.crop.key.id for job in book.stale(106.0) if job.crop] == ["a"]
    assert book.waiting == 1


def test_a_live_batch_that_waits_for_another_worker_does_not_wait_for_ever() -> None:
    book = ledger(max_wait_s=5)
    add_worker(book)
    book.live.offer(crop("a", received=100.0))
    ((address, batch),) = book.assign(100.0)
    assert book.gone(address) is batch
    assert book.failed(batch, retry=True) == []
    assert [job.crop.key.id for job in book.stale(106.0) if job.crop] == ["a"]
    assert book.idle


def test_a_live_batch_whose_worker_was_too_slow_is_given_up() -> None:
    book = ledger()
    add_worker(book)
    book.live.offer(crop("a"))
    ((_, batch),) = book.assign(0.0)
    assert len(book.failed(batch, retry=batch.retries)) == 1


# --- requests ---


def test_the_batches_of_a_request_depend_on_the_order_of_its_crops_alone() -> None:
    for workers in (1, 2, 3):
        book = ledger(batch=3)
        book.add(crops(7), RECORDED)
        for number in range(workers):
            add_worker(book, b"w%d" % number)
        sent = []
        while assigned := book.assign(0.0):
            for address, batch in assigned:
                sent.append(fills(batch))
                book.workers[address].idle = True
        assert sent == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_lost_batch_goes_out_again_unchanged_and_only_so_often() -> None:
    book = ledger(batch=2, retries=2)
    book.add(crops(2), RECORDED)
    for attempt in range(3):
        add_worker(book, b"w%d" % attempt)
        ((address, batch),) = book.assign(0.0)
        assert fills(batch) == [0, 1]
        assert book.gone(address) is batch
        lost = book.failed(batch, retry=batch.retries)
        assert len(lost) == (2 if attempt == 2 else 0)
    assert book.idle


def test_a_lost_batch_goes_before_the_later_ones_of_its_request() -> None:
    book = ledger(batch=1)
    book.add(crops(3), RECORDED)
    add_worker(book, b"dying")
    ((address, batch),) = book.assign(0.0)
    book.gone(address)
    book.failed(batch, retry=True)
    add_worker(book)
    served = [serve(book) for _ in range(3)]
    assert [fills(batch) for batch in served if batch] == [[0], [1], [2]]


def test_a_worker_that_takes_less_gets_a_part_of_a_batch_and_no_crop_is_left_behind() -> None:
    book = ledger(batch=5)
    book.add(crops(5), RECORDED)
    add_worker(book, max_batch=2)
    served = [serve(book) for _ in range(4)]
    assert [fills(batch) for batch in served if batch] == [[0, 1], [2, 3], [4]]
    assert book.idle


def test_a_request_that_nobody_waits_for_is_dropped_where_it_has_not_gone_out() -> None:
    book = ledger(batch=1)
    add_worker(book)
    request = book.add(crops(3), SEARCH)
    ((address, batch),) = book.assign(0.0)
    book.withdraw(request)
    assert book.waiting == 0
    assert book.gone(address) is batch
    assert len(book.failed(batch, retry=True)) == 1  # and is not sent again
    assert book.idle


def test_an_overdue_batch_is_no_longer_out_and_its_late_answer_is_ignored() -> None:
    book = ledger(answer_within_s=5)
    add_worker(book)
    book.add(crops(1), RECORDED)
    ((address, batch),) = book.assign(0.0)
    assert book.overdue(4.9) == []
    assert book.overdue(5.1) == [(book.workers[address], batch)]
    assert book.answered(address, batch.id) is None
    assert book.gone(address) is None
    assert book.idle


def test_a_worker_that_says_nothing_is_silent() -> None:
    book = ledger(worker_silent_s=3)
    add_worker(book, now=10.0)
    assert book.silent(12.9) == []
    assert book.silent(13.1) == [b"w"]


def test_giving_up_returns_what_waits_and_what_is_out() -> None:
    book = ledger(batch=1)
    add_worker(book)
    book.add(crops(2), RECORDED)
    book.add(crops(1, first=7), ENROLMENT)
    book.live.offer(crop("a", fill=9))
    book.assign(0.0)
    assert sorted(int(job.pixels[0, 0, 0]) for job in book.give_up()) == [0, 1, 7, 9]
    assert book.idle


# --- whose turn it is ---


def who(batch: Batch | None) -> Priority:
    assert batch is not None
    return Priority.LIVE if batch.request is None else batch.request.priority


def test_the_more_urgent_client_goes_first() -> None:
    book = ledger(batch=1)
    add_worker(book)
    for priority in (RECORDED, ENROLMENT, SEARCH):
        book.add(crops(1), priority)
    book.live.offer(crop("a"))
    assert [who(serve(book)) for _ in range(4)] == [Priority.LIVE, SEARCH, ENROLMENT, RECORDED]


def test_requests_of_one_priority_take_turns() -> None:
    book = ledger(batch=1)
    add_worker(book)
    book.add(crops(3), RECORDED)
    book.add(crops(2, first=10), RECORDED)
    served = [serve(book) for _ in range(5)]
    assert [fills(batch)[0] for batch in served if batch] == [0, 10, 1, 11, 2]


def test_nobody_starves_beside_cameras_that_always_have_a_crop() -> None:
    book = ledger(batch=1)
    add_worker(book)
    for priority in (RECORDED, ENROLMENT, SEARCH):
        book.add(crops(50), priority)
    turns = []
    for index in range(270):
        book.live.offer(crop(f"track {index}"))
        turns.append(who(serve(book)))
    assert Counter(turns) == {Priority.LIVE: 240, SEARCH: 10, ENROLMENT: 10, RECORDED: 10}
    others = [index for index, priority in enumerate(turns) if priority is not Priority.LIVE]
    assert np.diff(others).tolist() == [MAX_IN_A_ROW + 1] * 29


def test_a_live_crop_waits_for_one_batch_of_another_client_at_most() -> None:
    random = np.random.default_rng(3)
    book = ledger(batch=16)
    add_worker(book)
    request: Request = book.add(crops(2000), RECORDED)
    waited, offered = [], 0
    while request.batches or len(book.live):
        begun = serve(book)  # under way while live crops arrive
        assert begun is not None
        if random.random() < 0.6:
            offered += 1
            book.live.offer(crop(f"track {offered}"))
            waited.append(0)
            while who(serve(book)) is not Priority.LIVE:
                waited[-1] += 1
    assert offered > 50
    assert max(waited) <= 1


def test_crops_whose_embeddings_are_not_wanted_have_batches_of_their_own() -> None:
    book = ledger()
    add_worker(book, max_batch=4)
    for number in range(6):
        book.live.offer(replace(crop(str(number)), with_embedding=number % 2 == 0))
    batches = [serve(book), serve(book)]
    assert serve(book) is None
    tracks = [[job.crop.key.id for job in one.jobs.values() if job.crop] for one in batches if one]
    assert (tracks, [one.with_embeddings for one in batches if one]) == (
        [["0", "2", "4"], ["1", "3", "5"]],
        [True, False],
    )
    book.add(crops(6), RECORDED, with_embeddings=False)
    parts = [serve(book), serve(book)]
    assert [(len(one.jobs), one.with_embeddings) for one in parts if one] == [(4, False), (2, False)]
