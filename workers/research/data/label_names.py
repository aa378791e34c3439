"""Words for gender and expression that sets use, and what they mean here."""

import logging
from collections import Counter
from collections.abc import Mapping

from workers.swinface.labels import EXPRESSIONS

log = logging.getLogger(__name__)

GENDERS = {"female": 0, "f": 0, "male": 1, "m": 1}  # in any case of letters
_SYNONYMS = {
    "surprise": ("surprised",),
    "fear": ("fearful",),
    "disgust": ("disgusted",),
    "happiness": ("happy",),
    "sadness": ("sad",),
    "anger": ("angry",),
    "neutral": (),
}
EXPRESSION_WORDS = {
    word: place for place, name in enumerate(EXPRESSIONS) for word in (name, *_SYNONYMS[name])
}  # in lower case


def classes(*words: str) -> dict[int, int]:
    """The place in EXPRESSIONS of each class of a set, whose classes are these words in its order from 0."""
    return {number: EXPRESSION_WORDS[word] for number, word in enumerate(words)}


def report_left_out(name: str, reasons: Mapping[str, int] | Counter[str], total: int) -> None:
    """One log line that says how many faces of a set are not used, and why."""
    counted = {reason: count for reason, count in reasons.items() if count}
    if counted:
        listed = ", ".join(f"{count} {reason}" for reason, count in counted.items())
        log.warning("%s: %d of %d faces are left out: %s", name, sum(counted.values()), total, listed)
