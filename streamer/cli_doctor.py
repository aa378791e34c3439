"""The part of the command line that examines a machine and a configuration."""

from pathlib import Path

from faceanalytics.commandline import Commands, add_command

DOCTOR = """Examine this machine and a configuration, and say what to mend: packages, addresses, store, disk, private
files, certificates, tokens, keys of workers, clock, memory, codecs, decode devices, GPU, detector, weights and cameras.
It changes nothing, prints no secrets, and works whether the streamer runs or not."""
DOCTOR_EXAMPLES = """
streamer doctor
streamer doctor configs/live.yaml
streamer doctor configs/live.yaml --cameras --json
"""
NOTES = """Exit code: 0 if nothing has failed, warnings included; 1 if something has, an invalid configuration
included. Run it as the user that runs the streamer, on its machine."""


def add_doctor(commands: Commands) -> None:
    """Add `streamer doctor`."""
    parser = add_command(commands, "doctor", "examine this machine and a configuration", DOCTOR, DOCTOR_EXAMPLES, NOTES)
    parser.add_argument("file", nargs="?", type=Path, metavar="CONFIG", help="YAML file (default: all defaults)")
    parser.add_argument("--cameras", action="store_true", help="also connect to each camera")
    parser.add_argument(
        "--wait", type=float, default=10.0, metavar="SECONDS", help="longest look at a camera, in seconds"
    )
    parser.add_argument("--quiet", action="store_true", help="print warnings and failures only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
