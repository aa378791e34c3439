"""What is read back from the metrics: totals, rates of the last minute, quantiles."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from streamer import metrics
from streamer.readings import (
    SAMPLE_S,
    WINDOW_S,
    Readings,
    Recent,
    buckets,
    by_label,
    machine_seconds,
    quantile,
    sample,
    total,
)
from streamer.series import forget_stream, know_stream


def test_totals_are_summed_over_the_series_that_are_asked_for() -> None:
    for name, frames in (("readings-a", 3), ("readings-b", 4)):
        know_stream(name)
        metrics.frames_dropped.labels(name, "overload").inc(frames)
        metrics.detections.labels(name).inc(2 * frames)
    metrics.frames_dropped.labels("readings-b", "corrupt").inc(5)
    both = ("readings-a", "readings-b")
    assert total(metrics.detections, streams=both) == 14
    assert total(metrics.detections, streams=["readings-a"]) == 6
    assert by_label(metrics.frames_dropped, "reason", both) == {"overload": 7, "corrupt": 5}
    assert by_label(metrics.frames_dropped, "reason", ["readings-a"]) == {"overload": 3}
    for name in both:
        forget_stream(name)
    assert total(metrics.detections, streams=both) == 0


def test_a_counter_that_has_not_counted_has_no_reasons() -> None:
    lost = Counter("lost_total", "Lost.", ["reason"], registry=CollectorRegistry())
    lost.labels("timeout")
    assert by_label(lost, "reason") == {}


def histogram(*values: float) -> Histogram:
    made = Histogram("seconds", "Seconds.", buckets=(1, 2, 4), registry=CollectorRegistry())
    for value in values:
        made.observe(value)
    return made


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ((), 0.5, None),
        ((0.5, 0.5), 0.5, 0.5),
        ((1.5, 1.5, 1.5, 1.5), 0.5, 1.5),
        ((1.5, 1.5, 1.5, 1.5), 1.0, 2.0),
        ((0.5, 1.5, 3.0, 3.0), 0.75, 3.0),
        ((9.0,), 0.5, 4.0),  # beyond the last bound nothing is known
        ((0.5, 9.0), 0.95, 4.0),
    ],
)
def test_a_quantile_is_that_of_prometheus(values: tuple[float, ...], share: float, expected: float | None) -> None:
    assert quantile(buckets(histogram(*values)), share) == expected


def test_the_last_minute_is_what_has_changed_in_it() -> None:
    readings, began = Readings(), sample(0.0)
    readings.sample(0.0)
    for second in range(1, 200):
        readings.sample(float(second))
    recent = readings.recent(200.0)
    assert WINDOW_S <= recent.seconds <= WINDOW_S + SAMPLE_S + 1
    before = metrics.inference_seconds.labels("detect")
    for _ in range(4):
        before.observe(0.25)
    metrics.result_latency_seconds.observe(0.2)
    recent = readings.recent(200.0)
    assert recent.rate("searching_s") == pytest.approx(1.0 / recent.seconds)
    assert recent.rate("searches") == pytest.approx(4 / recent.seconds)
    assert recent.latency[-1][1] == 1
    median = quantile(recent.latency, 0.5)
    assert median is not None
    assert 0.1 <= median <= 0.25
    assert Recent(began, began).rate("searches") == 0


def test_a_count_that_was_lost_with_its_stream_is_no_negative_rate() -> None:
    first = sample(0.0)
    last = replace(first, at=10.0, searched=first.searched - 5)
    assert Recent(first, last).rate("searched") == 0


def test_the_use_of_the_machine_is_a_share() -> None:
    first = replace(sample(0.0), machine=(100.0, 1000.0))
    assert Recent(first, replace(first, at=1.0, machine=(150.0, 1200.0))).machine_use == 0.25
    assert Recent(first, replace(first, at=1.0)).machine_use is None  # no tick has passed
    assert Recent(first, replace(first, at=1.0, machine=None)).machine_use is None
    now = machine_seconds()
    assert now is None or 0 <= now[0] <= now[1]


def test_each_run_has_an_id_of_its_own() -> None:
    one, two = Readings(["door"]), Readings()
    assert one.instance_id != two.instance_id
    assert one.uptime_s >= 0
    assert (one.configured, two.configured) == (frozenset({"door"}), frozenset())
