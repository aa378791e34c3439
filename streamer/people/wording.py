"""What names, labels and metadata of people may be: any text that can be shown on one line, never markup to be run."""

import unicodedata
from collections.abc import Iterable, Mapping

NAME, LABEL, KEY, VALUE = 200, 64, 64, 1000  # most characters
LABELS, PAIRS = 32, 32  # most per person
_CONTROLS = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # categories of Unicode that change how other text looks
_JOINERS = {"\u200c", "\u200d"}  # some scripts are not written without them


class Unfit(ValueError):
    """A text that cannot be stored; the message says which and why."""


def text(value: str, field: str, longest: int) -> str:
    """Return a text in the form NFC, without blanks around it. Raises Unfit."""
    found = unicodedata.normalize("NFC", value).strip()
    if not found:
        raise Unfit(f"{field}: must not be empty")
    if len(found) > longest:
        raise Unfit(f"{field}: {len(found)} characters, at most {longest} are allowed")
    for letter in found:
        if unicodedata.category(letter) in _CONTROLS and letter not in _JOINERS:
            raise Unfit(f"{field}: the character U+{ord(letter):04X} is not allowed: it cannot be seen")
    return found


def name(value: str) -> str:
    """Return a name as it is stored. Raises Unfit."""
    return text(value, "person.display_name", NAME)


def labels(values: Iterable[str]) -> list[str]:
    """Return labels, each once, in their order. Raises Unfit."""
    found = list(dict.fromkeys(text(one, "person.labels", LABEL) for one in values))
    if len(found) > LABELS:
        raise Unfit(f"person.labels: {len(found)}, at most {LABELS} are allowed")
    return found


def pairs(values: Mapping[str, str]) -> dict[str, str]:
    """Return metadata, sorted by key. Raises Unfit."""
    if len(values) > PAIRS:
        raise Unfit(f"person.metadata: {len(values)} pairs, at most {PAIRS} are allowed")
    shown = {text(key, "person.metadata", KEY): value for key, value in values.items()}
    return {key: text(shown[key], f"person.metadata[{key}]", VALUE) for key in sorted(shown)}


def folded(value: str) -> str:
    """Return the form of a name in which names are compared."""
    return unicodedata.normalize("NFC", value).strip().casefold()
