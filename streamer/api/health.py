"""grpc.health.v1, per service: NOT_SERVING while no worker is alive."""

import asyncio

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from faceanalytics.v1 import streams_pb2, system_pb2, tracks_pb2

HealthContext = aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]

Status = health_pb2.HealthCheckResponse

SERVICES = (
    tracks_pb2.DESCRIPTOR.services_by_name["TrackService"].full_name,
    streams_pb2.DESCRIPTOR.services_by_name["StreamService"].full_name,
    system_pb2.DESCRIPTOR.services_by_name["SystemService"].full_name,
)


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated without types
    """grpc.health.v1 for the server and each service. The library's own keeps its watchers, and with them the server,
    until the end of the grace; this one lets them go when the server stops."""

    def __init__(self) -> None:
        self._statuses = dict.fromkeys(("", *SERVICES), Status.NOT_SERVING)
        self._leaving = False
        self._changed = asyncio.Event()  # a new one for each change

    def set_status(self, status: int) -> None:
        self._statuses = dict.fromkeys(self._statuses, status)
        self._wake()

    def leave(self) -> None:
        """Those who watch get the last status and no more."""
        self._leaving = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: HealthContext
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"service: there is no {request.service!r} here")
        return Status(status=self._statuses[request.service])

    async def List(  # noqa: N802
        self,
        request: health_pb2.HealthListRequest,
        context: aio.ServicerContext[health_pb2.HealthListRequest, health_pb2.HealthListResponse],
    ) -> health_pb2.HealthListResponse:
        del request, context
        return health_pb2.HealthListResponse(
            statuses={name: Status(status=status) for name, status in self._statuses.items()}
        )

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: HealthContext) -> None:  # noqa: N802
        told: int | None = None
        while True:
            changed, leaving = self._changed, self._leaving  # as of this status: more may come while it is written
            status = self._statuses.get(request.service, Status.SERVICE_UNKNOWN)
            if status != told:
                await context.write(Status(status=status))
            told = status
            if leaving:
                return
            await changed.wait()
