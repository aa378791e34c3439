"""Converts what was measured to the messages of SystemService."""

import time
from collections.abc import Collection, Sequence

from faceanalytics.v1 import system_pb2
from streamer import metrics
from streamer.api.capacity import Limit, more_streams
from streamer.api.messages import duration, timestamp
from streamer.config import Store as StoreConfig
from streamer.config import Stream
from streamer.labels import ATTRIBUTE_VALUES
from streamer.readings import Readings, Recent, buckets, by_label, cpus, memory_bytes, quantile, total
from streamer.store.overview import Overview
from streamer.store.store import Store
from streamer.store.values import StoreState
from streamer.values import Model, SourceState, SourceStatus

Streams = Sequence[tuple[Stream, SourceStatus]]


def model_to_proto(model: Model, workers: int) -> system_pb2.Model:
    """Return the message of a model and the number of workers that have it."""
    return system_pb2.Model(
        model_id=model.id,
        has_age=model.age,
        has_expression=model.expression,
        attributes=[ATTRIBUTE_VALUES[place] for place in model.attributes],
        has_identity=model.identity,
        licence=model.licence,
        workers=workers,
    )


def stats(
    readings: Readings, recent: Recent, streams: Streams, visible: Collection[str], store: Store | None
) -> system_pb2.GetStatsResponse:
    """Return the statistics of `streams`; `visible`: their ids for a caller that may see these only, else empty."""
    return system_pb2.GetStatsResponse(
        process=system_pb2.ProcessStats(
            version=readings.version,
            instance_id=readings.instance_id,
            started_at=timestamp(readings.started),
            uptime=duration(readings.uptime_s),
            cpu_time=duration(time.process_time()),
            cpus=cpus(),
            memory_bytes=memory_bytes(),
        ),
        frames=_frames([status for _, status in streams]),
        tracks=system_pb2.TrackStats(
            active=int(total(metrics.tracks_active, "", visible)),
            detections=int(total(metrics.detections, streams=visible)),
            ended=by_label(metrics.tracks_ended, "reason", visible),
            merged=int(total(metrics.tracks_merged, streams=visible)),
        ),
        crops=system_pb2.CropStats(
            requested=int(total(metrics.face_inference_requests, streams=visible)),
            skipped=by_label(metrics.face_inference_skipped, "reason", visible),
            lost=by_label(metrics.crops_lost, "reason"),
            waiting=int(total(metrics.dispatch_queue_depth, "")),
            batches=int(total(metrics.dispatch_batch_crops, "_count")),
            sent=int(total(metrics.dispatch_batch_crops, "_sum")),
            workers=int(total(metrics.workers_alive, "")),
        ),
        latency=_latency(recent),
        decisions=_decisions(),
        subscribers=system_pb2.SubscriberStats(
            watching=int(total(metrics.subscribers, "")), dropped=int(total(metrics.subscriber_dropped))
        ),
        store=store_state(store.state) if store is not None else None,
    )


def _frames(statuses: Sequence[SourceStatus]) -> system_pb2.FrameStats:
    message = system_pb2.FrameStats(
        decoded=sum(status.frames_decoded for status in statuses),
        analysed=sum(status.frames_analysed for status in statuses),
        missing=sum(status.frames_missing for status in statuses),
    )
    for status in statuses:
        for reason, frames in status.frames_dropped.items():
            message.dropped[reason] += frames
        for reason, frames in status.frames_unsearched.items():
            message.unsearched[reason] += frames
    return message


def _latency(recent: Recent) -> system_pb2.LatencyStats:
    values = recent.latency
    median, slow = quantile(values, 0.5), quantile(values, 0.95)
    return system_pb2.LatencyStats(
        window=duration(recent.seconds),
        results=int(values[-1][1]) if values else 0,
        p50=duration(median) if median is not None else None,
        p95=duration(slow) if slow is not None else None,
    )


def _decisions() -> system_pb2.DecisionStats | None:
    values, undecided = buckets(metrics.identity_decision_seconds), int(total(metrics.identity_undecided))
    decided = int(values[-1][1])
    if not decided and not undecided:
        return None
    median, slow = quantile(values, 0.5), quantile(values, 0.95)
    return system_pb2.DecisionStats(
        decided=decided,
        undecided=undecided,
        p50=duration(median) if median is not None else None,
        p95=duration(slow) if slow is not None else None,
    )


def capacity(recent: Recent, streams: Streams, max_streams: int) -> system_pb2.GetCapacityResponse:
    """Return how busy the streamer is with these streams, of which it may have `max_streams`."""
    workers, budget = total(metrics.workers_alive, ""), total(metrics.face_budget, "")
    running = [status for _, status in streams if status.state is SourceState.RUNNING]
    searches, detecting = recent.rate("searches"), recent.rate("searching_s")
    crops, analysing = recent.rate("crops"), recent.rate("analysing_s")
    worker_use = min(1.0, analysing / workers) if workers else None
    uses = {Limit.DETECTOR: detecting, Limit.WORKERS: worker_use, Limit.CPU: recent.machine_use}
    overloaded = sum(status.overloaded for status in running)
    more = more_streams(uses, len(running), overloaded, max_streams - len(streams), recent.seconds)
    return system_pb2.GetCapacityResponse(
        window=duration(recent.seconds),
        streams_running=len(running),
        searches_per_second=recent.rate("searched"),
        detector_use=min(1.0, detecting),
        detector_time=duration(detecting / searches) if searches else None,
        analyses_per_second=crops,
        allowed_analyses_per_second=budget if budget < float("inf") else None,
        possible_analyses_per_second=workers * crops / analysing if workers and analysing else None,
        worker_use=worker_use,
        cpu_use=recent.machine_use,
        more_streams=more[0] if more is not None else None,
        limited_by=system_pb2.CapacityLimit.Value(f"CAPACITY_LIMIT_{more[1].value if more else 'UNSPECIFIED'}"),
    )


def store_state(state: StoreState) -> system_pb2.StoreState:
    """Return the message of the state of a store."""
    size = int(total(metrics.store_size_bytes, ""))
    return system_pb2.StoreState(
        degraded=state.degraded,
        degraded_since=timestamp(state.since),
        backlog=state.backlog,
        lost=state.lost,
        sequence=state.sequence,
        size_bytes=size or None,
    )


def store_contents(overview: Overview) -> system_pb2.StoreContents:
    """Return the message of what a store holds."""
    return system_pb2.StoreContents(
        counted_at=timestamp(overview.counted_at),
        rows=overview.rows,
        oldest_sequence=overview.oldest,
        oldest_event_at=timestamp(overview.oldest_at),
        newest_sequence=overview.newest,
        newest_event_at=timestamp(overview.newest_at),
        database_bytes=overview.database_bytes,
        runs=overview.runs,
    )


def store_retention(config: StoreConfig, store: Store) -> system_pb2.StoreRetention:
    """Return the message of how long a store keeps what has ended."""
    keep = config.keep
    return system_pb2.StoreRetention(
        events_days=keep.events_days,
        tracks_days=keep.tracks_days,
        faces_days=keep.faces_days,
        jobs_days=keep.jobs_days,
        audit_days=keep.audit_days,
        max_size_bytes=int(config.max_size_mb * 1e6) if config.max_size_mb is not None else None,
        faces=config.faces,
        last_run_at=timestamp(store.cleaned_at),
        deleted=by_label(metrics.store_deleted, "kind"),
    )
