"""The standard gRPC health service (grpc.health.v1): NOT_SERVING while no worker is alive."""

import asyncio

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from faceanalytics.v1 import (
    aggregates_pb2,
    analysis_pb2,
    frames_pb2,
    gallery_pb2,
    inspection_pb2,
    streams_pb2,
    system_pb2,
    tracks_pb2,
    visitors_pb2,
)
from streamer.api.errors import Why, refuse
from streamer.api.problems import shown

HealthContext = aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]

Status = health_pb2.HealthCheckResponse

SERVICES = (
    tracks_pb2.DESCRIPTOR.services_by_name["TrackService"].full_name,
    frames_pb2.DESCRIPTOR.services_by_name["FrameService"].full_name,
    streams_pb2.DESCRIPTOR.services_by_name["StreamService"].full_name,
    system_pb2.DESCRIPTOR.services_by_name["SystemService"].full_name,
    gallery_pb2.DESCRIPTOR.services_by_name["GalleryService"].full_name,
    visitors_pb2.DESCRIPTOR.services_by_name["VisitorService"].full_name,
    analysis_pb2.DESCRIPTOR.services_by_name["AnalysisService"].full_name,
    aggregates_pb2.DESCRIPTOR.services_by_name["AggregateService"].full_name,
    inspection_pb2.DESCRIPTOR.services_by_name["InspectionService"].full_name,
)

STORE = "faceanalytics.store"  # name of the store in the health service; absent without a store


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated without types
    """Reports the health of the server (the empty name) and of each service.

    It replaces the library's own servicer, which holds its watchers, and with them the server, until the grace period
    ends. This one releases them as soon as the server stops.
    """

    def __init__(self, has_store: bool = False) -> None:
        self._statuses = dict.fromkeys(("", *SERVICES), Status.NOT_SERVING)
        self._store = {STORE: Status.SERVING} if has_store else {}
        self._leaving = False
        self._changed = asyncio.Event()  # replaced at each change

    def set_status(self, status: int) -> None:
        """Set the status of the server and of all services, and send it to those that watch."""
        self._statuses = dict.fromkeys(self._statuses, status)
        self._wake()

    def set_storing(self, storing: bool) -> None:
        """Set the status of the store, which is apart from that of the server."""
        self._store = {STORE: Status.SERVING if storing else Status.NOT_SERVING}
        self._wake()

    def leave(self) -> None:
        """End all watches after they have received the current status."""
        self._leaving = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: HealthContext
    ) -> health_pb2.HealthCheckResponse:
        statuses = self._statuses | self._store
        if request.service not in statuses:
            await refuse(context, Why.SERVICE_NOT_FOUND, f"service: this server has no {shown(request.service)}")
        return Status(status=statuses[request.service])

    async def List(  # noqa: N802
        self,
        request: health_pb2.HealthListRequest,
        context: aio.ServicerContext[health_pb2.HealthListRequest, health_pb2.HealthListResponse],
    ) -> health_pb2.HealthListResponse:
        del request, context
        return health_pb2.HealthListResponse(
            statuses={name: Status(status=status) for name, status in (self._statuses | self._store).items()}
        )

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: HealthContext) -> None:  # noqa: N802
        sent: int | None = None
        while True:
            changed, leaving = self._changed, self._leaving  # read with the status: both may change while it is written
            status = (self._statuses | self._store).get(request.service, Status.SERVICE_UNKNOWN)
            if status != sent:
                await context.write(Status(status=status))
            sent = status
            if leaving:
                return
            await changed.wait()
