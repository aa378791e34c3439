"""Which weights have a name, where their files are, and whether a file is what it should be."""

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
FACE_MODEL = "swinface-small"  # what that is
FOLDER_VARIABLE = "FACEANALYTICS_WEIGHTS"
INSTALLATION = Path(__file__).resolve().parents[2]  # the packages `streamer` and `workers` lie in it

log = logging.getLogger(__name__)


class Entry(BaseModel):
    """Weights with a name. Either they are bundled, or `file` is downloaded from `url`, or by hand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Literal["face model", "detector"]
    source: str
    """Who made them, and where that is to be read."""
    terms: str
    """What they may be used for, as far as it is known."""
    bundled: str | None = None
    """Path in the installation; its card beside it ends in .json."""
    file: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    """Name in the folder of downloads."""
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
        """Where the file is, or would be."""
        return INSTALLATION / self.bundled if self.bundled else folder() / str(self.file)

    @property
    def record(self) -> Path:
        """Where the sum of the first download is kept, in the form that `sha256sum -c` reads."""
        return self.path.with_name(self.path.name + ".sha256")


@cache
def registry() -> dict[str, Entry]:
    """All weights with a name. Raises ConfigError if the file is not as it should be."""
    path = Path(__file__).with_name("registry.yaml")
    try:
        return TypeAdapter(dict[str, Entry]).validate_python(read_yaml(path))
    except ValidationError as error:
        raise ConfigError("\n".join([f"{path}:", *explain(error)])) from error


def entry(name: str) -> Entry:
    """Raises ConfigError for a name that there is not."""
    if name not in registry():
        raise ConfigError(f"there are no weights called {name}: known are {', '.join(registry())}")
    return registry()[name]


def folder() -> Path:
    """Where downloads are kept: $FACEANALYTICS_WEIGHTS, else ~/.cache/faceanalytics/weights."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "faceanalytics" / "weights"


def find(weights: str) -> str:
    """The path of the face model that `weights` names, once its sum is right; the log says its terms.

    "default" is the bundled one; what is no name, a path or "untrained", is returned as it is. Raises ModelError.
    """
    name = FACE_MODEL if weights == DEFAULT else weights
    if name not in registry():
        return weights
    chosen = entry(name)
    if chosen.what != "face model":
        raise ModelError(f"{name} is a {chosen.what} and no face model: see `swinface weights list`")
    checked = verify(name)
    log.info("face model %s: %s; %s; %s", name, chosen.terms, chosen.source, checked)
    return str(chosen.path)


def verify(name: str) -> str:
    """Compare the file with its sum; what it was compared with, in words. Raises ModelError, ConfigError.

    A file of which no sum is known, such as one that was fetched by hand, gets its own recorded.
    """
    chosen = entry(name)
    found = _sum_of_file(name, chosen)
    expected, origin = expected_sum(name, chosen)
    if expected is None:
        record_sum(chosen, found)
        return f"sha256 {found} recorded now: its source states none"
    if found != expected:
        raise ModelError(
            f"{chosen.path} is damaged or has been replaced: its sha256 is {found}, {origin} {expected}. {_again(name)}"
        )
    return f"sha256 as {origin}"


def expected_sum(name: str, chosen: Entry) -> tuple[str | None, str]:
    """The sum that the file must have, None if nothing is known, and where that stands. Raises ModelError."""
    if chosen.bundled:
        return _sum_of_card(name, chosen), "its card says"
    if chosen.sha256:
        return chosen.sha256, "its source states"
    try:
        return chosen.record.read_text().split()[0], "recorded at the first download:"
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, IndexError) as error:
        raise ModelError(f"cannot read the sum {chosen.record}: {error}. Delete it to trust the file") from error


def record_sum(chosen: Entry, found: str) -> None:
    """Keep the sum for later. Raises ModelError if it cannot be written."""
    try:
        chosen.record.write_text(f"{found}  {chosen.path.name}\n")
    except OSError as error:
        raise ModelError(f"cannot write the sum {chosen.record}: {error.strerror}") from error


def how_to_get(name: str) -> str:
    """What to do for a file that is not there."""
    chosen = entry(name)
    if chosen.by_hand is None:
        return f"get it by: swinface weights pull {name}"
    return (
        f"it cannot be downloaded by a program: {chosen.by_hand}, put the file at {chosen.path}, then: swinface "
        f"weights verify {name}. A copy at an address of your own: swinface weights pull {name} --url https://..."
    )


def _sum_of_file(name: str, chosen: Entry) -> str:
    try:
        with chosen.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise ModelError(f"{name} is not here, no {chosen.path}: {_again(name)}") from error
    except OSError as error:
        raise ModelError(f"cannot read {chosen.path}: {error.strerror}") from error


def _sum_of_card(name: str, chosen: Entry) -> str:
    card = chosen.path.with_suffix(".json")
    try:
        return str(json.loads(card.read_text(encoding="utf-8"))["sha256"])
    except FileNotFoundError as error:
        raise ModelError(f"{name} has no card {card}: {_again(name)}") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{card} is no card with a sha256: {_again(name)}") from error


def _again(name: str) -> str:
    chosen = entry(name)
    if chosen.bundled:
        return "this build lacks its bundled weights. Install the project anew, or name others"
    return how_to_get(name) if not chosen.path.exists() else f"delete it, then {how_to_get(name)}"
