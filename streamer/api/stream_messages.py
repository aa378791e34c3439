"""Converts the settings and the status of cameras to messages."""

import enum
from collections.abc import Mapping

from faceanalytics.errors import ConfigError
from faceanalytics.v1 import streams_pb2, tracks_pb2
from streamer.api.messages import duration, timestamp
from streamer.config import Stream, redact
from streamer.privacy import Mode
from streamer.values import ClockSource, SourceStatus

MODES: Mapping[Mode | None, "streams_pb2.PrivacyMode.ValueType"] = {
    None: streams_pb2.PRIVACY_MODE_UNSPECIFIED,
    Mode.IDENTITY: streams_pb2.PRIVACY_MODE_IDENTITY,
    Mode.PSEUDONYMOUS: streams_pb2.PRIVACY_MODE_PSEUDONYMOUS,
    Mode.AGGREGATE_ONLY: streams_pb2.PRIVACY_MODE_AGGREGATE_ONLY,
}


def stream_to_proto(
    stream: Stream, status: SourceStatus, configured: bool = False, mode: Mode = Mode.IDENTITY
) -> streams_pb2.Stream:
    """Return the message of a stream, for which `mode` holds. Its address is without user, password and query."""
    offset = status.clock_offset if status.clock_source is ClockSource.RTCP_NTP else None
    error, clock, link = _name(status.error), _name(status.clock_source), _name(status.link_quality)
    return streams_pb2.Stream(
        stream_id=stream.id,
        settings=streams_pb2.StreamSettings(
            uri=shown_address(stream),
            transport=streams_pb2.TRANSPORT_UDP if stream.transport == "udp" else streams_pb2.TRANSPORT_TCP,
            connect_timeout=duration(stream.connect_timeout_s),
            stall_timeout=duration(stream.stall_timeout_s),
            max_fps=stream.max_fps or 0.0,
            loop=stream.loop,
            decode_device=stream.decode_device or "",
            image_interval=duration(stream.image_interval_s),
            follow=stream.follow,
            paused=not stream.enabled,
            first_frame_timeout=duration(stream.first_frame_timeout_s),
            key_frame_timeout=duration(stream.key_frame_timeout_s),
            reconnect_initial=duration(stream.reconnect.initial_s),
            reconnect_max=duration(stream.reconnect.max_s),
            reconnect_jitter=stream.reconnect.jitter,
            tls_ca_file=stream.tls_ca_file or "",
            uri_file=stream.uri_file or "",
            video_stream=stream.video_stream,
            privacy_mode=MODES[stream.privacy],
        ),
        state=streams_pb2.StreamState.Value(f"STREAM_STATE_{status.state.value}"),
        error_code=streams_pb2.StreamErrorCode.Value(f"STREAM_ERROR_CODE_{error}"),
        error_message=status.message,
        epoch=status.epoch,
        connects=status.connects,
        frames_decoded=status.frames_decoded,
        frame_width=status.width,
        frame_height=status.height,
        state_since=timestamp(status.since),
        next_retry_at=timestamp(status.next_retry),
        last_frame_at=timestamp(status.last_frame),
        codec=status.codec,
        clock_source=tracks_pb2.ClockSource.Value(f"CLOCK_SOURCE_{clock}"),
        fps_in=status.fps_in,
        fps_analysed=status.fps_analysed,
        frames_analysed=status.frames_analysed,
        frames_dropped=status.frames_dropped,
        frames_missing=status.frames_missing,
        frame_age=duration(status.frame_age) if status.frame_age is not None else None,
        overloaded=status.overloaded,
        link_quality=streams_pb2.LinkQuality.Value(f"LINK_QUALITY_{link}"),
        decoder=status.decoder,
        origin=streams_pb2.STREAM_ORIGIN_CONFIGURATION if configured else streams_pb2.STREAM_ORIGIN_API,
        frames_unsearched=status.frames_unsearched,
        disconnects=status.disconnects,
        stalls=status.stalls,
        clock_offset=duration(offset) if offset is not None else None,
        privacy_mode=MODES[mode],
    )


def _name(value: enum.Enum | None) -> str:
    """Return the name that the protocol has for a value, without its prefix."""
    return value.name if value is not None else "UNSPECIFIED"


def shown_address(stream: Stream) -> str:
    """Return the address as responses show it; empty if it is in a file that cannot be read."""
    try:
        return redact(stream.address())
    except ConfigError:
        return ""
