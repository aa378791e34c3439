"""Declare every Prometheus metric of the streamer, named with its unit.

Labels come from bounded sets: never a track, a person or an address.
"""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram, Info, start_http_server

from faceanalytics.errors import ConfigError
from streamer.config import split_address

PREFIX = "faceanalytics_"
_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

build_info = Info(PREFIX + "build", "Version of the running program.")
stream_state = Gauge(PREFIX + "stream_state", "1 for the current state of the stream, else 0.", ["stream", "state"])
stream_connects = Counter(PREFIX + "stream_connects_total", "Successful connections.", ["stream"])
stream_stalls = Counter(PREFIX + "stream_stalls_total", "Times a connected stream stopped delivering.", ["stream"])
frames_decoded = Counter(PREFIX + "frames_decoded_total", "Frames decoded.", ["stream"])
frames_dropped = Counter(PREFIX + "frames_dropped_total", "Frames decoded but not analysed.", ["stream", "reason"])
frames_time_estimated = Counter(
    PREFIX + "frames_time_estimated_total",
    "Frames timed by their neighbours, for lack of a usable timestamp.",
    ["stream"],
)
frame_age_seconds = Histogram(
    PREFIX + "frame_age_seconds",
    "Seconds from arrival of a frame to its detection.",
    ["stream"],
    buckets=_LATENCY_S,
)
detections = Counter(PREFIX + "detections_total", "Faces detected.", ["stream"])
tracks_active = Gauge(PREFIX + "tracks_active", "Confirmed or lost tracks that have not ended.", ["stream"])
tracks_ended = Counter(PREFIX + "tracks_ended_total", "Confirmed tracks that ended.", ["stream", "reason"])
tracks_merged = Counter(PREFIX + "tracks_merged_total", "Tracks merged into an earlier one.", ["stream"])
identity_decisions = Counter(
    PREFIX + "identity_decisions_total", "Identity decisions, when made and when changed.", ["outcome"]
)
face_inference_requests = Counter(PREFIX + "face_inference_requests_total", "Crops handed to dispatch.", ["stream"])
client_crops = Counter(
    PREFIX + "client_crops_total", "Crops handed to dispatch by clients other than cameras.", ["client"]
)
face_inference_skipped = Counter(
    PREFIX + "face_inference_skipped_total", "Confirmed faces not sent for analysis, per frame.", ["stream", "reason"]
)
face_budget = Gauge(PREFIX + "face_budget_per_second", "Allowed crops per second, over all cameras; 0 without workers.")
face_batch_size = Histogram(
    PREFIX + "face_batch_size", "Crops per batch sent to a worker.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
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
clock_offset_seconds = Gauge(
    PREFIX + "clock_offset_seconds", "Arrival time minus the camera's own clock: its delay plus its error.", ["stream"]
)
subscribers = Gauge(PREFIX + "subscribers", "Connected subscribers.")
subscriber_dropped = Counter(PREFIX + "subscriber_dropped_total", "Subscribers disconnected because they did not read.")

_OF_STREAMS = (
    stream_state,
    stream_connects,
    stream_stalls,
    frames_decoded,
    frames_dropped,
    frames_time_estimated,
    frame_age_seconds,
    detections,
    tracks_active,
    tracks_ended,
    tracks_merged,
    face_inference_requests,
    face_inference_skipped,
    clock_offset_seconds,
)


def forget_stream(stream: str) -> None:
    """Drop a stream from every metric that has it as a label."""
    for metric in _OF_STREAMS:
        metric.remove_by_labels({"stream": stream})


def serve_metrics(address: str) -> Callable[[], None]:
    """Start the endpoint in its own thread, and return the function that stops it.

    Raises ConfigError if it cannot listen.
    """
    host, port = split_address(address)
    try:
        server, thread = start_http_server(port, addr=host)
    except OSError as error:
        raise ConfigError(f"metrics.listen: cannot listen on {address}: {error}; choose a free port") from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
