"""Find the networks bundled with the project, and check them against the sha256 in their cards."""

import hashlib
import json
import logging
from pathlib import Path

from faceanalytics.errors import ModelError

DEFAULT = "default"  # in place of a path
FOLDER = Path(__file__).parent / "weights"
NAME = "yolo-face-nano"
INT8 = "yolo-face-nano-int8"
ROLL = "face-roll-nano"
WHAT = {NAME: "face detector", INT8: "face detector in int8", ROLL: "network for turned faces"}
ADVICE = {
    NAME: "Reinstall the project, or name another detector in detect.weights.",
    INT8: "Reinstall the project, or set detect.precision to fp32.",
    ROLL: "Reinstall the project.",
}

log = logging.getLogger(__name__)


def bundled_detector(precision: str = "fp32") -> Path:
    """Return the file for a precision after checking its sha256, and log the model's name and licence.

    Raises ModelError if the file or its card is missing, or they do not match.
    """
    name = INT8 if precision == "int8" else NAME
    path, terms = _checked(name)
    log.info("face detector %s: %s, see docs/models/%s.md", name, terms, NAME)
    return path


def bundled_roll_network() -> Path:
    """Return the file of the network for turned faces after checking its sha256. Raises ModelError likewise."""
    return _checked(ROLL)[0]


def _checked(name: str) -> tuple[Path, str]:
    """Return the file of one of the networks in WHAT, and its licence."""
    what, advice = WHAT[name], ADVICE[name]
    path, card_path = FOLDER / f"{name}.onnx", FOLDER / f"{name}.json"
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        expected, terms = card["sha256"], card["terms"]
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise ModelError(f"the bundled {what} is missing: there is no {error.filename}. {advice}") from error
    except OSError as error:
        raise ModelError(f"the bundled {what} cannot be read: {error}. {advice}") from error
    except (ValueError, TypeError, KeyError) as error:
        kind = "a detector" if name in (NAME, INT8) else "a network"
        raise ModelError(f"{card_path} is not the card of {kind}, with sha256 and terms. {advice}") from error
    if found != expected:
        raise ModelError(
            f"the bundled {what} {path} is damaged or has been replaced: its sha256 is {found}, "
            f"but its card states {expected}. {advice}"
        )
    return path, str(terms)
