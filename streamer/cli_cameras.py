"""The part of the command line that looks at cameras and manages those of a running streamer."""

import argparse
from pathlib import Path

from faceanalytics.commandline import Commands, Options, add_command, add_subcommands

PROBE = """Connect to a camera as the streamer would, look at it for a few seconds, and describe its video, its clock
and its problems. The exit code is 0 if it can be used, and 3 if not."""
PROBE_EXAMPLES = """
streamer probe rtsp://admin@10.0.0.5/main --ask-password
streamer probe rtsp://10.0.0.5/main --wait 60 --json
streamer probe clip.mp4
"""
STATUS = """Show at one glance whether a running streamer serves, the models of its workers, how busy it is and how many
more cameras it could take, its store, and its cameras with their errors."""
STATUS_EXAMPLES = """
streamer status
streamer status 10.0.0.7:50051 --json
"""
STREAMS = """List, add, change, pause, resume and remove the cameras of a running streamer. Cameras that are added
return after a restart, unless the streamer has no store. A camera that its configuration names has the settings from
there again."""
STREAMS_EXAMPLES = """
streamer streams list
streamer streams add door=rtsp://admin@10.0.0.5/main --ask-password
streamer streams update door --max-fps 5
streamer streams pause door --server 10.0.0.7
"""
LIST = "List the cameras of a running streamer with their states and errors."
LIST_EXAMPLES = """
streamer streams list
streamer streams list --server 10.0.0.7 --json
"""
ADD = "Add a camera to a running streamer, and connect it."
ADD_EXAMPLES = """
streamer streams add door=rtsp://admin@10.0.0.5/main --ask-password
streamer streams add yard=rtsp://10.0.0.6/main --max-fps 5 --server 10.0.0.7
"""
UPDATE = """Change settings of a camera. A running camera stays connected if only its rate, its delays between
connections or its waits for a connection change; else it reconnects."""
UPDATE_EXAMPLES = """
streamer streams update door --max-fps 5
streamer streams update door --uri rtsp://admin@10.0.0.9/main --password-file secret.txt
"""
REMOVE = "Disconnect cameras and remove them from a running streamer; their tracks end."
PAUSE = "Disconnect cameras and keep them in the list."
RESUME = "Connect paused cameras again."
MAX_VIDEO_STREAM = 999  # as in the configuration; FFmpeg opens no more streams
URL = (
    "address (rtsp://, rtsps://, http://, https://, rtmp:// ...), in which ${NAME} stands for a variable of the "
    "environment; or the path of a file, a folder of images or a device"
)


def password_options(parser: Options) -> None:
    """Add the options that give a password without writing it on the command line."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--ask-password",
        action="store_true",
        help="ask for the password of each address with a user name only (rtsp://USER@HOST/PATH); without a terminal, "
        "read it from standard input",
    )
    choice.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="file with the password for addresses with a user name only, on one line, not escaped (default: no file)",
    )


def server_options(parser: argparse.ArgumentParser) -> None:
    """Add --server, and the options with which a command logs in there."""
    parser.add_argument(
        "--server",
        default="127.0.0.1",
        metavar="HOST[:PORT]",
        help="the running streamer; without a port, 50051 is used (default: this machine)",
    )
    login_options(parser)


def login_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that asks a running streamer; see tools/connection.py."""
    group = parser.add_argument_group("access")
    token = group.add_mutually_exclusive_group()
    token.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file with the token (default: $FACEANALYTICS_TOKEN_FILE)"
    )
    token.add_argument(
        "--token",
        metavar="TOKEN",
        help="the token; other users of this machine can see it, so prefer the file (default: $FACEANALYTICS_TOKEN)",
    )
    group.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="use TLS and accept certificates of the authorities in this PEM file (default: $FACEANALYTICS_TLS_CA)",
    )
    group.add_argument("--tls", action="store_true", help="use TLS and accept certificates of public authorities")
    group.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="PEM file of a certificate to show (default: show none)"
    )
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM file of its key (default: no key)")
    group.add_argument(
        "--insecure", action="store_true", help="send the token over the network although it is not encrypted"
    )


