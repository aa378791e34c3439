"""The command about the store: options in, exit code out."""

import argparse

from faceanalytics.commandline import number_of
from faceanalytics.errors import ConfigError
from streamer.configfile import load_config


def store(arguments: argparse.Namespace) -> int:
    """Run `streamer store` and return its exit code."""
    from streamer.store.backup import backup, contents, restore

    config = load_config(arguments.config).store
    if config is None:
        raise ConfigError("the configuration has no store (store: null)")
    if (arguments.file is None) != (arguments.action == "status"):
        raise ConfigError(
            "status takes no file" if arguments.file else f"name the file: streamer store {arguments.action} FILE"
        )
    if arguments.action == "backup":
        backup(config, arguments.file)
        print(f"{arguments.file}: {arguments.file.stat().st_size / 1e6:.1f} MB")
        return 0
    if arguments.action == "restore":
        restore(config, arguments.file)
    found = contents(config)
    print(f"{found.place}, revision {found.revision}")
    print(
        ", ".join(number_of(found.counts.get(name, 0), name[:-1]) for name in ("events", "tracks", "faces", "streams"))
    )
    if found.first_event and found.last_event:
        print(f"events from {found.first_event:%Y-%m-%d %H:%M:%S} to {found.last_event:%Y-%m-%d %H:%M:%S} UTC")
    if found.started:
        state = "has not ended: the streamer runs or died" if found.running else "has ended"
        print(f"the last run began at {found.started:%Y-%m-%d %H:%M:%S} UTC and {state}")
    return 0
