"""What can be said of every set of faces, whatever its layout."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from faceanalytics.errors import ConfigError

ResolvedPath = Annotated[
    Path, AfterValidator(lambda path: path.expanduser().absolute())
]  # ~ and relative ones resolved
Kind = Literal["identity", "age", "age_spread", "gender", "attributes", "expression"]  # fields of face_set.Labels
MODEL = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Split(BaseModel):
    """One of two parts of a set that together are the whole, the same on every machine."""

    model_config = MODEL

    part: Literal["train", "validation"]
    """Which part: what is held out is `validation`, the rest is `train`."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share that is held out, of the people or of the images, about."""
    seed: int = 0
    """Another seed holds out others."""
    by: Literal["person", "image"] | None = None
    """What is drawn: whole people, so that no one is in both parts, or single images.
    None: people if the set knows who is who, else images."""


class SetOptions(BaseModel):
    """Options that every layout has."""

    model_config = MODEL

    path: ResolvedPath
    """The set's folder or file, as its layout says."""
    images: ResolvedPath | None = None
    """Folder of the images in place of the set's own, such as that of its aligned faces; the same names below it."""
    exclude: ResolvedPath | None = None
    """Text file of names of images to leave out, one per line, # before a remark. All of them must be in the set."""
    labels: Annotated[tuple[Kind, ...], Field(min_length=1)] | None = None
    """Only these kinds of labels are used; none: all that the set has."""
    split: Split | None = None
    """Only this part of the set; none: everything."""
    min_images: Annotated[int, Field(ge=2)] | None = None
    """People of whom there are fewer images are left out, and counted in a log line; none: nobody is."""

    teacher: ResolvedPath | None = None
    """File of what teachers say of the images, as `swinface data embed` writes it, for streams that learn `embedding`
    or `expression_scores`. Each face of the set must be in it; what else is in it is not used."""

    def excluded(self) -> dict[str, int]:
        """Names to leave out, and the line of `exclude` that says so. Raises ConfigError if it cannot be read."""
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
                named[name] = number
        return named
