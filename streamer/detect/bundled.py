"""Find the face detector bundled with the project, and check it against the sha256 in its card."""

import hashlib
import json
import logging
from pathlib import Path

from faceanalytics.errors import ModelError

DEFAULT = "default"  # in place of a path
FOLDER = Path(__file__).parent / "weights"
NAME = "yolo-face-nano"
OTHERS = "Reinstall the project, or name another detector in detect.weights."

log = logging.getLogger(__name__)


def bundled_detector() -> Path:
    """Return the file after checking its sha256, and log the model's name and licence.

    Raises ModelError if the file or its card is missing, or they do not match.
    """
    path, card_path = FOLDER / f"{NAME}.onnx", FOLDER / f"{NAME}.json"
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        expected, terms = card["sha256"], card["terms"]
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise ModelError(f"the bundled face detector is missing: there is no {error.filename}. {OTHERS}") from error
    except OSError as error:
        raise ModelError(f"the bundled face detector cannot be read: {error}. {OTHERS}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{card_path} is not the card of a detector, with sha256 and terms. {OTHERS}") from error
    if found != expected:
        raise ModelError(
            f"the bundled face detector {path} is damaged or has been replaced: its sha256 is {found}, "
            f"but its card states {expected}. {OTHERS}"
        )
    log.info("face detector %s: %s, see docs/models/%s.md", NAME, terms, NAME)
    return path
