"""Runs all checks in the order in which a user would mend what they find."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from faceanalytics.errors import ConfigError, UserError
from streamer.configfile import load_config
from streamer.doctor.access import check_certificates, check_permissions, check_tokens, check_worker_keys
from streamer.doctor.cameras import check_cameras, check_streams
from streamer.doctor.finding import Finding, Patient, fail, fine
from streamer.doctor.keep import check_store
from streamer.doctor.machine import check_clock, check_disk, check_files, check_memory
from streamer.doctor.media import check_codecs, check_decoders, check_detector, check_gpu, check_weights
from streamer.doctor.network import answers, check_addresses
from streamer.doctor.packages import check_packages

Check = Callable[[Patient], Iterator[Finding]]

CHECKS: Sequence[Check] = (
    check_packages,
    check_addresses,
    check_store,
    check_disk,
    check_permissions,
    check_certificates,
    check_tokens,
    check_worker_keys,
    check_clock,
    check_memory,
    check_files,
    check_codecs,
    check_decoders,
    check_gpu,
    check_detector,
    check_weights,
    check_streams,
)


def examine(path: Path | None, cameras_s: float | None = None) -> Iterator[Finding]:
    """Yield what is found, as it is found. Without a valid configuration nothing else is looked at.

    `cameras_s`: also connect to each camera, for at most this many seconds.
    """
    try:
        config = load_config(path)
    except ConfigError as error:
        yield fail("config", str(error), "mend these settings; `streamer config schema` describes all of them")
        return
    try:
        config.check_safe()
        yield fine("config", f"{path or 'the defaults'}: the settings are valid")
    except ConfigError as error:
        yield fail("config", str(error), "see docs/security.md")
    patient = Patient(config, path, answers(config))
    state = "a streamer answers there" if patient.running else "no streamer answers there"
    yield fine("running", f"{config.publish.listen}: {state}")
    for check in CHECKS:
        yield from tried(check, patient)
    if cameras_s is not None:
        yield from check_cameras(patient, cameras_s)


def tried(check: Check, patient: Patient) -> Iterator[Finding]:
    """Run a check. One that the world keeps from its work has found something as well."""
    try:
        yield from check(patient)
    except (UserError, OSError) as error:
        name = check.__name__.removeprefix("check_")
        yield fail(name, str(error) or type(error).__name__, "mend this, and run the doctor again")
