"""AggregateService: gives what cameras have counted whose tracks are not published, see aggregates.proto."""

from datetime import UTC, datetime
from math import inf
from typing import Any, Literal

from grpc import aio

from faceanalytics.v1 import aggregates_pb2, aggregates_pb2_grpc, faces_pb2
from streamer.api.errors import Why, refuse
from streamer.api.messages import timestamp
from streamer.api.paging import page_size, page_token, place_of
from streamer.api.watch import unavailable
from streamer.store.aggregates import Aggregates, Counted
from streamer.store.values import StoreUnavailable

Context = aio.ServicerContext[Any, Any]


class AggregateService(aggregates_pb2_grpc.AggregateServiceServicer):
    """Serves the counts."""

    def __init__(self, aggregates: Aggregates) -> None:
        self._aggregates = aggregates

    async def ListAggregates(  # noqa: N802
        self, request: aggregates_pb2.ListAggregatesRequest, context: Context
    ) -> aggregates_pb2.ListAggregatesResponse:
        place = await place_of(request.page_token, context)
        if place and not place.isdecimal():
            await refuse(context, Why.INVALID_PAGE_TOKEN, "page_token: is not from a response")
        since = await _time(request, "since", -inf, context)
        before = await _time(request, "before", inf, context)
        size = page_size(request.page_size)
        try:
            found = await self._aggregates.read(set(request.stream_ids), int(place or 0), since, before, size + 1)
        except StoreUnavailable as error:
            await unavailable(error, context)
        token = page_token(str(found[size - 1].number)) if len(found) > size else ""
        made = [aggregate_message(one) for one in found[:size]]
        return aggregates_pb2.ListAggregatesResponse(aggregates=made, next_page_token=token)


async def _time(
    request: aggregates_pb2.ListAggregatesRequest, name: Literal["since", "before"], absent: float, context: Context
) -> float:
    """Return a Unix time (s) of a request. Aborts the call with INVALID_ARGUMENT if it is none."""
    if not request.HasField(name):
        return absent
    try:
        return getattr(request, name).ToDatetime(UTC).timestamp()  # type: ignore[no-any-return]
    except ValueError as error:
        await refuse(context, Why.INVALID_FIELD, f"{name}: {error}")


def aggregate_message(counted: Counted) -> aggregates_pb2.Aggregate:
    """Return the message of the counts of an interval."""
    record = counted.record
    return aggregates_pb2.Aggregate(
        stream_id=counted.camera,
        start=timestamp(datetime.fromtimestamp(record["start_s"], UTC)),
        end=timestamp(datetime.fromtimestamp(record["end_s"], UTC)),
        tracks=record["tracks"],
        described=record["described"],
        ages=[aggregates_pb2.AgeCount(**one) for one in record.get("ages", ())],
        expressions=[
            aggregates_pb2.ExpressionTime(
                expression=faces_pb2.Expression.Value(f"EXPRESSION_{one['expression'].upper()}"), share=one["share"]
            )
            for one in record.get("expressions", ())
        ],
        dwell=[aggregates_pb2.DwellCount(**one) for one in record.get("dwell", ())],
        mean_dwell_s=record.get("mean_dwell_s"),
    )
