"""The tracks of a running streamer as typed events, over as many connections as it takes."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from faceanalytics import tracks
from faceanalytics.tracks import Box, Interval, LiveTrack, Point
from faceanalytics.v1 import faces_pb2, tracks_pb2
from streamer.tools.connection import Login, connecting
from streamer.tools.subscription import Interruption, Subscription
from streamer.values import LANDMARK_NAMES


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All live tracks, once the connection is made: the first event, and again after each reconnection."""

    tracks: tuple[LiveTrack, ...]
    vanished: tuple[LiveTrack, ...]  # live before the gap and not now, as last seen; how they ended was missed
    gap_s: float | None  # nothing was heard for this long, seconds; None: the first connection


@dataclass(frozen=True, slots=True)
class TrackStarted:
    """A track was confirmed."""

    track: LiveTrack


@dataclass(frozen=True, slots=True)
class TrackUpdated:
    """Something about a track has changed."""

    track: LiveTrack


@dataclass(frozen=True, slots=True)
class TrackMerged:
    """A track turned out to be the face of an earlier one, `track.merged_into`, which goes on in its place."""

    track: LiveTrack


@dataclass(frozen=True, slots=True)
class TrackEnded:
    """A track has ended; its values are final."""

    track: LiveTrack


@dataclass(frozen=True, slots=True)
class Missed:
    """Events that happened while there was no connection, and that the streamer no longer has."""

    count: int  # of all streams and kinds


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing happened for a while. Only if it was asked for."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is lost, or was never made. Starts and ends until the next Snapshot come before it, if the
    streamer has a store; else they are missed."""

    reason: str
    retry_in_s: float


Event: TypeAlias = Snapshot | TrackStarted | TrackUpdated | TrackMerged | TrackEnded | Missed | Heartbeat | Disconnected
_KINDS: dict[int, type[TrackStarted | TrackUpdated | TrackMerged | TrackEnded]] = {
    tracks_pb2.EVENT_TYPE_NEW: TrackStarted,
    tracks_pb2.EVENT_TYPE_UPDATE: TrackUpdated,
    tracks_pb2.EVENT_TYPE_MERGE: TrackMerged,
    tracks_pb2.EVENT_TYPE_END: TrackEnded,
}


class Watch:
    """An iterator of events, which blocks until the next one. It ends after `close`, or at the end of a `with`."""

    def __init__(self, subscription: Subscription, heartbeats: bool) -> None:
        self._subscription = subscription
        self._events = _events(subscription, heartbeats)

    def __iter__(self) -> "Watch":
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the watch. May be called from any thread."""
        self._subscription.close()


def watch(
    address: str,
    streams: Sequence[str] = (),
    *,
    min_interval_s: float = 0.0,
    embeddings: bool = False,
    heartbeats: bool = False,
    token: str | None = None,
    tls_ca: str | Path | None = None,
    tls: bool = False,
) -> Watch:
    """Iterate over what happens to the tracks of a streamer.

    `address`: host:port; `streams`: only these, empty: all; `min_interval_s`: hear of updates of one track at most this
    often, seconds; `embeddings`: also send `LiveTrack.embedding`; `heartbeats`: also yield Heartbeat events, so that
    the iteration does not block for longer than the streamer's publish.heartbeat_s while it is connected.

    `token`: of the streamer's API, else $FACEANALYTICS_TOKEN or the file $FACEANALYTICS_TOKEN_FILE; `tls_ca`: use TLS
    and accept certificates of the authorities in this PEM file, else $FACEANALYTICS_TLS_CA; `tls`: use TLS and accept
    those of public authorities.

    A lost connection is a Disconnected event and is made again, after 1 s to 30 s, until the iteration ends.
    Raises ConfigError for an address of another form, for files and tokens that cannot be used, and, while iterating,
    if the token would cross a network without TLS; LostDependency, while iterating, if the streamer refuses.
    """
    if isinstance(streams, str):
        raise TypeError("streams is a text, expected a sequence of ids")
    request = tracks_pb2.WatchTracksRequest(stream_ids=streams, snapshot=True, include_embedding=embeddings)
    if min_interval_s:
        request.min_interval.FromTimedelta(timedelta(seconds=min_interval_s))
    login = Login(token=token, tls=tls, tls_ca=Path(tls_ca) if tls_ca else None).with_environment()
    return Watch(Subscription(address, request, connect=connecting(login)), heartbeats)


