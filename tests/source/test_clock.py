import pytest

from streamer.source.clock import CameraClock, Pace, Thinning

NOW = 1_800_000_000.0  # s, Unix time


def camera_clock(*reports: tuple[float, float]) -> CameraClock:
    """Reports of (stream time, camera's clock minus stream time minus NOW)."""
    clock = CameraClock()
    for stream_time, offset in reports:
        clock.report(stream_time, NOW + stream_time + offset, NOW + stream_time)
    return clock


@pytest.mark.parametrize(
    ("reports", "offset"),
    [
        ([], None),
        ([(1.0, 0.3)], None),
        ([(1.0, 0.3), (1.04, 0.3)], 0.3),
        ([(1.0, 0.34), (1.04, 0.3), (1.08, 0.3)], 0.3),
        ([(1.0, 0.3), (1.04, 0.3), (6.0, 0.302), (6.04, 0.302)], 0.302),
        ([(1.0, 0.3), (1.04, 0.3), (6.0, 50.0), (6.04, 50.0)], 0.3),
        ([(1.0, 0.3), (1.04, 0.3), (6.0, 50.0), (6.04, 50.0), (17.0, 50.0)], 50.0),
        ([(1.0, -90_000.0), (1.04, -90_000.0)], None),
        ([(1.0, -NOW), (1.04, -NOW)], None),
    ],
    ids=["none", "single", "agreeing", "neighbour", "drift", "jump", "lasting-jump", "a-day-off", "1970"],
)
def test_the_cameras_clock_is_believed_when_its_reports_are_plausible(
    reports: list[tuple[float, float]], offset: float | None
) -> None:
    utc = camera_clock(*reports).utc(20.0)
    assert utc is None if offset is None else utc == pytest.approx(NOW + 20.0 + offset, abs=1e-5)


def taken(max_fps: float | None, times: list[float]) -> list[float]:
    thinning = Thinning(max_fps)
    return [time for time in times if thinning.takes(time)]


def test_thinning_keeps_the_rate_evenly() -> None:
    assert taken(10, [i / 30 for i in range(90)]) == pytest.approx([i / 10 for i in range(30)])


def test_thinning_takes_everything_without_a_limit_and_at_the_cameras_own_rate() -> None:
    jittered = [i / 25 + (0.008 if i % 3 else 0) for i in range(100)]
    assert taken(None, jittered) == taken(25, jittered) == jittered


def test_thinning_does_not_catch_up_after_a_gap() -> None:
    assert taken(1, [0, 10, 10.1, 10.2, 10.3, 11]) == [0, 10, 11]


def test_a_paced_source_shows_a_burst_at_the_pace_of_its_times() -> None:
    pace = Pace()
    assert [pace.delay(time, 100.0) for time in (0.0, 0.5, 2.0)] == [0.0, 0.5, 2.0]
    assert pace.delay(3.0, 103.2) == 0.0  # a little late: it catches up
    assert pace.delay(3.5, 103.2) == pytest.approx(0.3)


def test_a_paced_source_that_has_run_dry_goes_on_later_and_a_jump_is_not_waited_for() -> None:
    pace = Pace()
    assert pace.delay(0.0, 100.0) == 0.0
    assert pace.delay(1.0, 103.0) == 0.0  # two seconds late
    assert pace.delay(2.0, 103.0) == pytest.approx(1.0)
    assert pace.delay(4000.0, 104.0) == 0.0
    assert pace.delay(4000.5, 104.0) == pytest.approx(0.5)
