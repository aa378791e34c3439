"""Converts between the records of an exported gallery and the bytes that its file has."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError

from faceanalytics.errors import InputError, LostDependency
from faceanalytics.v1 import gallery_transfer_pb2 as messages


def records(answers: Any, head: messages.GalleryHead) -> Iterator[bytes]:
    """Yield the records of an export as a file has them, and fill in its head. Raises LostDependency if some lack."""
    people = references = 0
    for answer in answers:
        kind = answer.record.WhichOneof("record")
        if kind == "head":
            head.CopyFrom(answer.record.head)
        people, references = people + (kind == "person"), references + (kind == "reference")
        yield answer.record.SerializeToString()
    if (people, references) != (head.people, head.references):
        raise LostDependency("the gallery was changed while it was exported: export it again")


def record_of(data: bytes, name: str) -> messages.GalleryRecord:
    """Return a record of a file. Raises InputError."""
    try:
        return messages.GalleryRecord.FromString(data)
    except DecodeError as error:
        raise InputError(f"{name}: a record is not one of a gallery") from error
