"""Describes what is wrong with a request, by the paths of the fields as the client sent them."""

from collections.abc import Collection, Mapping

from pydantic import ValidationError

from faceanalytics.settings import close_to, explain
from streamer.store.values import StoreUnavailable, Unfinished

SHOWN = 80  # characters of a client's text that are repeated in an error


def shown(text: str) -> str:
    """Quote what a client sent, shortened: long texts do not fit into the status of a call."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def no_track(track_id: str) -> str:
    """Say that there is no track of this id."""
    return f"track_id: no live or stored track {shown(track_id)}"


def no_store(error: StoreUnavailable) -> str:
    """Say what a store that does not work means for a change."""
    if isinstance(error, Unfinished):
        return f"the store stopped working meanwhile; the rest is done as soon as it works again: {error}"
    return f"the store does not work, so nothing was changed: {error}"


def field_problems(error: ValidationError, names: Mapping[str, str]) -> str:
    """Return one line per wrong field, `settings.max_fps: reason`.

    `names` has the path in the API for each setting, by its dotted path in the configuration.
    """
    lines = []
    for line in explain(error):
        field, _, reason = line.strip().partition(": ")
        reason = reason.removeprefix("Value error, ")
        named, _, rest = reason.partition(": ")
        if field == "(top)" and named in names:  # the message names the field that it is about
            field, reason = named, rest
        lines.append(f"{_path(field, names)}: {reason}")
    return "\n".join(lines)


def _path(field: str, names: Mapping[str, str]) -> str:
    if field == "(top)":
        return "settings"
    return names.get(field, f"settings.{field}")


def mask_problems(paths: Collection[str], known: Collection[str]) -> str:
    """Return one line per path of an update mask that does not name a setting; empty if all do."""
    return "\n".join(
        f"update_mask.paths[{place}]: no setting {shown(path)}{close_to(path.removeprefix('settings.'), known)}"
        for place, path in enumerate(paths)
        if path not in known
    )
