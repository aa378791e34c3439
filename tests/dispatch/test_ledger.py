from streamer.config import Dispatch
from streamer.dispatch.ledger import Batch, Ledger, Worker
from tests.support.builders import crop, end, model


def ledger(live: bool = True, **settings: object) -> Ledger:
    return Ledger(Dispatch.model_validate(settings), live)


def add_worker(book: Ledger, name: bytes = b"w", max_batch: int = 16, now: float = 0.0) -> None:
    book.workers[name] = Worker(name.decode(), model(), max_batch, now)


def times(batch: Batch) -> list[float]:
    return [face.media_time for face in batch.crops.values()]


def test_live_replaces_a_waiting_crop_of_the_same_track() -> None:
    book = ledger()
    assert book.offer(crop("a", 1.0)) is None
    pushed_out = book.offer(crop("a", 2.0))
    assert pushed_out is not None
    assert (pushed_out[0].media_time, pushed_out[1]) == (1.0, "superseded")
    assert book.waiting == 1


def test_live_drops_the_worst_crop_when_too_many_wait() -> None:
    book = ledger(max_waiting=2)
    for name, quality in (("a", 0.9), ("b", 0.2)):
        assert book.offer(crop(name, quality=quality)) is None
    pushed_out = book.offer(crop("c", quality=0.5))
    assert pushed_out is not None
    assert (pushed_out[0].key.id, pushed_out[1]) == ("b", "overload")


def test_live_sends_what_is_there_to_each_idle_worker_once() -> None:
    book = ledger(batch=16)
    add_worker(book)
    book.offer(crop("a"))
    ((address, batch),) = book.assign(0.0)
    assert (address, times(batch)) == (b"w", [0.0])
    book.offer(crop("b"))
    assert book.assign(0.0) == []  # the worker has not said READY since


def test_a_batch_is_never_larger_than_the_worker_takes() -> None:
    book = ledger(batch=16)
    add_worker(book, max_batch=2)
    for name in "abc":
        book.offer(crop(name))
    ((_, batch),) = book.assign(0.0)
    assert len(batch.crops) == 2
    assert book.waiting == 1


def test_recorded_batches_are_full_and_in_order_whatever_the_timing() -> None:
    for step in (1, 2, 7):  # how many crops come between two looks of the workers
        book = ledger(live=False, batch=3)
        add_worker(book)
        sent = []
        for first in range(0, 7, step):
            for index in range(first, min(first + step, 7)):
                book.offer(crop("a", float(index)))
            for _, batch in book.assign(0.0):
                sent.append(times(batch))
                book.answered(b"w", batch.id)
                book.workers[b"w"].idle = True
        book.seal()
        while assigned := book.assign(0.0):
            sent.append(times(assigned[0][1]))
            book.workers[b"w"].idle = True
        assert sent == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0]]


def test_a_lost_batch_goes_out_again_unchanged_and_only_so_often() -> None:
    book = ledger(live=False, batch=2, retries=2)
    for time in (0.0, 1.0):
        book.offer(crop("a", time))
    for attempt in range(3):
        add_worker(book, b"w%d" % attempt)
        ((address, batch),) = book.assign(0.0)
        assert times(batch) == [0.0, 1.0]
        assert book.gone(address) is batch
        lost = book.failed(batch, retry=True)
        assert len(lost) == (2 if attempt == 2 else 0)
    assert book.settled


def test_an_ended_track_is_finished_by_its_last_crop() -> None:
    book = ledger(live=False, batch=1)
    first, second = crop("a", 0.0), crop("a", 1.0)
    book.offer(first)
    book.offer(second)
    assert book.end(end("a")) is None
    assert book.settle(first) is None
    finished = book.settle(second)
    assert finished is not None
    assert finished.key.id == "a"


def test_a_track_without_open_crops_is_finished_at_once() -> None:
    finished = ledger().end(end("a"))
    assert finished is not None
    assert finished.key.id == "a"


def test_an_overdue_batch_is_out_no_more_and_its_late_answer_is_ignored() -> None:
    book = ledger(answer_within_s=5)
    add_worker(book)
    book.offer(crop("a"))
    ((address, batch),) = book.assign(0.0)
    assert book.overdue(4.9) == []
    assert book.overdue(5.1) == [(book.workers[address], batch)]
    assert book.answered(address, batch.id) is None
    assert book.gone(address) is None
    assert book.settled


def test_a_worker_that_says_nothing_is_silent() -> None:
    book = ledger(worker_silent_s=3)
    add_worker(book, now=10.0)
    assert book.silent(12.9) == []
    assert book.silent(13.1) == [b"w"]


def test_live_crops_do_not_wait_for_ever_and_recorded_ones_do() -> None:
    for live, left in ((True, 0), (False, 1)):
        book = ledger(live=live, max_wait_s=5)
        book.offer(crop("a", received=100.0))
        assert book.stale(104.0) == []
        book.stale(106.0)
        assert book.waiting == left


def test_giving_up_returns_what_waits_and_what_is_out() -> None:
    book = ledger(live=False, batch=1)
    add_worker(book)
    for name in "abc":
        book.offer(crop(name))
    ((_, batch),) = book.assign(0.0)
    book.overdue(1e9)
    assert book.failed(batch, retry=True) == []
    assert sorted(face.key.id for face in book.give_up()) == ["a", "b", "c"]
    assert book.settled


def test_a_batch_that_waits_for_another_worker_does_not_wait_for_ever_live() -> None:
    book = ledger(max_wait_s=5)
    add_worker(book)
    book.offer(crop("a", received=100.0))
    ((address, batch),) = book.assign(100.0)
    assert book.gone(address) is batch
    assert book.failed(batch, retry=True) == []
    add_worker(book, b"small", max_batch=1)
    assert [face.key.id for face in book.stale(106.0)] == ["a"]
    assert book.settled


def test_sealing_sends_a_batch_that_is_not_full() -> None:
    book = ledger(live=False, batch=4)
    add_worker(book)
    book.offer(crop("a", 0.0))
    assert book.assign(0.0) == []
    book.seal()
    book.offer(crop("a", 1.0))
    ((_, batch),) = book.assign(0.0)
    assert times(batch) == [0.0]
    assert book.waiting == 1
