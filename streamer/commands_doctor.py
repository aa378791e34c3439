"""The command that examines a machine and a configuration: options in, findings out."""

import argparse
import json
import logging
from collections.abc import Iterable

from faceanalytics.commandline import number_of
from faceanalytics.errors import ConfigError
from streamer.doctor.examine import examine
from streamer.doctor.finding import Finding, Level, worst

NAME_WIDTH = 14


def doctor(arguments: argparse.Namespace) -> int:
    """Run `streamer doctor` and return its exit code: 1 if something failed, else 0."""
    if not arguments.wait > 0:
        raise ConfigError("--wait must be above 0")
    if not arguments.verbose:
        logging.getLogger("streamer").setLevel(logging.WARNING)  # the findings say it
    findings: list[Finding] = []
    for finding in examine(arguments.file, arguments.wait if arguments.cameras else None):
        findings.append(finding)
        if not arguments.json and not (arguments.quiet and finding.level is Level.OK):
            print(line_of(finding), flush=True)
    level = worst(findings)
    if arguments.json:
        name = str(arguments.file) if arguments.file else None
        print(json.dumps({"config": name, "level": level.value, "findings": [one.as_dict() for one in findings]}))
    else:
        print(summary(findings))
    return 1 if level is Level.FAIL else 0


def line_of(finding: Finding) -> str:
    """Return a finding for people, with what to do in a line of its own."""
    line = f"{finding.level.value:<5} {finding.check:<{NAME_WIDTH}} {finding.found}"
    return line if not finding.advice else f"{line}\n{'':<{NAME_WIDTH + 7}}-> {finding.advice}"


def summary(findings: Iterable[Finding]) -> str:
    """Return the numbers of findings by level in one line."""
    levels = [one.level for one in findings]
    failed, warned = levels.count(Level.FAIL), levels.count(Level.WARN)
    return f"{number_of(len(levels), 'finding')}: {failed} failed, {number_of(warned, 'warning')}"
