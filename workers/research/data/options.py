"""Define the options that every set of faces has, whatever its layout."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from faceanalytics.errors import ConfigError
from faceanalytics.names import original

ResolvedPath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]  # absolute, with ~ expanded
Kind = Literal["identity", "age", "age_spread", "gender", "attributes", "expression"]  # fields of face_set.Labels
MODEL = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Split(BaseModel):
    """A split of a set into two parts, the same on every machine."""

    model_config = MODEL

    part: Literal["train", "validation"]
    """The part to use: `validation` is held out, `train` is the rest."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Approximate share of the people or images to hold out."""
    seed: int = 0
    """Seed of the draw: another seed holds out others."""
    by: Literal["person", "image"] | None = None
    """Unit of the draw: whole people, so that nobody is in both parts, or single images.
    Default: people if the set has identities, else images."""


class SetOptions(BaseModel):
    """Options of every layout."""

    model_config = MODEL

    path: ResolvedPath
    """Folder or file of the set, depending on its layout."""
    images: ResolvedPath | None = None
    """Folder with images of the same names to use in place of the set's own, such as aligned faces."""
    exclude: ResolvedPath | None = None
    """Text file with names of images to leave out, one per line, with # before comments. The set must have all of
    them."""
    labels: Annotated[tuple[Kind, ...], Field(min_length=1)] | None = None
    """Kinds of labels to use; default: all that the set has."""
    split: Split | None = None
    """Part of the set to use; default: the whole set."""
    min_images: Annotated[int, Field(ge=2)] | None = None
    """Leave out people with fewer images, and log their number; default: keep everybody."""

    teacher: ResolvedPath | None = None
    """File of teachers' outputs, written by `swinface data embed`, for streams that learn `embedding` or
    `expression_scores`. It must have every face of the set; other entries are ignored."""

    def excluded(self) -> dict[str, int]:
        """Return the names to leave out and their lines in `exclude`. Raises ConfigError if it cannot be read."""
        if self.exclude is None:
            return {}
        try:
            text = self.exclude.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"exclude: cannot read {self.exclude}: {error}") from error
        named = {}
        for number, line in enumerate(text.splitlines(), 1):
            name = line if not line.startswith("#") else ""
            name = name.split(" #", 1)[0].strip()
            if name:
                named[original(name)] = number
        return named
