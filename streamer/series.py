"""Prometheus metrics with the stream as their first label, of which a removed stream keeps no series.

Threads may still count for a stream when it has been removed: a reader that hangs in the network, frames that wait for
the detector, answers of workers. That is counted into nothing, so that the series do not come back.
"""

import threading
from typing import Any, ClassVar, Self, cast

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

_streams: set[str] = set()  # those that have series
_metrics: list["_OfStream"] = []
_lock = threading.Lock()  # between the check of a stream and the creation of its series it must not be removed


class _OfStream(MetricWrapperBase):
    """A metric whose first label is the stream."""

    nowhere: ClassVar[MetricWrapperBase]  # counts for streams that have no series

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._known: dict[tuple[object, ...], Self] = {}  # series by labels: asking for one again takes no lock
        self.per_stream_only = self._labelnames == ("stream",)
        if "_labelvalues" not in named:  # not the series of one stream
            _metrics.append(self)

    def labels(self, *labelvalues: object, **labelkwargs: object) -> Self:
        """Return the series of a stream; the values of all labels but the stream become lower case."""
        known = self._known.get(labelvalues)
        if known is not None:
            return known
        stream, *others = labelvalues
        with _lock:
            if stream not in _streams:
                return cast("Self", self.nowhere)
            series = super().labels(stream, *(str(value).lower() for value in others), **labelkwargs)
            self._known[labelvalues] = series
            return series

    def drop(self, stream: str) -> None:
        """Forget all series of a stream; called with the lock."""
        for labelvalues in [each for each in self._known if each[0] == stream]:
            del self._known[labelvalues]
        self.remove_by_labels({self._labelnames[0]: stream})


class StreamCounter(_OfStream, Counter):
    """A counter per stream."""

    nowhere = Counter("nowhere", "Not shown.", registry=None)


class StreamGauge(_OfStream, Gauge):
    """A gauge per stream."""

    nowhere = Gauge("nowhere", "Not shown.", registry=None)


class StreamHistogram(_OfStream, Histogram):
    """A histogram per stream."""

    nowhere = Histogram("nowhere", "Not shown.", registry=None)


def know_stream(stream: str) -> None:
    """Let a stream have series, which begin at 0."""
    with _lock:
        _drop(stream)
        _streams.add(stream)
    for metric in _metrics:  # a counter that is absent until it counts hides its first increment from rate()
        if isinstance(metric, StreamCounter) and metric.per_stream_only:
            metric.labels(stream)


def forget_stream(stream: str) -> None:
    """Drop a stream from every metric that has it as a label, for good."""
    with _lock:
        _streams.discard(stream)
        _drop(stream)


def _drop(stream: str) -> None:
    for metric in _metrics:
        metric.drop(stream)
