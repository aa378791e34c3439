from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

import pytest

from streamer.source.media_clock import AGREE, MediaClock

MS = Fraction(1, 1000)
STEP = 40  # ms
HOURS = 36_000_000  # ms, ten of them
EVEN = [number * STEP for number in range(30)]
Timed = tuple[MediaClock, list[float], list[int]]


def clock_of_file(stamps: Sequence[int | None]) -> Timed:
    """The clock after a file with these timestamps, the media times in ms, and which of them are estimated."""
    clock = MediaClock(MS, step=STEP / 1000)
    moments = [
        clock.time_of(stamp, following=stamps[number + 1 : number + AGREE]) for number, stamp in enumerate(stamps)
    ]
    return clock, [1000 * time for time, _ in moments], [n for n, moment in enumerate(moments) if moment.estimated]


def clock_of_camera(stamps: Sequence[int | None], received: Sequence[float] | None = None) -> Timed:
    """The same for a camera whose frames arrive at `received` in ms, by default evenly."""
    clock = MediaClock(MS, step=STEP / 1000, live=True)
    arrivals = EVEN if received is None else received
    moments = [clock.time_of(stamp, received=arrived / 1000) for stamp, arrived in zip(stamps, arrivals, strict=False)]
    return clock, [1000 * time for time, _ in moments], [n for n, moment in enumerate(moments) if moment.estimated]


def changed(change: dict[int, int | None]) -> list[int | None]:
    """Even timestamps with others at some places."""
    return [change.get(number, stamp) for number, stamp in enumerate(EVEN)]


