"""The command about the store: options in, exit code out."""

import argparse
import sys
from typing import TYPE_CHECKING

from faceanalytics.commandline import number_of
from faceanalytics.errors import ConfigError
from streamer.configfile import load_config

if TYPE_CHECKING:
    from streamer.store.encrypt import Encrypted


def store(arguments: argparse.Namespace) -> int:
    """Run `streamer store` and return its exit code."""
    from streamer.store.backup import backup, contents, restore
    from streamer.store.encrypt import encrypt

    settings = load_config(arguments.config)
    config, configured = settings.store, {sink.name for sink in settings.sinks}
    if config is None:
        raise ConfigError("the configuration has no store (store: null)")
    if (arguments.file is None) != (arguments.action in ("status", "encrypt")):
        raise ConfigError(
            f"{arguments.action} takes no file"
            if arguments.file
            else f"name the file: streamer store {arguments.action} FILE"
        )
    if arguments.action == "encrypt":
        return _said(encrypt(config))
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
    for sink in found.sinks:
        note = "" if sink.name in configured else "; the configuration does not name it"
        behind = f"{number_of(sink.behind, 'event')} behind, last moved at {sink.updated:%Y-%m-%d %H:%M:%S} UTC"
        print(f"sink {sink.name}: at event {sink.sequence}, {behind}{note}")
    return 0


def _said(done: "Encrypted") -> int:
    """Print what was encrypted and return the exit code."""
    changed = ", ".join(f"{count} {name}" for name, count in done.changed.items() if count)
    print(f"encrypted: {changed or 'nothing to do'}")
    if done.unreadable:
        rows = ", ".join(f"{count} {name}" for name, count in done.unreadable.items())
        print(f"no key opens {rows}: they stay as they are, and so must all keys", file=sys.stderr)
        return 5
    if not done.rewritten:
        print("a streamer uses the store: old bytes stay in its files until this is run without one")
    return 0
