"""SystemService: what the streamer can tell, and by whom."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from grpc import aio

from faceanalytics.v1 import system_pb2, system_pb2_grpc
from streamer.api.messages import model_to_proto
from streamer.hub import page
from streamer.values import Model

Models: TypeAlias = Callable[[], Mapping[Model, int]]  # the models that there are now, each with its number of workers


class SystemService(system_pb2_grpc.SystemServiceServicer):
    def __init__(self, models: Models) -> None:
        self._models = models

    async def ListModels(  # noqa: N802
        self,
        request: system_pb2.ListModelsRequest,
        context: aio.ServicerContext[system_pb2.ListModelsRequest, system_pb2.ListModelsResponse],
    ) -> system_pb2.ListModelsResponse:
        del context
        messages = [model_to_proto(model, workers) for model, workers in self._models().items()]
        messages.sort(key=lambda model: model.model_id)
        models, token = page(messages, lambda model: model.model_id, request.page_token, request.page_size)
        return system_pb2.ListModelsResponse(models=models, next_page_token=token)
