"""SystemService: lists the models of the connected workers."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from grpc import aio

from faceanalytics.v1 import system_pb2, system_pb2_grpc
from streamer.api.paging import page, place_of
from streamer.labels import ATTRIBUTE_VALUES
from streamer.values import Model

Models: TypeAlias = Callable[[], Mapping[Model, int]]  # returns the models in use, each with its number of workers


class SystemService(system_pb2_grpc.SystemServiceServicer):
    """Serves the models that `models` returns; the methods are described in system.proto."""

    def __init__(self, models: Models) -> None:
        self._models = models

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
