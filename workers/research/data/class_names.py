"""Class names that a Parquet file holds for its columns of class numbers, as Hugging Face's ClassLabel writes them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faceanalytics.errors import InputError

UNLABELLED = -1  # by Hugging Face's convention

ClassNames = Mapping[str, Sequence[str]]  # column -> name of each class, in the order of their numbers


def class_names(path: Path, metadata: Mapping[bytes, bytes] | None) -> ClassNames:
    """Return the class names in the metadata of a file's schema. Raises InputError if they cannot be understood."""
    text = (metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        features = json.loads(text).get("info", {}).get("features", {})
        found = {
            column: feature["names"]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, AttributeError, KeyError) as error:
        raise InputError(f"{path}: its metadata of Hugging Face cannot be read: {error}") from error
    for column, names in found.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path}: the class names of the column {column} are not a list of texts")
    return found


def by_name(path: Path, column: str, values: Sequence[Any], classes: ClassNames) -> list[Any]:
    """Return the names of class numbers, None for UNLABELLED; a column without class names stays as it is.

    A name that is a number stands for that number. Raises InputError for a number without a name.
    """
    if column not in classes:
        return list(values)
    names = classes[column]
    known = [int(name) if name.isdecimal() and str(int(name)) == name else name for name in names]
    meanings: dict[Any, Any] = {None: None, UNLABELLED: None, **dict(enumerate(known))}
    if unknown := sorted({repr(value) for value in values if value not in meanings}):
        raise InputError(
            f"{path}: {column} holds {', '.join(unknown)}, but the file names only the classes 0..{len(names) - 1}: "
            f"{', '.join(names)}"
        )
    return [meanings[value] for value in values]
