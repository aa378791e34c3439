"""The part of the command line about the health of the gallery."""

import argparse
from pathlib import Path

from faceanalytics.commandline import device_option, weights_option

# command -> summary, what it does, example
AUDIT_ACTIONS = {
    "audit": (
        "check the health of the gallery",
        "Look for people who are taken for each other, references that harm, strangers who are named, and references "
        "that grow old. The exit code is 1 if something needs a look.",
        "audit --html gallery.html",
    ),
    "different": (
        "say that two people are two people",
        "Say that two people who look alike are two people. Audits no longer list them.",
        "different Ada Bea",
    ),
}


def audit_arguments(made: dict[str, argparse.ArgumentParser]) -> None:
    """Add the options of these commands."""
    made["different"].add_argument("person", metavar="PERSON", help="id or name of one person")
    made["different"].add_argument("other", metavar="OTHER", help="id or name of the other one")
    audit = made["audit"]
    audit.add_argument("--html", type=Path, metavar="FILE.html", help="also write a page that works offline")
    audit.add_argument(
        "--faces", action="store_true", help="with pictures of the references that are kept, in the page"
    )
    audit.add_argument("--set-aside", action="store_true", help="set the references aside for which this is the advice")
    audit.add_argument(
        "--restore",
        nargs="?",
        const="",
        metavar="AUDIT",
        help="only compare again with what an audit (without an id: the newest one) has set aside (default: audit)",
    )
    audit.add_argument(
        "--days", type=int, default=0, metavar="DAYS", help="look at the tracks of this many days (default: 84)"
    )
    audit.add_argument(
        "--folder", type=Path, metavar="DIR", help="audit such a folder of people without a streamer (default: ask one)"
    )
    audit.add_argument("--config", type=Path, metavar="CONFIG", help="YAML file for --folder (default: all defaults)")
    weights_option(audit)
    device_option(audit)
