"""Which keys the rows of a store may be encrypted with, so that a missing one is an error at the start."""

from faceanalytics.errors import ConfigError
from streamer.encryption import Sealer

KEYS = "encryption_keys"  # name in meta: ids of keys separated by spaces, the one that encrypts first
PLAIN = "plain"  # among them: some rows are not encrypted


def with_key(stored: str | None, sealer: Sealer | None, is_new: bool) -> str | None:
    """Return what meta must have before rows are written; None: nothing. Raises ConfigError if a key is missing.

    `stored`: what it has; `is_new`: there are no rows yet.
    """
    known = (stored or "").split()
    missing = [one for one in known if one != PLAIN and (sealer is None or one not in sealer.ids)]
    if sealer is None:
        if missing:
            raise ConfigError("store: it is encrypted; name its key with store.key_file")
        return None
    if missing:
        raise ConfigError(
            f"store: it has rows encrypted with another key (id {', '.join(missing)}; store.key_file has "
            f"{', '.join(sealer.ids)}); add that key in a line below, then run `streamer store encrypt` to retire it"
        )
    first, before = sealer.ids[0], known if known or is_new else [PLAIN]
    return " ".join([first, *(one for one in before if one != first)])


def remark(keys: str | None) -> str:
    """Return what the log should say about rows that `streamer store encrypt` would change; empty: nothing."""
    others = (keys or "").split()[1:]
    if PLAIN in others:
        return "store: rows from before there was a key are not encrypted: run `streamer store encrypt`"
    if others:
        return "store: there may be rows of older keys: run `streamer store encrypt` before you remove those"
    return ""
