"""The part of the command line that decides past tracks by other settings."""

from pathlib import Path

from faceanalytics.commandline import Commands, add_command, device_option, weights_option

REPLAY = """Show who would have been named otherwise: decide the past tracks of a store again by other settings, from
their stored templates and the gallery as it is now, by the code that decides live tracks. Nothing is changed. The store
may be in use by a streamer, or be a backup."""
REPLAY_EXAMPLES = """
streamer replay --set gallery.false_accept_rate=0.001
streamer replay --set gallery.margin=0.1 --set gallery.min_quality=0.5 --stream door --since 7d
streamer replay --backup monday.sqlite --set gallery.false_accept_rate=0.001 --json
"""
NOTES = """A track is searched for once, by its final template; live, it is searched for several times while it grows,
and a name stays until it is clearly wrong. So some tracks are stored with another identity than the present settings
give here; their number is printed. People of gallery.folder are not in the store: their images are embedded by a worker
that is started for it."""


def add_replay(commands: Commands) -> None:
    """Add `streamer replay`."""
    parser = add_command(commands, "replay", "show who would have been named otherwise", REPLAY, REPLAY_EXAMPLES, NOTES)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="a setting that decides, such as gallery.false_accept_rate=0.001; may be repeated (default: no change)",
    )
    parser.add_argument(
        "--stream", action="append", default=[], metavar="ID", help="only tracks of it; may be repeated"
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        help="only tracks that began since then, UTC, or since 7d ago (default: all)",
    )
    parser.add_argument("--until", metavar="TIME", help="only tracks that began before then (default: all)")
    parser.add_argument("--backup", type=Path, metavar="FILE", help="read this backup (default: the store)")
    parser.add_argument(
        "--config", type=Path, metavar="CONFIG", help="YAML file of the streamer, see configs/ (default: all defaults)"
    )
    parser.add_argument("--json", action="store_true", help="print all of these tracks and the totals as JSON")
    weights_option(parser)
    device_option(parser)