@pytest.mark.parametrize(
    "stamps",
    [
        [5000, 5040, 5173],
        [0, 10, 500, 533, 600, 2000, 2040, 5000],
        [number * 60_000 for number in range(20)],
        [number * 7_200_000 for number in range(20)],
        [number * STEP + 600_000 * (number // 10) for number in range(40)],
        [number * STEP + 3_000_000 * (number // 10) for number in range(40)],
        [*EVEN, EVEN[-1] + 600_000],
        [0, 600_000, *(600_000 + stamp for stamp in EVEN[1:])],
    ],
    ids=["start", "variable", "per-minute", "per-two-hours", "10-min-gaps", "50-min-gaps", "end-held", "start-held"],
)
def test_true_timestamps_are_kept(stamps: list[int]) -> None:
    clock, times, estimated = clock_of_file(stamps)
    assert times == pytest.approx([stamp - stamps[0] for stamp in stamps])
    assert (estimated, clock.restarts) == ([], 0)


@pytest.mark.parametrize("clock_of", [clock_of_file, clock_of_camera])
@pytest.mark.parametrize(
    "change",
    [
        {12: EVEN[12] + HOURS},
        {12: EVEN[12] - HOURS},
        {12: EVEN[12] + HOURS, 13: EVEN[13] + HOURS},
        {12: EVEN[12] + HOURS, 13: EVEN[13] - 2 * HOURS, 14: 0},
        {12: EVEN[12] + 300_000},
        {29: EVEN[29] + HOURS},
        {29: EVEN[29] - HOURS},
        {5: None, 9: None, 10: None},
        {12: EVEN[11], 20: EVEN[17]},
    ],
    ids=["ahead", "behind", "two", "three", "minutes", "last-ahead", "last-behind", "missing", "back"],
)
def test_a_wrong_timestamp_is_replaced_by_its_neighbours_and_counted(
    clock_of: Callable[[Sequence[int | None]], Timed], change: dict[int, int | None]
) -> None:
    clock, times, estimated = clock_of(changed(change))
    assert times == pytest.approx(EVEN)
    assert estimated == sorted(change)
    assert (clock.estimated, clock.restarts) == (len(change), 0)


@pytest.mark.parametrize("clock_of", [clock_of_file, clock_of_camera])
@pytest.mark.parametrize(
    "first", [[HOURS], [-HOURS], [HOURS, HOURS + STEP], [300_000]], ids=["ahead", "behind", "two", "minutes"]
)
def test_the_first_timestamps_may_be_the_wrong_ones(
    clock_of: Callable[[Sequence[int | None]], Timed], first: list[int]
) -> None:
    clock, times, _ = clock_of([*first, *EVEN[len(first) :]])
    assert times == pytest.approx(EVEN)
    assert (clock.estimated > 0, clock.restarts) == (True, 0)


@pytest.mark.parametrize("clock_of", [clock_of_file, clock_of_camera])
@pytest.mark.parametrize(
    ("stamps", "restarts"),
    [
        ([stamp + HOURS * (stamp >= EVEN[15]) for stamp in EVEN], 1),
        ([stamp - HOURS * (stamp >= EVEN[15]) for stamp in EVEN], 1),
        ([stamp + HOURS * (EVEN[10] <= stamp < EVEN[20]) for stamp in EVEN], 2),
        ([stamp + 3_600_000 * (stamp >= EVEN[15]) for stamp in EVEN], 1),
        ([stamp % (10 * STEP) for stamp in EVEN], 2),
    ],
    ids=["ahead", "behind", "for-a-while", "summer-time", "segments"],
)
def test_a_jump_that_lasts_begins_a_new_line_and_time_goes_on_without_it(
    clock_of: Callable[[Sequence[int | None]], Timed], stamps: list[int], restarts: int
) -> None:
    clock, times, _ = clock_of(stamps)
    assert times == pytest.approx(EVEN)
    assert clock.restarts == restarts


def test_a_file_knows_at_once_that_a_jump_lasts() -> None:
    clock, _, estimated = clock_of_file([stamp + HOURS * (stamp >= EVEN[15]) for stamp in EVEN])
    assert estimated == []
    assert clock.jump == pytest.approx(HOURS / 1000)


def test_segments_that_overlap_are_put_one_after_the_other() -> None:
    clock, times, estimated = clock_of_file([stamp - 5 * STEP * (stamp >= EVEN[15]) for stamp in EVEN])
    assert times == pytest.approx(EVEN)
    assert (estimated, clock.restarts) == ([], 1)


@pytest.mark.parametrize("clock_of", [clock_of_file, clock_of_camera])
@pytest.mark.parametrize(
    "stamps",
    [
        [0] * 30,
        [None] * 30,
        [1000 - number for number in range(30)],
        [STEP * (number % 4) for number in range(30)],
        [number * 7_654_321 % HOURS for number in range(30)],
    ],
    ids=["zero", "none", "falling", "tiny-segments", "random"],
)
def test_useless_timestamps_give_the_nominal_rate(
    clock_of: Callable[[Sequence[int | None]], Timed], stamps: list[int | None]
) -> None:
    clock, times, _ = clock_of(stamps)
    assert times == pytest.approx(EVEN)
    assert clock.estimated >= 26


def test_without_timestamps_the_durations_count() -> None:
    clock = MediaClock(MS, step=0.04)
    assert [clock.time_of(None, duration).time for duration in (100, 200, 0, 0)] == pytest.approx([0, 0.1, 0.3, 0.34])


def test_small_steps_back_are_put_between_their_neighbours() -> None:
    clock, times, estimated = clock_of_file([0, 40, 40, 80, 120, 115, 160, 240, 200, 180, 300, 340])
    assert times == pytest.approx([0, 40, 60, 80, 120, 140, 160, 240, 260, 280, 300, 340])
    assert (estimated, clock.restarts) == ([2, 5, 8, 9], 0)


def test_time_always_grows() -> None:
    for stamps in ([0, 40, 40, 20, 80], [90_000, 90_040, 0, 40], [80, 120, 40, 200, 160, 0, 5000, 90, 91, 92]):
        for clock_of in (clock_of_file, clock_of_camera):
            times = clock_of(stamps)[1]
            assert all(earlier < later for earlier, later in pairwise(times))


def test_a_pause_of_a_camera_is_true_if_that_time_has_passed() -> None:
    stamps = [stamp + 8_000 * (stamp >= EVEN[15]) for stamp in EVEN]
    clock, times, estimated = clock_of_camera(stamps, stamps)
    assert times == pytest.approx(stamps)
    assert estimated == []
    clock, times, _ = clock_of_camera(stamps, EVEN)
    assert times == pytest.approx(EVEN)
    assert clock.restarts == 1


def test_a_camera_without_timestamps_is_timed_by_the_arrival_of_its_frames() -> None:
    arrivals = [1000.0, 1150.0, 1290.0, 1290.0, 1300.0, 1450.0]
    _, times, estimated = clock_of_camera([None] * 6, arrivals)
    assert times == pytest.approx([0, 150, 290, 300, 310, 450])
    assert estimated == list(range(6))


def test_a_live_clock_catches_up_after_it_ran_ahead() -> None:
    stamps = [0, 40, 80, 120, 110, 125, 160, 200, 240]
    _, times, _ = clock_of_camera(stamps)
    assert times == pytest.approx([0, 40, 80, 120, 160, 170, 180, 200, 240])


def test_timestamps_keep_their_place_on_the_present_line() -> None:
    clock = MediaClock(MS, step=0.04)
    assert clock.line_time(5000) is None
    clock.time_of(5000)
    assert [clock.line_time(stamp) for stamp in (5000, 4000, 5000 + HOURS)] == [0.0, -1.0, None]
