"""Reads back what the metrics have counted: totals, and what happened in the last minute.

The metrics are the only place where things are counted. `Readings.sample` notes a few of them now and then, so that
rates, shares of time and quantiles can be given for the last minute.
"""

import os
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from streamer import metrics

SAMPLE_S = 5.0  # between two samples
WINDOW_S = 60.0

Buckets = tuple[tuple[float, float], ...]  # upper bound and number of values up to it, ascending


def total(metric: MetricWrapperBase, suffix: str = "_total", streams: Collection[str] = ()) -> float:
    """Return the sum of a metric over its series, for these streams (empty: all)."""
    return sum(
        sample.value
        for family in metric.collect()
        for sample in family.samples
        if sample.name.endswith(suffix) and (not streams or sample.labels["stream"] in streams)
    )


def by_label(metric: MetricWrapperBase, label: str, streams: Collection[str] = ()) -> dict[str, int]:
    """Return the sums of a counter by a label, without those that are 0, for these streams (empty: all)."""
    sums: dict[str, int] = {}
    for sample in (sample for family in metric.collect() for sample in family.samples):
        if sample.name.endswith("_total") and (not streams or sample.labels["stream"] in streams) and sample.value:
            sums[sample.labels[label]] = sums.get(sample.labels[label], 0) + int(sample.value)
    return sums


def buckets(metric: MetricWrapperBase) -> Buckets:
    """Return the buckets of a histogram without labels."""
    samples = (sample for family in metric.collect() for sample in family.samples)
    return tuple((float(one.labels["le"]), one.value) for one in samples if one.name.endswith("_bucket"))


def memory_bytes() -> int:
    """Return the memory of this process, resident; 0 where the system does not say."""
    return int(REGISTRY.get_sample_value("process_resident_memory_bytes") or 0)


def cpus() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_seconds() -> tuple[float, float] | None:
    """Return how long the processors of this machine were busy and how long there were any, in ticks; None: unknown."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
        ticks = [float(part) for part in first[1:9]]  # user nice system idle iowait irq softirq steal
    except (OSError, ValueError):
        return None
    return (sum(ticks) - ticks[3] - ticks[4], sum(ticks)) if len(ticks) == 8 else None


@dataclass(frozen=True, slots=True)
class Sample:
    """What some metrics showed at one moment."""

    at: float  # s, monotonic
    latency: Buckets  # s, arrival of a frame to the publication of its analysis
    searches: int  # calls of the detector
    searching_s: float
    searched: int  # frames
    batches: int  # answered by workers
    analysing_s: float
    crops: int  # sent to workers
    machine: tuple[float, float] | None  # see machine_seconds


def sample(now: float) -> Sample:
    """Read the metrics at `now` (s)."""
    detect, analyse = metrics.inference_seconds.labels("detect"), metrics.inference_seconds.labels("swinface")
    return Sample(
        now,
        buckets(metrics.result_latency_seconds),
        int(total(detect, "_count")),
        total(detect, "_sum"),
        int(total(metrics.frames_analysed)),
        int(total(analyse, "_count")),
        total(analyse, "_sum"),
        int(total(metrics.dispatch_batch_crops, "_sum")),
        machine_seconds(),
    )


@dataclass(frozen=True, slots=True)
class Recent:
    """What happened between two samples."""

    first: Sample
    last: Sample

    @property
    def seconds(self) -> float:
        """The time between them."""
        return self.last.at - self.first.at

    @property
    def latency(self) -> Buckets:
        """The latencies of the analyses that were published between them."""
        return tuple((bound, after - before) for (bound, after), (_, before) in zip(*self._latencies(), strict=True))

    def _latencies(self) -> tuple[Buckets, Buckets]:
        return self.last.latency, self.first.latency

    def rate(self, name: str) -> float:
        """Return how much a value of the samples grew, per second; 0 without any time.

        A stream that is removed takes its counts with it, so that a value may shrink: then, too, 0.
        """
        grown: float = getattr(self.last, name) - getattr(self.first, name)
        return max(0.0, grown) / self.seconds if self.seconds else 0.0

    @property
    def machine_use(self) -> float | None:
        """Share of the time of all processors of the machine that was used, 0..1; None: not known."""
        before, after = self.first.machine, self.last.machine
        if before is None or after is None or after[1] <= before[1]:
            return None
        return (after[0] - before[0]) / (after[1] - before[1])


def quantile(values: Buckets, share: float) -> float | None:
    """Return the value that this share of a histogram's values do not exceed; None without values.

    Within a bucket values count as evenly spread, as Prometheus does; beyond the last bound the bound itself is given.
    """
    count = values[-1][1] if values else 0.0
    if count <= 0:
        return None
    wanted, lower, below = share * count, 0.0, 0.0
    for bound, upto in values:
        if upto >= wanted:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * ((wanted - below) / (upto - below) if upto > below else 1.0)
        lower, below = bound, upto
    return lower


class Readings:
    """This run of the streamer, and its last minute."""

    def __init__(self, configured: Collection[str] = ()) -> None:
        """`configured`: ids of the streams in the configuration."""
        self.configured = frozenset(configured)
        self.instance_id = str(uuid4())  # of the store, if there is one
        self.version = version("faceanalytics")
        self.started = datetime.now(UTC)
        self._began = time.monotonic()
        self._samples: deque[Sample] = deque()

    @property
    def uptime_s(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._began

    def sample(self, now: float) -> None:
        """Note what the metrics show at `now` (s), at most every SAMPLE_S."""
        if self._samples and now - self._samples[-1].at < SAMPLE_S:
            return
        self._samples.append(sample(now))
        while len(self._samples) > 2 and now - self._samples[1].at >= WINDOW_S:
            self._samples.popleft()

    def recent(self, now: float) -> Recent:
        """Return what happened up to `now` (s), over WINDOW_S and SAMPLE_S more at most."""
        newest = sample(now)
        return Recent(self._samples[0] if self._samples else newest, newest)
