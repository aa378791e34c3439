"""Implements `streamer aggregates`: prints what cameras have counted."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from faceanalytics.json_form import as_dict
from faceanalytics.v1 import aggregates_pb2, aggregates_pb2_grpc, faces_pb2
from streamer.api.messages import timestamp
from streamer.tools.connection import Connect, plain
from streamer.tools.pages import pages
from streamer.tools.streams import ANSWER_S, connected


def show(address: str, streams: Sequence[str], hours: float | None, as_json: bool, connect: Connect = plain) -> int:
    """Print the counts of cameras (empty: all) in the last hours (None: all). Returns the exit code 0.

    Raises ConfigError if the streamer refuses, LostDependency if it does not answer.
    """
    since = timestamp(datetime.fromtimestamp(time.time() - 3600 * hours, UTC)) if hours is not None else None
    request = aggregates_pb2.ListAggregatesRequest(stream_ids=streams, since=since)
    with connected(address, connect) as channel:
        service = aggregates_pb2_grpc.AggregateServiceStub(channel)
        for answer in pages(service.ListAggregates, request, ANSWER_S):
            for one in answer.aggregates:
                print(json.dumps(as_dict(one), ensure_ascii=False) if as_json else line(one), flush=True)
    return 0


def line(one: aggregates_pb2.Aggregate) -> str:
    """Describe the counts of an interval in one line."""
    start, end = (moment.ToDatetime(UTC).astimezone() for moment in (one.start, one.end))
    parts = [f"{one.tracks} track{'' if one.tracks == 1 else 's'}"]
    if one.ages:
        groups = (f"{count.tracks} of {_range(count)}" for count in one.ages if count.tracks)
        parts.append(f"ages: {', '.join(groups)}")
    if one.expressions:
        shares = sorted(one.expressions, key=lambda share: -share.share)[:3]
        names = (faces_pb2.Expression.Name(share.expression).removeprefix("EXPRESSION_").lower() for share in shares)
        named = (f"{name} {100 * share.share:.0f} %" for name, share in zip(names, shares, strict=True))
        parts.append(f"expressions: {', '.join(named)}")
    if one.HasField("mean_dwell_s"):
        parts.append(f"{one.mean_dwell_s:.1f} s in view")
    return f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}, {one.stream_id}: {'; '.join(parts)}"


def _range(count: aggregates_pb2.AgeCount) -> str:
    return (
        f"{count.min_years} to {count.max_years - 1}" if count.HasField("max_years") else f"{count.min_years} or more"
    )
