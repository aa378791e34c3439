"""Rates, overload and link quality, by samples as they would be taken every second."""

import dataclasses

import pytest

from streamer.metrics import StreamTotals
from streamer.source.health import STEPS, Flow, Gaps, Health
from streamer.values import ClockSource, LinkQuality, SourceState, SourceStatus

RUNNING = SourceStatus(SourceState.RUNNING, connects=1, clock_source=ClockSource.ARRIVAL)


class Camera:
    """A camera that delivers 25 frames per second, of which `analysed` per second are analysed."""

    def __init__(self) -> None:
        self.health, self.totals, self.now = Health(), StreamTotals(), 1000.0
        self.health.sample(self.now, RUNNING, self.totals)

    def run(
        self,
        seconds: int,
        analysed: int = 25,
        decoded: int = 25,
        status: SourceStatus = RUNNING,
        corrupt: int = 0,
        missing: int = 0,
    ) -> list[Flow]:
        flows = []
        for _ in range(seconds):
            self.now += 1.0
            before = self.totals
            dropped = dict(before.dropped)
            dropped["overload"] = dropped.get("overload", 0) + decoded - analysed
            dropped["corrupt"] = dropped.get("corrupt", 0) + corrupt
            self.totals = dataclasses.replace(
                before,
                decoded=before.decoded + decoded,
                analysed=before.analysed + analysed,
                missing=before.missing + missing,
                dropped=dropped,
                age_s=before.age_s + 0.2 * analysed,
            )
            flows.append(self.health.sample(self.now, status, self.totals))
        return flows

    def breaks(self) -> None:
        self.totals = dataclasses.replace(self.totals, disconnects=self.totals.disconnects + 1)


def test_rates_are_those_of_the_last_seconds() -> None:
    camera = Camera()
    flow = camera.run(12, analysed=25)[-1]
    assert (flow.fps_in, flow.fps_analysed, flow.skipped) == (25, 25, 0)
    assert flow.frame_age == pytest.approx(0.2)
    flow = camera.run(5, analysed=5)[-1]
    assert (flow.fps_in, flow.fps_analysed) == (25, 15)
    flow = camera.run(12, analysed=0, decoded=0)[-1]
    assert (flow.fps_in, flow.fps_analysed, flow.frame_age) == (0, 0, None)


def test_samples_that_come_late_still_give_rates() -> None:
    camera = Camera()
    camera.run(3)
    camera.now += 30
    flow = camera.run(1)[0]
    assert flow.fps_in == pytest.approx(25 / 31)


def test_a_camera_is_overloaded_after_ten_seconds_and_until_almost_nothing_is_skipped() -> None:
    camera = Camera()
    flags = [flow.overloaded for flow in camera.run(20, analysed=2)]
    assert flags == [False] * 9 + [True] * 11
    assert all(flow.overloaded for flow in camera.run(30, analysed=22))  # 12 %: between the two limits
    flags = [flow.overloaded for flow in camera.run(31, analysed=25)]
    assert flags[-1] is False
    assert flags == sorted(flags, reverse=True)
    assert not any(flow.overloaded for flow in camera.run(30, analysed=22))


def test_a_slow_camera_does_not_change_to_and_fro() -> None:
    camera = Camera()
    flows = [flow for _ in range(60) for flow in [*camera.run(4, 1, 1), *camera.run(1, 0, 1)]]
    flags = [flow.overloaded for flow in flows]
    assert flags == sorted(flags)


def test_a_short_burst_is_no_overload_and_a_lost_camera_is_not_overloaded() -> None:
    camera = Camera()
    camera.run(20)
    assert not any(flow.overloaded for flow in [*camera.run(1, analysed=0), *camera.run(20)])
    assert camera.run(12, analysed=2)[-1].overloaded
    assert not camera.run(12, analysed=0, decoded=0)[-1].overloaded


@pytest.mark.parametrize(
    ("corrupt", "missing", "quality"),
    [
        (0, 0, LinkQuality.GOOD),
        (1, 0, LinkQuality.FAIR),
        (0, 1, LinkQuality.FAIR),
        (0, 3, LinkQuality.POOR),
        (3, 0, LinkQuality.POOR),
    ],
)
def test_the_link_is_as_good_as_few_frames_are_lost(corrupt: int, missing: int, quality: LinkQuality) -> None:
    camera = Camera()
    assert camera.run(30, corrupt=corrupt, missing=missing)[-1].link_quality is quality
    assert camera.run(61)[-1].link_quality is LinkQuality.GOOD


def test_a_link_that_breaks_is_fair_and_poor_if_it_breaks_twice_in_a_minute() -> None:
    camera = Camera()
    camera.run(5)
    camera.breaks()
    assert camera.run(1)[-1].link_quality is LinkQuality.FAIR
    camera.breaks()
    assert camera.run(1)[-1].link_quality is LinkQuality.POOR
    down = dataclasses.replace(RUNNING, state=SourceState.RECONNECTING)
    assert camera.run(90, decoded=0, analysed=0, status=down)[-1].link_quality is LinkQuality.POOR
    assert camera.run(61)[-1].link_quality is LinkQuality.GOOD


@pytest.mark.parametrize(
    "status",
    [
        SourceStatus(SourceState.CONNECTING),
        SourceStatus(SourceState.PAUSED),
        SourceStatus(SourceState.RUNNING, connects=1, clock_source=ClockSource.FILE_PTS),
    ],
)
def test_without_a_link_there_is_no_quality(status: SourceStatus) -> None:
    assert Camera().run(5, status=status)[-1].link_quality is None


def missing(times: list[float]) -> int:
    gaps = Gaps()
    return sum(gaps.missing(time) for time in times)


def test_gaps_between_timestamps_are_missing_frames() -> None:
    regular = [number / 25 for number in range(4 * STEPS + 4)]
    assert missing(regular) == 0
    assert missing([time for number, time in enumerate(regular) if number not in (30, 31, 60)]) == 3


def test_cameras_may_change_their_rate_jitter_and_jump() -> None:
    slower = [number / 25 for number in range(50)] + [2 + number / 5 for number in range(50)]
    assert missing(slower) <= 4 * 25 / 2  # at most while both rates are compared, never for longer
    assert missing([number / 25 + (number % 3) * 0.008 for number in range(200)]) == 0
    assert missing([number / 25 + (3600 if number > 100 else 0) for number in range(200)]) == 0
    assert missing([time for number in range(100) for time in (number / 10, number / 10 + 0.04)]) == 0  # pairs
