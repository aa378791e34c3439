"""Map the names of genders and expressions that sets use to our label numbers."""

import logging
from collections import Counter
from collections.abc import Mapping

from workers.swinface.labels import EXPRESSIONS

log = logging.getLogger(__name__)

GENDERS = {"female": 0, "f": 0, "male": 1, "m": 1}  # in lower case
_SYNONYMS = {
    "surprise": ("surprised",),
    "fear": ("fearful",),
    "disgust": ("disgusted",),
    "happiness": ("happy",),
    "sadness": ("sad",),
    "anger": ("angry",),
    "neutral": (),
}
EXPRESSION_NAMES = {  # in lower case
    synonym: number for number, name in enumerate(EXPRESSIONS) for synonym in (name, *_SYNONYMS[name])
}


def classes(*names: str) -> dict[int, int]:
    """Map the class numbers of a set, whose classes have these names from 0 on, to indices of EXPRESSIONS."""
    return {number: EXPRESSION_NAMES[name] for number, name in enumerate(names)}


def report_left_out(name: str, reasons: Mapping[str, int] | Counter[str], total: int) -> None:
    """Log how many faces of a set are left out, and why."""
    counted = {reason: count for reason, count in reasons.items() if count}
    if counted:
        listed = ", ".join(f"{count} {reason}" for reason, count in counted.items())
        log.warning("%s: %d of %d faces are left out: %s", name, sum(counted.values()), total, listed)
