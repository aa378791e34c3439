"""The part of the command line that looks after the store of a streamer."""

from pathlib import Path

from faceanalytics.commandline import Commands, add_command

STORE = """Look after the store of a streamer. `backup` copies it into one file while the streamer runs, from SQLite and
PostgreSQL alike. `restore` fills an empty store from such a file; the streamer must not run. `status` prints what a
store holds."""
STORE_EXAMPLES = """
streamer store backup monday.sqlite
streamer store backup monday.sqlite --config live.yaml
streamer store restore monday.sqlite --config live.yaml
streamer store status
"""
NOTES = """A backup holds what the store holds: events, tracks, pictures of faces and the addresses of cameras, with
passwords (encrypted with store.key_file). Keep it as safe as the store."""


def add_store(commands: Commands) -> None:
    """Add `streamer store`."""
    parser = add_command(commands, "store", "back up, restore or look at the store", STORE, STORE_EXAMPLES, NOTES)
    parser.add_argument("action", choices=("backup", "restore", "status"), help="what to do")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the backup to write or to read")
    parser.add_argument(
        "--config", type=Path, metavar="CONFIG", help="YAML file of the streamer, see configs/ (default: all defaults)"
    )
