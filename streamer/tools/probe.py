"""Implement `streamer probe`: say what a camera or a file offers, and what is wrong with it, in words to act on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.settings import explain
from streamer.addresses import careless
from streamer.config import Sources, Stream, redact
from streamer.kinds import SCHEMES, kind_of, local_path, split_scheme
from streamer.source.image_folder import IMAGES_CODEC
from streamer.source.survey import Survey, survey_camera, survey_file, survey_folder
from streamer.values import ClockSource, SourceErrorCode

LONG_KEY_FRAME_S = 5.0  # a longer interval is worth a note
WRONG_CLOCK_S = 2.0
READ_S = 1.0  # longest wait for one packet of RTSP before the time is checked; others must not be interrupted
CONNECT_S = 5.0


def probe(address: str, wait_s: float, as_json: bool, **settings: Any) -> int:
    """Print what is found at an address within about `wait_s`. Returns the exit code: 0 usable, 3 not.

    `settings`: other settings of the stream. Raises ConfigError if the address or a setting is wrong.
    """
    if not wait_s > 0:
        raise ConfigError("--wait must be above 0")
    stream = _stream(address, wait_s, settings)
    found = survey(address, stream, wait_s)
    if as_json:
        print(json.dumps(as_dict(address, found, stream), ensure_ascii=False))
    else:
        print(as_text(address, found, stream))
    return InputError.exit_code if found.error else 0


def survey(address: str, stream: Stream, wait_s: float) -> Survey:
    """Look at a source of any kind for about `wait_s`."""
    path = local_path(address) if kind_of(address) in ("file", "images") else None
    return survey_camera(address, stream, wait_s) if path is None else _survey_path(path)


def patient(stream: Stream, address: str, wait_s: float) -> Stream:
    """Return the settings of a stream with waits that end within `wait_s`."""
    return stream.model_copy(update=_timeouts(address, wait_s))


def _stream(address: str, wait_s: float, settings: dict[str, Any]) -> Stream:
    try:
        return Stream.model_validate({"id": "probe", "uri": address, **_timeouts(address, wait_s), **settings})
    except ValidationError as error:
        reasons = (line.strip().removeprefix("(top): Value error, ") for line in explain(error))
        raise ConfigError("probe: " + "; ".join(reasons)) from None  # not from the error: it contains the address


def _timeouts(address: str, wait_s: float) -> dict[str, float]:
    read_s = READ_S if SCHEMES.get(split_scheme(address)[0].lower()) == "rtsp" else wait_s
    return {"connect_timeout_s": min(CONNECT_S, wait_s), "first_frame_timeout_s": read_s, "stall_timeout_s": read_s}


def _survey_path(path: Path) -> Survey:
    try:
        return survey_folder(path) if path.is_dir() else survey_file(path)
    except InputError as error:
        missing = SourceErrorCode.NOT_FOUND if not path.exists() else SourceErrorCode.CODEC_UNSUPPORTED
        return Survey(error=missing, problem=str(error).removeprefix(f"{path}: "))


def notes(address: str, found: Survey, stream: Stream) -> list[str]:
    """List what could be better at a source, whether it is usable or not."""
    said, kind = [careless(address)], kind_of(address)
    live = found.clock is not ClockSource.FILE_PTS and found.duration_s is None
    if kind not in Sources().allow:
        said.append(f"serve reads this kind of source once {kind} is added to sources.allow in its configuration")
    interval = max(found.key_frame_interval_s or 0.0, found.since_key_frame_s)
    if live and interval > LONG_KEY_FRAME_S:
        wait = f"{'' if found.key_frame_interval_s == interval else 'at least '}{interval:.0f} s"
        said.append(
            f"a new connection may wait {wait} for its first picture: shorten the camera's key-frame (I-frame) interval"
        )
    if found.corrupt:
        said.append(
            f"{found.corrupt} of {found.packets} packets are damaged: check the network, or use --transport tcp"
        )
    if kind == "rtsp" and found.packets and found.clock_offset_s is None:
        said.append("no RTCP sender reports seen: without the clock of the camera, results carry times of arrival")
    if found.clock_offset_s is not None and abs(found.clock_offset_s) > WRONG_CLOCK_S:
        side = "behind" if found.clock_offset_s > 0 else "ahead of"
        said.append(
            f"the camera's clock is {abs(found.clock_offset_s):.1f} s {side} this machine's, and results carry its "
            "times: set both by NTP"
        )
    if address.lower().startswith("rtsps:") and found.connected_s is not None and stream.tls_ca_file is None:
        said.append("the certificate was not checked: name its authority with --tls-ca-file")
    if found.connected_s is not None and not found.packets and stream.transport == "udp":
        said.append("a firewall may block UDP: try transport tcp")
    return [note for note in said if note]


def as_dict(address: str, found: Survey, stream: Stream) -> dict[str, Any]:
    """Return the findings as plain data, without credentials. Keys carry their units; null is unknown."""
    data = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(found).items()}
    data["error"] = found.error.value if found.error else None
    data["clock"] = found.clock.value if found.packets else None
    measured = {"fps": found.fps, "kilobits_per_s": found.kilobits_per_s}
    return {
        "address": redact(address),
        "usable": found.error is None,
        "transport": stream.transport if kind_of(address) == "rtsp" else None,
        **data,
        **{name: None if value is None else round(value, 3) for name, value in measured.items()},
        "notes": notes(address, found, stream),
    }


def as_text(address: str, found: Survey, stream: Stream) -> str:
    """Format the findings for people, without credentials."""
    lines = [f"{redact(address)}: {'not usable: ' + found.problem if found.error else 'usable'}"]
    if found.codec:
        lines.append(f"  video    {_video(found)}")
        lines.append(f"  audio    {_audio(found)}")
        more = [offer for offer in found.offers[1:] if not offer.startswith("audio")]
        lines += [f"  more     {', '.join(more)} (not used)"] if more else []
    if found.packets:
        lines.append(f"  clock    {_clock(address, found)}")
    if found.connected_s is not None:
        lines.append(f"  delays   {_delays(found)}")
    return "\n".join([*lines, *(f"  note     {note}" for note in notes(address, found, stream))])


def _video(found: Survey) -> str:
    parts = [f"{found.codec} {found.profile}".rstrip()]
    if found.codec == IMAGES_CODEC:
        return f"{found.packets} image{'' if found.packets == 1 else 's'}, the first {found.width}x{found.height}"
    if found.width:
        parts.append(f"{found.width}x{found.height}")
    fps = found.fps or found.declared_fps
    if fps:
        parts.append(f"{fps:.1f} frames/s")
    if found.kilobits_per_s:
        parts.append(f"{found.kilobits_per_s:.0f} kbit/s")
    if found.timed > 1 and found.key_frames == found.packets:
        parts.append("each a key frame")
    elif found.key_frame_interval_s is not None:
        parts.append(f"a key frame every {found.key_frame_interval_s:.1f} s")
    elif found.packets == 1:
        parts.append("only one picture")
    elif found.key_frames and found.timed > 1:
        parts.append(f"no second key frame within {found.since_key_frame_s:.1f} s")
    if found.duration_s:
        parts.append(f"{found.duration_s:.2f} s long")
    return ", ".join(parts)


def _audio(found: Survey) -> str:
    if found.audio is None:
        return "unknown"
    return f"{found.audio} (not used)" if found.audio else "none"


def _clock(address: str, found: Survey) -> str:
    if found.codec == IMAGES_CODEC:
        return "a folder: times by image_interval_s, or of arrival with follow"
    if found.clock is ClockSource.FILE_PTS:
        return "a file: times from its start"
    if found.clock_offset_s is None:
        return "time of arrival" + (" (no RTCP sender report seen)" if kind_of(address) == "rtsp" else "")
    return f"the camera's own (RTCP sender reports), {found.clock_offset_s:+.2f} s from its time to this machine's"


def _delays(found: Survey) -> str:
    steps = (
        ("connected", found.connected_s),
        ("first packet", found.first_packet_s),
        ("first picture", found.first_frame_s),
    )
    return ", ".join(f"{name} after {value:.1f} s" for name, value in steps if value is not None)
