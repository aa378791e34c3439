"""SystemService: describes the streamer, its workers and its store."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeAlias

from grpc import aio

from faceanalytics.v1 import system_pb2, system_pb2_grpc
from streamer.api.callers import visible_cameras
from streamer.api.errors import Why, refuse
from streamer.api.paging import page, place_of
from streamer.api.streams import Cameras
from streamer.api.system_messages import (
    Streams,
    capacity,
    model_to_proto,
    stats,
    store_contents,
    store_retention,
    store_state,
)
from streamer.readings import Readings
from streamer.store.store import Store
from streamer.store.values import StoreUnavailable
from streamer.values import Model

Models: TypeAlias = Callable[[], Mapping[Model, int]]  # returns the models in use, each with its number of workers

_KINDS = {"sqlite": system_pb2.STORE_KIND_SQLITE, "postgresql": system_pb2.STORE_KIND_POSTGRESQL}


class SystemService(system_pb2_grpc.SystemServiceServicer):
    """Serves what is known of the streamer; the methods are described in system.proto."""

    def __init__(self, models: Models, cameras: Cameras, readings: Readings, store: Store | None) -> None:
        self._models = models
        self._cameras = cameras
        self._readings = readings
        self._store = store

    async def ListModels(  # noqa: N802
        self,
        request: system_pb2.ListModelsRequest,
        context: aio.ServicerContext[system_pb2.ListModelsRequest, system_pb2.ListModelsResponse],
    ) -> system_pb2.ListModelsResponse:
        after = await place_of(request.page_token, context)
        messages = [model_to_proto(model, workers) for model, workers in self._models().items()]
        messages.sort(key=lambda model: model.model_id)
        models, token = page(messages, lambda model: model.model_id, after, request.page_size)
        return system_pb2.ListModelsResponse(models=models, next_page_token=token)

    async def GetStats(  # noqa: N802
        self,
        request: system_pb2.GetStatsRequest,
        context: aio.ServicerContext[system_pb2.GetStatsRequest, system_pb2.GetStatsResponse],
    ) -> system_pb2.GetStatsResponse:
        del request, context
        visible = visible_cameras.get()
        streams = [one for one in await self._streams() if not visible or one[0].id in visible]
        recent = self._readings.recent(time.monotonic())
        return stats(self._readings, recent, streams, visible, self._store)

    async def GetCapacity(  # noqa: N802
        self,
        request: system_pb2.GetCapacityRequest,
        context: aio.ServicerContext[system_pb2.GetCapacityRequest, system_pb2.GetCapacityResponse],
    ) -> system_pb2.GetCapacityResponse:
        del request, context
        streams, recent = await self._streams(), self._readings.recent(time.monotonic())
        return capacity(recent, streams, self._cameras.sources.max_streams)

    async def GetStore(  # noqa: N802
        self,
        request: system_pb2.GetStoreRequest,
        context: aio.ServicerContext[system_pb2.GetStoreRequest, system_pb2.GetStoreResponse],
    ) -> system_pb2.GetStoreResponse:
        del request
        store = self._store
        if store is None:
            await refuse(context, Why.NO_STORE, "this streamer keeps nothing (store: null)")
        answer = system_pb2.GetStoreResponse(
            kind=_KINDS[store.database.dialect], retention=store_retention(store.config, store)
        )
        if not store.state.degraded:  # else it would be waited for in vain
            with suppress(StoreUnavailable):
                answer.contents.CopyFrom(store_contents(await store.overviews.get()))
        answer.state.CopyFrom(store_state(store.state))
        return answer

    async def _streams(self) -> Streams:
        return await asyncio.to_thread(self._cameras.list)
