"""The part of the command line that looks after the store of a streamer."""

from pathlib import Path

from faceanalytics.commandline import Commands, add_command

STORE = """Look after the store of a streamer. `backup` copies it into one file while the streamer runs, from
SQLite and PostgreSQL alike. `restore` fills an empty store from such a file; the streamer must not run.
`status` prints what a store holds, and how far the sinks are. `encrypt` encrypts all rows with the first key of
store.key_file: after a key was set for the first time, or after a new one was put in front of the old ones,
which can be removed then. It may run beside the streamer, which must have been started with that key; run it
once without a streamer to clear traces of earlier rows from the files, too."""
STORE_EXAMPLES = """
streamer store backup monday.sqlite
streamer store backup monday.sqlite --config live.yaml
streamer store restore monday.sqlite --config live.yaml
streamer store status
streamer store encrypt --config live.yaml
"""
NOTES = """A backup holds what the store holds, encrypted in the same way, and needs the same key: events, tracks,
pictures of faces, the addresses of cameras with passwords, hashes of tokens, and who did what. Keep it as safe as the
store. A token that was revoked after the backup works again after `restore`: revoke it again."""


def add_store(commands: Commands) -> None:
    """Add `streamer store`."""
    parser = add_command(
        commands, "store", "back up, restore, encrypt or look at the store", STORE, STORE_EXAMPLES, NOTES
    )
    parser.add_argument("action", choices=("backup", "restore", "status", "encrypt"), help="what to do")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the backup to write or to read")
    parser.add_argument(
        "--config", type=Path, metavar="CONFIG", help="YAML file of the streamer, see configs/ (default: all defaults)"
    )