def add_probe(commands: Commands) -> None:
    """Add `streamer probe`."""
    parser = add_command(commands, "probe", "describe a camera and its problems", PROBE, PROBE_EXAMPLES)
    parser.add_argument("url", metavar="URL", help=URL)
    password_options(parser)
    parser.add_argument(
        "--wait",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="look for at most this long, in seconds; less if all is known earlier",
    )
    parser.add_argument("--transport", choices=("tcp", "udp"), default="tcp", help="RTSP transport")
    parser.add_argument(
        "--tls-ca-file",
        metavar="FILE",
        help="for rtsps: PEM file of the certificate authorities to accept (default: accept any certificate)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_status(commands: Commands) -> None:
    """Add `streamer status`."""
    parser = add_command(commands, "status", "show a running streamer and its cameras", STATUS, STATUS_EXAMPLES)
    parser.add_argument(
        "address",
        nargs="?",
        default="127.0.0.1",
        metavar="HOST[:PORT]",
        help="a running streamer; without a port, 50051 is used (default: this machine)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--timeout", type=float, default=3.0, metavar="SECONDS", help="longest wait for an answer, in seconds"
    )
    login_options(parser)


def add_streams(commands: Commands) -> None:
    """Add `streamer streams` and its commands."""
    parser = add_command(commands, "streams", "manage the cameras of a running streamer", STREAMS, STREAMS_EXAMPLES)
    actions = add_subcommands(parser, "action")
    listing = add_command(actions, "list", "list the cameras", LIST, LIST_EXAMPLES)
    adding = add_command(actions, "add", "add a camera", ADD, ADD_EXAMPLES)
    adding.add_argument("camera", metavar="NAME=URL", help=f"name of the camera, and {URL} on the streamer's machine")
    password_options(adding)
    _setting_options(adding.add_argument_group("settings"), "the default of the configuration")
    adding.add_argument("--paused", action="store_true", help="add it without connecting it")
    updating = add_command(actions, "update", "change settings of a camera", UPDATE, UPDATE_EXAMPLES)
    updating.add_argument("names", nargs=1, metavar="NAME", help="name of the camera")
    updating.add_argument("--uri", metavar="URL", help=f"{URL} (default: unchanged)")
    password_options(updating)
    _setting_options(updating.add_argument_group("settings"), "unchanged")
    for parser in (listing, adding, updating):
        parser.add_argument("--json", action="store_true", help="print JSON")
    for name, summary, text in (
        ("remove", "remove cameras", REMOVE),
        ("pause", "disconnect cameras", PAUSE),
        ("resume", "connect paused cameras", RESUME),
    ):
        command = add_command(actions, name, summary, text, f"streamer streams {name} door")
        command.add_argument("names", nargs="+", metavar="NAME", help="name of a camera")
    for parser in actions.choices.values():
        server_options(parser)


def _stream_number(text: str) -> int | str:
    """Return the number of a video stream, or `shown`. Raises ArgumentTypeError."""
    if text == "shown":
        return text
    if not text.isdecimal() or int(text) > MAX_VIDEO_STREAM:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number from 0 to {MAX_VIDEO_STREAM} nor `shown`")
    return int(text)


def _setting_options(parser: Options, default: str) -> None:
    """Add an option for each setting of a stream, named after its field in StreamSettings."""
    seconds = (
        ("--connect-timeout", "longest wait for a connection"),
        ("--first-frame-timeout", "longest wait from the connection to the first packet"),
        ("--key-frame-timeout", "longest wait for the first key frame while packets arrive"),
        ("--stall-timeout", "reconnect after this long without a frame"),
        ("--reconnect-initial", "delay before the first attempt to reconnect; it doubles with each failure"),
        ("--reconnect-max", "longest delay between two attempts to reconnect"),
        ("--image-interval", "for folders of images: time between two images"),
    )
    for flag, text in seconds:
        parser.add_argument(flag, type=float, metavar="SECONDS", help=f"{text}, in seconds (default: {default})")
    parser.add_argument(
        "--reconnect-jitter",
        type=float,
        metavar="SHARE",
        help=f"vary the delays at random by up to this share, from 0 to 1 (default: {default})",
    )
    parser.add_argument(
        "--max-fps",
        type=float,
        metavar="RATE",
        help=f"analyse at most this many frames per second; 0: no limit (default: {default})",
    )
    parser.add_argument("--transport", choices=("tcp", "udp"), help=f"RTSP transport (default: {default})")
    parser.add_argument(
        "--privacy-mode",
        choices=("identity", "pseudonymous", "aggregate_only"),
        help="privacy mode of the stream, if it is stricter than privacy.mode of the configuration "
        f"(default: {default})",
    )
    parser.add_argument(
        "--loop",
        action=argparse.BooleanOptionalAction,
        help="for files and folders of images: start again at the end, or not",
    )
    parser.add_argument(
        "--follow",
        action=argparse.BooleanOptionalAction,
        help="for folders of images: show the newest image and then those that are added, or not",
    )
    parser.add_argument(
        "--video-stream",
        type=_stream_number,
        metavar="NUMBER",
        help="which of several video streams to read, from 0, or `shown` for the one that players show "
        f"(default: {default})",
    )
    parser.add_argument(
        "--decode-device",
        metavar="DEVICE",
        help="cpu, cuda:N, vaapi or qsv, which decodes the video; empty for sources.decode_device of the configuration "
        f"(default: {default})",
    )
    files = "PEM file of the certificate authorities to accept for rtsps", "file that contains the address"
    for flag, text in zip(("--tls-ca-file", "--uri-file"), files, strict=True):
        parser.add_argument(
            flag, metavar="FILE", help=f"{text}, on the streamer's machine, which must allow it (default: {default})"
        )
