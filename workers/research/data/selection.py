"""Select the configured part of a set."""

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import ConfigError, InputError
from workers.research.data.face_set import UNKNOWN, FaceSet
from workers.research.data.label_names import report_left_out
from workers.research.data.options import SetOptions, Split

Mask = NDArray[np.bool_]  # (n,)


def select(faces: FaceSet, config: SetOptions) -> FaceSet:
    """Apply `labels`, `exclude`, `split` and `min_images` to a set.

    The remaining identities are renumbered from 0 in the same order. Raises ConfigError for labels or names that the
    set does not have, InputError if no face is left.
    """
    if config.labels is not None:
        _check_kinds(faces, config.labels)
    used = ~_excluded(faces, config)
    if config.split is not None:
        used &= in_split(faces, config.split)
    if config.min_images is not None:
        used &= _has_enough_images(faces, used, config.min_images)
    if not used.any():
        raise InputError(f"{faces.name}: no face is left after `exclude`, `split` and `min_images`")
    if not used.all():
        faces = _renumbered(faces.at(np.flatnonzero(used)))
    if config.labels is not None:
        faces = replace(faces, labels=faces.labels.only(config.labels))
        if faces.labels.identity is None:
            faces = replace(faces, identities=())
    return faces


def _check_kinds(faces: FaceSet, wanted: tuple[str, ...]) -> None:
    known = [name for name, _ in faces.labels.columns()]
    if missing := [kind for kind in wanted if kind not in known]:
        raise ConfigError(f"{faces.name}: labels: the set has no {', '.join(missing)}; it has {', '.join(known)}")


def _excluded(faces: FaceSet, config: SetOptions) -> Mask:
    """Return which faces are listed in `exclude`."""
    named = config.excluded()
    if not named:
        return np.zeros(len(faces), bool)
    names = [faces.images.name(index) for index in range(len(faces))]
    if unknown := sorted(named.keys() - set(names), key=lambda name: named[name]):
        listed = "\n".join(f"  {config.exclude}:{named[name]}: {name}" for name in unknown)
        raise ConfigError(f"{faces.name}: exclude: {len(unknown)} names are not in the set\n{listed}")
    return np.array([name in named for name in names], bool)


def in_split(faces: FaceSet, split: Split) -> Mask:
    """Return which faces belong to the part, by a hash of the person's or the image's name.

    A face without a known identity is split by its image. Raises ConfigError for a split by person without identities.
    """
    identity = faces.labels.identity
    if split.by == "person" and identity is None:
        raise ConfigError(f"{faces.name}: split.by: this set has no identities; use `by: image`")
    held_out = np.zeros(len(faces), bool)
    by_image = np.ones(len(faces), bool)
    if identity is not None and split.by != "image":
        people = np.array([_is_held_out(name, split) for name in faces.identities], bool)
        by_image = identity == UNKNOWN
        held_out[~by_image] = people[identity[~by_image]]
    for index in np.flatnonzero(by_image):
        held_out[index] = _is_held_out(faces.images.name(int(index)), split)
    return held_out if split.part == "validation" else ~held_out


def _has_enough_images(faces: FaceSet, used: Mask, minimum: int) -> Mask:
    """Return which faces belong to people with at least `minimum` used images.

    Faces without a known identity do not. Raises ConfigError for a set without identities.
    """
    identity = faces.labels.identity
    if identity is None:
        raise ConfigError(f"{faces.name}: min_images: this set has no identities; remove the option")
    known = identity != UNKNOWN
    counts = np.bincount(identity[used & known], minlength=len(faces.identities))
    enough: Mask = known & (counts >= minimum)[identity]
    people = int(((counts > 0) & (counts < minimum)).sum())
    left = int((used & ~enough).sum())
    report_left_out(faces.name, {f"faces of {people} people with fewer than {minimum} images": left}, int(used.sum()))
    return enough


def _is_held_out(name: str, split: Split) -> bool:
    digest = hashlib.sha256(f"{split.seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < split.share * 2**64


def _renumbered(faces: FaceSet) -> FaceSet:
    """Renumber the identities that occur to 0..n-1."""
    identity = faces.labels.identity
    if identity is None:
        return faces
    left = np.unique(identity[identity != UNKNOWN])
    numbers = np.full(len(faces.identities), UNKNOWN, np.int64)
    numbers[left] = np.arange(len(left))
    renumbered = np.where(identity == UNKNOWN, UNKNOWN, numbers[identity])
    names = tuple(faces.identities[int(place)] for place in left)
    return replace(faces, labels=replace(faces.labels, identity=renumbered), identities=names)
