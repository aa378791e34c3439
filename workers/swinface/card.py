"""The card of weights of our own form: a JSON object beside the file, with where they come from and what they are."""

import json
from pathlib import Path
from typing import Any

from workers.swinface.state import CheckpointError

SCHEMA = 1
REQUIRED: dict[str, type | tuple[type, ...]] = {"schema": int, "config": dict, "sha256": str}
OPTIONAL: dict[str, type | tuple[type, ...]] = {"source": (dict, str), "licence": str, "metrics": dict, "outputs": list}
WORDS = {int: "a whole number", dict: "an object", str: "text", list: "a list", (dict, str): "an object or text"}


def card_path(weights: Path) -> Path:
    return weights.with_suffix(".json")


def read_card(path: Path) -> dict[str, Any]:
    """Read a card. Its source is an object; a text becomes the name in one. Raises CheckpointError."""
    try:
        card: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read the card of the weights, {path}: {error}") from error
    absent = [key for key in REQUIRED if not isinstance(card, dict) or key not in card]
    if absent:
        raise CheckpointError(f"{path} is not a card of weights: it has no {', '.join(absent)}")
    if card["schema"] != SCHEMA:
        raise CheckpointError(f"{path} has schema {card['schema']}, this program reads {SCHEMA}: update the program")
    for key, kind in {**REQUIRED, **OPTIONAL}.items():
        if key in card and not isinstance(card[key], kind):
            raise CheckpointError(f"{path}: {key} is {json.dumps(card[key])[:60]}, expected {WORDS[kind]}")
    source = card.get("source", {})
    return {**card, "source": {"name": source} if isinstance(source, str) else source}
