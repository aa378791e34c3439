"""Wires what the inspection of the API looks with: the probe and the doctor."""

from collections.abc import Iterator
from functools import partial

from streamer.api.inspection import Finding, Inspector, Looked
from streamer.config import Stream, StreamerConfig


def inspector_of(config: StreamerConfig) -> Inspector:
    """Return what looks at cameras and at this streamer. It imports its tools when it is first used."""
    inputs = config.jobs.inputs if config.jobs is not None else ()
    return Inspector(probe=_probe, examine=partial(_examine, config), inputs=inputs)


def _probe(stream: Stream, wait_s: float) -> Looked:
    from streamer.tools.probe import as_text, patient, survey

    address = stream.address()
    careful = patient(stream, address, wait_s)
    found = survey(address, careful, wait_s)
    facts: list[str] = []
    notes: list[str] = []
    for line in as_text(address, found, careful).splitlines()[1:]:
        kind, _, text = line.strip().partition(" ")
        (notes if kind == "note" else facts).append(text.strip() if kind == "note" else f"{kind}: {text.strip()}")
    return Looked(
        error=found.error,
        problem=found.problem,
        facts=tuple(facts),
        notes=tuple(notes),
        size=(found.width or 0, found.height or 0),
        codec=found.codec or "",
        fps=found.fps or found.declared_fps or 0.0,
        clock_offset_s=found.clock_offset_s,
    )


def _examine(config: StreamerConfig) -> Iterator[Finding]:
    """Look for what a running streamer does not notice by itself: it has opened detector, devices and store."""
    from streamer.doctor.access import check_certificates, check_permissions, check_tokens, check_worker_keys
    from streamer.doctor.cameras import check_streams
    from streamer.doctor.examine import tried
    from streamer.doctor.finding import Patient
    from streamer.doctor.machine import check_clock, check_disk, check_files
    from streamer.doctor.packages import check_packages

    patient = Patient(config, None, running=True)
    checks = (
        *(check_disk, check_certificates, check_permissions, check_tokens, check_worker_keys),
        *(check_clock, check_files, check_streams, check_packages),
    )
    for check in checks:
        for one in tried(check, patient):
            yield Finding(one.check, one.level.value, one.found, one.advice)
