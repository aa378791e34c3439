"""Writes the messages of the API as JSON: protobuf's mapping, with the field names of the .proto files.

The streamer writes it everywhere where a message becomes JSON: `--json`, sinks and pages.
"""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as values of JSON.

    Times are RFC 3339 in UTC, durations seconds with an `s`, enums their names, 64-bit integers strings and bytes
    Base64. 0, false and empty are written, too; messages and optional fields that are not set are absent.
    """
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def as_line(message: Message) -> str:
    """Return a message as one line of JSON, without the line end."""
    return json.dumps(as_dict(message), ensure_ascii=False)
