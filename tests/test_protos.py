"""The .proto files: everything a user of the API reads has a comment, and the enums are those of values.py."""

import enum
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc_tools
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from faceanalytics.v1 import faces_pb2, streams_pb2, tracks_pb2
from streamer.hub import Kind
from streamer.values import (
    ClockSource,
    EndReason,
    IdentityReason,
    IdentityStatus,
    LinkQuality,
    Presence,
    Reason,
    SourceErrorCode,
    SourceState,
    TrackState,
)
from tests.support.patience import WAIT_S

PROTOS = Path(__file__).resolve().parents[1] / "protos"
Where = tuple[int, ...]  # path of an element in a file, as SourceCodeInfo has it
MESSAGE, ENUM, SERVICE, FIELD, NESTED, NESTED_ENUM, METHOD = 4, 5, 6, 2, 3, 4, 2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[FileDescriptorProto]:
    """Our files as protoc reads them, with their comments."""
    out = tmp_path_factory.mktemp("protos") / "all.binpb"
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"-I{well_known}", "--include_source_info"]
    subprocess.run([*command, f"--descriptor_set_out={out}", *sources], cwd=PROTOS, check=True, timeout=WAIT_S)
    return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def inside_message(message: DescriptorProto, where: Where, name: str) -> Iterator[tuple[Where, str]]:
    yield where, name
    for index, field in enumerate(message.field):
        yield (*where, FIELD, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        if nested.options.map_entry:  # made by protoc
            continue
        yield from inside_message(nested, (*where, NESTED, index), f"{name}.{nested.name}")
    for index, nested_enum in enumerate(message.enum_type):
        yield (*where, NESTED_ENUM, index), f"{name}.{nested_enum.name}"


def elements(file: FileDescriptorProto) -> Iterator[tuple[Where, str]]:
    """All messages, fields, enums, services and calls. The values of enums may speak for themselves."""
    for index, message in enumerate(file.message_type):
        yield from inside_message(message, (MESSAGE, index), message.name)
    for index, one in enumerate(file.enum_type):
        yield (ENUM, index), one.name
    for index, service in enumerate(file.service):
        yield (SERVICE, index), service.name
        for number, method in enumerate(service.method):
            yield (SERVICE, index, METHOD, number), f"{service.name}.{method.name}"


def test_everything_has_a_comment(files: list[FileDescriptorProto]) -> None:
    seen, without = 0, []
    for file in files:
        comments = {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}
        for where, name in elements(file):
            seen += 1
            if not comments.get(where):
                without.append(f"{file.name}: {name}")
    assert seen > 100
    assert without == []


def test_each_file_lies_in_the_folder_of_its_package(files: list[FileDescriptorProto]) -> None:
    assert [Path(file.name).parent.as_posix().replace("/", ".") for file in files] == [file.package for file in files]


def test_the_zero_of_each_enum_is_unspecified_and_names_begin_with_the_enum(files: list[FileDescriptorProto]) -> None:
    enums = [one for file in files for one in file.enum_type]
    assert enums
    for one in enums:
        prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in one.name).lstrip("_")
        assert (one.value[0].name, one.value[0].number) == (f"{prefix}_UNSPECIFIED", 0)
        assert [value.name for value in one.value if not value.name.startswith(f"{prefix}_")] == []


def test_each_call_has_a_request_and_a_response_of_its_own(files: list[FileDescriptorProto]) -> None:
    methods = [method for file in files for service in file.service for method in service.method]
    assert len(methods) == 9
    for method in methods:
        request, response = method.input_type.rpartition(".")[2], method.output_type.rpartition(".")[2]
        assert (request, response) == (f"{method.name}Request", f"{method.name}Response")


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (TrackState, tracks_pb2.TrackState, "TRACK_STATE_"),
        (EndReason, tracks_pb2.EndReason, "END_REASON_"),
        (Reason, tracks_pb2.Reason, "REASON_"),
        (ClockSource, tracks_pb2.ClockSource, "CLOCK_SOURCE_"),
        (SourceState, streams_pb2.StreamState, "STREAM_STATE_"),
        (LinkQuality, streams_pb2.LinkQuality, "LINK_QUALITY_"),
        (SourceErrorCode, streams_pb2.StreamErrorCode, "STREAM_ERROR_CODE_"),
        (Kind, tracks_pb2.EventType, "EVENT_TYPE_"),
        (IdentityStatus, tracks_pb2.IdentityStatus, "IDENTITY_STATUS_"),
        (IdentityReason, tracks_pb2.IdentityReason, "IDENTITY_REASON_"),
        (Presence, tracks_pb2.Presence, "PRESENCE_"),
    ],
)
def test_the_enums_of_the_protocol_are_ours(ours: type[enum.Enum], theirs: Any, prefix: str) -> None:
    assert [f"{prefix}UNSPECIFIED", *(prefix + member.value for member in ours)] == list(theirs.keys())


def test_the_classes_of_the_network_are_numbered_from_one_without_holes() -> None:
    assert list(faces_pb2.Expression.values()) == list(range(1 + 7))
    assert list(faces_pb2.Attribute.values()) == list(range(1 + 40))
