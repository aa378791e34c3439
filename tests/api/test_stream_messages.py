"""Nothing that is known of a camera is forgotten in the API, and the defaults are those that the API documents."""

import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from faceanalytics.v1 import streams_pb2
from streamer.api.messages import seconds
from streamer.api.stream_messages import stream_to_proto
from streamer.api.streams import stream_fields
from streamer.config import Reconnect, Stream
from streamer.values import ClockSource, LinkQuality, SourceErrorCode, SourceState, SourceStatus

PROTO = Path(__file__).resolve().parents[2] / "protos" / "faceanalytics" / "v1" / "streams.proto"
# field of SourceStatus -> field of the message, where the names differ
NAMES = {
    "error": "error_code",
    "message": "error_message",
    "since": "state_since",
    "next_retry": "next_retry_at",
    "last_frame": "last_frame_at",
    "width": "frame_width",
    "height": "frame_height",
}
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
EVERYTHING = SourceStatus(
    state=SourceState.RECONNECTING,
    error=SourceErrorCode.TIMEOUT,
    message="no frame",
    epoch=2,
    connects=3,
    disconnects=4,
    stalls=5,
    since=NOON,
    next_retry=NOON + timedelta(seconds=8),
    codec="h264",
    clock_source=ClockSource.RTCP_NTP,
    width=640,
    height=360,
    last_frame=NOON,
    frames_decoded=400,
    frames_missing=7,
    frames_analysed=100,
    frames_dropped={"overload": 290},
    frames_unsearched={"quiet": 10},
    fps_in=25.0,
    fps_analysed=6.25,
    frame_age=0.5,
    overloaded=True,
    link_quality=LinkQuality.POOR,
    clock_offset=-0.25,
    decoder="h264 on cpu",
)


def test_every_field_of_a_status_is_in_the_message() -> None:
    ours = {NAMES.get(field.name, field.name) for field in fields(SourceStatus)}
    assert ours | {"stream_id", "settings", "origin", "privacy_mode"} == set(
        streams_pb2.Stream.DESCRIPTOR.fields_by_name
    )
    nothing = SourceStatus(SourceState.CONNECTING)
    same = [one.name for one in fields(SourceStatus) if getattr(EVERYTHING, one.name) == getattr(nothing, one.name)]
    assert same == []
    message = stream_to_proto(Stream(id="door", uri="a.mp4"), EVERYTHING)
    assert {field.name for field, _ in message.ListFields()} == set(streams_pb2.Stream.DESCRIPTOR.fields_by_name)
    assert (message.disconnects, message.stalls, dict(message.frames_unsearched)) == (4, 5, {"quiet": 10})
    assert seconds(message.clock_offset) == -0.25


def test_the_offset_of_a_clock_that_is_not_used_is_absent() -> None:
    without = replace(EVERYTHING, clock_source=ClockSource.ARRIVAL)
    assert not stream_to_proto(Stream(id="door", uri="a.mp4"), without).HasField("clock_offset")


def documented() -> dict[str, str]:
    """The comment of each setting in the .proto file."""
    text = re.search(r"message StreamSettings \{\n(.*?)\n\}", PROTO.read_text(), re.DOTALL)
    assert text
    found, comment = {}, ""
    for line in text[1].splitlines():
        if line.strip().startswith("//"):
            comment += line.strip().removeprefix("//")
        else:
            found[line.split()[-3]] = comment.strip()
            comment = ""
    return found


def default_of(setting: str) -> Any:
    if setting.startswith("reconnect_"):
        name = setting.removeprefix("reconnect_")
        return getattr(Reconnect(), name if name in Reconnect.model_fields else f"{name}_s")
    return Stream.model_fields[f"{setting}_s" if f"{setting}_s" in Stream.model_fields else setting].default


@pytest.mark.parametrize("field", list(streams_pb2.StreamSettings.DESCRIPTOR.fields), ids=lambda field: field.name)
def test_the_default_of_a_setting_is_documented(field: FieldDescriptor) -> None:
    comment = documented()[field.name]
    if not field.has_presence:
        return  # 0, false and empty are what the configuration has without the setting, see the next test
    said = re.search(r"Absent: (?:([\d.]+)(?: s)?\.|[a-z])", comment)
    assert said, f"{field.name}: say what an absent value means"
    assert (float(said[1]) if said[1] else None) == default_of(field.name), field.name


def test_empty_settings_are_those_of_the_configuration() -> None:
    empty = streams_pb2.StreamSettings()
    for name, part in stream_fields(empty).items():
        for key, value in part.items():
            inner = value if isinstance(value, dict) else {key: value}
            model = Reconnect if isinstance(value, dict) else Stream
            for field, given in inner.items():
                default = model.model_fields[field].default
                assert given == default, name
