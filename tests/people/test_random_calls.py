"""Random calls about people, with ids that exist and that do not: a proper status, no error, and it goes on."""

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from faceanalytics.v1 import gallery_pb2
from streamer.config import Store
from tests.support.painted_people import person, write_image
from tests.support.recognising import Client, recognising, settings

PROPER = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
METHODS = list(gallery_pb2.DESCRIPTOR.services_by_name["GalleryService"].methods)
ROUNDS = 12  # calls of each method
WORDS = ["", "Ada", "\0", "\u202e", "x" * 300, "<script>", "display_name", "labels", "☃", "a/b", "folder-1"]


def filled(chance: random.Random, kind: Descriptor, known: list[str], depth: int = 0) -> Message:
    """A message with some of its fields set."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if depth > 3 or chance.random() < 0.3 or (field.message_type and field.message_type.GetOptions().map_entry):
            continue

        def value(field: FieldDescriptor = field) -> Any:
            if field.message_type is not None:
                return filled(chance, field.message_type, known, depth + 1)
            if field.type == FieldDescriptor.TYPE_STRING:
                return chance.choice(known if chance.random() < 0.7 else WORDS)
            if field.type == FieldDescriptor.TYPE_BYTES:
                return chance.randbytes(chance.choice([0, 10, 5000]))
            if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
                return chance.choice([0.0, 1.0, float("nan"), -1e30])
            if field.type == FieldDescriptor.TYPE_BOOL:
                return chance.random() < 0.5
            return chance.choice([0, 1, 2, 3, 99])

        if field.is_repeated:
            getattr(message, field.name).extend(value() for _ in range(chance.choice([0, 1, 3])))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(value())
        else:
            setattr(message, field.name, value())
    return message


async def status_of(client: Client, method: MethodDescriptor, request: Message) -> grpc.StatusCode:
    call: Any = getattr(client.gallery, method.name)
    try:
        if method.server_streaming:
            _ = [answer async for answer in call(request)]
        else:
            await call(iter([request])) if method.client_streaming else await call(request)
    except aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_random_calls_have_a_proper_status(
    place: Callable[..., Store], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_image(tmp_path / "ada.png", [person(1)])
    chance = random.Random(1)
    async with recognising(settings(tmp_path, place())) as client:
        for method in METHODS * ROUNDS:
            people = (await client.gallery.ListPeople(gallery_pb2.ListPeopleRequest())).people
            if not people:
                made = await client.create("Ada")
                await client.add(made.person_id, tmp_path / "ada.png")
                continue
            asked = gallery_pb2.ListReferencesRequest(person_id=people[0].person_id)
            references = (await client.gallery.ListReferences(asked)).references
            known = [one.person_id for one in people] + [one.reference_id for one in references]
            code = await status_of(client, method, filled(chance, method.input_type, known))
            assert code in PROPER, (method.name, code)
        assert (await client.gallery.ListLedger(gallery_pb2.ListLedgerRequest())).entries
    assert [one for one in caplog.records if one.levelno >= logging.ERROR or one.exc_info] == []
