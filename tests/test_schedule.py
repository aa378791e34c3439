import pytest

from streamer.config import Schedule
from streamer.schedule import Scheduler


@pytest.mark.parametrize(
    ("time", "quality", "wanted"),
    [
        (0.04, 0.5, False),  # the same again
        (0.04, 0.64, False),  # better, but not clearly
        (0.04, 0.66, True),  # clearly better
        (0.99, 0.1, False),
        (1.0, 0.1, True),  # the last answer is old
    ],
)
def test_a_track_sends_when_clearly_better_or_when_its_answer_is_old(time: float, quality: float, wanted: bool) -> None:
    scheduler = Scheduler(Schedule(refresh_s=1.0, better_by=0.15))
    assert scheduler.wants("a", 0.0, 0.5)
    scheduler.sent("a", 0.0, 0.5)
    assert scheduler.wants("a", time, quality) is wanted


def test_a_poorer_refresh_does_not_lower_the_best_so_far() -> None:
    scheduler = Scheduler(Schedule(refresh_s=1.0, better_by=0.15))
    scheduler.sent("a", 0.0, 0.8)
    scheduler.sent("a", 1.0, 0.3)
    assert not scheduler.wants("a", 1.1, 0.5)


def test_tracks_do_not_know_of_each_other_and_a_forgotten_one_is_new() -> None:
    scheduler = Scheduler(Schedule())
    scheduler.sent("a", 0.0, 0.8)
    assert scheduler.wants("b", 0.0, 0.1)
    scheduler.forget("a")
    assert scheduler.wants("a", 0.0, 0.1)
