"""Starts and stops the gRPC server with all services of the API, health and reflection."""

import asyncio
from typing import Any

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from faceanalytics.errors import ConfigError
from faceanalytics.v1 import (
    aggregates_pb2_grpc,
    analysis_pb2_grpc,
    frames_pb2_grpc,
    gallery_pb2_grpc,
    inspection_pb2_grpc,
    streams_pb2_grpc,
    system_pb2_grpc,
    tracks_pb2_grpc,
    visitors_pb2_grpc,
)
from streamer.access.tokens import Scope
from streamer.api.aggregates import AggregateService
from streamer.api.analyses import AnalysisService
from streamer.api.callers import Callers
from streamer.api.entrance import guarded, limiting
from streamer.api.frames import FrameService
from streamer.api.gallery import GalleryService
from streamer.api.health import SERVICES, Health, Status
from streamer.api.inside import Inside, Registry, SessionCallers
from streamer.api.inspection import InspectionService, Inspector
from streamer.api.requests import DecodableRequests
from streamer.api.streams import Cameras, StreamService
from streamer.api.system import Models, SystemService
from streamer.api.tracks import TrackService
from streamer.api.visitors import VisitorService
from streamer.config import Publish, split_address
from streamer.hub import Hub
from streamer.jobs.jobs import Jobs
from streamer.people.parts import PeopleParts
from streamer.pictures import Pictures
from streamer.readings import Readings
from streamer.safety import Access
from streamer.store.aggregates import Aggregates
from streamer.store.store import Store

OPTIONS = (
    ("grpc.so_reuseport", 0),  # otherwise two servers could share a port unnoticed
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.max_connection_idle_ms", 300_000),  # closes connections on which nothing is called
    ("grpc.keepalive_time_ms", 30_000),  # detects clients whose machine has vanished
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # else a minute, if other data was on its way
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients may check the server, too
)


class Server:
    """A running server, as `start_server` returns it."""

    def __init__(
        self, server: aio.Server, health: "Health", hub: Hub, address: str, callers: Callers, inside: Inside
    ) -> None:
        self.address = address  # host:port, with the port in use
        self.inside = inside  # the same services, for the dashboard
        self.dashboard = ""  # address of the dashboard; empty: there is none
        self._callers = callers
        self._server = server
        self._health = health
        self._hub = hub
        self._serving = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        """Report whether results can be expected, which is the case while at least one worker is alive."""
        self._health.set_status(Status.SERVING if serving else Status.NOT_SERVING)
        (self._serving.set if serving else self._serving.clear)()

    def set_storing(self, storing: bool) -> None:
        """Report whether the store works; results are served either way."""
        self._health.set_storing(storing)

    async def wait_until_serving(self) -> None:
        """Wait until `set_serving(True)` has been called."""
        await self._serving.wait()

    async def admits(self, authorization: str) -> int:
        """Return 200 if a header `Authorization` has a token that may read of all cameras, else a status of HTTP."""
        return await self._callers.status_of(authorization, Scope.READ)

    async def stop(self, grace: float) -> None:
        """Stop the server.

        Health reports NOT_SERVING at once. Subscribers receive their pending events, and their streams end with OK.
        Calls that have not ended after `grace` seconds, such as those of a subscriber that does not read, are aborted.
        """
        self.set_serving(False)
        self._health.leave()
        self._hub.close()
        await self._server.stop(grace)


async def start_server(
    config: Publish,
    hub: Hub,
    cameras: Cameras,
    models: Models,
    store: Store | None = None,
    access: Access | None = None,
    readings: Readings | None = None,
    jobs: Jobs | None = None,
    people: PeopleParts | None = None,
    no_people: str = "people are kept in a store, and this streamer has none (store: null)",
    aggregates: Aggregates | None = None,
    pictures: Pictures | None = None,
    pages_open: bool = True,
    inspector: Inspector | None = None,
) -> Server:
    """Listen on `config.listen` (port 0: any free port), NOT_SERVING at first.

    `people`: None: calls about people are refused with `no_people` as the reason. `pictures`: None: there are none.
    `pages_open`: as long as no token was ever made, calls from inside (the dashboard) need none.
    `inspector`: None: nothing is examined, and no address is looked at.

    Raises ConfigError if that fails, or if other machines could reach the address without permission.
    """
    host, _ = split_address(config.listen)
    guard, credentials = await guarded(config, access or Access(), store)
    server = aio.server(
        interceptors=[guard, DecodableRequests()],
        options=(*OPTIONS, *limiting(config.limits)),
        maximum_concurrent_rpcs=config.limits.calls,
    )
    about = readings or Readings()
    about.instance_id = about.instance_id if store is None else store.log.instance_id
    health = Health(has_store=store is not None)
    registry = Registry(server)
    services: Any = registry
    tracks_pb2_grpc.add_TrackServiceServicer_to_server(
        TrackService(config, hub, cameras, store, about.instance_id), services
    )
    frames = FrameService(pictures or Pictures(1.0, 1.0), hub, cameras, config.heartbeat_s)
    frames_pb2_grpc.add_FrameServiceServicer_to_server(frames, services)
    streams_pb2_grpc.add_StreamServiceServicer_to_server(StreamService(cameras, about.configured), services)
    system_pb2_grpc.add_SystemServiceServicer_to_server(SystemService(models, cameras, about, store), services)
    analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(AnalysisService(jobs, config.heartbeat_s), services)
    gallery_pb2_grpc.add_GalleryServiceServicer_to_server(GalleryService(people, no_people), services)
    counting = AggregateService(aggregates or Aggregates(store))
    aggregates_pb2_grpc.add_AggregateServiceServicer_to_server(counting, services)
    visitors_pb2_grpc.add_VisitorServiceServicer_to_server(VisitorService(people, no_people), services)
    known = guard.callers.tokens
    inspection = InspectionService(inspector or Inspector(), cameras, known, store, (access or Access()).folder)
    inspection_pb2_grpc.add_InspectionServiceServicer_to_server(inspection, services)
    health_pb2_grpc.add_HealthServicer_to_server(health, services)
    health_service = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection((*SERVICES, health_service, reflection.SERVICE_NAME), server)
    try:
        port = (
            server.add_insecure_port(config.listen)
            if credentials is None
            else server.add_secure_port(config.listen, credentials)
        )
    except RuntimeError as error:
        await server.stop(None)
        raise ConfigError(
            f"publish.listen: cannot listen on {config.listen}: the port is in use, or the host is not this machine"
        ) from error
    await server.start()
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    inside = Inside(registry, guard.gate, SessionCallers(guard.callers.tokens, pages_open))
    return Server(server, health, hub, address, guard.callers, inside)
