"""The .proto files: everything a user of the API reads has a comment, and the enums are those of values.py."""

import enum
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto

from faceanalytics.v1 import faces_pb2, streams_pb2, tracks_pb2
from protos import reference
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

PROTOS = Path(__file__).resolve().parents[1] / "protos"
Where = tuple[int, ...]  # path of an element in a file, as SourceCodeInfo has it
MESSAGE, ENUM, SERVICE, FIELD, NESTED, NESTED_ENUM, METHOD, VALUE = 4, 5, 6, 2, 3, 4, 2, 2


@pytest.fixture(scope="module")
def files() -> list[FileDescriptorProto]:
    """Our files as protoc reads them, with their comments."""
    return reference.read_files(PROTOS)


def inside_message(message: DescriptorProto, where: Where, name: str) -> Iterator[tuple[Where, str]]:
    yield where, name
    for index, field in enumerate(message.field):
        yield (*where, FIELD, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        if nested.options.map_entry:  # made by protoc
            continue
        yield from inside_message(nested, (*where, NESTED, index), f"{name}.{nested.name}")
    for index, nested_enum in enumerate(message.enum_type):
        yield from inside_enum(nested_enum, (*where, NESTED_ENUM, index), f"{name}.{nested_enum.name}")


def inside_enum(one: EnumDescriptorProto, where: Where, name: str) -> Iterator[tuple[Where, str]]:
    yield where, name
    for index, value in enumerate(one.value):
        yield (*where, VALUE, index), value.name


def elements(file: FileDescriptorProto) -> Iterator[tuple[Where, str]]:
    """All messages, fields, enums, values of enums, services and calls."""
    for index, message in enumerate(file.message_type):
        yield from inside_message(message, (MESSAGE, index), message.name)
    for index, one in enumerate(file.enum_type):
        yield from inside_enum(one, (ENUM, index), one.name)
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
    assert seen > 300
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
    assert len(methods) >= 18
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


# --- the reference in docs/api.md


def test_the_reference_is_that_of_the_protos() -> None:
    before = reference.PAGE.read_text()
    after = reference.page(before, reference.read_files(PROTOS, "faceanalytics/v1"), reference.scopes())
    assert after == before, "run `make docs-api`"


def test_each_heading_of_the_page_is_there_once() -> None:
    titles = [line.lstrip("# ").lower() for line in reference.PAGE.read_text().splitlines() if line.startswith("#")]
    assert [title for title in titles if titles.count(title) > 1] == []


def test_a_page_without_its_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="is missing"):
        reference.page("# Guide\n", [], {})


INVENTED = """
syntax = "proto3";
package invented.v1;
import "google/protobuf/timestamp.proto";
// Opens doors.
service DoorService {
  // Opens | closes.
  rpc Open(stream OpenRequest) returns (stream OpenResponse);
}
// A request.
message OpenRequest {
  // Names <of> `a|b*` and *.
  repeated string names = 1;
  // When.
  google.protobuf.Timestamp at = 2;
  // How many by name.
  map<string, Part> counts = 3;
  // Maybe.
  optional uint64 maybe = 4;
  oneof which {
    // Left.
    bool left = 5;
  }
  // A part.
  message Part {
    // Its kind.
    Kind kind = 1;
  }
  // Kinds.
  enum Kind {
    KIND_UNSPECIFIED = 0;
    // Big.
    KIND_BIG = 1;
  }
}
// Nothing.
message OpenResponse {}
"""


def test_the_reference_shows_types_with_links_and_comments(tmp_path: Path) -> None:
    (tmp_path / "doors.proto").write_text(INVENTED)
    text = reference.reference(reference.read_files(tmp_path), {"/invented.v1.DoorService/Open": "`read`"})
    for line in (
        "### doors.proto",
        "| `Open` | stream of [OpenRequest](#openrequest) | stream of [OpenResponse](#openresponse) | `read` "
        "| Opens \\| closes. |",
        "| `names` | repeated string | Names \\<of> `a\\|b*` and \\*. |",
        "| `at` | Timestamp | When. |",
        "| `counts` | map of string to [OpenRequest.Part](#openrequestpart) | How many by name. |",
        "| `maybe` | optional uint64 | Maybe. |",
        "| `left` | bool (one of `which`) | Left. |",
        "#### OpenRequest.Part",
        "| `kind` | [OpenRequest.Kind](#openrequestkind) | Its kind. |",
        "| `KIND_UNSPECIFIED` | 0 |  |",
        "| `KIND_BIG` | 1 | Big. |",
    ):
        assert line in text.splitlines()
