"""Makes the spans of a sample of the frames: where the time between a frame and its published result goes.

A trace begins with a frame. `capture` is from the arrival of the frame to the start of its detection, and includes
decoding; `detect` and `track` follow. `dispatch` is a crop on its way to a worker and back; the worker adds `wait` and
`infer`. `aggregate`, `store` and `publish` end it. Spans name cameras and tracks, never people or addresses.
"""

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from faceanalytics.spans import SpanCollector, Spans, traceparent_of
from streamer import metrics
from streamer.privacy import Mode, Modes
from streamer.tracing import Tracing
from streamer.values import FaceCrop, Frame, Observation, TrackSummary

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

KEPT = 2048  # frames, crops and summaries on their way, each

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Tracer:
    """Notes what happens to sampled frames. `detected` and `tracked` are for the observe thread, the rest for the loop.

    Spans are made of times that were measured anyway. What is not sampled costs a look into a table.
    """

    def __init__(self, settings: Tracing, stores: bool, modes: Modes | None = None) -> None:
        """`stores`: summaries pass a store. `modes`: cameras of which only counts are published are not traced, because
        spans name tracks. Raises MissingPackage, ConfigError.
        """
        settings.check()
        assert settings.endpoint is not None
        places = settings.tls_ca_file, settings.headers_file
        collector = SpanCollector(settings.endpoint, settings.encrypted, *places)
        self._spans = Spans("faceanalytics-streamer", collector, _count)
        self._ratio, self._stores = settings.sample_ratio, stores
        self._modes = modes
        self._random = random.Random()  # noqa: S311  # not a secret
        self._frames: _Kept[tuple[str, float], Span] = _Kept()  # by camera and media time
        self._sent: _Kept[tuple[str, float], Span] = _Kept()  # by track id and media time
        self._leaving: _Kept[tuple[str, int], tuple[SpanContext, float]] = _Kept()  # by track id and revision
        self._answer: tuple[SpanContext, float] | None = None  # of the crop whose answer is being aggregated

    @classmethod
    def of(cls, settings: Tracing, stores: bool, modes: Modes | None = None) -> "Tracer | None":
        """Return a tracer; None: nothing is traced."""
        return cls(settings, stores, modes) if settings.endpoint is not None and settings.sample_ratio > 0 else None

    def detected(self, frames: Sequence[Frame], began: float, ended: float) -> None:
        """Note that these frames were searched for faces together; some of them are sampled."""
        for frame in frames:
            if self._random.random() >= self._ratio:
                continue
            if self._modes is not None and self._modes.of(frame.camera) is Mode.AGGREGATE_ONLY:
                continue
            span = self._spans.begin("frame", frame.received, camera=frame.camera)
            context = span.get_span_context()
            self._spans.add("capture", frame.received, began, context, clock=frame.clock_source.value)
            self._spans.add("detect", began, ended, context, frames=len(frames))
            self._end(self._frames.put((frame.camera, frame.media_time), span))

    def tracked(self, frame: Frame, began: float) -> None:
        """Note that the faces of a frame were tracked and considered."""
        span = self._frames.get((frame.camera, frame.media_time))
        if span is not None:
            self._spans.add("track", began, time.monotonic(), span.get_span_context())

    def observed(self, observation: Observation) -> None:
        """Note that all is known that a frame shows; its crops go to dispatch."""
        span = self._frames.get((observation.camera, observation.media_time))
        if span is not None and span.is_recording():
            faces, crops = len(observation.detections), len(observation.crops)
            self._spans.end(span, time.monotonic(), faces=faces, tracks=len(observation.tracks), crops=crops)

    def sent(self, crops: Iterable[FaceCrop | None]) -> str:
        """Note that crops go to a worker in one batch (None: of another client). Returns what the worker follows.

        That is the header `traceparent` for the first one that is sampled; empty without one.
        """
        first = ""
        for crop in crops:
            frame = self._frames.get((crop.key.camera, crop.media_time)) if crop is not None else None
            if crop is None or frame is None:
                continue
            key = crop.key.id, crop.media_time
            span = self._sent.get(key)  # it was sent before, to a worker that has gone
            if span is None:
                parent = frame.get_span_context()
                span = self._spans.begin("dispatch", time.monotonic(), parent, track=crop.key.id)
                self._end(self._sent.put(key, span))
            first = first or traceparent_of(span.get_span_context())
        return first

    def answered(self, crop: FaceCrop, answered: bool) -> None:
        """Note the answer for a crop, which is aggregated next, or that it was given up."""
        span = self._sent.pop((crop.key.id, crop.media_time))
        self._answer = None
        if span is None:
            return
        now = time.monotonic()
        self._spans.end(span, now, "" if answered else "given up")
        if answered:
            self._answer = span.get_span_context(), now

    def leaving(self, summaries: Iterable[TrackSummary]) -> None:
        """Note summaries on their way to store and subscribers, if they come from a sampled crop."""
        if self._answer is None:
            return
        (context, began), self._answer, now = self._answer, None, time.monotonic()
        self._spans.add("aggregate", began, now, context)
        for summary in summaries:
            self._leaving.put((summary.key.id, summary.revision), (context, now))

    def published(self, summary: TrackSummary, began: float, stored: bool) -> None:
        """Note that a summary was given to the subscribers, from `began` (s, monotonic) on."""
        left = self._leaving.pop((summary.key.id, summary.revision))
        if left is None:
            return
        context, since = left
        if self._stores:
            self._spans.add("store", since, began, context, stored=stored)
        self._spans.add("publish", began, time.monotonic(), context, final=summary.final)

    def close(self) -> None:
        """Send the last spans, for at most a few seconds."""
        self._spans.close()

    def _end(self, forgotten: "Span | None") -> None:
        if forgotten is not None and forgotten.is_recording():
            self._spans.end(forgotten, time.monotonic(), "replaced by newer ones")


class _Kept(Generic[Key, Value]):
    """The newest KEPT values by key, for several threads."""

    def __init__(self) -> None:
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: Key, value: Value) -> Value | None:
        """Keep a value, and return the one that is forgotten for it."""
        with self._lock:
            forgotten = self._values.pop(key, None)
            self._values[key] = value
            return self._values.popitem(last=False)[1] if len(self._values) > KEPT else forgotten

    def get(self, key: Key) -> Value | None:
        return self._values.get(key)

    def pop(self, key: Key) -> Value | None:
        with self._lock:
            return self._values.pop(key, None)


def _count(delivered: bool, spans: int) -> None:
    metrics.spans.labels("delivered" if delivered else "lost").inc(spans)