async def watch_async(
    address: str,
    streams: Sequence[str] = (),
    *,
    min_interval_s: float = 0.0,
    embeddings: bool = False,
    heartbeats: bool = False,
    token: str | None = None,
    tls_ca: str | Path | None = None,
    tls: bool = False,
) -> AsyncIterator[Event]:
    """Yield the events of `watch` without blocking the event loop: `async for event in watch_async(...)`."""
    watching = watch(
        address,
        streams,
        min_interval_s=min_interval_s,
        embeddings=embeddings,
        heartbeats=heartbeats,
        token=token,
        tls_ca=tls_ca,
        tls=tls,
    )
    thread = ThreadPoolExecutor(1, thread_name_prefix="watch")
    loop = asyncio.get_running_loop()
    try:
        while (event := await loop.run_in_executor(thread, next, watching, None)) is not None:
            yield event
    finally:
        watching.close()
        thread.shutdown(wait=False)


def _events(subscription: Subscription, heartbeats: bool) -> Iterator[Event]:
    live: dict[str, LiveTrack] = {}  # as far as it was heard
    snapshot: dict[str, LiveTrack] | None = None  # the one that is arriving
    heard: float | None = None  # s, monotonic; None: nothing yet
    for message in subscription:
        if isinstance(message, Interruption):
            snapshot = None
            yield Disconnected(message.reason, message.retry_in_s)
            continue
        if message.sequence == 1:
            snapshot = {}
            gap_s = None if heard is None else time.monotonic() - heard
        heard = time.monotonic()
        if message.type == tracks_pb2.EVENT_TYPE_SNAPSHOT:
            if snapshot is not None:
                snapshot[message.track.track_id] = to_track(message.track)
        elif message.type == tracks_pb2.EVENT_TYPE_SNAPSHOT_END:
            now = snapshot or {}
            vanished = tuple(track for name, track in live.items() if name not in now)
            live, snapshot = now, None
            yield Snapshot(tuple(live.values()), vanished, gap_s)
        elif message.type == tracks_pb2.EVENT_TYPE_GAP:
            yield Missed(message.gap.count)
        elif message.type == tracks_pb2.EVENT_TYPE_HEARTBEAT:
            if heartbeats:
                yield Heartbeat()
        elif message.type in _KINDS:
            track = to_track(message.track)
            for known in (live, snapshot):
                if known is not None:
                    known.pop(track.track_id, None)
                    if not track.final:
                        known[track.track_id] = track
            yield _KINDS[message.type](track)


def to_track(track: tracks_pb2.Track) -> LiveTrack:
    """The value for a message."""
    return LiveTrack(
        track_id=track.track_id,
        stream_id=track.stream_id,
        stream_epoch=track.stream_epoch,
        number=track.number,
        state=_word(tracks_pb2.TrackState.Name(track.state), "TRACK_STATE_"),
        first_seen_s=track.first_seen_s,
        last_seen_s=track.last_seen_s,
        first_captured_at=_time(track.first_captured_at) if track.HasField("first_captured_at") else None,
        last_captured_at=_time(track.last_captured_at) if track.HasField("last_captured_at") else None,
        clock_source=_word(tracks_pb2.ClockSource.Name(track.clock_source), "CLOCK_SOURCE_"),
        end_reason=_word(tracks_pb2.EndReason.Name(track.end_reason), "END_REASON_") if track.end_reason else None,
        box=Box(track.box.x, track.box.y, track.box.width, track.box.height),
        landmarks=_landmarks(track.landmarks) if track.HasField("landmarks") else {},
        frame_width=track.frame_width,
        frame_height=track.frame_height,
        detection_score=track.detection_score,
        quality=track.quality,
        reasons=tuple(_word(tracks_pb2.Reason.Name(reason), "REASON_") for reason in track.reasons),
        samples=track.samples,
        model_id=track.model_id,
        described=track.described,
        undescribed_reasons=tuple(
            _word(tracks_pb2.UndescribedReason.Name(reason), "UNDESCRIBED_REASON_")
            for reason in track.undescribed_reasons
        ),
        age=_age(track.age) if track.HasField("age") else None,
        expression=_expression(track.expression) if track.HasField("expression") else None,
        attributes=_attributes(track.attributes) if track.HasField("attributes") else None,
        identity=_identity(track.identity) if track.HasField("identity") else None,
        decision=_decision(track.decision) if track.HasField("decision") else None,
        intervals=tuple(Interval(one.track_id, one.first_seen_s, one.last_seen_s) for one in track.intervals),
        merged_into=track.merged_into or None,
        split_from=track.split_from or None,
        revision=track.revision,
        final=track.final,
        embedding=np.array(track.identity.embedding, np.float32) if track.identity.embedding else None,
    )


