"""Declare every Prometheus metric of the streamer, named with its unit.

Labels come from bounded sets: never a track, a person or an address. The values of `state`, `reason`, `code` and the
like are in lower case.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info, Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from streamer.series import StreamCounter, StreamGauge, StreamHistogram
from streamer.values import LinkQuality, SourceState, SourceStatus

PREFIX = "faceanalytics_"
_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

build_info = Info(PREFIX + "build", "Version of the running program.")
stream_connects = StreamCounter(PREFIX + "stream_connects_total", "Successful connections.", ["stream"])
stream_disconnects = StreamCounter(PREFIX + "stream_disconnects_total", "Times a running stream was lost.", ["stream"])
stream_stalls = StreamCounter(
    PREFIX + "stream_stalls_total", "Times a connected stream stopped delivering.", ["stream"]
)
stream_errors = StreamCounter(
    PREFIX + "stream_errors_total", "Failures to read a stream, each attempt included.", ["stream", "code"]
)
frames_decoded = StreamCounter(PREFIX + "frames_decoded_total", "Frames decoded.", ["stream"])
frames_missing = StreamCounter(
    PREFIX + "frames_missing_total", "Frames that did not arrive, by the gaps between timestamps.", ["stream"]
)
frames_dropped = StreamCounter(
    PREFIX + "frames_dropped_total", "Frames decoded but not analysed.", ["stream", "reason"]
)
frames_unsearched = StreamCounter(
    PREFIX + "frames_unsearched_total",
    "Frames not searched for faces because that would show nothing new.",
    ["stream", "reason"],
)
searches = StreamCounter(
    PREFIX + "searches_total", "Frames searched for faces, by what caused it.", ["stream", "reason"]
)
frames_time_estimated = StreamCounter(
    PREFIX + "frames_time_estimated_total",
    "Frames timed by their neighbours, for lack of a usable timestamp.",
    ["stream"],
)
frames_analysed = StreamCounter(PREFIX + "frames_analysed_total", "Frames searched for faces.", ["stream"])
pictures_encoded = Counter(PREFIX + "pictures_encoded_total", "Pictures made for those who watch live.")
shot_changes = StreamCounter(PREFIX + "shot_changes_total", "Cuts and cross-fades.", ["stream"])
frame_age_seconds = StreamHistogram(
    PREFIX + "frame_age_seconds",
    "Seconds from arrival of a frame to its detection.",
    ["stream"],
    buckets=_LATENCY_S,
)
detections = StreamCounter(PREFIX + "detections_total", "Faces detected.", ["stream"])
tracks_active = StreamGauge(PREFIX + "tracks_active", "Confirmed or lost tracks that have not ended.", ["stream"])
tracks_ended = StreamCounter(PREFIX + "tracks_ended_total", "Confirmed tracks that ended.", ["stream", "reason"])
tracks_merged = StreamCounter(PREFIX + "tracks_merged_total", "Tracks merged into an earlier one.", ["stream"])
identity_decisions = Counter(
    PREFIX + "identity_decisions_total", "Identity decisions, when made and when changed.", ["outcome"]
)
identity_decision_seconds = Histogram(
    PREFIX + "identity_decision_seconds",
    "Seconds from the first sight of a track to the first decision whom it shows, known or unknown.",
    buckets=(0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30),
)
identity_undecided = Counter(
    PREFIX + "identity_undecided_total", "Tracks that ended before it was decided whom they show."
)
face_inference_requests = StreamCounter(
    PREFIX + "face_inference_requests_total", "Crops handed to dispatch.", ["stream"]
)
client_crops = Counter(
    PREFIX + "client_crops_total", "Crops handed to dispatch by clients other than cameras.", ["client"]
)
face_inference_skipped = StreamCounter(
    PREFIX + "face_inference_skipped_total", "Confirmed faces not sent for analysis, per frame.", ["stream", "reason"]
)
face_budget = Gauge(PREFIX + "face_budget_per_second", "Allowed crops per second, over all cameras; 0 without workers.")
dispatch_batch_crops = Histogram(
    PREFIX + "dispatch_batch_crops", "Crops per batch sent to a worker.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
inference_seconds = Histogram(
    PREFIX + "inference_seconds", "Duration of one call of a model.", ["stage"], buckets=_LATENCY_S
)
dispatch_queue_depth = Gauge(PREFIX + "dispatch_queue_depth", "Crops waiting for a worker.")
crops_lost = Counter(PREFIX + "crops_lost_total", "Crops given up after they were handed to dispatch.", ["reason"])
malformed_messages = Counter(PREFIX + "malformed_messages_total", "Invalid messages from workers.")
workers_alive = Gauge(PREFIX + "workers_alive", "Connected workers.")
workers_refused = Counter(PREFIX + "workers_refused_total", "Workers refused because of their weights.")
result_latency_seconds = Histogram(
    PREFIX + "result_latency_seconds",
    "Seconds from arrival of a frame to its published analysis.",
    buckets=_LATENCY_S,
)
clock_offset_seconds = StreamGauge(
    PREFIX + "clock_offset_seconds", "Arrival time minus the camera's own clock: its delay plus its error.", ["stream"]
)
subscribers = Gauge(PREFIX + "subscribers", "Connected subscribers.")
subscriber_dropped = Counter(PREFIX + "subscriber_dropped_total", "Subscribers disconnected because they did not read.")
store_events = Counter(PREFIX + "store_events_total", "Events stored.", ["kind"])
store_unstored = Counter(
    PREFIX + "store_unstored_total", "Events published before they could be stored; they are stored later or lost."
)
templates_lost = Counter(
    PREFIX + "templates_lost_total", "Faces of past tracks given up because the database did not work for too long."
)
references_waiting = Gauge(
    PREFIX + "people_references_waiting", "References of people that wait to be embedded by the workers' weights."
)
references_unusable = Gauge(
    PREFIX + "people_references_unusable", "References by other weights that cannot be embedded again: without picture."
)
audit_findings = Gauge(
    PREFIX + "gallery_audit_findings",
    "What the newest audit of the gallery found: pairs of people as similar as one (`pairs`), references in doubt "
    "(`references_in_doubt`), those that it advises to set aside (`advised_aside`).",
    ["kind"],
)
audit_false_accept_rate = Gauge(
    PREFIX + "gallery_audit_false_accept_rate",
    "Share of searches by strangers that name somebody, by the newest audit: `estimate`, if there were enough "
    "visitors, the ends of its interval (`low`, `high`), and what the settings ask for (`stated`).",
    ["figure"],
)
audit_timestamp = Gauge(
    PREFIX + "gallery_audit_timestamp_seconds", "Time of the newest audit of the whole gallery; 0: there was no audit."
)
store_lost = Counter(PREFIX + "store_lost_total", "Events given up because the database did not work for too long.")
store_backlog = Gauge(PREFIX + "store_backlog", "Events that wait to be stored.")
store_degraded = Gauge(PREFIX + "store_degraded", "1 while the database does not work, else 0.")
audit_backlog = Gauge(PREFIX + "audit_backlog", "Entries of the audit log that wait to be stored.")
audit_unstored = Counter(
    PREFIX + "audit_unstored_total", "Entries of the audit log that could not be stored; they are in the program's log."
)
store_size_bytes = Gauge(PREFIX + "store_size_bytes", "Size of the stored content, measured every hour.")
store_deleted = Counter(
    PREFIX + "store_deleted_total", "Rows deleted for their age or the size of the store.", ["kind"]
)
jobs_unfinished = Gauge(PREFIX + "jobs_unfinished", "Jobs that have not ended.", ["state"])
jobs_ended = Counter(PREFIX + "jobs_ended_total", "Jobs that ended.", ["outcome"])
job_upload_bytes = Counter(PREFIX + "job_upload_bytes_total", "Bytes of complete uploads of recordings.")
store_commit_seconds = Histogram(PREFIX + "store_commit_seconds", "Duration of one transaction.", buckets=_LATENCY_S)
sink_delivered = Counter(PREFIX + "sink_delivered_total", "Events that a sink's receiver has acknowledged.", ["sink"])
sink_failures = Counter(PREFIX + "sink_failures_total", "Failed attempts to connect or to deliver.", ["sink"])
sink_refused = Counter(PREFIX + "sink_refused_total", "Events left out because the receiver refused them.", ["sink"])
sink_skipped = Counter(
    PREFIX + "sink_skipped_total", "Events that were deleted from the store before a sink was done with them.", ["sink"]
)
invalid_requests = Counter(PREFIX + "invalid_requests_total", "Requests that could not be decoded.", ["method"])
refused_calls = Counter(PREFIX + "refused_calls_total", "Calls of the API that were refused, by status.", ["code"])
answers_refused = Counter(
    PREFIX + "answers_refused_total", "Answers of workers that nobody asked for or that cannot be true.", ["reason"]
)
strangers_refused = Counter(PREFIX + "strangers_refused_total", "Connections to dispatch.bind without an allowed key.")
spans = Counter(PREFIX + "spans_total", "Spans sent to the collector, by what became of them.", ["outcome"])


@dataclass(slots=True)
class StreamTotals:
    """What was counted for a stream since it was added."""

    decoded: int = 0
    missing: int = 0
    analysed: int = 0
    connects: int = 0
    disconnects: int = 0
    stalls: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # by reason
    unsearched: dict[str, int] = field(default_factory=dict)  # by reason
    clock_offset_s: float | None = None  # the newest; None: the camera's clock is not known
    age_s: float = 0.0  # sum over the frames analysed


def clock_offset(stream: str) -> float | None:
    """Return arrival minus the own clock of a stream, s, the newest; None: its clock is not known."""
    samples = (sample for family in clock_offset_seconds.collect() for sample in family.samples)
    return next((one.value for one in samples if one.labels.get("stream") == stream), None)


def stream_totals() -> Mapping[str, StreamTotals]:
    """Return what was counted for each stream that has counted anything."""
    totals: dict[str, StreamTotals] = {}

    def each(
        metric: StreamCounter | StreamGauge | StreamHistogram, suffix: str
    ) -> Iterator[tuple[StreamTotals, Mapping[str, str], float]]:
        for sample in (sample for family in metric.collect() for sample in family.samples):
            if sample.name.endswith(suffix):
                yield totals.setdefault(sample.labels["stream"], StreamTotals()), sample.labels, sample.value

    for total, _, value in each(frames_decoded, "_total"):
        total.decoded = int(value)
    for total, _, value in each(frames_missing, "_total"):
        total.missing = int(value)
    for total, _, value in each(frames_analysed, "_total"):
        total.analysed = int(value)
    for total, _, value in each(stream_connects, "_total"):
        total.connects = int(value)
    for total, _, value in each(stream_disconnects, "_total"):
        total.disconnects = int(value)
    for total, _, value in each(stream_stalls, "_total"):
        total.stalls = int(value)
    for total, labels, value in each(frames_dropped, "_total"):
        total.dropped[labels["reason"]] = int(value)
    for total, labels, value in each(frames_unsearched, "_total"):
        total.unsearched[labels["reason"]] = int(value)
    for total, _, value in each(clock_offset_seconds, "_seconds"):
        total.clock_offset_s = value
    for total, _, value in each(frame_age_seconds, "_sum"):
        total.age_s = value
    return totals


class _StatusCollector(Collector):
    """Shows the present state of each stream as it is when it is asked for."""

    def __init__(self, statuses: Callable[[], Iterable[tuple[str, SourceStatus]]]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterable[Metric]:
        known = list(self._statuses())
        yield _one_of("stream_state", "1 for the current state of the stream, else 0.", "state", SourceState, known)
        text = "1 for the current quality of the link, else 0."
        yield _one_of("stream_link_quality", text, "quality", LinkQuality, known)
        text = "Codec, clock and decoder of the stream; always 1."
        info = _gauge("stream_info", text, "stream", "codec", "clock_source", "decoder")
        for stream, status in known:
            if status.codec:
                clock = status.clock_source.value.lower() if status.clock_source else ""
                info.add_metric([stream, status.codec, clock, status.decoder], 1)
        yield info
        for name, text, read in _OF_STATUS:
            family = _gauge(name, text, "stream")
            for stream, status in known:
                value = read(status)
                if value is not None:
                    family.add_metric([stream], value)
            yield family

    def describe(self) -> Iterable[Metric]:
        return ()


def _unix(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


_OF_STATUS: tuple[tuple[str, str, Callable[[SourceStatus], float | None]], ...] = (
    ("stream_overloaded", "1 while many frames are skipped because newer ones arrive.", lambda s: float(s.overloaded)),
    ("stream_frame_width_pixels", "Width of the frames.", lambda s: s.width or None),
    ("stream_frame_height_pixels", "Height of the frames.", lambda s: s.height or None),
    ("stream_last_frame_timestamp_seconds", "Unix time of the newest frame's arrival.", lambda s: _unix(s.last_frame)),
    ("stream_state_timestamp_seconds", "Unix time at which the current state began.", lambda s: _unix(s.since)),
    ("stream_next_retry_timestamp_seconds", "Unix time of the next attempt to connect.", lambda s: _unix(s.next_retry)),
)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)


def _one_of(
    name: str,
    text: str,
    label: str,
    values: type[SourceState] | type[LinkQuality],
    known: Iterable[tuple[str, SourceStatus]],
) -> GaugeMetricFamily:
    family = _gauge(name, text, "stream", label)
    for stream, status in known:
        current = status.state if values is SourceState else status.link_quality
        for value in values:
            family.add_metric([stream, value.value.lower()], float(value is current))
    return family


def show_streams(statuses: Callable[[], Iterable[tuple[str, SourceStatus]]]) -> Callable[[], None]:
    """Add what `statuses` returns to the endpoint, and return the function that takes it away again."""
    collector = _StatusCollector(statuses)
    REGISTRY.register(collector)
    return lambda: REGISTRY.unregister(collector)


class _SinkCollector(Collector):
    """Shows how far the sinks are, as it is when it is asked for."""

    def __init__(self, read: Callable[[], Iterable[tuple[str, str, int, float]]], states: Iterable[str]) -> None:
        self._read = read
        self._states = tuple(states)

    def collect(self) -> Iterable[Metric]:
        shown = _gauge("sink_state", "1 for the current state of the sink, else 0.", "sink", "state")
        events = _gauge("sink_lag_events", "Stored events that the sink is not done with, wanted or not.", "sink")
        seconds = _gauge("sink_lag_seconds", "Age of the oldest event that waits for the receiver, else 0.", "sink")
        for name, current, behind, age_s in self._read():
            for state in self._states:
                shown.add_metric([name, state], float(state == current))
            events.add_metric([name], behind)
            seconds.add_metric([name], age_s)
        return (shown, events, seconds)

    def describe(self) -> Iterable[Metric]:
        return ()


def show_sinks(read: Callable[[], Iterable[tuple[str, str, int, float]]], states: Iterable[str]) -> Callable[[], None]:
    """Add the sinks to the endpoint: name, state, events behind, seconds behind. Return what takes them away again."""
    collector = _SinkCollector(read, states)
    REGISTRY.register(collector)
    return lambda: REGISTRY.unregister(collector)
