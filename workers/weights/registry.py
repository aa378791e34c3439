"""Look up named weights, find their files and verify them."""

import hashlib
import json
import logging
import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from faceanalytics.errors import ConfigError, ModelError
from faceanalytics.settings import explain, read_yaml

DEFAULT = "default"  # in place of a name or a path
FACE_MODEL = "swinface-small"  # the weights that DEFAULT stands for
FOLDER_VARIABLE = "FACEANALYTICS_WEIGHTS"
INSTALLATION = Path(__file__).resolve().parents[2]  # folder of the packages `streamer` and `workers`

log = logging.getLogger(__name__)


class Entry(BaseModel):
    """Named weights: either bundled, or a `file` that is downloaded from `url` or by hand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Literal["face model", "detector"]
    source: str
    """Who made the weights, with a reference."""
    terms: str
    """Terms of use, as far as known."""
    bundled: str | None = None
    """Path in the installation; the card beside it ends in .json."""
    file: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    """File name in the download folder."""
    url: Annotated[str, Field(pattern=r"^https://")] | None = None
    by_hand: str | None = None
    """How to get a file that has no address of its own."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> "Entry":
        if bool(self.bundled) == bool(self.file) or bool(self.file) != bool(self.url or self.by_hand):
            raise ValueError("give either bundled, or file with url or by_hand")
        return self

    @property
    def path(self) -> Path:
        """The path of the file, whether it exists or not."""
        return INSTALLATION / self.bundled if self.bundled else folder() / str(self.file)

    @property
    def record(self) -> Path:
        """The file with the sha256 of the first download, in the format of `sha256sum -c`."""
        return self.path.with_name(self.path.name + ".sha256")


@cache
def registry() -> dict[str, Entry]:
    """Read all named weights. Raises ConfigError if registry.yaml is invalid."""
    path = Path(__file__).with_name("registry.yaml")
    try:
        return TypeAdapter(dict[str, Entry]).validate_python(read_yaml(path))
    except ValidationError as error:
        raise ConfigError("\n".join([f"{path}:", *explain(error, model=Entry)])) from error


def entry(name: str) -> Entry:
    """Return the weights of this name. Raises ConfigError for an unknown name."""
    if name not in registry():
        raise ConfigError(f"there are no weights called {name}: known are {', '.join(registry())}")
    return registry()[name]


def folder() -> Path:
    """Return the download folder: $FACEANALYTICS_WEIGHTS, or ~/.cache/faceanalytics/weights."""
    configured = os.environ.get(FOLDER_VARIABLE)
    return Path(configured) if configured else Path.home() / ".cache" / "faceanalytics" / "weights"


def find(weights: str) -> str:
    """Return the path of the face model named `weights` after verifying it, and log its terms.

    "default" is the bundled model. A path or "untrained" is returned unchanged. Raises ModelError.
    """
    name = FACE_MODEL if weights == DEFAULT else weights
    if name not in registry():
        return weights
    chosen = entry(name)
    if chosen.what != "face model":
        raise ModelError(f"{name} is a {chosen.what}, not a face model: see `swinface weights list`")
    checked = verify(name)
    log.info("face model %s: %s; %s; %s", name, chosen.terms, chosen.source, checked)
    return str(chosen.path)


def verify(name: str) -> str:
    """Check the sha256 of the file and return the outcome as text. Raises ModelError, ConfigError.

    If no sha256 is known, as for a file downloaded by hand, the file's own is recorded.
    """
    chosen = entry(name)
    actual = _sum_of_file(name, chosen)
    expected, origin = expected_sum(name, chosen)
    if expected is None:
        record_sum(chosen, actual)
        return f"sha256 {actual} recorded: the source states none"
    if actual != expected:
        raise ModelError(
            f"{chosen.path} is damaged or has been replaced: its sha256 is {actual}, expected {expected} ({origin}); "
            f"{_get_again(name)}"
        )
    return f"sha256 matches ({origin})"


def expected_sum(name: str, chosen: Entry) -> tuple[str | None, str]:
    """Return the sha256 that the file must have, None if unknown, and its origin. Raises ModelError."""
    if chosen.bundled:
        return _sum_of_card(name, chosen), "from its card"
    if chosen.sha256:
        return chosen.sha256, "stated by its source"
    try:
        return chosen.record.read_text().split()[0], "recorded at the first download"
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, IndexError) as error:
        raise ModelError(f"cannot read the sha256 {chosen.record}: {error}. Delete it to trust the file") from error


def record_sum(chosen: Entry, actual: str) -> None:
    """Record the sha256 of a download. Raises ModelError if it cannot be written."""
    try:
        chosen.record.write_text(f"{actual}  {chosen.path.name}\n")
    except OSError as error:
        raise ModelError(f"cannot write the sha256 {chosen.record}: {error.strerror}") from error


def how_to_get(name: str) -> str:
    """Return instructions for getting a missing file."""
    chosen = entry(name)
    if chosen.by_hand is None:
        return f"download it with: swinface weights pull {name}"
    return (
        f"it must be downloaded by hand: {chosen.by_hand}, put the file at {chosen.path}, then run: swinface "
        f"weights verify {name}. If you host a copy: swinface weights pull {name} --url https://..."
    )


def _sum_of_file(name: str, chosen: Entry) -> str:
    try:
        with chosen.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise ModelError(f"{name} is missing, there is no {chosen.path}: {_get_again(name)}") from error
    except OSError as error:
        raise ModelError(f"cannot read {chosen.path}: {error.strerror}") from error


def _sum_of_card(name: str, chosen: Entry) -> str:
    card = chosen.path.with_suffix(".json")
    try:
        return str(json.loads(card.read_text(encoding="utf-8"))["sha256"])
    except FileNotFoundError as error:
        raise ModelError(f"{name} has no card {card}: {_get_again(name)}") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{card} is not a card with a sha256: {_get_again(name)}") from error


def _get_again(name: str) -> str:
    chosen = entry(name)
    if chosen.bundled:
        return "the bundled weights of this installation are incomplete. Reinstall the project, or name other weights"
    return how_to_get(name) if not chosen.path.exists() else f"delete it, then {how_to_get(name)}"
