"""The gRPC server: TrackService, StreamService, SystemService, health and reflection."""

import asyncio

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from faceanalytics.v1 import streams_pb2, streams_pb2_grpc, system_pb2, system_pb2_grpc, tracks_pb2, tracks_pb2_grpc
from streamer.api.streams import Cameras, StreamService
from streamer.api.system import Models, SystemService
from streamer.api.tracks import TrackService
from streamer.config import Publish, split_address
from streamer.errors import ConfigError
from streamer.hub import Hub

HealthContext = aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
Status = health_pb2.HealthCheckResponse

SERVICES = (
    tracks_pb2.DESCRIPTOR.services_by_name["TrackService"].full_name,
    streams_pb2.DESCRIPTOR.services_by_name["StreamService"].full_name,
    system_pb2.DESCRIPTOR.services_by_name["SystemService"].full_name,
)
OPTIONS = (
    ("grpc.so_reuseport", 0),  # else two servers could share a port and neither would notice
    ("grpc.keepalive_time_ms", 30_000),  # a client whose machine vanished is noticed
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # clients may look for us as well
)


class Server:
    """A running server. `start_server` makes it."""

    def __init__(self, server: aio.Server, health: "Health", hub: Hub, address: str) -> None:
        self.address = address  # host:port, with the real port
        self._server = server
        self._health = health
        self._hub = hub
        self._serving = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        """Whether results can be expected: not while no worker is alive."""
        self._health.tell(Status.SERVING if serving else Status.NOT_SERVING)
        (self._serving.set if serving else self._serving.clear)()

    async def wait_until_serving(self) -> None:
        await self._serving.wait()

    async def stop(self, grace: float) -> None:
        """Health says NOT_SERVING, subscribers get what waits for them and their streams end with OK, then all closes.
        Calls that are not done after `grace` seconds, such as a subscriber that does not read, are cut."""
        self.set_serving(False)
        self._health.leave()
        self._hub.close()
        await self._server.stop(grace)


async def start_server(config: Publish, hub: Hub, cameras: Cameras, models: Models) -> Server:
    """Listen on `config.listen` (port 0: any free one), NOT_SERVING at first. Raises ConfigError if it cannot."""
    host, _ = split_address(config.listen)
    server = aio.server(options=OPTIONS)
    health = Health()
    tracks_pb2_grpc.add_TrackServiceServicer_to_server(TrackService(config, hub), server)
    streams_pb2_grpc.add_StreamServiceServicer_to_server(StreamService(cameras), server)
    system_pb2_grpc.add_SystemServiceServicer_to_server(SystemService(models), server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    health_service = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection((*SERVICES, health_service, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(config.listen)
    except RuntimeError as error:
        await server.stop(None)
        raise ConfigError(
            f"publish.listen: cannot listen on {config.listen}: the port is in use or the host is not this machine"
        ) from error
    await server.start()
    return Server(server, health, hub, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated without types
    """grpc.health.v1 for the server and each service. The library's own keeps its watchers, and with them the server,
    until the end of the grace; this one lets them go when the server stops."""

    def __init__(self) -> None:
        self._statuses = dict.fromkeys(("", *SERVICES), Status.NOT_SERVING)
        self._leaving = False
        self._changed = asyncio.Event()  # a new one for each change

    def tell(self, status: int) -> None:
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
