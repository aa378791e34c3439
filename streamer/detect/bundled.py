"""The face detector that comes with the project: a file beside this one, which its card vouches for."""

import hashlib
import json
import logging
from pathlib import Path

from faceanalytics.errors import ModelError

DEFAULT = "default"  # in place of a path
FOLDER = Path(__file__).parent / "weights"
NAME = "yolo-face-nano"
OTHERS = "Install the project anew, or name another detector (detect.weights)."

log = logging.getLogger(__name__)


def bundled_detector() -> Path:
    """The file, once its sum is the one in its card; the log says which model it is and on which terms.

    Raises ModelError if the file or the card is missing, or they do not belong together.
    """
    path, card_path = FOLDER / f"{NAME}.onnx", FOLDER / f"{NAME}.json"
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        expected, terms = card["sha256"], card["terms"]
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise ModelError(f"this build lacks its bundled face detector: no {error.filename}. {OTHERS}") from error
    except OSError as error:
        raise ModelError(f"the bundled face detector cannot be read: {error}. {OTHERS}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{card_path} is no card of a detector with sha256 and terms. {OTHERS}") from error
    if found != expected:
        raise ModelError(
            f"the bundled face detector {path} is damaged or has been replaced: its sha256 is {found}, "
            f"its card says {expected}. {OTHERS}"
        )
    log.info("face detector %s: %s, see docs/models/%s.md", NAME, terms, NAME)
    return path
