"""Checks of the cameras: their addresses can be read, and on request they are connected to."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faceanalytics.errors import ConfigError
from streamer.config import Stream, redact
from streamer.doctor.finding import Finding, Patient, fail, fine, warn
from streamer.kinds import kind_of, local_path
from streamer.tools.probe import notes, survey

AT_ONCE = 8  # cameras that are looked at together


def check_streams(patient: Patient) -> Iterator[Finding]:
    """Check that addresses can be read and local files exist."""
    enabled = [stream for stream in patient.config.streams if stream.enabled]
    for stream in enabled:
        try:
            address = stream.address()
        except ConfigError as error:
            yield fail("streams", str(error), "mend uri_file")
            continue
        if kind_of(address) in ("file", "images", "device") and not Path(local_path(address) or address).exists():
            yield fail("streams", f"{stream.id}: {redact(address)} does not exist", "mend its uri")
    if not patient.config.streams:
        yield fine("streams", "the configuration names no cameras; they can be added while the streamer runs")
    else:
        yield fine("streams", f"{len(enabled)} of {len(patient.config.streams)} are enabled")


def check_cameras(patient: Patient, wait_s: float) -> list[Finding]:
    """Connect to each enabled camera for at most `wait_s`."""
    enabled = [stream for stream in patient.config.streams if stream.enabled]
    with ThreadPoolExecutor(AT_ONCE, "probe") as pool:
        found = list(pool.map(lambda stream: list(_look(stream, wait_s)), enabled))
    return [one for findings in found for one in findings]


def _look(stream: Stream, wait_s: float) -> Iterator[Finding]:
    try:
        address = stream.address()
    except ConfigError:
        return  # check_streams says so
    found = survey(address, stream, wait_s)
    if found.error:
        text = f"{stream.id}: {found.error.value}: {found.problem}"
        yield fail("cameras", text, f"look closer: streamer probe '{redact(address)}'")
        return
    said = notes(address, found, stream)
    size = f"{found.width}x{found.height} {found.codec}".strip()
    if said:
        yield warn("cameras", f"{stream.id}: usable, {size}", "; ".join(said))
    else:
        yield fine("cameras", f"{stream.id}: usable, {size}")