def _landmarks(points: faces_pb2.Landmarks) -> dict[str, Point]:
    return {name: Point(getattr(points, name).x, getattr(points, name).y) for name in LANDMARK_NAMES}


def _age(age: tracks_pb2.AgeEstimate) -> tracks.Age:
    return tracks.Age(years=age.years, low_years=age.low_years, high_years=age.high_years, **_evidence(age.evidence))


def _expression(estimate: tracks_pb2.ExpressionEstimate) -> tracks.Expression:
    return tracks.Expression(
        appears=_expression_name(estimate.appears) if estimate.appears else None,
        since_s=estimate.since_s,
        distribution={_expression_name(one.expression): one.share for one in estimate.distribution},
        timeline=tuple(
            tracks.Segment(
                appears=_expression_name(one.expression),
                start_s=one.start_s,
                end_s=one.end_s,
                confidence=one.confidence,
            )
            for one in estimate.timeline
        ),
        **_evidence(estimate.evidence),
    )


def _attributes(estimate: tracks_pb2.AttributeEstimate) -> tracks.Attributes:
    names = [_word(faces_pb2.Attribute.Name(one.attribute), "ATTRIBUTE_").lower() for one in estimate.scores]
    presence = [_word(tracks_pb2.Presence.Name(one.presence), "PRESENCE_") for one in estimate.scores]
    return tracks.Attributes(
        scores=dict(zip(names, [one.score for one in estimate.scores], strict=True)),
        presence=dict(zip(names, presence, strict=True)),
        **_evidence(estimate.evidence),
    )


def _identity(estimate: tracks_pb2.IdentityEstimate) -> tracks.Identity:
    return tracks.Identity(
        consistency=estimate.consistency if estimate.HasField("consistency") else None,
        outliers=estimate.outliers,
        status=_word(tracks_pb2.IdentityAgreement.Name(estimate.status), "IDENTITY_AGREEMENT_"),
        **_evidence(estimate.evidence),
    )


def _decision(decision: tracks_pb2.IdentityDecision) -> tracks.Decision:
    return tracks.Decision(
        status=_word(tracks_pb2.IdentityStatus.Name(decision.status), "IDENTITY_STATUS_"),
        person=decision.person or None,
        reason=_word(tracks_pb2.IdentityReason.Name(decision.reason), "IDENTITY_REASON_") if decision.reason else None,
        candidates=tuple(tracks.Candidate(one.person, one.similarity) for one in decision.candidates),
        margin=decision.margin if decision.HasField("margin") else None,
        threshold=decision.threshold if decision.HasField("threshold") else None,
        samples=decision.samples,
        best_quality=decision.best_quality,
    )


def _evidence(evidence: tracks_pb2.Evidence) -> dict[str, Any]:
    return {
        "samples": evidence.samples,
        "best_quality": evidence.best_quality,
        "last_inferred_s": evidence.last_inferred_s,
        "revision": evidence.revision,
    }


def _expression_name(value: faces_pb2.Expression.ValueType) -> str:
    return _word(faces_pb2.Expression.Name(value), "EXPRESSION_").lower()


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix)


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
